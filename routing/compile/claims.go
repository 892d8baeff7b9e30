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
	maps   *store.Editors // of which it edits hosts and delegates, and reads tenants
	listed *problems      // for where documents are found
	packed []byte         // a record on its way into a map

	contested map[string][]string // host -> all tenants that claim it
	refused   map[string][]string // tenant -> hosts that it claims and does not hold; replaced on change
	wildcards int                 // how many claims are to wildcards

	touched map[string]bool // hosts to settle again
	wild    map[string]bool // wildcards, as keys, under which all is to settle again

	problems  map[string][]routing.Problem // by host
	effective digest                       // of who owns what
}

func newClaims(maps *store.Editors, listed *problems) claims {
	return claims{maps: maps, listed: listed, contested: map[string][]string{}, touched: map[string]bool{}, wild: map[string]bool{}, problems: map[string][]routing.Problem{}}
}

// claimant is one tenant's claim to one host.
type claimant struct {
	tenant string
	record store.TenantRecord
	keeps  bool // it holds the host, and its deletion is held: what is in force stays
}

// older says whether a's claim goes before b's. Where age does not tell, as in a folder,
// a tenant that was good once goes before one that never was, and then names decide.
func (a claimant) older(b claimant) bool {
	if a.keeps != b.keeps {
		return a.keeps
	}
	if a.record.Created != b.record.Created {
		return a.record.Created < b.record.Created
	}
	if (a.record.Policy != 0) != (b.record.Policy != 0) {
		return a.record.Policy != 0
	}
	return a.tenant < b.tenant
}

func (s *claims) claimant(tenant string) claimant {
	packed, ok := s.maps.Tenants.Get(tenant)
	if !ok {
		panic("compile: a claim of a tenant that is not there") // it is withdrawn with the tenant
	}
	return claimant{tenant: tenant, record: store.UnpackTenant(packed)}
}

// withdraw takes back a tenant's claims.
func (s *claims) withdraw(tenant string, hosts []string) {
	for _, host := range hosts {
		s.wildcard(host, -1)
		if list, ok := s.contested[host]; ok {
			list = slices.DeleteFunc(slices.Clone(list), func(other string) bool { return other == tenant })
			s.contested[host] = list
			s.touched[host] = true
			continue
		}
		if s.holder(host) == tenant {
			s.giveHost(host, nil)
		}
		if _, ok := s.problems[host]; ok {
			s.touched[host] = true
		}
	}
}

// claim makes a tenant's claims.
func (s *claims) claim(tenant string, record *store.TenantRecord, hosts []string) {
	for _, host := range hosts {
		s.wildcard(host, 1)
		list, contested := s.contested[host]
		if !contested {
			if holder := s.holder(host); holder != "" {
				list = []string{holder}
			} else if !s.wildcardAbove(host) {
				s.setHolder(host, tenant, record)
				continue
			}
		}
		host = strings.Clone(host) // it may be a part of a document, which would be kept
		s.contested[host] = append(slices.Clip(list), tenant)
		s.touched[host] = true
	}
}

