package compile

import (
	"fmt"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// claims settles which tenant owns which host, after CONTRACT: one tenant a host; a host
// under another tenant's wildcard only if that tenant delegates it; where stored
// documents disagree, the older claim wins, and the other tenant gets a problem.
//
// Nearly every host has one claim, which is good: that is its entry in the store of hosts,
// and nothing here. Only the others are listed.
type claims struct {
	contested map[string][]string // host -> all tenants that claim it
	refused   map[string][]string // tenant -> hosts that it claims and does not hold; replaced on change
	wildcards int                 // how many claims are to wildcards

	touched map[string]bool // hosts to settle again
	wild    map[string]bool // wildcards, as keys, under which all is to settle again

	problems  map[string][]routing.Problem // by host
	effective digest                       // of who owns what
}

func newClaims() claims {
	return claims{contested: map[string][]string{}, touched: map[string]bool{}, wild: map[string]bool{}, problems: map[string][]routing.Problem{}}
}

// claimant is one tenant's claim to one host.
type claimant struct {
	tenant string
	record store.TenantRecord
}

// older says whether a's claim goes before b's. Where age does not tell, as in a folder,
// a tenant that was good once goes before one that never was, and then names decide.
func (a claimant) older(b claimant) bool {
	if a.record.Created != b.record.Created {
		return a.record.Created < b.record.Created
	}
	if (a.record.Policy != 0) != (b.record.Policy != 0) {
		return a.record.Policy != 0
	}
	return a.tenant < b.tenant
}

func (c *Compiler) claimant(tenant string) claimant {
	packed, ok := c.maps.Tenants.Get(tenant)
	if !ok {
		panic("routing: a claim of a tenant that is not there") // it is withdrawn with the tenant
	}
	return claimant{tenant, store.UnpackTenant(packed)}
}

// withdraw takes back a tenant's claims.
func (s *claims) withdraw(c *Compiler, tenant string, hosts []string) {
	for _, host := range hosts {
		s.wildcard(host, -1)
		if list, ok := s.contested[host]; ok {
			list = slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == tenant })
			s.contested[host] = list
			s.touched[host] = true
			continue
		}
		if c.holder(host) == tenant {
			c.giveHost(host, nil)
		}
		if _, ok := s.problems[host]; ok {
			s.touched[host] = true
		}
	}
}

// stake makes a tenant's claims.
func (s *claims) stake(c *Compiler, tenant string, record *store.TenantRecord, hosts []string) {
	for _, host := range hosts {
		s.wildcard(host, 1)
		list, contested := s.contested[host]
		if !contested {
			if holder := c.holder(host); holder != "" {
				list = []string{holder}
			} else if !c.wildcardAbove(host) {
				c.setHolder(host, tenant, record)
				continue
			}
		}
		host = strings.Clone(host) // it may be a part of a document, which would be kept
		s.contested[host] = append(slices.Clip(list), tenant)
		s.touched[host] = true
	}
}

// wildcardAbove says whether anybody claims a wildcard above a host, or the host is one.
func (c *Compiler) wildcardAbove(host string) bool {
	if c.claims.wildcards == 0 {
		return false
	}
	key := store.HostKey(host)
	for i := range len(key) {
		if key[i] != '.' {
			continue
		}
		if _, held := c.maps.Hosts.Get(key[i:]); held || len(c.claims.contested["*"+key[i:]]) > 0 || i == 0 {
			return true
		}
	}
	return false
}

// wildcard counts a claim to a wildcard, and lets all below be settled again.
func (s *claims) wildcard(host string, by int) {
	if strings.HasPrefix(host, "*.") {
		s.wildcards += by
		s.wild[store.HostKey(host)] = true
	}
}

// giveHost lets a host be held by a tenant; nil: by nobody.
func (c *Compiler) giveHost(host string, to *claimant) {
	key := store.HostKey(host)
	if packed, ok := c.maps.Hosts.Get(key); ok {
		_, _, holder := store.UnpackHost(packed)
		c.claims.effective.sub(pairDigest("host/"+host, holder))
		if to == nil {
			c.maps.Hosts.Delete(key)
		}
	}
	if to != nil {
		c.setHolder(host, to.tenant, &to.record)
	}
}

// setHolder lets a host that nobody holds be held by a tenant.
func (c *Compiler) setHolder(host, tenant string, record *store.TenantRecord) {
	c.claims.effective.add(pairDigest("host/"+host, tenant))
	c.packed = store.PackHost(c.packed[:0], record.Policy, record.Epoch, tenant)
	c.maps.Hosts.Put(store.HostKey(host), c.packed)
}

