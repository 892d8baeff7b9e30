package compile_test

import (
	"fmt"
	"testing"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// guarded is a compiler with forty tenants on one deck, and a clock.
type guarded struct {
	t        *testing.T
	compiler *compile.Compiler
	table    *routing.Table
	now      time.Time
	revision int64
}

const guardedTenants = 40 // of which ten may change at once

func newGuarded(t *testing.T) *guarded {
	t.Helper()
	g := &guarded{t: t, compiler: compile.NewCompiler(document.NewReader().Decode), now: time.Unix(1000, 0), revision: 1}
	changes := []compile.Change{{Key: "decks/a", Value: []byte(guardedDeck("a"))}, {Key: "decks/b", Value: []byte(guardedDeck("b"))}}
	for i := range guardedTenants {
		changes = append(changes, guardedTenant(i, "a"))
	}
	g.apply(compile.Update{Whole: true, Changes: changes})
	return g
}

func guardedDeck(name string) string {
	return `{"kind":"Deck","name":"` + name + `","domain":"` + name + `.example","attach":"mesh"}`
}

func guardedTenant(i int, deck string) compile.Change {
	return compile.Change{Key: fmt.Sprintf("tenants/t%02d", i), Value: fmt.Appendf(nil,
		`{"kind":"Tenant","name":"t%02d","hosts":["t%02d.example"],"rules":[{"name":"all","deck":"%s"}]}`, i, i, deck)}
}

func dropped(from, to int) (changes []compile.Change) {
	for i := from; i < to; i++ {
		changes = append(changes, compile.Change{Key: fmt.Sprintf("tenants/t%02d", i), Deleted: true})
	}
	return changes
}

func moved(from, to int, deck string) (changes []compile.Change) {
	for i := from; i < to; i++ {
		changes = append(changes, guardedTenant(i, deck))
	}
	return changes
}

func (g *guarded) apply(u compile.Update) {
	g.t.Helper()
	g.revision++
	u.Revision, u.At = g.revision, g.now
	g.table = routingtest.Compile(g.t, g.compiler, u)
}

// holds wants so many documents to be held; 0: none.
func (g *guarded) holds(want int) {
	g.t.Helper()
	got := 0
	if state := g.table.Guard(); state != nil {
		got = state.Documents
	}
	if got != want {
		g.t.Fatalf("%d documents are held, want %d", got, want)
	}
}

// serves wants a tenant's host at a deck; "": at none.
func (g *guarded) serves(i int, want string) {
	g.t.Helper()
	d := g.table.Decide(&routing.Request{Host: fmt.Appendf(nil, "t%02d.example", i), Method: []byte("GET"), Path: []byte("/")})
	got := ""
	if d.Deck != nil {
		got = d.Deck.Name
	}
	if got != want {
		g.t.Fatalf("tenant %d is at deck %q (%s), want %q", i, got, d.Fault, want)
	}
}

func TestAsManyTenantsAsTheLimitMayGoAtOnce(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: dropped(0, 10)})
	g.holds(0)
	g.serves(9, "")
}

func TestOneTenantMoreThanTheLimitHoldsThemAll(t *testing.T) {
	g := newGuarded(t)
	changes := append(dropped(0, 11), guardedTenant(99, "b"))
	g.apply(compile.Update{Changes: changes})
	g.holds(11)
	g.serves(0, "a")
	g.serves(99, "b") // other changes go on
	if g.table.Hash() == g.table.EffectiveHash() {
		t.Error("what is stored and what is in force have one hash")
	}
	g.apply(compile.Update{Accepted: g.revision})
	g.holds(0)
	g.serves(0, "")
}

func TestTenantsThatAreGivenUpAreToldWithTheirEpochs(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: []compile.Change{{Key: "tenants/t03", Value: []byte(`{"kind":"Tenant","name":"t03","epoch":7,"hosts":["t03.example"],"rules":[{"name":"all","deck":"b"}]}`)}}})
	g.now = g.now.Add(compile.GuardWindow)
	g.apply(compile.Update{Changes: append(dropped(0, 11), moved(11, 22, "b")...)})
	if given := g.table.GivenUp(); len(given) > 0 {
		t.Errorf("given up while they are held: %v", given)
	}
	g.apply(compile.Update{Accepted: g.revision})
	g.serves(3, "")
	given := g.table.GivenUp()
	if len(given) != 11 || given["t03"] != 7 {
		t.Errorf("given up are %v; want the eleven that were dropped, t03 with epoch 7", given)
	}
	g.apply(compile.Update{Changes: moved(30, 31, "b")})
	if after := g.table.GivenUp(); len(after) != 11 {
		t.Errorf("another change made %v of it", after)
	}
}

