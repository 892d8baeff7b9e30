package catalog

import (
	"cmp"
	"slices"

	"gridrouter.io/routing"
)

// op is the smallest piece of work that must be done in one transaction.
type op struct {
	owner      string       // key of the document whose change it is part of
	docs       []string     // keys of the documents that are written
	claims     []claimWrite // the claims that are written
	conditions []condition  // what it relies upon, beside the documents and claims that it writes
	move       func()       // takes the drafts on by this piece; may be nil
	ranges     []keyRange   // documents that are deleted without a record of their own
}

// claimWrite gives a host to a tenant, or, with an empty tenant, to nobody.
type claimWrite struct{ host, tenant string }

// keyRange is [from, to) in etcd.
type keyRange struct{ from, to string }

// planner turns a checked world into transactions.
type planner struct {
	at       layout
	w        *world
	options  Options
	who      string
	drafts   map[string]*draft
	changes  map[string]*Change
	order    []string                // keys of changes, in the order of writing
	reserved map[string]*reservation // new wildcards
	takers   map[string]string       // host -> the given tenant that will hold it
	steps    []step
	notes    []string
	moved    map[string]bool // names of tenants that go, or with other rules or pins than before
	masses   map[string]bool // keys of tenants whose transactions carry the guard's mark
}

func newPlanner(c *Catalog, w *world, options Options) *planner {
	p := &planner{
		at: c.at, w: w, options: options, who: c.who,
		drafts:   map[string]*draft{},
		changes:  map[string]*Change{},
		reserved: map[string]*reservation{},
		takers:   map[string]string{},
	}
	for _, it := range w.given {
		if tenant := tenantOf(it.given); tenant != nil {
			for _, host := range tenant.Hosts {
				p.takers[host] = tenant.Name
			}
		}
	}
	return p
}

// draft returns the draft of a document.
func (p *planner) draft(key string) *draft {
	d := p.drafts[key]
	if d == nil {
		d = newDraft(p.w.items[key])
		p.drafts[key] = d
	}
	return d
}

// change returns the summary of a document's change, noted in the order of first use.
func (p *planner) change(it *item) *Change {
	c := p.changes[it.key]
	if c == nil {
		c = &Change{Key: it.key, Place: it.place(), Action: Unchanged}
		switch {
		case it.remove:
			c.Action = Delete
		case it.mod == 0:
			c.Action = Create
		case it.given != nil && !same(it):
			c.Action = Update
		}
		p.changes[it.key] = c
		p.order = append(p.order, it.key)
	}
	return c
}

// summary returns all changes, with the epochs they came to.
func (p *planner) summary() []Change {
	changes := make([]Change, len(p.order))
	for i, key := range p.order {
		changes[i] = *p.changes[key]
		if d := p.drafts[key]; d != nil && d.tenant != nil {
			changes[i].EpochFrom = epochOf(d.item.value)
			changes[i].EpochTo = d.tenant.epoch
		}
	}
	return changes
}

// units returns all pieces of work in the order of writing: what is referred to before
// what refers to it. The pieces of one unit go into one transaction if they fit.
func (p *planner) units() [][]op {
	units := make([][]op, 0, len(p.w.given))
	for _, it := range p.inFolder(FolderGslb) {
		units = append(units, p.plain(it))
	}
	for _, it := range standbysFirst(p.inFolder(FolderDecks)) {
		units = append(units, p.plain(it))
	}
	tenants := p.tenantUnits(p.inFolder(FolderTenants))
	if !p.w.restoring {
		units = append(units, tenants...)
	}
	for _, it := range p.inFolder(FolderPins) {
		units = append(units, p.pin(it))
	}
	if p.w.restoring {
		// No tenant comes back before its pins: its keys would go elsewhere meanwhile.
		units = append(units, tenants...)
	}
	return slices.DeleteFunc(units, func(unit []op) bool { return len(unit) == 0 })
}

func (p *planner) inFolder(folder string) []*item {
	var found []*item
	for _, it := range p.w.given {
		if f, _ := folderOf(it.key); f == folder {
			found = append(found, it)
		}
	}
	return found
}

