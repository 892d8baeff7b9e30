package compile_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// pinnedGrid is forty tenants with pins, and what is stored of them.
type pinnedGrid struct {
	t        *testing.T
	cached   bool
	compiler *compile.Compiler
	table    *routing.Table
	stored   map[string]compile.Change
	revision int64
}

func newPinnedGrid(t *testing.T, cached bool) *pinnedGrid {
	t.Helper()
	g := &pinnedGrid{t: t, cached: cached, compiler: compile.NewCompiler(document.NewReader().Decode), stored: map[string]compile.Change{}}
	g.compiler.CachePins()
	g.write(map[string]string{"decks/a": guardedDeck("a"), "decks/b": guardedDeck("b"), "decks/c": guardedDeck("c")})
	g.write(g.tenants(7, "a", map[string]string{"changed": "b", "deleted": "b", "same": "b"}))
	g.table = g.compile(g.compiler, compile.Update{Whole: true, Changes: g.all()})
	return g
}

// tenants are the documents of forty tenants with an epoch, on a deck, with the same pins each.
func (g *pinnedGrid) tenants(epoch int, deck string, pins map[string]string) map[string]string {
	documents, mode := map[string]string{}, "true"
	if g.cached {
		mode = `"cached"`
	}
	for i := range guardedTenants {
		name := fmt.Sprintf("t%02d", i)
		documents["tenants/"+name] = fmt.Sprintf(`{"kind":"Tenant","name":%q,"hosts":["%s.example"],"epoch":%d,"rules":[{"name":"users","key":{"header":"x-user-id"},"pins":%s,"split":{%q:1}}]}`,
			name, name, epoch, mode, deck)
		for key, to := range pins {
			documents["pins/"+name+"/"+key] = fmt.Sprintf(`{"kind":"Pin","tenant":%q,"key":%q,"deck":%q}`, name, key, to)
		}
	}
	return documents
}

// write stores documents, and returns the changes.
func (g *pinnedGrid) write(documents map[string]string) (changes []compile.Change) {
	g.revision++
	for key, value := range documents {
		change := compile.Change{Key: key, Value: []byte(value), Revision: g.revision, Created: 1}
		if stored, there := g.stored[key]; !there || string(stored.Value) != value {
			g.stored[key] = change
			changes = append(changes, change)
		}
	}
	return changes
}

// drop deletes a pin of each tenant.
func (g *pinnedGrid) drop(key string) (changes []compile.Change) {
	for i := range guardedTenants {
		pin := fmt.Sprintf("pins/t%02d/%s", i, key)
		delete(g.stored, pin)
		changes = append(changes, compile.Change{Key: pin, Deleted: true, Revision: g.revision})
	}
	return changes
}

func (g *pinnedGrid) all() (changes []compile.Change) {
	for _, change := range g.stored {
		changes = append(changes, change)
	}
	return changes
}

func (g *pinnedGrid) compile(compiler *compile.Compiler, u compile.Update) *routing.Table {
	g.t.Helper()
	u.Revision, u.At, u.Changes = g.revision, time.Unix(1000+g.revision, 0), slices.Clone(u.Changes)
	return routingtest.Compile(g.t, compiler, u)
}

// deck is where a key of a tenant leads, its pin being read from what is stored if it has to be.
func (g *pinnedGrid) deck(tenant int, key string) string {
	g.t.Helper()
	r := routingtest.Request(g.t, fmt.Sprintf("GET t%02d.example/\nx-user-id: %s", tenant, key))
	d := g.table.Decide(r)
	if d.PinWanted {
		pin := routing.Pinned{State: routing.PinAbsent}
		name := fmt.Sprintf("pins/t%02d/%s", tenant, key)
		if stored, there := g.stored[name]; there {
			document, err := document.NewReader().Decode(name, stored.Value)
			if err != nil {
				g.t.Fatal(err)
			}
			pin = routing.Pinned{State: routing.PinFound, Deck: document.(*routing.Pin).Deck, Sum: routing.PinSum(name, stored.Value)}
		}
		d = g.table.DecidePinned(r, pin)
	}
	if d.Deck == nil {
		return string(d.Fault)
	}
	return d.Deck.Name
}

// stays wants that no key leads elsewhere than before; what cannot be read may lead nowhere.
func (g *pinnedGrid) stays(what string, unreadable ...string) {
	g.t.Helper()
	for key, want := range map[string]string{"changed": "b", "deleted": "b", "same": "b", "made": "a", "none": "a"} {
		if slices.Contains(unreadable, key) {
			want = "pin_unreadable"
		}
		for _, tenant := range []int{0, guardedTenants - 1} {
			if got := g.deck(tenant, key); got != want {
				g.t.Errorf("%s: the key %q of tenant %d leads to %q, want %q", what, key, tenant, got, want)
			}
		}
	}
}

// restarted goes on from a snapshot.
func (g *pinnedGrid) restarted() {
	g.t.Helper()
	sections, err := g.compiler.Checkpoint().Sections()
	if err != nil {
		g.t.Fatal(err)
	}
	g.compiler = compile.NewCompiler(document.NewReader().Decode)
	g.compiler.CachePins()
	if g.table, err = g.compiler.Restore(sections); err != nil {
		g.t.Fatal(err)
	}
}

