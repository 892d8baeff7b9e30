package cluster

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"

	"gridrouter.io/deploy/testbed/dns"
	"gridrouter.io/deploy/testbed/network"
	"gridrouter.io/deploy/testbed/services"
)

// startAddons starts what a cluster has besides Kubernetes itself: addresses and names of
// Services, volumes, and the power of nodes.
func (c *Cluster) startAddons(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	factory := informers.NewSharedInformerFactory(c.client, 0)
	c.stop = append(c.stop, func() {
		cancel()
		factory.Shutdown()
	})
	proxy := &proxy{
		network:   c.network,
		services:  factory.Core().V1().Services().Lister(),
		slices:    factory.Discovery().V1().EndpointSlices().Lister(),
		changed:   make(chan struct{}, 1),
		progress:  c.options.Progress,
		forwarder: &services.Forwarder{},
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Services().Informer(), factory.Discovery().V1().EndpointSlices().Informer(),
	} {
		if _, err := informer.AddEventHandler(proxy); err != nil {
			return err
		}
	}
	if err := c.watchPower(factory); err != nil {
		return err
	}
	if err := c.provideVolumes(ctx, factory); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	go proxy.run(ctx)

	names := &dns.Server{Services: proxy.services, Slices: proxy.slices}
	_, stop, err := names.Listen(net.JoinHostPort(network.DNSService, "53"))
	if err != nil {
		return fmt.Errorf("DNS: %w", err)
	}
	c.stop = append(c.stop, stop)
	return c.createDNSService(ctx)
}

// createDNSService takes the address of the DNS server, so that no other Service gets it.
func (c *Cluster) createDNSService(ctx context.Context) error {
	_, err := c.client.CoreV1().Services(metav1.NamespaceSystem).Create(ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: "kube-dns"},
		Spec: corev1.ServiceSpec{ClusterIP: network.DNSService, Ports: []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP},
		}},
	}, metav1.CreateOptions{})
	return err
}

// watchPower does what the annotation on a node asks for.
func (c *Cluster) watchPower(factory informers.SharedInformerFactory) error {
	handle := func(object any) {
		found, ok := object.(*corev1.Node)
		if !ok {
			return
		}
		for _, n := range c.nodes {
			if n.name != found.Name {
				continue
			}
			if err := n.setPower(found.Annotations[PowerAnnotation]); err != nil {
				c.fail(err)
			}
		}
	}
	_, err := factory.Core().V1().Nodes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, object any) { handle(object) },
	})
	return err
}

// proxy keeps the forwarder at what the cluster says.
type proxy struct {
	network   *network.Network
	services  corelisters.ServiceLister
	slices    discoverylisters.EndpointSliceLister
	changed   chan struct{} // holds one entry if there is something to do
	progress  func(string)
	forwarder *services.Forwarder
}

// OnAdd notes that something has changed.
func (p *proxy) OnAdd(any, bool) { p.note() }

// OnUpdate notes that something has changed.
func (p *proxy) OnUpdate(any, any) { p.note() }

// OnDelete notes that something has changed.
func (p *proxy) OnDelete(any) { p.note() }

func (p *proxy) note() {
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

func (p *proxy) run(ctx context.Context) {
	defer p.forwarder.Close() //nolint:errcheck // to stop listening does not fail
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.changed:
		}
		if err := p.sync(); err != nil {
			p.progress("services: " + err.Error())
		}
	}
}

func (p *proxy) sync() error {
	all, err := p.services.List(labels.Everything())
	if err != nil {
		return err
	}
	slices, err := p.slices.List(labels.Everything())
	if err != nil {
		return err
	}
	table := services.NewTable(all, slices)
	within := netip.MustParsePrefix(network.ServiceRange)
	for address := range table {
		if within.Contains(address.Addr()) {
			continue
		}
		// An address of a load balancer or another external one.
		if err := p.network.ClaimLocal(netip.PrefixFrom(address.Addr(), address.Addr().BitLen())); err != nil {
			return err
		}
	}
	return p.forwarder.Set(table)
}
