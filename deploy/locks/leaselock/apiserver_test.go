package leaselock_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	coordination "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// apiServer starts a real kube-apiserver on an etcd of its own, and returns the Leases of a namespace.
// Without the program it skips the test. It reaches the server as in envtest of controller-runtime:
// KUBEBUILDER_ASSETS names the folder that has kube-apiserver in it.
func apiServer(t *testing.T) client.LeaseInterface {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		t.Skip("KUBEBUILDER_ASSETS names no folder with a kube-apiserver: the provider for Kubernetes was not tried")
	}
	dir, addr := t.TempDir(), testkit.FreeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	key, tokens := filepath.Join(dir, "accounts.pem"), filepath.Join(dir, "tokens.csv")
	writeKey(t, key)
	if err := os.WriteFile(tokens, []byte("secret,tester,1,system:masters\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	command := exec.Command(filepath.Join(assets, "kube-apiserver"),
		"--etcd-servers="+etcdtest.Start(t).URL, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+port,
		"--cert-dir="+filepath.Join(dir, "certificates"), "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24",
		"--service-account-issuer=https://test.invalid", "--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		"--token-auth-file="+tokens, "--authorization-mode=RBAC")
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
	})
	leases := connect(t, addr)
	// A server that was just started takes longer than anything that testkit waits for.
	probe := &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: "probe"}}
	for deadline := time.Now().Add(3 * time.Minute); ; {
		_, err := leases.Create(t.Context(), probe, metav1.CreateOptions{})
		if err == nil || strings.Contains(err.Error(), "already exists") {
			return leases
		}
		select {
		case end := <-ended:
			ended <- end
			deadline = time.Time{}
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			said, _ := os.ReadFile(log.Name())
			t.Fatalf("the API server does not serve: %v\n%s", err, said)
		}
	}
}

// connect returns the Leases of the default namespace, over connections that end with the test.
func connect(t *testing.T, addr string) client.LeaseInterface {
	t.Helper()
	config := &rest.Config{Host: "https://" + addr, BearerToken: "secret", TLSClientConfig: rest.TLSClientConfig{Insecure: true}, QPS: -1}
	transport, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	c, err := client.NewForConfigAndClient(config, transport)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leases(metav1.NamespaceDefault)
}

func writeKey(t *testing.T, path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