// settleHosts brings the holders of hosts up to date with the claims.
func (c *Compiler) settleHosts() {
	s := &c.claims
	if len(s.wild) > 0 {
		s.touchBelow(c)
	}
	clear(s.wild)
	if len(s.touched) == 0 {
		return
	}
	for host := range s.touched {
		c.settle(host)
	}
	clear(s.touched)
	s.refused = map[string][]string{}
	for host, list := range s.contested {
		holder := c.holder(host)
		for _, tenant := range list {
			if tenant != holder {
				s.refused[tenant] = append(s.refused[tenant], host)
			}
		}
	}
}

// touchBelow touches every host under a wildcard that was touched. It looks at all hosts.
func (s *claims) touchBelow(c *Compiler) {
	touch := func(key string) {
		for i := 1; i < len(key); i++ {
			if key[i] == '.' && s.wild[key[i:]] {
				s.touched[strings.Clone(store.HostOfKey(key))] = true
				return
			}
		}
	}
	c.maps.Hosts.Each(func(key, _ string) bool {
		touch(key)
		return true
	})
	for host := range s.contested {
		touch(store.HostKey(host))
	}
}

// settle decides who owns one host.
func (c *Compiler) settle(host string) {
	s := &c.claims
	if _, ok := s.problems[host]; ok {
		delete(s.problems, host)
		c.problems.changed = true
	}
	winner, ok := c.first(host)
	if !ok {
		delete(s.contested, host)
		c.giveHost(host, nil)
		return
	}
	for _, tenant := range s.contested[host] {
		if tenant != winner.tenant {
			c.complainClaim(host, c.claimant(tenant), routing.ProblemHostConflict, fmt.Sprintf("claims the host %s, which belongs to the tenant %s", host, winner.tenant))
		}
	}
	for _, above := range slices.Backward(c.holdersAbove(host)) {
		if !c.forbids(above, host, winner.tenant) {
			continue
		}
		if above.older(winner) {
			c.complainClaim(host, winner, routing.ProblemNotDelegated, fmt.Sprintf(
				"claims the host %s, which lies under %s of the tenant %s; that tenant must list it under delegates", host, above.wildcard, above.tenant))
			if _, listed := s.contested[host]; !listed {
				s.contested[host] = []string{winner.tenant}
			}
			c.giveHost(host, nil)
			return
		}
		c.complainClaim(host, above.claimant, routing.ProblemWildcardContested, fmt.Sprintf(
			"has the wildcard %s, but %s under it belongs to the tenant %s, whose claim is older; list it under delegates", above.wildcard, host, winner.tenant))
	}
	if len(s.contested[host]) == 1 {
		delete(s.contested, host)
	}
	c.giveHost(host, &winner)
}

// holding is a wildcard and who holds it.
type holding struct {
	wildcard string
	claimant
}

// forbids says whether a host under the wildcard is not for the tenant to have.
func (c *Compiler) forbids(h holding, host, tenant string) bool {
	return h.tenant != tenant && !c.delegated(&h.claimant, host)
}

// holdersAbove returns the wildcards above a host that somebody holds, the shortest first.
// One that is refused itself, because it lies under another tenant's, holds nothing, and
// so takes nothing from those below.
func (c *Compiler) holdersAbove(host string) []holding {
	if c.claims.wildcards == 0 {
		return nil
	}
	var held []holding
	for _, above := range slices.Backward(routing.WildcardsAbove(host)) {
		claim, ok := c.first(above)
		if ok && !slices.ContainsFunc(held, func(h holding) bool { return c.forbids(h, above, claim.tenant) && h.older(claim) }) {
			held = append(held, holding{above, claim})
		}
	}
	return held
}

// first returns the oldest claim to a host.
func (c *Compiler) first(host string) (oldest claimant, ok bool) {
	list, contested := c.claims.contested[host]
	if !contested {
		if holder := c.holder(host); holder != "" {
			return c.claimant(holder), true
		}
		return oldest, false
	}
	for _, tenant := range list {
		if claim := c.claimant(tenant); !ok || claim.older(oldest) {
			oldest, ok = claim, true
		}
	}
	return oldest, ok
}

func (c *Compiler) complainClaim(host string, of claimant, code, message string) {
	key := "tenants/" + of.tenant
	c.problems.changed = true
	c.claims.problems[host] = append(c.claims.problems[host], routing.Problem{
		Key: key, Origin: c.problems.originOf(key), Code: code, Message: message, Revision: of.record.Revision,
	})
}
