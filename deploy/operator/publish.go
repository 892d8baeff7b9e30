package operator

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	discoveryv1ac "k8s.io/client-go/applyconfigurations/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/fleet"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/metricsapi"
	"gridrouter.io/deploy/operator/routermetrics"
)

// metricsService is the Service of the metrics API, as deploy/manifests has it.
const metricsService = "gridrouter-metrics"

// publishEvery is how often the leader looks whether autoscalers find it.
const publishEvery = 5 * time.Second

// addMetricsAPI serves the metrics API, and has the leader published as what serves it: it alone samples
// routers.
func (o *operator) addMetricsAPI(sampler *routermetrics.Sampler) error {
	if o.config.MetricsAPI == nil {
		return nil
	}
	// The manager's own client reads ConfigMaps from a cache, which holds those of fleets alone. The certificate is
	// shared by compare-and-set, by whichever operator comes first.
	direct, err := client.New(o.standby(), client.Options{Scheme: o.manager.GetScheme()})
	if err != nil {
		return err
	}
	server := metricsapi.New(metricsapi.Options{
		Listener: o.config.MetricsAPI, Client: direct, Namespace: o.config.Namespace, Service: metricsService,
		Source: metricsapi.Source{Pods: o.podsOf, Rate: rateBy(sampler)}, Log: o.config.Log.Named("metrics-api"),
	})
	if err := o.manager.Add(server); err != nil {
		return err
	}
	address, _ := netip.ParseAddr(o.config.Address) // what is no address is not valid
	if !address.IsValid() {
		o.config.Log.Warn("autoscalers cannot be told where the metrics API is: set POD_IP to the address of this operator", zap.String("POD_IP", o.config.Address))
		return nil
	}
	return o.manager.Add(&publisher{o, server, address})
}

// rateBy returns what a pod of a fleet does in a second, as it was sampled for that fleet.
func rateBy(sampler *routermetrics.Sampler) func(metricsapi.Pod) (routermetrics.Rate, bool) {
	return func(pod metricsapi.Pod) (routermetrics.Rate, bool) {
		return sampler.Rate(fleet.SampleKey(pod.Namespace, pod.Labels[render.LabelFleet], pod.UID))
	}
}

// podsOf lists the routers of a namespace.
func (o *operator) podsOf(ctx context.Context, namespace string) ([]metricsapi.Pod, error) {
	var list corev1.PodList
	if err := o.manager.GetClient().List(ctx, &list, client.InNamespace(namespace), client.HasLabels{render.LabelFleet}); err != nil {
		return nil, err
	}
	pods := make([]metricsapi.Pod, 0, len(list.Items))
	for i := range list.Items {
		pod := &list.Items[i]
		pods = append(pods, metricsapi.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, Labels: pod.Labels})
	}
	return pods, nil
}

// publisher leads the Service of the metrics API to the leader, and tells the API server which authority
// vouches for it.
type publisher struct {
	*operator
	server  *metricsapi.Server
	address netip.Addr
}

// Start publishes until ctx ends. It runs on the leader alone.
func (p *publisher) Start(ctx context.Context) error {
	for said := ""; ; {
		now := ""
		if err := p.publish(ctx); err != nil && ctx.Err() == nil {
			if now = err.Error(); now != said {
				p.config.Log.Error("autoscalers may not find the metrics API", zap.Error(err))
			}
		}
		said = now
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(publishEvery):
		}
	}
}

// publish writes what is not as it should be.
func (p *publisher) publish(ctx context.Context) error {
	bundle := p.server.Bundle()
	if bundle == nil {
		return nil // nothing vouches for the server yet
	}
	if err := p.publishAddress(ctx); err != nil {
		return err
	}
	for _, version := range []string{"v1beta1", "v1beta2"} {
		if err := p.publishBundle(ctx, version+"."+metricsapi.Group, bundle); err != nil {
			return err
		}
	}
	return nil
}

// publishAddress makes this operator the only endpoint of the Service.
func (p *publisher) publishAddress(ctx context.Context) error {
	_, port, err := net.SplitHostPort(p.config.MetricsAPI.Addr().String())
	if err != nil {
		return err
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		return err
	}
	var there discoveryv1.EndpointSlice
	key := client.ObjectKey{Namespace: p.config.Namespace, Name: metricsService}
	err = p.manager.GetAPIReader().Get(ctx, key, &there)
	if client.IgnoreNotFound(err) != nil {
		return err
	}
	if err == nil && len(there.Endpoints) == 1 && len(there.Ports) == 1 && there.Ports[0].Port != nil && int(*there.Ports[0].Port) == number &&
		len(there.Endpoints[0].Addresses) == 1 && there.Endpoints[0].Addresses[0] == p.address.String() {
		return nil
	}
	family := discoveryv1.AddressTypeIPv4
	if p.address.Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	wanted := discoveryv1ac.EndpointSlice(key.Name, key.Namespace).
		WithLabels(map[string]string{discoveryv1.LabelServiceName: metricsService, discoveryv1.LabelManagedBy: LeaseName}).WithAddressType(family).
		WithEndpoints(discoveryv1ac.Endpoint().WithAddresses(p.address.String()).WithConditions(discoveryv1ac.EndpointConditions().WithReady(true))).
		WithPorts(discoveryv1ac.EndpointPort().WithName("https").WithPort(int32(number)).WithProtocol(corev1.ProtocolTCP))
	return p.manager.GetClient().Apply(ctx, wanted, client.FieldOwner(LeaseName), client.ForceOwnership)
}

// publishBundle writes the authority into an APIService that points at our Service. One that another adapter
// serves is left alone.
func (p *publisher) publishBundle(ctx context.Context, name string, bundle []byte) error {
	service := &unstructured.Unstructured{}
	service.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
	err := p.manager.GetAPIReader().Get(ctx, client.ObjectKey{Name: name}, service)
	if apierrors.IsNotFound(err) {
		return nil // it was left out
	}
	if err != nil {
		return err
	}
	of, _, _ := unstructured.NestedString(service.Object, "spec", "service", "name")      // of another form: it is
	in, _, _ := unstructured.NestedString(service.Object, "spec", "service", "namespace") // not ours
	known, _, _ := unstructured.NestedString(service.Object, "spec", "caBundle")          // as well
	text := base64.StdEncoding.EncodeToString(bundle)
	if of != metricsService || in != p.config.Namespace || known == text {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{"caBundle": text}})
	if err != nil {
		return err
	}
	if err := p.manager.GetClient().Patch(ctx, service, client.RawPatch("application/merge-patch+json", patch), client.FieldOwner(LeaseName)); err != nil {
		return fmt.Errorf("write the authority into APIService %s: %w", name, err)
	}
	return nil
}