func TestChangesWithinTheWindowCountTogether(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: moved(0, 6, "b")})
	g.holds(0)
	g.now = g.now.Add(compile.GuardWindow - time.Second)
	g.apply(compile.Update{Changes: moved(6, 11, "b")})
	g.holds(5)
	g.serves(5, "b")
	g.serves(6, "a")

	g = newGuarded(t)
	g.apply(compile.Update{Changes: moved(0, 6, "b")})
	g.now = g.now.Add(compile.GuardWindow)
	g.apply(compile.Update{Changes: moved(6, 11, "b")})
	g.holds(0)
	g.serves(6, "b")
}

func TestATenantThatMovedBackCountsNoMore(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: moved(0, 6, "b")})
	g.apply(compile.Update{Changes: moved(0, 6, "a")})
	g.apply(compile.Update{Changes: moved(6, 16, "b")})
	g.holds(0)
}

func TestAnEmptyListIsHeldHoweverFewTenantsThereWere(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Accepted: g.revision, Changes: dropped(2, guardedTenants)})
	g.serves(1, "a")
	g.apply(compile.Update{Whole: true})
	g.holds(4) // the decks too
	g.serves(0, "a")
	g.serves(1, "a")
}

func TestWritingBackWhatWasHeldDissolvesTheHold(t *testing.T) {
	g := newGuarded(t)
	hash, effective := g.table.Hash(), g.table.EffectiveHash()
	g.apply(compile.Update{Changes: moved(0, 20, "b")})
	g.holds(20)
	g.serves(3, "a")
	g.apply(compile.Update{Changes: moved(0, 20, "a")})
	g.holds(0)
	g.serves(3, "a")
	if g.table.Hash() != hash || g.table.EffectiveHash() != effective || len(g.table.Problems()) > 0 {
		t.Errorf("hashes %s %s, want %s %s; problems %v", g.table.Hash(), g.table.EffectiveHash(), hash, effective, g.table.Problems())
	}
}

// TestWhatWasHeldAndIsWrittenBackCountsNoMore writes back a mass change that was held, and goes on
// with changes of single tenants: they are not held for the sake of what never was in force.
func TestWhatWasHeldAndIsWrittenBackCountsNoMore(t *testing.T) {
	for _, mistake := range [][]compile.Change{moved(0, 20, "b"), dropped(0, 20)} {
		g := newGuarded(t)
		g.apply(compile.Update{Changes: mistake})
		g.holds(20)
		g.apply(compile.Update{Changes: moved(0, 20, "a")})
		g.holds(0)
		g.apply(compile.Update{Changes: moved(30, 31, "b")})
		g.holds(0)
		g.serves(30, "b")
		g.apply(compile.Update{Changes: moved(0, 9, "b")}) // with that one the limit
		g.holds(0)
		g.apply(compile.Update{Changes: moved(9, 10, "b")})
		g.holds(1)
	}
}

func TestDecksThatGoWithTheirTenantsAreHeldToo(t *testing.T) {
	g := newGuarded(t)
	changes := append(dropped(0, guardedTenants), compile.Change{Key: "decks/a", Deleted: true})
	g.apply(compile.Update{Changes: changes})
	g.holds(guardedTenants + 1)
	g.serves(7, "a")
}

func TestWhatIsHeldSurvivesARestart(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: dropped(0, guardedTenants)})
	sections, err := g.compiler.Checkpoint().Sections()
	if err != nil {
		t.Fatal(err)
	}
	g.compiler = compile.NewCompiler(document.NewReader().Decode)
	if g.table, err = g.compiler.Restore(sections); err != nil {
		t.Fatal(err)
	}
	g.holds(guardedTenants)
	g.serves(7, "a")
	g.apply(compile.Update{Accepted: g.revision})
	g.holds(0)
	g.serves(7, "")
}

func TestAnOlderAcceptanceReleasesWhatIsAsOld(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: moved(0, 20, "b")})
	first := g.revision
	g.apply(compile.Update{Changes: moved(20, 22, "b")})
	g.holds(22)
	g.apply(compile.Update{Accepted: first})
	g.holds(2)
	g.serves(3, "b")
	g.serves(20, "a")
}

func TestAHoldCanBeAcceptedAfterItsSourceWasReplaced(t *testing.T) {
	g := newGuarded(t)
	g.apply(compile.Update{Changes: dropped(0, 20)})
	g.holds(20)
	g.revision = 1 // another cluster, that counts from the start
	whole := moved(20, guardedTenants, "a")
	whole = append(whole, compile.Change{Key: "decks/a", Value: []byte(guardedDeck("a"))}, compile.Change{Key: "decks/b", Value: []byte(guardedDeck("b"))})
	g.apply(compile.Update{Whole: true, SourceChanged: true, Changes: whole})
	g.holds(20)
	g.apply(compile.Update{Accepted: g.table.Guard().Revision})
	g.holds(0)
	g.serves(3, "")
}

