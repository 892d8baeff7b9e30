package gslb

import (
	"net/netip"
	"time"
)

// Remembered is a good answer that outlives the process.
type Remembered struct {
	// Name is the name, as tracked.
	Name string `json:"name"`
	// Addresses are those that were in use, at least one.
	Addresses []netip.Addr `json:"addresses"`
	// Good is when the last answer came that had addresses, by the wall clock.
	Good time.Time `json:"good"`
	// TTL is how long that answer was good for.
	TTL time.Duration `json:"ttl"`
}

// Known returns what a later process may begin with: of each name with addresses the last good
// answer. Names whose addresses are theirs by definition, such as localhost, are left out.
func (r *Resolver) Known() []Remembered {
	var known []Remembered
	for _, t := range *r.names.Load() {
		if s := t.current.Load(); s != nil && len(s.addrs) > 0 && !s.good.IsZero() && s.ttl > 0 {
			known = append(known, Remembered{Name: t.name, Addresses: s.addrs, Good: s.good.Round(0).UTC(), TTL: s.ttl})
		}
	}
	return known
}

// Remember gives the resolver answers of an earlier process. A name that is tracked later begins
// with its addresses, which count as stale until a server gives better ones, and end as stale ones
// do; so its first resolution has ended, as Lookup and Status tell it. It is to be called before
// Track. What is no longer of use is left out: addresses that are too old, or none.
func (r *Resolver) Remember(answers []Remembered) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remembered = map[string]*state{}
	for _, answer := range answers {
		if answer.Good.After(now) { // the clock has been set back
			answer.Good = now
		}
		expires := answer.Good.Add(clamp(answer.TTL, r.cfg.MinTTL, r.cfg.MaxTTL))
		if len(answer.Addresses) == 0 || now.After(expires.Add(r.cfg.StaleFor)) {
			continue
		}
		s := &state{good: answer.Good, ttl: answer.TTL, kept: true, problem: "not asked yet in this process; the addresses are those of the one before it"}
		for _, addr := range answer.Addresses {
			addr = addr.Unmap()
			of := &s.v4
			if addr.Is6() {
				of = &s.v6
			}
			of.addrs, of.expires = append(of.addrs, addr), expires
		}
		s.addrs = union(s.v4.addrs, s.v6.addrs)
		r.remembered[canonicalName(answer.Name)] = s
	}
}
