// Package vip keeps the real servers of fleets' virtual IPs in step with their routers. What is to be
// forwarded to is reckoned by pure functions; a [Provider] has LVS do it.
package vip

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
)

const (
	// MaxRealServers is how many real servers a fleet has at most, ports counted each.
	MaxRealServers = 1000
	// FullWeight is the weight of a router that gets its share.
	FullWeight = 100
	// LaggingWeight is that of one whose table is behind its peers': about a hundredth of a share, and not
	// 0, so that its health goes on to be seen in real traffic, and it serves if all others fail.
	LaggingWeight = 1
)

// Router is a router's pod that has not ended: pods of phase Succeeded or Failed are left out.
type Router struct {
	// Name is that of the pod.
	Name string
	// Addresses are the pod's IPs; the first of the VIP's family is used. None: it is not started yet.
	Addresses []string
	// Ports are the listeners of this pod, which another revision of the fleet may have given. None: those
	// of [Rules].
	Ports []int32
	// Ready is the pod's own condition.
	Ready bool
	// Leaving says that the pod is being deleted, LeaveBegan since when; zero: it is not known.
	Leaving    bool
	LeaveBegan time.Time
	// Lagging says that its table is behind its peers'.
	Lagging bool
}

// Rules say how the routers of a fleet are forwarded to.
type Rules struct {
	// VIP is the virtual IP; it decides the family of the real servers' addresses.
	VIP netip.Addr
	// Ports are the fleet's listeners.
	Ports []int32
	// MustStay is how many routers must have full weight at each port while that many are ready; at least
	// 1 is kept.
	MustStay int
	// Drain is how long a router takes to leave, delay and timeout together.
	Drain time.Duration
	// Paused keeps everything as it is.
	Paused bool
}

// RealServers returns what LVS is to forward to, one entry for each address and port, sorted by address,
// at most [MaxRealServers]; and when to ask again though nothing may have changed (0: need not). It is pure.
//
// A ready router has full weight, or a low one while it lags; but at each port as many as must stay
// available keep full weight, while so many are ready. One that leaves, or is not ready any more, gets
// weight 0 at once and stays in the list, since LVS drops the packets of clients whose real server is
// removed: until its pod is gone, or its drain is over. If no router is ready, those that are not leaving
// keep the weight that they had: LVS asks them itself, and knows it better than a cluster that has lost
// sight of its nodes.
func RealServers(previous []v1alpha1.RealServer, routers []Router, rules Rules, now time.Time) (servers []v1alpha1.RealServer, again time.Duration) {
	if rules.Paused {
		return slices.Clone(previous), 0
	}
	before := map[netip.AddrPort]v1alpha1.RealServer{}
	for _, server := range previous {
		if at, err := netip.ParseAddrPort(server.Address); err == nil {
			before[at] = server
		}
	}
	all := known(routers, rules)
	ready := slices.ContainsFunc(all, candidate.serves)
	for i := range all {
		c := &all[i]
		c.before, c.was = before[c.at()]
		switch left := c.router.LeaveBegan.Add(rules.Drain).Sub(now); {
		case c.serves():
			c.weight, c.state = FullWeight, v1alpha1.RealServerActive
		case !c.was || c.router.Leaving && !c.router.LeaveBegan.IsZero() && left <= 0:
			c.absent = true
		case !ready && !c.router.Leaving:
			c.weight, c.state = c.before.Weight, c.before.State
		default:
			c.weight, c.state = 0, v1alpha1.RealServerDraining
			if c.router.Leaving && !c.router.LeaveBegan.IsZero() && (again == 0 || left < again) {
				again = left
			}
		}
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.absent })
	lower(all, rules.MustStay)
	return listed(bounded(all, rules.MustStay)), again
}

// candidate is a router at the address by which it would be forwarded to.
type candidate struct {
	router  Router
	address netip.Addr
	ports   []uint16 // sorted; never empty
	before  v1alpha1.RealServer
	was     bool // it was a real server
	absent  bool // it is none now
	weight  int32
	state   v1alpha1.RealServerState
}

func (c candidate) at() netip.AddrPort { return netip.AddrPortFrom(c.address, c.ports[0]) }
func (c candidate) serves() bool       { return c.router.Ready && !c.router.Leaving }
func (c candidate) full() bool         { return c.state == v1alpha1.RealServerActive && c.serves() }

