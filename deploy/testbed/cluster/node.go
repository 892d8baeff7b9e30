package cluster

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/testbed/cri"
	"gridrouter.io/deploy/testbed/network"
	"gridrouter.io/deploy/testbed/pki"
	"gridrouter.io/deploy/testbed/process"
)

// Labels and annotations of nodes.
const (
	// PretendLabel is "true" on nodes whose pods only pretend to run. Where there are others, it
	// is a taint as well, which a pod must tolerate to be there.
	PretendLabel = "testbed.gridrouter.io/pretend"
	// PowerAnnotation tells a node's power, which anybody may set; see the values.
	PowerAnnotation = "testbed.gridrouter.io/power"
	// PowerOff is as if the node's plug was pulled: its pods and its kubelet are killed.
	PowerOff = "off"
	// PowerFrozen stops only the kubelet: the pods go on, and the control plane hears nothing.
	PowerFrozen = "frozen"
)

// node is a kubelet with its runtime.
type node struct {
	name      string
	folder    string
	binary    string
	arguments []string
	runtime   *cri.Runtime
	failed    func(error)

	mu      sync.Mutex
	kubelet *process.Process // nil while the power is off
	power   string           // the value of the annotation
}

// addNode starts a node. It has an address of its own on the bridge.
func (c *Cluster) addNode(name string, number int, pretend bool) error {
	folder := c.path("nodes", name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	address := network.NodeAddress(number)
	if err := c.network.AddNodeAddress(address); err != nil {
		return err
	}
	runtime, err := cri.Start(cri.Options{Folder: folder, Images: c.options.Images, Network: c.network, Pretend: pretend})
	if err != nil {
		return err
	}
	n := &node{name: name, folder: c.path("logs"), binary: c.options.Kubernetes, runtime: runtime, failed: c.fail}
	c.nodes = append(c.nodes, n)
	kubeconfig := c.path("pki", name+".kubeconfig")
	server := fmt.Sprintf("https://%s:%d", network.Gateway, c.options.Port)
	user := "system:node:" + name
	err = c.authority.Kubeconfig(kubeconfig, server, name+"-client", pki.Subject{Name: user, Groups: []string{"system:nodes"}})
	if err != nil {
		return err
	}
	serving, err := c.authority.Issue(name, pki.Subject{Name: user, Groups: []string{"system:nodes"}, Hosts: []string{name, address.String()}})
	if err != nil {
		return err
	}
	labels := "topology.kubernetes.io/zone=" + zone(number) + ",topology.kubernetes.io/region=testbed"
	n.arguments = []string{
		"kubelet",
		"--kubeconfig=" + kubeconfig,
		"--hostname-override=" + name, "--node-ip=" + address.String(),
		"--address=" + address.String(), "--read-only-port=0", "--healthz-port=0",
		"--root-dir=" + folder + "/kubelet", "--cert-dir=" + folder + "/pki", "--volume-plugin-dir=" + folder + "/plugins",
		"--tls-cert-file=" + serving.Certificate, "--tls-private-key-file=" + serving.Key,
		"--client-ca-file=" + c.authority.CA(), "--anonymous-auth=false",
		"--authentication-token-webhook=true", "--authorization-mode=Webhook",
		"--container-runtime-endpoint=unix://" + runtime.Socket(),
		"--cluster-dns=" + network.DNSService, "--cluster-domain=cluster.local",
		"--max-pods=250",
	}
	if pretend {
		n.arguments = append(n.arguments, "--pretend")
		if c.options.Nodes > 0 {
			// Only pods that ask for it shall be here.
			n.arguments = append(n.arguments, "--register-with-taints="+PretendLabel+"=true:NoSchedule")
		}
		labels += "," + PretendLabel + "=true"
	}
	n.arguments = append(n.arguments, "--node-labels="+labels)
	return n.setPower("")
}

// setPower brings a node into the state that its annotation asks for.
func (n *node) setPower(power string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.kubelet != nil && n.power == power {
		return nil
	}
	n.power = power
	switch {
	case power == PowerOff:
		if n.kubelet != nil {
			kubelet := n.kubelet
			n.kubelet = nil
			kubelet.Stop(0)
			n.runtime.KillAll()
		}
		return nil
	case n.kubelet == nil:
		if err := n.startKubelet(); err != nil {
			return err
		}
	}
	if power == PowerFrozen {
		return n.kubelet.Signal(syscall.SIGSTOP)
	}
	return n.kubelet.Signal(syscall.SIGCONT)
}

// startKubelet starts the node's kubelet; n.mu must be held.
func (n *node) startKubelet() error {
	kubelet, err := process.Start(n.folder, n.name, n.binary, n.arguments...)
	if err != nil {
		return err
	}
	n.kubelet = kubelet
	go func() {
		<-kubelet.Done()
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.kubelet == kubelet { // nobody stopped it
			n.failed(kubelet.Err())
		}
	}()
	return nil
}

// close ends a node with its pods.
func (n *node) close() {
	n.mu.Lock()
	kubelet := n.kubelet
	n.kubelet = nil
	n.mu.Unlock()
	if kubelet != nil {
		kubelet.Stop(0)
	}
	n.runtime.Stop()
}

// awaitNodes waits until all nodes are ready.
func (c *Cluster) awaitNodes(ctx context.Context) error {
	err := c.await(ctx, "the nodes", func(ctx context.Context) (bool, error) {
		list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
		if err != nil {
			return false, err
		}
		ready := 0
		for _, n := range list.Items {
			for _, condition := range n.Status.Conditions {
				if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
					ready++
				}
			}
		}
		return ready == len(c.nodes), nil
	})
	if err == nil {
		c.options.Progress("the nodes are ready")
	}
	return err
}
