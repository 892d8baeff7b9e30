package compile

import (
	"maps"
	"slices"
	"strings"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// GuardLimit returns how many of so many tenants may be dropped or repointed within
// [GuardWindow] before a change is held: a twentieth of them, and at least 10.
func GuardLimit(tenants int) int { return max(10, tenants/20) }

// GuardWindow is how far back the guard looks.
const GuardWindow = 10 * time.Second

// guard holds back what would drop or repoint many tenants at once: more often than not it
// is a mistake, and then it costs least if it never was in force.
type guard struct {
	held     map[string]*Change // by document key
	revision int64              // the newest of what is held
	since    time.Time
	before   int64 // GuardState.Before
	accepted int64
	// given are the tenants whose deletion was accepted last, with the epochs that they had ([routing.Table.GivenUp]).
	given map[string]uint64
	// recent are the tenants that were dropped or repointed, or held, within the window, and
	// some from before it.
	recent map[string]recentMove
	now    time.Time // of the present update

	tally  routing.GuardState // of what is held, but for Revision, Since and Limit
	stale  bool               // the tally is to be made anew
	listed int                // how many of what is held have a problem of their own
	// unlisted counts the deletions that are held of pins that are read on demand and that a
	// whole list did not name: of these there are only hashes.
	unlisted int
	// wary says that what a whole list lacks may be what was held before the compiler was rebuilt,
	// however little it is.
	wary bool
}

// Bounds of what is told of a mass change, whose size is no measure for them.
const (
	maxHeldTenants  = 100 // in GuardState.Tenants
	maxHeldProblems = 100 // that name one document each
)

type recentMove struct {
	at   time.Time
	form *routing.Tenant // what was in force before; nil: it was held, and never moved
}

func newGuard() guard { return guard{held: map[string]*Change{}, recent: map[string]recentMove{}} }

// release forgets a change that is held, since another one came, or it is accepted.
func (g *guard) release(key string) {
	if _, held := g.held[key]; held {
		delete(g.held, key)
		g.stale = true
	}
}

// hold keeps a change.
func (g *guard) hold(change *Change) {
	g.held[change.Key] = change
	if !g.stale {
		g.count(change)
	}
}

// holdsTenant says whether the change or deletion of a tenant is held.
func (g *guard) holdsTenant(name string) bool { return g.held["tenants/"+name] != nil }

func (g *guard) holdsTenants() bool {
	for _, change := range g.held {
		if change.kind == keyOfTenant {
			return true
		}
	}
	return false
}

// count adds a change to what is told of those that are held.
func (g *guard) count(change *Change) {
	s := &g.tally
	s.Documents++
	if change.kind != keyOfTenant {
		return
	}
	if change.Deleted {
		s.Dropped++
	} else {
		s.Repointed++
	}
	at, _ := slices.BinarySearch(s.Tenants, change.tenant)
	if at < maxHeldTenants {
		s.Tenants = slices.Insert(s.Tenants, at, change.tenant)
		s.Tenants = s.Tenants[:min(len(s.Tenants), maxHeldTenants)]
	}
}

// guardUpdate takes out of the batch what is to be held, and puts in what was held and is
// accepted now.
func (c *Compiler) guardUpdate(u *Update, b *batch) {
	g := &c.guard
	g.now = u.At
	if u.SourceChanged { // revisions are counted anew: what is held is accepted by one of the new ones
		g.accepted, g.revision, g.before = 0, max(u.Revision, u.Listed), 0
		for _, change := range g.held {
			change.Revision = g.revision
		}
	}
	if u.Accepted > g.accepted {
		c.releaseAccepted(u, b)
		return
	}
	if u.At.IsZero() {
		clear(g.recent)
		return
	}
	if len(b.unlisted) > 0 && g.holdsTenants() {
		// Nobody knows whose pins they are: perhaps those of a tenant whose change is held.
		b.holds, g.revision = true, max(g.revision, u.Revision, u.Listed)
	}
	mayHaveLost := u.SourceChanged && u.Origin != OriginFiles || u.Whole && g.wary
	g.wary = g.wary && !u.Whole
	if c.maps.Tenants.Len() == 0 || c.last == nil || !u.MayLookEmpty && !mayHaveLost && c.harmless(b) {
		return
	}
	g.prune()
	h := c.hazardsOf(b)
	within := h.concerned(g) <= GuardLimit(c.maps.Tenants.Len()+c.recentlyDropped()) && !h.leavesNone(u.MayLookEmpty) &&
		len(b.unlisted) <= GuardLimit(c.maps.Unheld.Len())
	if mayHaveLost {
		// What another source does not have is more often lost with it than deleted there. And a
		// deck has no epoch that could tell which of two forms is the newer one.
		if within {
			h.keepLosses(b)
		}
		h.ofChangedDecks(b)
		within = within && len(h.keys) == 0
	}
	if !within && len(h.keys)+len(b.unlisted) > 0 {
		c.holdHazards(u, b, h)
	}
}

// releaseAccepted puts into the batch what was held and is accepted. What came along with
// the word is meant by it, and counts for nothing later.
func (c *Compiler) releaseAccepted(u *Update, b *batch) {
	g := &c.guard
	g.accepted, g.now = u.Accepted, time.Time{}
	clear(g.recent)
	given := map[string]uint64{}
	for _, key := range slices.Sorted(maps.Keys(g.held)) {
		if change := g.held[key]; change.Revision <= g.accepted {
			if packed, there := c.maps.Tenants.Get(change.tenant); there && change.Deleted && change.kind == keyOfTenant {
				given[change.tenant] = store.UnpackTenant(packed).Epoch
			}
			b.add(change)
			c.problems.clear(key)
			g.release(key)
		}
	}
	if len(given) > 0 {
		g.given = given // published: it is never changed
	}
	if g.revision <= g.accepted {
		c.dropGone()
	}
}

// harmless says whether so few documents change that the limit is out of reach, whatever
// they say.
func (c *Compiler) harmless(b *batch) bool {
	if slices.ContainsFunc(b.decks, func(change *Change) bool { return change.Deleted }) || len(b.tenants) >= c.maps.Tenants.Len() {
		return false
	}
	changes, limit := len(b.tenants)+len(b.pins)+len(b.unlisted), GuardLimit(c.maps.Tenants.Len())
	if changes+len(c.guard.recent) > limit {
		c.guard.prune()
	}
	return changes+len(c.guard.recent) <= limit
}

// prune forgets what was done before the window.
func (g *guard) prune() {
	maps.DeleteFunc(g.recent, func(_ string, move recentMove) bool { return g.now.Sub(move.at) >= GuardWindow })
}

// recentlyDropped counts the tenants that are gone since the start of the window.
func (c *Compiler) recentlyDropped() (n int) {
	for name := range c.guard.recent {
		if _, ok := c.maps.Tenants.Get(name); !ok {
			n++
		}
	}
	return n
}

// holdHazards takes the changes that do harm out of a batch and holds them.
func (c *Compiler) holdHazards(u *Update, b *batch, h *hazards) {
	g := &c.guard
	if len(g.held)+g.unlisted == 0 {
		g.since, g.revision, g.before = u.At, 0, 0
		alone := len(h.tenants) + h.onDecks
		mass := alone > GuardLimit(c.maps.Tenants.Len()) || h.leavesNone(u.MayLookEmpty) || len(b.unlisted) > GuardLimit(c.maps.Unheld.Len())
		if mass && !u.SourceChanged { // the revision of another source says nothing here
			g.before = c.last.Revision()
		}
	}
	g.revision = max(g.revision, u.Revision)
	listed := max(u.Revision, u.Listed)
	if len(b.unlisted) > 0 {
		g.revision = max(g.revision, listed)
	}
	hold := func(list []*Change) []*Change {
		return slices.DeleteFunc(list, func(change *Change) bool {
			if h.keys[change.Key] {
				revision := u.Revision
				if change.Deleted || u.SourceChanged {
					revision = listed // nobody knows when it happened, and an older acceptance is of something else
				}
				c.holdChange(change, revision)
				return true
			}
			return false
		})
	}
	b.decks, b.tenants, b.pins = hold(b.decks), hold(b.tenants), hold(b.pins)
	b.holds = true
	for name := range h.tenants {
		if _, known := g.recent[name]; !known {
			g.recent[name] = recentMove{at: u.At}
		}
	}
}

// howToAccept is what people write to say that what is held is meant.
func (c *Compiler) howToAccept() string {
	if c.problems.origin == OriginFiles {
		return "gridctl guard accept REVISION --router ADDRESS, with the revision that /readyz names"
	}
	return "gridctl guard"
}

// holdChange keeps a change back until the revision is accepted that brought it. What is
// stored is noted, what is in force stays.
func (c *Compiler) holdChange(change *Change, revision int64) {
	kept := *change
	kept.Value, kept.packed = slices.Clone(change.Value), ""
	kept.Revision = max(kept.Revision, revision)
	c.guard.hold(&kept)
	c.guard.revision = max(c.guard.revision, kept.Revision)
	c.ledger.keep(change)
	c.problems.clear(change.Key)
	what := "its change"
	if change.Deleted {
		what = "its deletion"
	}
	if c.guard.listed < maxHeldProblems { // of more than these the number says enough
		c.guard.listed++
		c.problems.add(change.Key, routing.ProblemHeld, what+" came with those of many others at once, or with another etcd or a restored one, and is held until somebody says that it is meant: "+c.howToAccept(), change.Revision)
	}
	c.problems.changed = true
	if name, ok := strings.CutPrefix(change.Key, "tenants/"); ok {
		packed, _ := c.maps.Tenants.Get(name)
		record := store.UnpackTenant(packed)
		if record.Gone = change.Deleted; !change.Deleted {
			record.Digest = change.sum
		}
		c.packed = record.Pack(c.packed[:0])
		c.maps.Tenants.Put(name, c.packed)
		return
	}
	if change.kind == keyOfPin {
		c.holdPin(change)
		return
	}
	pair := *c.pairs[change.Key] // a deck's; its value stays the one in force
	if pair.Digest = 0; !change.Deleted {
		pair.Digest, pair.Created = change.sum, change.Created
	}
	c.pairs[change.Key] = &pair
}

// holdPin notes of a pin's record that another value, or none, is stored.
func (c *Compiler) holdPin(change *Change) {
	if packed, held := c.maps.Pins.Get(change.tenant + "/" + change.key); held {
		record := store.UnpackPin(packed)
		if record.Gone = change.Deleted; !change.Deleted {
			record.Digest = change.sum
		}
		c.packed = record.Pack(c.packed[:0])
		c.maps.Pins.Put(change.tenant+"/"+change.key, c.packed)
		return
	}
	key := c.maps.Unheld.UnheldKey(change.tenant, change.key)
	if packed, there := c.maps.Unheld.Get(key); there {
		sum, _ := store.UnpackUnheld(packed)
		c.maps.Unheld.Put(key, store.PackUnheld(sum, true))
	}
}

// dropped and repointed note what happened to a tenant, for the window.
func (g *guard) dropped(c *Compiler, name string, old *store.TenantRecord) {
	if !g.now.IsZero() && old.Policy != 0 {
		g.note(name, c.policies.entries[old.Policy].Document())
	}
}

func (g *guard) repointed(c *Compiler, name string, old *store.TenantRecord, policy uint32) {
	if g.now.IsZero() || old.Policy == policy && len(g.recent) == 0 {
		return
	}
	next := c.policies.entries[policy].Document()
	if move, ok := g.recent[name]; ok && old.Policy != 0 {
		if move.form == nil { // it was held, and never moved
			move.form = c.policies.entries[old.Policy].Document()
		}
		if sameRules(move.form, next) {
			delete(g.recent, name) // it is as it was at the start of the window
			return
		}
	}
	if old.Policy == 0 || old.Policy == policy {
		return
	}
	if before := c.policies.entries[old.Policy].Document(); !sameRules(before, next) {
		g.note(name, before)
	}
}

func (g *guard) note(name string, form *routing.Tenant) {
	if move, known := g.recent[name]; !known || move.form == nil {
		g.recent[name] = recentMove{g.now, form}
	}
}

// guardState returns what is held; nil: nothing.
func (c *Compiler) guardState() *routing.GuardState {
	g := &c.guard
	if len(g.held)+g.unlisted == 0 {
		g.stale, g.tally, g.listed = false, routing.GuardState{}, 0
		return nil
	}
	if c.last != nil && !g.stale {
		if last := c.last.Guard(); last != nil && last.Revision == g.revision && last.Documents == len(g.held)+g.unlisted {
			return last
		}
	}
	if g.stale {
		g.stale, g.tally, g.listed = false, routing.GuardState{}, 0
		for _, key := range slices.Sorted(maps.Keys(g.held)) {
			g.count(g.held[key])
			if c.problems.has(key, routing.ProblemHeld) {
				g.listed++
			}
		}
	}
	state := g.tally
	state.Documents += g.unlisted
	state.Tenants = slices.Clone(state.Tenants)
	state.Revision, state.Since, state.Before, state.Limit = g.revision, g.since, g.before, GuardLimit(c.maps.Tenants.Len())
	return &state
}
