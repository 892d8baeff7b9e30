package catalog

import (
	"fmt"
	"slices"
	"strings"

	"gridrouter.io/routing"
)

// moves knows which hosts go from one given tenant to another, and which tenants hang
// together by that.
type moves struct {
	from   map[string]string // host -> key of the given tenant that hands it over
	parent map[string]string // union-find over keys of tenants
}

// root names the set that a tenant belongs to.
func (m *moves) root(key string) string {
	for {
		up, ok := m.parent[key]
		if !ok {
			return key
		}
		key = up
	}
}

func (p *planner) moves(items []*item) *moves {
	m := &moves{from: map[string]string{}, parent: map[string]string{}}
	for _, it := range items {
		for _, host := range without(hostsOf(it.wasTenant()), hostsOf(tenantOf(it.final()))) {
			taker, taken := p.takers[host]
			_, twice := m.from[host]
			if !taken || twice || slices.Contains(hostsOf(p.w.items[tenantKey(taker)].wasTenant()), host) {
				continue
			}
			m.from[host] = it.key
			if a, b := m.root(it.key), m.root(tenantKey(taker)); a != b {
				m.parent[a] = b
			}
		}
	}
	return m
}

// tenantOps adds the pieces of one tenant to its group.
func (p *planner) tenantOps(it *item, m *moves, g *group) {
	change := p.change(it)
	touch := op{owner: it.key, docs: []string{it.key}, conditions: append(p.deckConditions(newDecks(it)), p.delegateConditions(it)...)}
	if !it.remove && change.Action != Unchanged {
		g.ops[0] = append(g.ops[0], touch)
	}
	was, final := hostsOf(it.wasTenant()), hostsOf(tenantOf(it.final()))
	listed := make(map[string]bool, len(was))
	for _, host := range was {
		listed[host] = true
	}
	for _, host := range final {
		from, moved := m.from[host]
		switch {
		case moved:
			g.ops[1] = append(g.ops[1], p.move(it, from, host, change))
		case !listed[host]:
			g.ops[0] = append(g.ops[0], p.add(it, host, change))
		case p.w.claims[host].tenant != ownName(it):
			g.ops[0] = append(g.ops[0], p.repair(it, host, change))
		}
	}
	for _, host := range without(was, final) {
		if m.from[host] != it.key {
			g.ops[2] = append(g.ops[2], p.release(it, host, change))
		}
	}
	if it.remove {
		g.ops[2] = append(g.ops[2], touch)
	}
}

// manyDelegates is how many delegates are guarded one by one. If more are taken back at
// once, or a wildcard, no host at all may be claimed meanwhile.
const manyDelegates = 16

// delegateConditions rely upon nobody's claiming a host whose delegation is taken back.
func (p *planner) delegateConditions(it *item) []condition {
	var conditions []condition
	for _, host := range without(delegatesOf(it.wasTenant()), delegatesOf(tenantOf(it.final()))) {
		if strings.HasPrefix(host, "*.") || len(conditions) == manyDelegates {
			return []condition{{key: p.at.hosts(), how: noneNewer, revision: p.w.revision}}
		}
		conditions = append(conditions, p.hostCondition(host))
	}
	return conditions
}

// ownName is the name of a tenant's item.
func ownName(it *item) string {
	_, name := folderOf(it.key)
	return name
}

// add claims a host that no given tenant hands over.
func (p *planner) add(it *item, host string, change *Change) op {
	piece := op{owner: it.key, docs: []string{it.key}, conditions: []condition{p.hostCondition(host)}}
	p.noteTakeover(it, host, change)
	change.Claims = append(change.Claims, host)
	if strings.HasPrefix(host, "*.") {
		p.reserved[host] = &reservation{tenant: ownName(it), item: it, revision: p.w.claims[host].mod}
	} else {
		piece.claims = []claimWrite{{host, ownName(it)}}
	}
	p.requireWildcards(&piece, it, host, change)
	draft := p.draft(it.key).tenant
	piece.move = func() { draft.held[host] = true }
	return piece
}

// move hands a host from one given tenant to another.
func (p *planner) move(it *item, from, host string, change *Change) op {
	piece := op{
		owner:      it.key,
		docs:       []string{it.key, from},
		claims:     []claimWrite{{host, ownName(it)}},
		conditions: []condition{p.hostCondition(host)},
	}
	change.Claims = append(change.Claims, host)
	giver := p.w.items[from]
	p.change(giver).Releases = append(p.change(giver).Releases, host)
	p.requireWildcards(&piece, it, host, change)
	taking, giving := p.draft(it.key).tenant, p.draft(from).tenant
	piece.move = func() {
		taking.held[host] = true
		delete(giving.held, host)
	}
	return piece
}

// repair claims a host that the tenant lists already, but whose claim is missing or is
// another's that holds nothing.
func (p *planner) repair(it *item, host string, change *Change) op {
	p.noteTakeover(it, host, change)
	change.Claims = append(change.Claims, host)
	if change.Action == Unchanged {
		change.Action = Update
	}
	return op{
		owner:      it.key,
		claims:     []claimWrite{{host, ownName(it)}},
		conditions: []condition{p.hostCondition(host), p.docCondition(it.key)},
	}
}

// release gives a host up. The claim stays if it is not the tenant's own, or if another
// given tenant, which listed the host as well, keeps it.
func (p *planner) release(it *item, host string, change *Change) op {
	piece := op{owner: it.key, docs: []string{it.key}, conditions: []condition{p.hostCondition(host)}}
	_, kept := p.takers[host]
	if !kept && p.w.claims[host].tenant == ownName(it) {
		piece.claims = []claimWrite{{host, ""}}
		change.Releases = append(change.Releases, host)
	}
	draft := p.draft(it.key).tenant
	piece.move = func() { delete(draft.held, host) }
	return piece
}

// noteTakeover says whose stale claim a host's claim replaces.
func (p *planner) noteTakeover(it *item, host string, change *Change) {
	c, claimed := p.w.claims[host]
	if !claimed || c.tenant == ownName(it) {
		return
	}
	change.Takeovers = append(change.Takeovers, fmt.Sprintf("%s: %s", host, p.whyStale(c)))
}

func (p *planner) whyStale(c claim) string {
	switch {
	case c.tenant == "":
		return "its claim could not be read"
	case !p.w.exists(tenantKey(c.tenant)):
		return fmt.Sprintf("claimed by tenant %q, which does not exist", c.tenant)
	}
	return fmt.Sprintf("claimed by tenant %q, which does not list it", c.tenant)
}

// requireWildcards makes a piece that claims a host rely upon every wildcard above it:
// upon its not being claimed, or upon its owner's delegates. A stale claim above is
// cleared away, so that whoever was about to use it notices.
func (p *planner) requireWildcards(piece *op, it *item, host string, change *Change) {
	for _, above := range routing.WildcardsAbove(host) {
		piece.conditions = append(piece.conditions, p.hostCondition(above))
		c, claimed := p.w.claims[above]
		if !claimed || c.tenant == ownName(it) {
			continue
		}
		if _, taken := p.takers[above]; taken {
			continue
		}
		if p.w.stale(above, c) {
			piece.claims = append(piece.claims, claimWrite{above, ""})
			note := fmt.Sprintf("%s: %s", above, p.whyStale(c))
			if !slices.Contains(change.Takeovers, note) {
				change.Takeovers = append(change.Takeovers, note)
			}
			continue
		}
		piece.conditions = append(piece.conditions, p.docCondition(tenantKey(c.tenant)))
	}
}
