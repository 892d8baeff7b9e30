package router

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// published is what requests are held to: the table, and where each of its decks is
// reached. It is immutable, and a request uses the one it found at its start.
type published struct {
	table *routing.Table
	decks []*deckView // by CompiledDeck.ID; nil where the table has none, or a missing one
	at    time.Time
	// replaced is closed when another table is in force.
	replaced chan struct{}
}

// deckView is one deck as one table has it, with the addresses of the moment.
type deckView struct {
	compiled  *routing.CompiledDeck
	live      *upstream.Deck
	endpoints []*upstream.Endpoint
	// tried says that each name among the deck's addresses has been resolved once, well
	// or not.
	tried bool
}

// publisher makes each published state out of the one before it. Its lock is held to
// publish, never by requests.
type publisher struct {
	router *Router
	mu     sync.Mutex
	decks  *upstream.Decks
	closed bool
}

func (p *publisher) init(r *Router) {
	p.router, p.decks = r, upstream.NewDecks(&r.clock, r.log)
	for _, resolver := range []Resolver{r.cfg.GSLB, r.cfg.Names} {
		if resolver != nil {
			resolver.Notify(p.nameChanged)
		}
	}
}

// Publish puts a table in force. Requests that began before it go on with the table they
// have. What lives longer than a table, connections and counters, goes on with the decks
// that bear the same names. Calls take effect in the order in which they are made.
func (r *Router) Publish(t *routing.Table) {
	p := &r.publisher
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	next := &published{table: t, decks: make([]*deckView, len(t.Decks())), at: time.Now()}
	p.track(t)
	for id, deck := range t.Decks() {
		if deck != nil && !deck.Missing { // a missing one counts as down, and is never reached
			next.decks[id] = p.view(deck)
		}
	}
	before := p.put(next)
	r.history.Add(t)
	r.counters.publishes.Add(1)
	p.retireUnused(next)
	r.logPublished(before, t)
}

// put puts a state in force, and returns the one before it.
func (p *publisher) put(next *published) (before *published) {
	if untried, _ := next.untried(); untried == 0 {
		defer p.router.began.Store(true) // not before there is a table
	}
	next.replaced = make(chan struct{})
	if before = p.router.published.Swap(next); before != nil && before.replaced != nil {
		close(before.replaced)
	}
	return before
}

// logPublished logs what a new table holds.
func (r *Router) logPublished(before *published, t *routing.Table) {
	counts := t.Counts()
	fields := []zap.Field{
		zap.Int64("revision", t.Revision()), zap.String("hash", t.Hash()),
		zap.Int("tenants", counts.Tenants), zap.Int("hosts", counts.Hosts), zap.Int("decks", counts.Decks),
		zap.Int("pins", counts.Pins), zap.Int("problems", counts.Problems),
	}
	switch {
	case before == nil:
		r.log.Info("the first documents are in force", fields...)
	case before.table.Hash() != t.Hash() || before.table.EffectiveHash() != t.EffectiveHash():
		r.log.Info("changed documents are in force", fields...)
	}
	var known []routing.Problem
	if before != nil {
		known = before.table.Problems()
	}
	r.logProblems(known, t.Problems())
}

// maxLoggedProblems is how many problems one table is told of, each on a line of its own. /problems
// has all of them.
const maxLoggedProblems = 20

// logProblems logs the problems that are new; both lists are sorted. What a change does to a
// log is in proportion to the change.
func (r *Router) logProblems(known, now []routing.Problem) {
	more := 0
	for told := 0; len(now) > 0; now = now[1:] {
		problem := now[0]
		for len(known) > 0 && compareProblems(known[0], problem) < 0 {
			known = known[1:]
		}
		switch {
		case len(known) > 0 && compareProblems(known[0], problem) == 0:
		case told == maxLoggedProblems || problem.Key == "" && problem.Code == routing.ProblemHeld: // whose number changes; the guard tells of it
			more++
		default:
			told++
			r.log.Warn("a document has a problem", zap.String("key", problem.Key), zap.String("origin", problem.Origin),
				zap.String("code", problem.Code), zap.String("message", problem.Message))
		}
	}
	if more > 1 {
		r.log.Warn("more documents have new problems: see /problems", zap.Int("more", more))
	}
}