// known are the routers with an address, sorted by it. Of two with one address, as an old pod and a new
// one, the one that serves counts.
func known(routers []Router, rules Rules) []candidate {
	byAddress := map[netip.Addr]candidate{}
	for _, router := range routers {
		c := candidate{router: router, address: address(router.Addresses, rules.VIP), ports: ports(router.Ports)}
		if len(c.ports) == 0 {
			c.ports = ports(rules.Ports)
		}
		if !c.address.IsValid() || len(c.ports) == 0 {
			continue
		}
		other, taken := byAddress[c.address]
		if !taken || c.preferred(other) {
			byAddress[c.address] = c
		}
	}
	return slices.SortedFunc(maps.Values(byAddress), func(a, b candidate) int { return a.address.Compare(b.address) })
}

func (c candidate) preferred(other candidate) bool {
	if c.serves() != other.serves() {
		return c.serves()
	}
	if c.router.Leaving != other.router.Leaving {
		return other.router.Leaving
	}
	return c.router.Name < other.router.Name
}

// address is the first of a family, in its usual form.
func address(texts []string, vip netip.Addr) netip.Addr {
	for _, text := range texts {
		at, err := netip.ParseAddr(text)
		if err != nil || at.Zone() != "" {
			continue
		}
		if at = at.Unmap(); !vip.IsValid() || at.Is4() == vip.Unmap().Is4() {
			return at
		}
	}
	return netip.Addr{}
}

func ports(numbers []int32) []uint16 {
	var good []uint16
	for _, n := range numbers {
		if n >= 1 && n <= 65535 {
			good = append(good, uint16(n))
		}
	}
	slices.Sort(good)
	return slices.Compact(good)
}

// lower takes weight from those that lag, those first that had little before, while enough have full
// weight at each of their ports.
func lower(all []candidate, mustStay int) {
	full := map[uint16]int{}
	order := make([]*candidate, 0, len(all))
	for i := range all {
		if c := &all[i]; c.full() {
			for _, port := range c.ports {
				full[port]++
			}
			if c.router.Lagging {
				order = append(order, c)
			}
		}
	}
	slices.SortStableFunc(order, func(a, b *candidate) int {
		return cmp.Compare(rank(a.before.State != v1alpha1.RealServerLagging), rank(b.before.State != v1alpha1.RealServerLagging))
	})
	for _, c := range order {
		if slices.ContainsFunc(c.ports, func(port uint16) bool { return full[port] <= max(mustStay, 1) }) {
			continue
		}
		c.weight, c.state = LaggingWeight, v1alpha1.RealServerLagging
		for _, port := range c.ports {
			full[port]--
		}
	}
}

func rank(later bool) int {
	if later {
		return 1
	}
	return 0
}

// bounded leaves out routers of which there are too many: never those that must stay, then new ones
// before those that clients are connected to.
func bounded(all []candidate, mustStay int) []candidate {
	total := 0
	for _, c := range all {
		total += len(c.ports)
	}
	if total <= MaxRealServers {
		return all
	}
	order := slices.Clone(all)
	slices.SortStableFunc(order, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(rank(!a.full()), rank(!b.full())), cmp.Compare(rank(!a.was), rank(!b.was)))
	})
	first := min(max(mustStay, 1), len(order))
	slices.SortStableFunc(order[first:], func(a, b candidate) int { return cmp.Compare(rank(!a.was), rank(!b.was)) })
	kept, room := []candidate{}, MaxRealServers
	for _, c := range order {
		if len(c.ports) <= room {
			kept, room = append(kept, c), room-len(c.ports)
		}
	}
	slices.SortFunc(kept, func(a, b candidate) int { return a.address.Compare(b.address) })
	return kept
}

func listed(all []candidate) []v1alpha1.RealServer {
	var servers []v1alpha1.RealServer
	for _, c := range all {
		for _, port := range c.ports {
			servers = append(servers, v1alpha1.RealServer{
				Address: netip.AddrPortFrom(c.address, port).String(), Weight: c.weight, State: c.state,
			})
		}
	}
	return servers
}

// canonical is a VIP in its usual form; invalid if the text is none.
func canonical(text string) netip.Addr {
	at, err := netip.ParseAddr(strings.TrimSpace(text))
	if err != nil || at.Zone() != "" || at.IsUnspecified() || at.IsLoopback() {
		return netip.Addr{}
	}
	return at.Unmap()
}
