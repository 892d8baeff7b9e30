package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// claims settles which tenant owns which host, after CONTRACT: one tenant a host; a host
// under another tenant's wildcard only if that tenant delegates it; where stored
// documents disagree, the older claim wins, and the other tenant gets a problem.
type claims struct {
	seen     map[string]uint64           // the highest epoch seen of each tenant; outlives its deletion
	stakes   map[string]map[string]stake // host -> tenant -> stake
	touched  map[string]bool             // hosts to settle again
	resettle bool                        // a wildcard or a delegation changed: settle all

	exact     map[string]int32 // copied on change
	wildcard  map[string]int32
	problems  map[string][]Problem // by host
	owned     map[string]digest    // by host in force: its part of effective
	effective digest               // of who owns what
}

// stake is one tenant's claim to one host.
type stake struct {
	tenant string
	state  *tenantState
}

// older says whether a's claim goes before b's. Where age does not tell, as in a folder,
// a tenant that was good once goes before one that never was, and then names decide.
func (a stake) older(b stake) bool {
	if a.state.created != b.state.created {
		return a.state.created < b.state.created
	}
	if a.state.wasGood() != b.state.wasGood() {
		return a.state.wasGood()
	}
	return a.tenant < b.tenant
}

func newClaims() claims {
	return claims{
		seen: map[string]uint64{}, stakes: map[string]map[string]stake{},
		touched: map[string]bool{}, exact: map[string]int32{}, wildcard: map[string]int32{},
		problems: map[string][]Problem{}, owned: map[string]digest{},
	}
}

// withdraw takes back all claims of a tenant.
func (s *claims) withdraw(tenant string, state *tenantState) {
	for _, host := range state.hosts {
		delete(s.stakes[host], tenant)
		if len(s.stakes[host]) == 0 {
			delete(s.stakes, host)
		}
		s.touch(host)
	}
	s.resettle = s.resettle || len(state.delegates) > 0
}

// stake makes the claims of a tenant's present form.
func (s *claims) stake(tenant string, state *tenantState) {
	for _, host := range state.hosts {
		if s.stakes[host] == nil {
			s.stakes[host] = map[string]stake{}
		}
		s.stakes[host][tenant] = stake{tenant, state}
		s.touch(host)
	}
	s.resettle = s.resettle || len(state.delegates) > 0
}

func (s *claims) touch(host string) {
	s.touched[host] = true
	s.resettle = s.resettle || strings.HasPrefix(host, "*.")
}

// settleHosts brings the index of hosts up to date with the claims.
func (c *Compiler) settleHosts() {
	s := &c.claims
	if len(s.touched) == 0 && !s.resettle {
		return
	}
	if s.resettle {
		s.exact, s.wildcard = make(map[string]int32, len(s.stakes)), map[string]int32{}
		s.problems, s.owned, s.effective = map[string][]Problem{}, map[string]digest{}, digest{}
		for host := range s.stakes {
			s.settle(host)
		}
	} else {
		s.exact = maps.Clone(s.exact)
		for host := range s.touched {
			s.effective.sub(s.owned[host])
			delete(s.owned, host)
			delete(s.exact, host)
			delete(s.problems, host)
			s.settle(host)
		}
	}
	s.touched, s.resettle = map[string]bool{}, false
}

// settle decides who owns one host.
func (s *claims) settle(host string) {
	winner, ok := s.first(host)
	if !ok {
		return
	}
	for _, loser := range s.stakes[host] {
		if loser.tenant != winner.tenant {
			s.complain(host, loser, ProblemHostConflict, fmt.Sprintf("claims the host %s, which belongs to the tenant %s", host, winner.tenant))
		}
	}
	for _, above := range slices.Backward(s.holdersAbove(host)) {
		if !above.forbids(host, winner.tenant) {
			continue
		}
		if above.older(winner) {
			s.complain(host, winner, ProblemNotDelegated, fmt.Sprintf(
				"claims the host %s, which lies under %s of the tenant %s; that tenant must list it under delegates", host, above.wildcard, above.tenant))
			return
		}
		s.complain(host, above.stake, ProblemWildcardContested, fmt.Sprintf(
			"has the wildcard %s, but %s under it belongs to the tenant %s, whose claim is older; list it under delegates", above.wildcard, host, winner.tenant))
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		s.wildcard[rest] = winner.state.index
	} else {
		s.exact[host] = winner.state.index
	}
	s.owned[host] = pairDigest("host/"+host, winner.tenant)
	s.effective.add(s.owned[host])
}

// holding is a wildcard and who holds it.
type holding struct {
	wildcard string
	stake
}

// forbids says whether a host under the wildcard is not for the tenant to have.
func (h holding) forbids(host, tenant string) bool {
	return h.tenant != tenant && !h.state.delegated(host)
}

// holdersAbove returns the wildcards above a host that somebody holds, the shortest first.
// One that is refused itself, because it lies under another tenant's, holds nothing, and
// so takes nothing from those below.
func (s *claims) holdersAbove(host string) []holding {
	var held []holding
	for _, above := range slices.Backward(WildcardsAbove(host)) {
		claim, ok := s.first(above)
		if ok && !slices.ContainsFunc(held, func(h holding) bool { return h.forbids(above, claim.tenant) && h.older(claim) }) {
			held = append(held, holding{above, claim})
		}
	}
	return held
}

// first returns the oldest claim to a host.
func (s *claims) first(host string) (oldest stake, ok bool) {
	for _, claim := range s.stakes[host] {
		if !ok || claim.older(oldest) {
			oldest, ok = claim, true
		}
	}
	return oldest, ok
}

func (s *claims) complain(host string, of stake, code, message string) {
	s.problems[host] = append(s.problems[host], Problem{
		Key: "tenants/" + of.tenant, Origin: of.state.origin, Code: code, Message: message, Revision: of.state.revision,
	})
}

// delegated says whether the tenant lets others claim a host under its wildcards.
func (t *tenantState) delegated(host string) bool {
	return slices.ContainsFunc(t.delegates, func(d string) bool { return Covers(d, host) })
}

// WildcardsAbove lists the wildcards that stand for a host, or for all that a wildcard
// stands for, the longest first. An IPv6 address has none.
func WildcardsAbove(host string) []string {
	rest := strings.TrimPrefix(host, "*.")
	if strings.HasPrefix(rest, "[") {
		return nil
	}
	above := make([]string, 0, strings.Count(rest, "."))
	for {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			return above
		}
		above = append(above, "*."+parent)
		rest = parent
	}
}
