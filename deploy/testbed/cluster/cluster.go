// Package cluster runs a whole Kubernetes cluster inside the namespaces that the process is in:
// the real control plane, a real kubelet for each node over a runtime whose pods are processes,
// and what stands in for kube-proxy, for the cluster's DNS server and for a provisioner of
// volumes.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"gridrouter.io/deploy/testbed/images"
	"gridrouter.io/deploy/testbed/network"
	"gridrouter.io/deploy/testbed/pki"
	"gridrouter.io/deploy/testbed/process"
)

// Options say what a cluster is made of.
type Options struct {
	// Folder is the cluster's own: empty, and with a short path, since there are sockets in it.
	Folder string
	// Kubernetes is the binary of cmd/kubernetes.
	Kubernetes string
	// Port is where the API server listens, at all addresses.
	Port int
	// Nodes run pods as processes; PretendNodes only say that pods run.
	Nodes, PretendNodes int
	// Images maps the names of images.
	Images *images.Map
	// Progress takes a line about each step.
	Progress func(string)
}

// Cluster is a cluster that runs. Its methods may be called at once, but Stop only once.
type Cluster struct {
	options   Options
	network   *network.Network
	authority *pki.Authority
	client    kubernetes.Interface
	nodes     []*node
	services  []*process.Process // in the order of their start
	stop      []func()           // what else ends, in the order of its start
	failed    chan error
}

// grace is how long a part of the control plane may take to end. It keeps nothing that matters.
const grace = 2 * time.Second

// Kubeconfig is the path of an administrator's kubeconfig in a cluster's folder.
func Kubeconfig(folder string) string { return filepath.Join(folder, "kubeconfig") }

// Start starts a cluster and returns when its nodes are ready. On an error nothing is left
// running. The process must be in a network namespace of its own.
func Start(ctx context.Context, options Options) (*Cluster, error) {
	c := &Cluster{options: options, failed: make(chan error, 1)}
	if err := c.start(ctx); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) (err error) {
	for _, folder := range []string{"pki", "logs", "nodes", "volumes"} {
		if err := os.MkdirAll(c.path(folder), 0o700); err != nil {
			return err
		}
	}
	if c.network, err = network.New(); err != nil {
		return err
	}
	if c.authority, err = pki.New(c.path("pki")); err != nil {
		return err
	}
	if err := c.startControlPlane(ctx); err != nil {
		return err
	}
	for i := range c.options.Nodes {
		if err := c.addNode(fmt.Sprintf("node-%d", i), i, false); err != nil {
			return err
		}
	}
	for i := range c.options.PretendNodes {
		if err := c.addNode(fmt.Sprintf("pretend-%d", i), c.options.Nodes+i, true); err != nil {
			return err
		}
	}
	// These follow changes of nodes, of which no more are added.
	if err := c.startAddons(ctx); err != nil {
		return err
	}
	return c.awaitNodes(ctx)
}

// Failed gives the error when a part of the cluster ends that should not.
func (c *Cluster) Failed() <-chan error { return c.failed }

// Stop ends everything: what follows the cluster's changes, nodes with their pods, then the
// control plane, etcd last.
func (c *Cluster) Stop() {
	for i := len(c.stop) - 1; i >= 0; i-- {
		c.stop[i]()
	}
	for _, n := range c.nodes {
		n.close()
	}
	for i := len(c.services) - 1; i >= 0; i-- {
		c.services[i].Stop(grace)
	}
}

func (c *Cluster) path(parts ...string) string {
	return filepath.Join(append([]string{c.options.Folder}, parts...)...)
}

// run starts a program of the Kubernetes binary as a part of the control plane.
func (c *Cluster) run(name string, arguments ...string) error {
	p, err := process.Start(c.path("logs"), name, c.options.Kubernetes, append([]string{name}, arguments...)...)
	if err != nil {
		return err
	}
	c.services = append(c.services, p)
	go func() {
		<-p.Done()
		c.fail(p.Err())
	}()
	return nil
}

// fail tells of the first failure. Whoever stops the cluster no longer listens.
func (c *Cluster) fail(err error) {
	select {
	case c.failed <- err:
	default:
	}
}

// connect makes the client of an administrator.
func (c *Cluster) connect() error {
	config, err := clientcmd.BuildConfigFromFlags("", Kubeconfig(c.options.Folder))
	if err != nil {
		return err
	}
	config.QPS = -1 // no limit
	c.client, err = kubernetes.NewForConfig(config)
	return err
}

// await asks again and again until the answer is yes, something failed, or a minute and a half
// is over, which no step takes even on a slow machine.
func (c *Cluster) await(ctx context.Context, what string, done func(context.Context) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := done(ctx)
		if ok && err == nil {
			return nil
		}
		select {
		case failure := <-c.failed:
			return failure
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("while waiting for %s: %w", what, ctx.Err()), err)
		case <-tick.C:
		}
	}
}

// zone spreads the nodes over three zones.
func zone(number int) string { return "zone-" + string(rune('a'+number%3)) }
