package dns

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
	"k8s.io/client-go/tools/cache"
)

// newServer knows a Service web, a headless one peers with the pods peer-0 (ready), peer-1 (not
// ready) and one without a name, and one that is a name elsewhere.
func newServer(t *testing.T, publishNotReady bool) *Server {
	t.Helper()
	services := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	slices := cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{cache.NamespaceIndex: cache.MetaNamespaceIndexFunc})
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "shop", Name: name} }
	port := corev1.ServicePort{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}
	for _, service := range []*corev1.Service{
		{ObjectMeta: meta("web"), Spec: corev1.ServiceSpec{ClusterIP: "10.96.1.1", Ports: []corev1.ServicePort{port}}},
		{ObjectMeta: meta("peers"), Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, Ports: []corev1.ServicePort{port}, PublishNotReadyAddresses: publishNotReady}},
		{ObjectMeta: meta("empty"), Spec: corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone}},
		{ObjectMeta: meta("away"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "web.example"}},
	} {
		if err := services.Add(service); err != nil {
			t.Fatal(err)
		}
	}
	yes, no, number, name, protocol := true, false, int32(8080), "http", corev1.ProtocolTCP
	host := func(text string) *string { return &text }
	slice := &discoveryv1.EndpointSlice{ObjectMeta: meta("peers-1"), Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &number, Protocol: &protocol}}}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "peers"}
	slice.Endpoints = []discoveryv1.Endpoint{
		{Addresses: []string{"10.88.0.1"}, Hostname: host("peer-0"), Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
		{Addresses: []string{"10.88.0.2"}, Hostname: host("peer-1"), Conditions: discoveryv1.EndpointConditions{Ready: &no}},
		{Addresses: []string{"10.88.0.3"}, Conditions: discoveryv1.EndpointConditions{Ready: &yes}},
	}
	if err := slices.Add(slice); err != nil {
		t.Fatal(err)
	}
	return &Server{Services: corelisters.NewServiceLister(services), Slices: discoverylisters.NewEndpointSliceLister(slices)}
}

func TestNamesOfTheClusterAreAnswered(t *testing.T) {
	const suffix = ".shop.svc.cluster.local."
	f := func(publishNotReady bool, name string, kind uint16, want string) {
		t.Helper()
		records, exists := newServer(t, publishNotReady).records(dns.Question{Name: name, Qtype: kind})
		got := fmt.Sprint(exists)
		for _, record := range records {
			got += " " + strings.TrimPrefix(record.String(), record.Header().String())
		}
		if got != want {
			t.Errorf("%s: %s; want %s", name, got, want)
		}
	}
	f(false, "web"+suffix, dns.TypeA, "true 10.96.1.1")
	f(false, "WEB"+suffix, dns.TypeA, "true 10.96.1.1")
	f(false, "web"+suffix, dns.TypeAAAA, "true")
	f(false, "_http._tcp.web"+suffix, dns.TypeSRV, "true 0 100 80 web"+suffix)
	f(false, "_http._udp.web"+suffix, dns.TypeSRV, "false")
	f(false, "host.web"+suffix, dns.TypeA, "false")
	f(false, "peers"+suffix, dns.TypeA, "true 10.88.0.1 10.88.0.3")
	f(true, "peers"+suffix, dns.TypeA, "true 10.88.0.1 10.88.0.2 10.88.0.3")
	f(false, "peer-0.peers"+suffix, dns.TypeA, "true 10.88.0.1")
	f(false, "peer-1.peers"+suffix, dns.TypeA, "false")
	f(true, "peer-1.peers"+suffix, dns.TypeA, "true 10.88.0.2")
	f(false, "10-88-0-3.peers"+suffix, dns.TypeA, "true 10.88.0.3")
	f(false, "_http._tcp.peers"+suffix, dns.TypeSRV, "true 0 100 8080 peer-0.peers"+suffix+" 0 100 8080 10-88-0-3.peers"+suffix)
	f(false, "empty"+suffix, dns.TypeA, "false")
	f(false, "away"+suffix, dns.TypeA, "true web.example.")
	f(false, "nobody"+suffix, dns.TypeA, "false")
	f(false, "a.b.c.web"+suffix, dns.TypeA, "false")
	f(false, "web.other.svc.cluster.local.", dns.TypeA, "false")
	f(false, "shop.svc.cluster.local.", dns.TypeA, "false")
	f(false, "example.com.", dns.TypeA, "false")
	f(false, ".", dns.TypeA, "false")
}

func TestAnswersComeOverBothTransports(t *testing.T) {
	server := newServer(t, false)
	address, stop, err := server.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, transport := range []string{"udp", "tcp"} {
		client := &dns.Client{Net: transport, Timeout: time.Minute}
		for name, rcode := range map[string]int{"web.shop.svc.cluster.local.": dns.RcodeSuccess, "example.com.": dns.RcodeNameError} {
			answer, _, err := client.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), address)
			if err != nil || answer.Rcode != rcode || rcode == dns.RcodeSuccess && len(answer.Answer) != 1 {
				t.Errorf("%s over %s: %v, %v", name, transport, answer, err)
			}
		}
	}
}
