package services

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func service(edit func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"},
		Spec:       corev1.ServiceSpec{ClusterIP: "10.96.1.1", Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
	}
	edit(s)
	return s
}

// slice has an endpoint 10.88.0.n for each n-th state: ready, ending (but still serving) or gone.
func slice(port string, states ...string) *discoveryv1.EndpointSlice {
	number, yes, no := int32(8080), true, false
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		Ports:      []discoveryv1.EndpointPort{{Name: &port, Port: &number}},
	}
	for i, state := range states {
		endpoint := discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.88.0.%d", i+1)}}
		switch state {
		case "ready":
			endpoint.Conditions = discoveryv1.EndpointConditions{Ready: &yes, Serving: &yes, Terminating: &no}
		case "ending":
			endpoint.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &yes, Terminating: &yes}
		default:
			endpoint.Conditions = discoveryv1.EndpointConditions{Ready: &no, Serving: &no, Terminating: &yes}
		}
		s.Endpoints = append(s.Endpoints, endpoint)
	}
	return s
}

func TestATableHasTheEndpointsThatTakeConnections(t *testing.T) {
	same := func(*corev1.Service) {}
	f := func(edit func(*corev1.Service), slice *discoveryv1.EndpointSlice, want map[string][]string) {
		t.Helper()
		got := map[string][]string{}
		for address, endpoints := range NewTable([]*corev1.Service{service(edit)}, []*discoveryv1.EndpointSlice{slice}) {
			got[address.String()] = endpoints
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%v; want %v", got, want)
		}
	}
	const first, second = "10.88.0.1:8080", "10.88.0.2:8080"
	f(same, slice("http", "ready", "ready"), map[string][]string{"10.96.1.1:80": {first, second}})
	f(same, slice("http", "gone", "ready"), map[string][]string{"10.96.1.1:80": {second}})
	f(same, slice("http", "ending", "ready"), map[string][]string{"10.96.1.1:80": {second}})
	f(same, slice("http", "ending", "gone"), map[string][]string{"10.96.1.1:80": {first}})
	f(same, slice("http", "gone"), map[string][]string{})
	f(same, slice("other", "ready"), map[string][]string{})
	f(func(s *corev1.Service) { s.Name = "api" }, slice("http", "ready"), map[string][]string{})
	f(func(s *corev1.Service) { s.Namespace = "other" }, slice("http", "ready"), map[string][]string{})
	f(func(s *corev1.Service) { s.Spec.ClusterIP = corev1.ClusterIPNone }, slice("http", "ready"), map[string][]string{})
	f(func(s *corev1.Service) { s.Spec.Ports[0].Protocol = corev1.ProtocolUDP }, slice("http", "ready"), map[string][]string{})
	f(func(s *corev1.Service) {
		s.Spec.ExternalIPs = []string{"192.0.2.1"}
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.2"}, {Hostname: "web.example"}}
	}, slice("http", "ready"), map[string][]string{"10.96.1.1:80": {first}, "192.0.2.1:80": {first}, "192.0.2.2:80": {first}})
}

func TestATableJoinsTheSlicesOfAService(t *testing.T) {
	table := NewTable([]*corev1.Service{service(func(*corev1.Service) {})}, []*discoveryv1.EndpointSlice{slice("http", "ready"), slice("http", "gone", "ready")})
	got := table[netip.MustParseAddrPort("10.96.1.1:80")]
	if slices.Sort(got); !reflect.DeepEqual(got, []string{"10.88.0.1:8080", "10.88.0.2:8080"}) {
		t.Errorf("endpoints %v", got)
	}
}