// TestWhatAnotherSourceDoesNotHaveIsHeldHoweverLittle lists a source without a few documents: of the
// same source that is a deletion like any other, of a restored one they may have been lost.
func TestWhatAnotherSourceDoesNotHaveIsHeldHoweverLittle(t *testing.T) {
	deckA, deckB := compile.Change{Key: "decks/a", Value: []byte(guardedDeck("a"))}, compile.Change{Key: "decks/b", Value: []byte(guardedDeck("b"))}
	otherB := compile.Change{Key: "decks/b", Value: []byte(`{"kind":"Deck","name":"b","domain":"elsewhere.example","attach":"mesh"}`), Created: 7}
	list := func(tenants []compile.Change, decks ...compile.Change) compile.Update {
		return compile.Update{Whole: true, SourceChanged: true, Changes: append(tenants, decks...)}
	}
	same := list(moved(1, guardedTenants, "a"), deckA, deckB)
	same.SourceChanged = false
	cases := map[string]struct {
		update compile.Update
		held   int
		first  string // deck of the first tenant
		last   string // and of the last
	}{
		"all is there":               {list(moved(0, guardedTenants, "a"), deckA, deckB), 0, "a", "a"},
		"a tenant is not":            {list(moved(1, guardedTenants, "a"), deckA, deckB), 1, "a", "a"},
		"a few are not":              {list(moved(3, guardedTenants, "a"), deckA, deckB), 3, "a", "a"},
		"a deck is not":              {list(moved(0, guardedTenants, "a"), deckA), 1, "a", "a"},
		"a deck is another":          {list(moved(0, guardedTenants, "a"), deckA, otherB), 1, "a", "a"},
		"a deck of all is not":       {list(append(moved(1, guardedTenants, "a"), guardedTenant(0, "b")), deckB), 2, "a", "a"},
		"others moved":               {list(append(moved(1, guardedTenants-1, "a"), guardedTenant(39, "b")), deckA, deckB), 1, "a", "b"},
		"the same source, without a": {same, 0, "", "a"},
	}
	for name, of := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t)
			g.apply(of.update)
			g.holds(of.held)
			g.serves(0, of.first)
			g.serves(39, of.last)
			relisted := of.update
			relisted.SourceChanged = false
			g.apply(relisted)
			g.holds(of.held)
			if of.held == 0 {
				return
			}
			again := list(append(moved(0, 39, "a"), guardedTenant(39, of.last)), deckA, deckB)
			again.SourceChanged = false
			g.apply(again)
			g.holds(0)
			g.apply(of.update)
			g.apply(compile.Update{Accepted: g.table.Guard().Revision})
			g.holds(0)
		})
	}
}

func TestWithoutAClockNothingIsHeld(t *testing.T) {
	g := newGuarded(t)
	g.now = time.Time{}
	g.apply(compile.Update{Changes: dropped(0, guardedTenants)})
	g.holds(0)
	g.serves(7, "")
}

// TestAWipeThatIsUndoneLeavesNobodyBehind has a tenant change, and all be wiped, between two looks of
// a router, and the wipe be undone, in two transactions: the tenant returns in its newest form, and no
// other change is in force that it could be one of many with. Other changes are held as before.
func TestAWipeThatIsUndoneLeavesNobodyBehind(t *testing.T) {
	wiped := func() *guarded {
		g := newGuarded(t)
		g.apply(compile.Update{Changes: dropped(0, guardedTenants)})
		g.holds(guardedTenants)
		return g
	}
	g := wiped()
	g.apply(compile.Update{Changes: append(moved(0, 3, "b"), moved(3, 20, "a")...)})
	g.serves(0, "b")
	g.holds(20)
	g.apply(compile.Update{Changes: moved(20, guardedTenants, "a")})
	g.holds(0)
	g.serves(0, "b")
	g.serves(30, "a")

	g = wiped() // and comes back on another deck: ten may, the others are held
	for i := range guardedTenants {
		g.apply(compile.Update{Changes: moved(i, i+1, "b")})
	}
	g.holds(guardedTenants - 10)
	g.serves(9, "b")
	g.serves(10, "a")

	g = wiped() // the same in one transaction
	g.apply(compile.Update{Changes: moved(0, guardedTenants, "b")})
	g.holds(guardedTenants)
	g.serves(0, "a")

	g = wiped() // and in two: the second is no smaller for it
	g.apply(compile.Update{Changes: moved(0, 35, "b")})
	g.apply(compile.Update{Changes: moved(35, guardedTenants, "b")})
	g.holds(guardedTenants)
	g.serves(39, "a")

	g = newGuarded(t) // the rest of a wipe in parts is held with it
	g.apply(compile.Update{Changes: dropped(0, 35)})
	g.apply(compile.Update{Changes: append(dropped(35, 38), moved(38, 39, "b")...)})
	g.holds(39)
	g.serves(38, "a")
}
