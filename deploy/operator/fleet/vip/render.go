package vip

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"gridrouter.io/deploy/api/v1alpha1"
)

// healthPort is where each router answers /readyz.
const healthPort = 9902

// VIP is what LVS is to do for one fleet.
type VIP struct {
	// Namespace and Fleet name the fleet.
	Namespace, Fleet string
	// Address is spec.exposure.vip.
	Address string
	// Scheduler and Mode are those of the spec.
	Scheduler v1alpha1.LVSScheduler
	Mode      v1alpha1.LVSMode
	// Servers are what [RealServers] says.
	Servers []v1alpha1.RealServer
}

// objectName is what the name of a namespace or a fleet looks like.
var objectName = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$`)

// Render returns the part of a keepalived.conf that forwards a VIP: a virtual_server for each port that
// has a real server; keepalived calls one without a fault. Where all have weight 0 it warns that the quorum
// cannot be reached, and goes on with their connections. The same VIP, the same text. Everything in it is a number, an address or a word that is written here, so
// that no value of a spec can add a line; what is none of that is an error.
func Render(v VIP) (string, error) {
	vip := canonical(v.Address)
	if !vip.IsValid() {
		return "", errors.New("exposure.vip is no address that hosts can reach: write one such as 10.9.0.10")
	}
	if !objectName.MatchString(v.Namespace) || !objectName.MatchString(v.Fleet) {
		return "", errors.New("the fleet's name or namespace is no name of a Kubernetes object")
	}
	switch v.Scheduler {
	case v1alpha1.SchedulerRoundRobin, v1alpha1.SchedulerLeastConnections, v1alpha1.SchedulerMaglev:
	default:
		return "", errors.New("exposure.scheduler is unknown: write wrr, wlc or mh")
	}
	switch v.Mode {
	case v1alpha1.LVSDirectRouting, v1alpha1.LVSNAT, v1alpha1.LVSTunnel:
	default:
		return "", errors.New("exposure.mode is unknown: write DR, NAT or TUN")
	}
	byPort, err := sorted(v, vip)
	if err != nil {
		return "", err
	}
	text := &strings.Builder{}
	fmt.Fprintf(text, "# The VIP of the fleet %s in namespace %s, for \"include\" in keepalived.conf.\n", v.Fleet, v.Namespace)
	text.WriteString("# The operator writes it anew at each change: what is edited here is lost.\n")
	for _, port := range slices.Sorted(maps.Keys(byPort)) {
		virtualServer(text, v, netip.AddrPortFrom(vip, port), byPort[port])
	}
	return text.String(), nil
}

// realServer is a real server of which nothing is left but numbers.
type realServer struct {
	at     netip.AddrPort
	weight int32
}

// sorted brings the real servers to their ports, which those of another revision may have had too.
func sorted(v VIP, vip netip.Addr) (map[uint16][]realServer, error) {
	byPort := map[uint16][]realServer{}
	for _, server := range v.Servers {
		at, ok := split(server.Address)
		switch {
		case !ok || at.Addr().Is4() != vip.Is4():
			return nil, errors.New("a real server has no address of the VIP's family")
		case server.Weight < 0 || server.Weight > 65535:
			return nil, errors.New("a real server has a weight that is not from 0 to 65535")
		}
		byPort[at.Port()] = append(byPort[at.Port()], realServer{at, server.Weight})
	}
	for _, servers := range byPort {
		slices.SortFunc(servers, func(a, b realServer) int { return a.at.Compare(b.at) })
	}
	return byPort, nil
}

// split reads IP:port, in its usual form.
func split(text string) (netip.AddrPort, bool) {
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Addr().Zone() != "" || at.Port() == 0 {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), true
}

// virtualServer writes one port, as docs/OPERATIONS.md recommends it. A router whose check fails gets
// weight 0 and is not removed: its connections go on.
func virtualServer(text *strings.Builder, v VIP, at netip.AddrPort, servers []realServer) {
	fmt.Fprintf(text, "\nvirtual_server %s %d {\n    delay_loop 1\n    lvs_sched %s\n    lvs_method %s\n    protocol TCP\n    inhibit_on_failure\n",
		at.Addr(), at.Port(), v.Scheduler, v.Mode)
	for _, server := range servers {
		fmt.Fprintf(text, `
    real_server %s %d {
        weight %d
        HTTP_GET {
            url {
                path /readyz
                status_code 200
            }
            connect_port %d
            connect_timeout 1
            retry 1
            delay_before_retry 1
        }
    }
`, server.at.Addr(), server.at.Port(), server.weight, healthPort)
	}
	text.WriteString("}\n")
}