// wildcardAbove says whether anybody claims a wildcard above a host, or the host is one.
func (s *claims) wildcardAbove(host string) bool {
	if s.wildcards == 0 {
		return false
	}
	key := store.HostKey(host)
	for i := range len(key) {
		if key[i] != '.' {
			continue
		}
		if _, held := s.maps.Hosts.Get(key[i:]); held || len(s.contested["*"+key[i:]]) > 0 || i == 0 {
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
func (s *claims) giveHost(host string, to *claimant) {
	key := store.HostKey(host)
	if packed, ok := s.maps.Hosts.Get(key); ok {
		_, _, holder := store.UnpackHost(packed)
		s.effective.sub(store.PairDigest("host/"+host, holder))
		if to == nil {
			s.maps.Hosts.Delete(key)
		}
	}
	if to != nil {
		s.setHolder(host, to.tenant, &to.record)
	}
}

// setHolder lets a host that nobody holds be held by a tenant.
func (s *claims) setHolder(host, tenant string, record *store.TenantRecord) {
	s.effective.add(store.PairDigest("host/"+host, tenant))
	s.packed = store.PackHost(s.packed[:0], record.Policy, record.Epoch, tenant)
	s.maps.Hosts.Put(store.HostKey(host), s.packed)
}

// settle brings the holders of hosts up to date with the claims.
func (s *claims) settle() {
	if len(s.wild) > 0 {
		s.touchBelow()
	}
	clear(s.wild)
	if len(s.touched) == 0 {
		return
	}
	for host := range s.touched {
		s.settleHost(host)
	}
	clear(s.touched)
	s.refused = map[string][]string{}
	for host, list := range s.contested {
		holder := s.holder(host)
		for _, tenant := range list {
			if tenant != holder {
				s.refused[tenant] = append(s.refused[tenant], host)
			}
		}
	}
}

// touchBelow touches every host under a wildcard that was touched. It looks at all hosts.
func (s *claims) touchBelow() {
	touch := func(key string) {
		for i := 1; i < len(key); i++ {
			if key[i] == '.' && s.wild[key[i:]] {
				s.touched[strings.Clone(store.HostOfKey(key))] = true
				return
			}
		}
	}
	s.maps.Hosts.Each(func(key, _ string) bool {
		touch(key)
		return true
	})
	for host := range s.contested {
		touch(store.HostKey(host))
	}
}

// settleHost decides who owns one host.
func (s *claims) settleHost(host string) {
	if _, ok := s.problems[host]; ok {
		delete(s.problems, host)
		s.listed.changed = true
	}
	winner, ok := s.first(host)
	if !ok {
		delete(s.contested, host)
		s.giveHost(host, nil)
		return
	}
	for _, tenant := range s.contested[host] {
		if tenant != winner.tenant {
			s.addProblem(host, s.claimant(tenant), routing.ProblemHostConflict, fmt.Sprintf("claims the host %s, which belongs to the tenant %s", host, winner.tenant))
		}
	}
	for _, above := range slices.Backward(s.holdersAbove(host)) {
		if !s.forbids(above, host, winner.tenant) {
			continue
		}
		if above.older(winner) {
			s.addProblem(host, winner, routing.ProblemNotDelegated, fmt.Sprintf(
				"claims the host %s, which lies under %s of the tenant %s; that tenant must list it under delegates", host, above.wildcard, above.tenant))
			if _, listed := s.contested[host]; !listed {
				s.contested[host] = []string{winner.tenant}
			}
			s.giveHost(host, nil)
			return
		}
		s.addProblem(host, above.claimant, routing.ProblemWildcardContested, fmt.Sprintf(
			"has the wildcard %s, but %s under it belongs to the tenant %s, whose claim is older; list it under delegates", above.wildcard, host, winner.tenant))
	}
	if len(s.contested[host]) == 1 {
		delete(s.contested, host)
	}
	s.giveHost(host, &winner)
}

// holding is a wildcard and who holds it.
type holding struct {
	wildcard string
	claimant
}

// forbids says whether a host under the wildcard is not for the tenant to have.
func (s *claims) forbids(h holding, host, tenant string) bool {
	return h.tenant != tenant && !s.delegated(&h.claimant, host)
}

// holdersAbove returns the wildcards above a host that somebody holds, the shortest first.
// One that is refused itself, because it lies under another tenant's, holds nothing, and
// so takes nothing from those below.
func (s *claims) holdersAbove(host string) []holding {
	if s.wildcards == 0 {
		return nil
	}
	var held []holding
	for _, above := range slices.Backward(routing.WildcardsAbove(host)) {
		claim, ok := s.first(above)
		if ok && !slices.ContainsFunc(held, func(h holding) bool { return s.forbids(h, above, claim.tenant) && h.older(claim) }) {
			held = append(held, holding{above, claim})
		}
	}
	return held
}

// first returns the oldest claim to a host.
func (s *claims) first(host string) (oldest claimant, ok bool) {
	list, contested := s.contested[host]
	holder := s.holder(host)
	if !contested && holder != "" {
		list = []string{holder}
	}
	for _, tenant := range list {
		claim := s.claimant(tenant)
		claim.keeps = claim.record.Gone && tenant == holder
		if !ok || claim.older(oldest) {
			oldest, ok = claim, true
		}
	}
	return oldest, ok
}

func (s *claims) addProblem(host string, of claimant, code, message string) {
	key := "tenants/" + of.tenant
	s.listed.changed = true
	s.problems[host] = append(s.problems[host], routing.Problem{
		Key: key, Origin: s.listed.originOf(key), Code: code, Message: message, Revision: of.record.Revision,
	})
}

// claimsAll says whether a tenant holds or claims all of the hosts.
func (s *claims) claimsAll(name string, hosts []string) bool {
	for _, host := range hosts {
		if s.holder(host) != name && !slices.Contains(s.contested[host], name) {
			return false
		}
	}
	return true
}

// rewriteHosts lets the hosts that a tenant holds lead to its new form. It claims all of
// those given.
func (s *claims) rewriteHosts(name string, record *store.TenantRecord, hosts []string) {
	s.packed = store.PackHost(s.packed[:0], record.Policy, record.Epoch, name)
	for _, host := range hosts {
		if _, contested := s.contested[host]; !contested || s.holder(host) == name {
			s.maps.Hosts.Put(store.HostKey(host), s.packed)
		}
	}
}

// holder returns the tenant that holds a host.
func (s *claims) holder(host string) string {
	if packed, ok := s.maps.Hosts.Get(store.HostKey(host)); ok {
		_, _, tenant := store.UnpackHost(packed)
		return tenant
	}
	return ""
}

// hostsOf returns the hosts that a tenant claims: those it holds, and those it does not.
func (s *claims) hostsOf(name string, record *store.TenantRecord) []string {
	hosts := slices.Clone(s.refused[name])
	s.maps.Hosts.EachIn(record.Hosts, func(key, packed string) {
		if _, _, tenant := store.UnpackHost(packed); tenant == name {
			hosts = append(hosts, strings.Clone(store.HostOfKey(key)))
		}
	})
	// A claim that this very update contests is in both.
	slices.Sort(hosts)
	return slices.Compact(hosts)
}