// settled wants what a compiler has that never knew anything else.
func (g *pinnedGrid) settled(what string) {
	g.t.Helper()
	fresh := compile.NewCompiler(document.NewReader().Decode)
	fresh.CachePins()
	want := g.compile(fresh, compile.Update{Whole: true, Changes: g.all()})
	if g.table.Hash() != want.Hash() || g.table.EffectiveHash() != want.EffectiveHash() || g.table.Counts() != want.Counts() || g.table.Guard() != nil {
		g.t.Errorf("%s: %s %s %+v %+v, want %s %s %+v", what, g.table.Hash(), g.table.EffectiveHash(), g.table.Counts(), g.table.Guard(),
			want.Hash(), want.EffectiveHash(), want.Counts())
	}
}

// change stores other tenants, and other pins of them, and puts them into an update as a source tells.
func (g *pinnedGrid) change(how string, epoch int) {
	g.t.Helper()
	changes := g.write(g.tenants(epoch, "c", map[string]string{"changed": "c", "made": "c", "same": "b"}))
	changes = append(changes, g.drop("deleted")...)
	switch how {
	case "events":
		g.table = g.compile(g.compiler, compile.Update{Changes: changes})
	case "events, pins first":
		pins := slices.DeleteFunc(slices.Clone(changes), func(c compile.Change) bool { return c.Key[0] == 't' })
		rest := slices.DeleteFunc(changes, func(c compile.Change) bool { return c.Key[0] != 't' })
		g.table = g.compile(g.compiler, compile.Update{Changes: rest})
		g.table = g.compile(g.compiler, compile.Update{Changes: pins})
	default:
		g.table = g.compile(g.compiler, compile.Update{Whole: true, SourceChanged: how == "another source", Changes: g.all()})
	}
}

var waysToTell = []string{"events", "events, pins first", "a list", "another source"}

// TestPinsOfHeldTenantsAreHeldWithThem has a mass change of tenants come with changes of their pins:
// none of it is in force, pins included, until it is accepted, or another form is stored.
func TestPinsOfHeldTenantsAreHeldWithThem(t *testing.T) {
	for _, cached := range []bool{false, true} {
		var unreadable []string
		if cached { // only the stored form could be read, and it is another one
			unreadable = []string{"changed", "deleted"}
		}
		for _, how := range waysToTell {
			for _, end := range []string{"accepted", "written again"} {
				what := fmt.Sprintf("cached %v, %s, %s", cached, how, end)
				g := newPinnedGrid(t, cached)
				g.change(how, 8)
				g.stays(what, unreadable...)
				g.restarted()
				g.stays(what+", restarted", unreadable...)
				g.table = g.compile(g.compiler, compile.Update{Whole: true, Changes: g.all()})
				g.stays(what+", listed", unreadable...)
				if g.table.Guard() == nil {
					t.Errorf("%s: nothing is held", what)
				}
				accepted := g.revision
				if end == "written again" { // as a discard does: the former rules, and another epoch
					g.table = g.compile(g.compiler, compile.Update{Changes: g.write(g.tenants(9, "a", map[string]string{"changed": "b", "made": "a", "same": "b"}))})
				}
				g.revision++
				g.table = g.compile(g.compiler, compile.Update{Accepted: accepted})
				g.settled(what)
			}
		}
	}
}

// TestARestoreThatSetsManyTenantsBackIsNoMassChange restores a backup in which every tenant is another,
// pins included: what is set back never comes into force, so that the guard has nothing to hold, and each
// tenant is told to be set back.
func TestARestoreThatSetsManyTenantsBackIsNoMassChange(t *testing.T) {
	for _, cached := range []bool{false, true} {
		var unreadable []string
		if cached { // no pin of such a tenant is read
			unreadable = []string{"changed", "deleted", "same", "made", "none"}
		}
		for _, how := range waysToTell {
			what := fmt.Sprintf("cached %v, %s", cached, how)
			g := newPinnedGrid(t, cached)
			g.change(how, 3)
			for _, stage := range []string{"", ", restarted", ", listed"} {
				switch stage {
				case ", restarted":
					g.restarted()
				case ", listed":
					g.table = g.compile(g.compiler, compile.Update{Whole: true, Changes: g.all()})
				}
				g.stays(what+stage, unreadable...)
				// Of pins that are read on demand and that a list does not name nobody knows the tenants.
				held := g.table.Guard()
				if unlisted := cached && (how == "a list" || how == "another source"); unlisted && held != nil && len(held.Tenants) == 0 {
					held = nil
				}
				if len(g.table.Rewound()) != guardedTenants || held != nil {
					t.Errorf("%s%s: %d tenants are told to be set back; %+v", what, stage, len(g.table.Rewound()), g.table.Guard())
				}
			}
			g.table = g.compile(g.compiler, compile.Update{Accepted: g.revision, Changes: g.write(g.tenants(9, "c", nil))}) // gridctl restored
			g.settled(what)
		}
	}
}