// plain is a document that stands for itself: a deck or a Gslb document.
func (p *planner) plain(it *item) []op {
	if p.change(it).Action == Unchanged {
		return nil
	}
	return []op{{owner: it.key, docs: []string{it.key}, conditions: p.deckConditions(newDecks(it))}}
}

// pin is a pin; the first of a tenant brings the tenant's epoch with it.
func (p *planner) pin(it *item) []op {
	owner := p.w.items[tenantKey(ownerOf(it))]
	tenantStands := owner != nil && p.w.exists(owner.key)
	if p.changes[it.key] == nil && tenantStands && !same(it) {
		p.change(owner)
	}
	if p.change(it).Action == Unchanged {
		return nil
	}
	piece := op{owner: it.key, docs: []string{it.key}, conditions: p.deckConditions(newDecks(it))}
	if !tenantStands {
		return []op{piece}
	}
	piece.conditions = append(piece.conditions, p.creationCondition(owner.key))
	tenant := p.draft(owner.key).tenant
	if !tenant.raised {
		tenant.raised = true
		piece.docs = append(piece.docs, owner.key)
		piece.move = func() { tenant.epoch++ }
		if c := p.change(owner); c.Action == Unchanged {
			c.Action = Update
		}
	}
	return []op{piece}
}

// ownerOf returns the tenant of a pin.
func ownerOf(it *item) string {
	tenant, _ := pinTenant(it.key)
	return tenant
}

// standbysFirst puts a deck behind its standby, as far as they do not go in circles.
func standbysFirst(items []*item) []*item {
	byKey := make(map[string]*item, len(items))
	for _, it := range items {
		byKey[it.key] = it
	}
	placed := make(map[string]bool, len(items))
	ordered := make([]*item, 0, len(items))
	var place func(it *item)
	place = func(it *item) {
		if placed[it.key] {
			return
		}
		placed[it.key] = true
		if deck, ok := it.given.(*routing.Deck); ok && deck.Standby != "" {
			if standby := byKey[deckKey(deck.Standby)]; standby != nil {
				place(standby)
			}
		}
		ordered = append(ordered, it)
	}
	for _, it := range items {
		place(it)
	}
	return ordered
}

// group is a set of tenants that hand hosts to each other, so that their changes belong
// in one transaction.
type group struct {
	rank  int // which groups go first
	first int // place of the first tenant in the input
	ops   [3][]op
}

// Ranks of groups: who delegates hosts goes before those that may take them, and who
// takes a delegation back goes after those that give the host up.
const (
	rankDelegating = iota
	rankPlain
	rankTakingBack
)

// tenantUnits returns the pieces of tenants. Within a unit hosts are added before they
// move and move before they are released, so that no tenant is without hosts in between.
func (p *planner) tenantUnits(items []*item) [][]op {
	moves := p.moves(items)
	groups := map[string]*group{}
	for i, it := range items {
		name := moves.root(it.key)
		g := groups[name]
		if g == nil {
			g = &group{rank: rankPlain, first: i}
			groups[name] = g
		}
		if rank := p.rank(it); rank != rankPlain && g.rank != rankDelegating {
			g.rank = rank
		}
		p.tenantOps(it, moves, g)
	}
	ordered := make([]*group, 0, len(groups))
	for _, g := range groups {
		ordered = append(ordered, g)
	}
	slices.SortFunc(ordered, func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.first, b.first))
	})
	units := make([][]op, len(ordered))
	for i, g := range ordered {
		units[i] = slices.Concat(g.ops[0], g.ops[1], g.ops[2])
	}
	return units
}

func (p *planner) rank(it *item) int {
	was, final := it.wasTenant(), tenantOf(it.final())
	if len(without(delegatesOf(final), delegatesOf(was))) > 0 {
		return rankDelegating
	}
	for _, host := range without(delegatesOf(was), delegatesOf(final)) {
		if c, claimed := p.w.claims[host]; claimed && tenantKey(c.tenant) != it.key && !p.w.stale(host, c) {
			return rankTakingBack
		}
	}
	return rankPlain
}