// compareProblems orders problems as tables do.
func compareProblems(a, b routing.Problem) int {
	return cmp.Or(strings.Compare(a.Key, b.Key), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
}

// track tells the resolvers which names the table needs.
func (p *publisher) track(t *routing.Table) {
	mesh, names := map[string]struct{}{}, map[string]struct{}{}
	for _, deck := range t.Decks() {
		if deck == nil || deck.Missing {
			continue
		}
		for _, at := range deck.Endpoints {
			switch {
			case at.Name == "":
			case deck.Attach == routing.AttachMesh:
				mesh[at.Name] = struct{}{}
			default:
				names[at.Name] = struct{}{}
			}
		}
	}
	if g := p.router.cfg.GSLB; g != nil {
		g.Track(slices.Sorted(maps.Keys(mesh)))
	}
	if n := p.router.cfg.Names; n != nil {
		n.Track(slices.Sorted(maps.Keys(names)))
	}
}

// resolverOf returns who resolves the names of a deck; nil: nobody.
func (r *Router) resolverOf(deck *routing.CompiledDeck) Resolver {
	if deck.Attach == routing.AttachMesh {
		return r.cfg.GSLB
	}
	return r.cfg.Names
}

// view makes the view of a deck: its live part, and the addresses of the moment.
func (p *publisher) view(deck *routing.CompiledDeck) *deckView {
	view := &deckView{compiled: deck, live: p.decks.Deck(deck.Name), tried: true}
	resolver := p.router.resolverOf(deck)
	for _, at := range deck.Endpoints {
		if at.Name == "" {
			view.add(netip.AddrPortFrom(at.Address.Unmap(), at.Port))
			continue
		}
		if resolver == nil {
			continue
		}
		addresses, tried := resolver.Lookup(at.Name)
		view.tried = view.tried && tried
		for _, address := range addresses {
			view.add(netip.AddrPortFrom(address.Unmap(), at.Port))
		}
	}
	return view
}

// Decks says how each deck of the table in force does. The list may be empty, and is never nil.
func (r *Router) Decks() []upstream.DeckStatus {
	decks := []upstream.DeckStatus{}
	if now := r.published.Load(); now != nil {
		for _, view := range now.decks {
			if view != nil {
				decks = append(decks, view.live.Status(view.compiled, view.endpoints, view.tried))
			}
		}
	}
	return decks
}

// names lists the names that the deck's addresses are to come from, for people.
func (v *deckView) names() string {
	var names []string
	for _, at := range v.compiled.Endpoints {
		if at.Name != "" {
			names = append(names, at.Name)
		}
	}
	return strings.Join(names, ", ")
}

// add adds an address once, with what lives at it.
func (v *deckView) add(at netip.AddrPort) {
	if e := v.live.Endpoint(v.compiled, at); !slices.Contains(v.endpoints, e) {
		v.endpoints = append(v.endpoints, e)
	}
}

// nameChanged publishes the same table with the new addresses of a name.
func (p *publisher) nameChanged(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.router.published.Load()
	if now == nil || p.closed {
		return
	}
	next := &published{table: now.table, decks: slices.Clone(now.decks), at: now.at}
	changed := false
	for id, view := range next.decks {
		if view == nil || !slices.ContainsFunc(view.compiled.Endpoints, func(at routing.Endpoint) bool { return at.Name == name }) {
			continue
		}
		next.decks[id], changed = p.view(view.compiled), true
	}
	if changed {
		p.put(next)
		p.retireUnused(next)
	}
}

// retireUnused retires the addresses that the state in force no longer has: no new request goes
// there, idle connections close, busy ones end with what they carry.
func (p *publisher) retireUnused(now *published) {
	wanted := make(map[*upstream.Endpoint]struct{})
	decks := make(map[string]struct{}, len(now.decks))
	for _, view := range now.decks {
		if view == nil {
			continue
		}
		decks[view.compiled.Name] = struct{}{}
		for _, e := range view.endpoints {
			wanted[e] = struct{}{}
		}
	}
	p.decks.Retain(decks, wanted)
}

// sweep closes idle connections whose time is over, and forgets what has ended.
func (p *publisher) sweep(now int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if state := p.router.published.Load(); state != nil {
		for _, view := range state.decks {
			if view == nil {
				continue
			}
			for _, e := range view.endpoints {
				e.Sweep(now, view.compiled.Idle)
			}
		}
	}
	p.decks.ForgetRetired()
}

// close ends all idle connections to decks; no more are kept.
func (p *publisher) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.decks.Close()
}
