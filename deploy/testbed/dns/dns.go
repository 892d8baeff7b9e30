// Package dns answers for the names of a cluster as its DNS server does: Services, headless ones
// with the pods behind them, and ports. Other names do not exist.
package dns

import (
	"errors"
	"net"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Domain is the cluster's.
const Domain = "cluster.local"

// ttl of all answers, in seconds. It is short, since tests change things all the time.
const ttl = 1

// Server answers from what its listers know. It may be used by many at once.
type Server struct {
	Services corelisters.ServiceLister
	Slices   discoverylisters.EndpointSliceLister
}

// Listen answers at an address, over UDP and TCP, until the returned function is called. It gives
// the address with the port that was chosen if none was named.
func (s *Server) Listen(address string) (listening string, stop func(), err error) {
	streams, packets, err := listenBoth(address)
	if err != nil {
		return "", nil, err
	}
	udp := &dns.Server{PacketConn: packets, Handler: s}
	tcp := &dns.Server{Listener: streams, Handler: s}
	for _, server := range []*dns.Server{udp, tcp} {
		started := make(chan struct{})
		server.NotifyStartedFunc = func() { close(started) }
		go func() { _ = server.ActivateAndServe() }() // it ends with the shutdown below
		<-started
	}
	return streams.Addr().String(), func() {
		_ = udp.Shutdown()
		_ = tcp.Shutdown()
	}, nil
}

// listenBoth finds a port that is free for both, where none was named: one that is free for TCP
// may be taken for UDP.
func listenBoth(address string) (net.Listener, net.PacketConn, error) {
	var failed error
	for range 20 {
		streams, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		packets, err := net.ListenPacket("udp", streams.Addr().String())
		if err == nil {
			return streams, packets, nil
		}
		failed = errors.Join(err, streams.Close())
	}
	return nil, nil, failed
}

// ServeDNS answers one query.
func (s *Server) ServeDNS(w dns.ResponseWriter, query *dns.Msg) {
	answer := new(dns.Msg).SetReply(query)
	answer.Authoritative, answer.RecursionAvailable = true, true
	if len(query.Question) != 1 {
		answer.Rcode = dns.RcodeFormatError
	} else {
		records, exists := s.records(query.Question[0])
		answer.Answer = records
		if !exists {
			answer.Rcode = dns.RcodeNameError
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
		size := dns.MinMsgSize
		if edns := query.IsEdns0(); edns != nil {
			size = int(edns.UDPSize())
		}
		answer.Truncate(size)
	}
	_ = w.WriteMsg(answer) // who asked asks again
}

// records gives what is known of a name, and whether the name exists at all.
func (s *Server) records(question dns.Question) (records []dns.RR, exists bool) {
	name := strings.ToLower(question.Name)
	rest, ours := strings.CutSuffix(name, ".svc."+Domain+".")
	if !ours {
		return nil, false
	}
	parts := strings.Split(rest, ".")
	if len(parts) < 2 {
		return nil, false
	}
	namespace, service := parts[len(parts)-1], parts[len(parts)-2]
	found, err := s.Services.Services(namespace).Get(service)
	if err != nil {
		return nil, false
	}
	q := query{server: s, question: question, service: found}
	switch inner := parts[:len(parts)-2]; {
	case len(inner) == 0:
		return q.ofService()
	case len(inner) == 1:
		return q.ofHost(inner[0])
	case len(inner) == 2 && strings.HasPrefix(inner[0], "_") && strings.HasPrefix(inner[1], "_"):
		return q.ofPort(inner[0][1:], inner[1][1:])
	default:
		return nil, false
	}
}

// query is one question about one Service.
type query struct {
	server   *Server
	question dns.Question
	service  *corev1.Service
}

// target is an endpoint that may be told.
type target struct {
	address, host string
	ports         []discoveryv1.EndpointPort
}

func (q query) header(kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: q.question.Name, Rrtype: kind, Class: dns.ClassINET, Ttl: ttl}
}

func (q query) ofService() ([]dns.RR, bool) {
	switch {
	case q.service.Spec.Type == corev1.ServiceTypeExternalName:
		return []dns.RR{&dns.CNAME{Hdr: q.header(dns.TypeCNAME), Target: dns.Fqdn(q.service.Spec.ExternalName)}}, true
	case q.service.Spec.ClusterIP != corev1.ClusterIPNone:
		return q.addresses(q.service.Spec.ClusterIP), true
	}
	var all []string
	for _, target := range q.targets() {
		all = append(all, target.address)
	}
	// A headless Service without endpoints does not exist, as CoreDNS has it.
	return q.addresses(all...), len(all) > 0
}

func (q query) ofHost(host string) ([]dns.RR, bool) {
	var all []string
	for _, target := range q.targets() {
		if target.host == host {
			all = append(all, target.address)
		}
	}
	return q.addresses(all...), len(all) > 0
}

// ofPort answers for _port._protocol with SRV records.
func (q query) ofPort(port, protocol string) (records []dns.RR, exists bool) {
	add := func(number int32, target string) {
		exists = true
		if q.question.Qtype == dns.TypeSRV {
			records = append(records, &dns.SRV{Hdr: q.header(dns.TypeSRV), Weight: 100, Port: uint16(number), Target: target})
		}
	}
	name := q.service.Name + "." + q.service.Namespace + ".svc." + Domain + "."
	if q.service.Spec.ClusterIP != corev1.ClusterIPNone {
		for _, p := range q.service.Spec.Ports {
			if p.Name == port && strings.EqualFold(string(p.Protocol), protocol) {
				add(p.Port, name)
			}
		}
		return records, exists
	}
	for _, target := range q.targets() {
		for _, p := range target.ports {
			if p.Name != nil && *p.Name == port && p.Protocol != nil && strings.EqualFold(string(*p.Protocol), protocol) && p.Port != nil {
				add(*p.Port, target.host+"."+name)
			}
		}
	}
	return records, exists
}

// targets are the endpoints of the Service that are ready, or all if the Service wants it so.
func (q query) targets() []target {
	slices, err := q.server.Slices.EndpointSlices(q.service.Namespace).List(labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: q.service.Name}))
	if err != nil {
		return nil
	}
	var all []target
	for _, slice := range slices {
		for _, endpoint := range slice.Endpoints {
			ready := endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready
			if len(endpoint.Addresses) == 0 || !ready && !q.service.Spec.PublishNotReadyAddresses {
				continue
			}
			host := strings.ReplaceAll(endpoint.Addresses[0], ".", "-")
			if endpoint.Hostname != nil && *endpoint.Hostname != "" {
				host = *endpoint.Hostname
			}
			all = append(all, target{endpoint.Addresses[0], host, slice.Ports})
		}
	}
	return all
}

// addresses gives A records if that was asked for; a name may well have none of another kind.
func (q query) addresses(all ...string) []dns.RR {
	if q.question.Qtype != dns.TypeA && q.question.Qtype != dns.TypeANY {
		return nil
	}
	records := make([]dns.RR, 0, len(all))
	for _, address := range all {
		records = append(records, &dns.A{Hdr: q.header(dns.TypeA), A: net.ParseIP(address)})
	}
	return records
}
