package gslb

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// Answer returns the addresses of a canonical name for an asker, in the order to hand them out, and their TTL in seconds. Of an unknown
// name ok is false; of a known one there is always an address. An invalid asker is in no zone. Both address families are in one list:
// the policy speaks about VIPs, and a client that asks for A and AAAA must not be sent to the standby by one of the two questions.
//
// Which addresses:
//   - VIPs of weight 0 take no part, unless all weights of the name are 0.
//   - weighted: all others. failover: those of the lowest priority number. nearest: those of the asker's zone, or all if there are none.
//
// All of these, and never a single one drawn by weight: a router keeps every address it is given and spreads over them by load. One
// address at a time would make its whole traffic jump at each refresh, close its connections, and leave it without a second VIP when the
// first dies. To such a client, weights say only which VIPs take part; 0 is how a VIP is drained.
//
// The order is drawn anew for each answer, without replacement, by weight: a client that uses the first address follows the weights exactly.
func (z *Zone) Answer(name string, asker netip.Addr) (addrs []netip.Addr, ttl uint32, ok bool) {
	r := z.records[name]
	if r == nil {
		return nil, 0, false
	}
	vips := r.vips
	if r.byZone != nil {
		if near := r.byZone[z.zoneOf(asker)]; len(near) > 0 {
			vips = near
		}
	}
	return drawOrder(vips), r.ttl, true
}

// compile makes the record of a valid, canonical document.
func compile(d *Document) *record {
	takesPart := func(v VIP) bool { return *v.Weight > 0 }
	all := !slices.ContainsFunc(d.VIPs, takesPart)
	lowest := MaxPriority
	for _, v := range d.VIPs {
		if all || takesPart(v) {
			lowest = min(lowest, v.Priority)
		}
	}
	r := &record{ttl: uint32(*d.TTL)}
	if d.Policy == PolicyNearest {
		r.byZone = map[string][]vip{}
	}
	for _, v := range d.VIPs {
		if !all && !takesPart(v) || d.Policy == PolicyFailover && v.Priority > lowest {
			continue
		}
		compiled := vip{addr: netip.MustParseAddr(v.Address), weight: max(*v.Weight, 1)}
		r.vips = append(r.vips, compiled)
		if r.byZone != nil && v.Zone != "" {
			r.byZone[v.Zone] = append(r.byZone[v.Zone], compiled)
		}
	}
	return r
}

// drawOrder returns the addresses in a random order in which each place is drawn by weight among those not yet drawn. Ordering by
// exponentially distributed numbers, divided by the weights, does exactly that (Efraimidis and Spirakis, 2006).
func drawOrder(vips []vip) []netip.Addr {
	type lot struct {
		addr netip.Addr
		at   float64
	}
	lots := make([]lot, len(vips))
	for i, v := range vips {
		lots[i] = lot{addr: v.addr, at: rand.ExpFloat64() / float64(v.weight)}
	}
	slices.SortFunc(lots, func(a, b lot) int { return cmp.Compare(a.at, b.at) })
	addrs := make([]netip.Addr, len(lots))
	for i, l := range lots {
		addrs[i] = l.addr
	}
	return addrs
}
