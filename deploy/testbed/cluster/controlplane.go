package cluster

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/testbed/network"
	"gridrouter.io/deploy/testbed/pki"
)

// Where the parts of the control plane listen, besides the API server. The ports are fixed, since
// the network is the testbed's own.
const (
	etcdURL     = "http://127.0.0.1:2379"
	etcdPeerURL = "http://127.0.0.1:2380"
)

const administrators = "system:masters" // the group that may do anything

// startControlPlane starts etcd, the API server, the controller manager and the scheduler.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	server := fmt.Sprintf("https://127.0.0.1:%d", c.options.Port)
	for _, user := range []struct{ file, name, group string }{
		{Kubeconfig(c.options.Folder), "admin", administrators},
		{c.path("pki", "controller-manager.kubeconfig"), "system:kube-controller-manager", ""},
		{c.path("pki", "scheduler.kubeconfig"), "system:kube-scheduler", ""},
	} {
		subject := pki.Subject{Name: user.name}
		if user.group != "" {
			subject.Groups = []string{user.group}
		}
		if err := c.authority.Kubeconfig(user.file, server, user.name, subject); err != nil {
			return err
		}
	}
	if err := c.connect(); err != nil {
		return err
	}
	err := c.run("etcd",
		"--data-dir="+c.path("etcd"),
		"--unsafe-no-fsync", // nothing of it is kept
		"--listen-client-urls="+etcdURL, "--advertise-client-urls="+etcdURL,
		"--listen-peer-urls="+etcdPeerURL, "--initial-advertise-peer-urls="+etcdPeerURL,
		"--initial-cluster=default="+etcdPeerURL,
		"--log-level=warn")
	if err != nil {
		return err
	}
	arguments, err := c.apiServerArguments()
	if err != nil {
		return err
	}
	if err := c.run("kube-apiserver", arguments...); err != nil {
		return err
	}
	err = c.await(ctx, "the API server", func(ctx context.Context) (bool, error) {
		answer, err := c.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return string(answer) == "ok", err
	})
	if err != nil {
		return err
	}
	c.options.Progress("the API server is ready")
	return c.startControllers(ctx)
}

func (c *Cluster) apiServerArguments() ([]string, error) {
	serving, err := c.authority.Issue("apiserver", pki.Subject{Name: "kube-apiserver", Hosts: []string{
		"127.0.0.1", network.Gateway, network.APIService,
		"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}})
	if err != nil {
		return nil, err
	}
	toKubelets, err := c.authority.Issue("apiserver-to-kubelets", pki.Subject{Name: "kube-apiserver", Groups: []string{administrators}})
	if err != nil {
		return nil, err
	}
	aggregator, err := c.authority.Issue("aggregator", pki.Subject{Name: "aggregator"})
	if err != nil {
		return nil, err
	}
	tokens, err := c.authority.ServiceAccountKey()
	if err != nil {
		return nil, err
	}
	return []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=0.0.0.0", fmt.Sprintf("--secure-port=%d", c.options.Port),
		// The endpoint of the Service kubernetes; it must not be a loopback address.
		"--advertise-address=" + network.Gateway,
		"--service-cluster-ip-range=" + network.ServiceRange,
		"--cert-dir=" + c.path("pki"),
		"--tls-cert-file=" + serving.Certificate, "--tls-private-key-file=" + serving.Key,
		"--client-ca-file=" + c.authority.CA(),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + tokens.Certificate, "--service-account-signing-key-file=" + tokens.Key,
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--kubelet-certificate-authority=" + c.authority.CA(),
		"--kubelet-client-certificate=" + toKubelets.Certificate, "--kubelet-client-key=" + toKubelets.Key,
		"--kubelet-preferred-address-types=InternalIP",
		// For APIs that other servers add.
		"--enable-aggregator-routing=true",
		"--requestheader-client-ca-file=" + c.authority.CA(), "--requestheader-allowed-names=aggregator",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + aggregator.Certificate, "--proxy-client-key-file=" + aggregator.Key,
		// How long pods stay on a node that is lost: 300 s are too long for a test.
		"--default-not-ready-toleration-seconds=30", "--default-unreachable-toleration-seconds=30",
	}, nil
}

func (c *Cluster) startControllers(ctx context.Context) error {
	err := c.run("kube-controller-manager",
		"--kubeconfig="+c.path("pki", "controller-manager.kubeconfig"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1", "--cert-dir="+c.path("pki", "controller-manager"),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file="+c.path("pki", "sa.key"),
		"--root-ca-file="+c.authority.CA(),
		"--cluster-signing-cert-file="+c.authority.CA(), "--cluster-signing-key-file="+c.path("pki", "ca.key"),
		// Every 15 s are too slow for a test.
		"--horizontal-pod-autoscaler-sync-period=3s",
		// A node is lost after this time; it tells that it lives every 10 s.
		"--node-monitor-grace-period=25s", "--node-monitor-period=2s")
	if err != nil {
		return err
	}
	err = c.run("kube-scheduler",
		"--kubeconfig="+c.path("pki", "scheduler.kubeconfig"),
		"--leader-elect=false",
		"--bind-address=127.0.0.1", "--cert-dir="+c.path("pki", "scheduler"))
	if err != nil {
		return err
	}
	// No pod can be made before its service account is there.
	err = c.await(ctx, "the controllers", func(ctx context.Context) (bool, error) {
		_, err := c.client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err == nil, err
	})
	if err == nil {
		c.options.Progress("the controllers work")
	}
	return err
}
