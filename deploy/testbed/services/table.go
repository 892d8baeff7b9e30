// Package services makes the addresses of Services reachable, in place of kube-proxy: it listens
// on each of them and hands connections on to the pods behind. Only TCP is handed on.
package services

import (
	"net"
	"net/netip"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Table says which endpoints stand behind which address. An address without endpoints is not in
// it, so that connections to it are refused, as kube-proxy has it.
type Table map[netip.AddrPort][]string

// NewTable makes the table of some Services and EndpointSlices.
func NewTable(services []*corev1.Service, slices []*discoveryv1.EndpointSlice) Table {
	type key struct{ namespace, name string }
	bySlice := map[key][]*discoveryv1.EndpointSlice{}
	for _, slice := range slices {
		k := key{slice.Namespace, slice.Labels[discoveryv1.LabelServiceName]}
		bySlice[k] = append(bySlice[k], slice)
	}
	table := Table{}
	for _, service := range services {
		for _, port := range service.Spec.Ports {
			if port.Protocol != corev1.ProtocolTCP {
				continue
			}
			endpoints := endpointsOf(bySlice[key{service.Namespace, service.Name}], port.Name)
			if len(endpoints) == 0 {
				continue
			}
			for _, address := range addressesOf(service) {
				table[netip.AddrPortFrom(address, uint16(port.Port))] = endpoints
			}
		}
	}
	return table
}

// addressesOf gives the addresses at which a Service is reached.
func addressesOf(service *corev1.Service) []netip.Addr {
	texts := append([]string{service.Spec.ClusterIP}, service.Spec.ExternalIPs...)
	for _, ingress := range service.Status.LoadBalancer.Ingress {
		texts = append(texts, ingress.IP)
	}
	var all []netip.Addr
	for _, text := range texts {
		// A headless Service has none, and no name is an address.
		if address, err := netip.ParseAddr(text); err == nil {
			all = append(all, address)
		}
	}
	return all
}

// endpointsOf gives the ready endpoints of a port. If there are none, those that end but still
// serve must do, as with kube-proxy.
func endpointsOf(slices []*discoveryv1.EndpointSlice, port string) []string {
	var ready, serving []string
	for _, slice := range slices {
		for _, p := range slice.Ports {
			if p.Port == nil || (p.Name == nil && port != "") || (p.Name != nil && *p.Name != port) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if len(endpoint.Addresses) == 0 {
					continue
				}
				address := net.JoinHostPort(endpoint.Addresses[0], strconv.Itoa(int(*p.Port)))
				conditions := endpoint.Conditions
				switch {
				case conditions.Ready == nil || *conditions.Ready:
					ready = append(ready, address)
				case conditions.Serving != nil && *conditions.Serving && conditions.Terminating != nil && *conditions.Terminating:
					serving = append(serving, address)
				}
			}
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return serving
}
