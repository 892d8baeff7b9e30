package compile_test

import (
	"fmt"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

// guardedDecks are the decks of [newGuarded], the second in another form if there is one.
func guardedDecks(other string) []compile.Change {
	b := guardedDeck("b")
	if other != "" {
		b = `{"kind":"Deck","name":"b","domain":"` + other + `","attach":"mesh"}`
	}
	return []compile.Change{{Key: "decks/a", Value: []byte(guardedDeck("a"))}, {Key: "decks/b", Value: []byte(b)}}
}

// lists applies the whole list of another source.
func (g *guarded) lists(tenants, decks []compile.Change) {
	g.t.Helper()
	g.apply(compile.Update{Whole: true, SourceChanged: true, Changes: append(tenants, decks...)})
}

// deckIs wants the deck b to have a domain.
func (g *guarded) deckIs(want string) {
	g.t.Helper()
	for _, deck := range g.table.Decks() {
		if deck.Name == "b" && deck.Domain != want {
			g.t.Fatalf("the deck has the domain %s, want %s", deck.Domain, want)
		}
	}
}

// restart goes on from a snapshot.
func (g *guarded) restart() {
	g.t.Helper()
	sections, err := g.compiler.Checkpoint().Sections()
	if err != nil {
		g.t.Fatal(err)
	}
	hash, effective := g.table.Hash(), g.table.EffectiveHash()
	g.compiler = compile.NewCompiler(document.NewReader().Decode)
	if g.table, err = g.compiler.Restore(sections); err != nil {
		g.t.Fatal(err)
	}
	if g.table.Hash() != hash || g.table.EffectiveHash() != effective {
		g.t.Fatalf("after a restart hashes are %s %s, before %s %s", g.table.Hash(), g.table.EffectiveHash(), hash, effective)
	}
}

func TestAnotherFormOfADeckIsHeldBesideAMassLoss(t *testing.T) {
	g := newGuarded(t)
	g.lists(moved(20, guardedTenants, "a"), guardedDecks("elsewhere.example"))
	g.holds(21)
	g.deckIs("b.example")
}

func TestAHeldFormOfADeckStaysHeldAcrossAnotherRestore(t *testing.T) {
	g := newGuarded(t)
	g.lists(moved(0, guardedTenants, "a"), guardedDecks("elsewhere.example"))
	g.holds(1)
	g.restart()
	again := guardedDecks("elsewhere.example")
	again[1].Created = 17
	g.lists(moved(0, guardedTenants, "a"), again)
	g.holds(1)
	g.deckIs("b.example")
	g.restart()
	g.deckIs("b.example")
	fresh := compile.NewCompiler(document.NewReader().Decode)
	never, err := fresh.Compile(compile.Update{Whole: true, Revision: 1, At: g.now, Changes: append(moved(0, guardedTenants, "a"), guardedDecks("elsewhere.example")...)})
	if err != nil || never.Hash() != g.table.Hash() || never.EffectiveHash() == g.table.EffectiveHash() {
		t.Errorf("hashes %s %s, of a router that never held %s %s; %v", g.table.Hash(), g.table.EffectiveHash(), never.Hash(), never.EffectiveHash(), err)
	}
	g.apply(compile.Update{Accepted: g.table.Guard().Revision})
	g.holds(0)
	g.deckIs("elsewhere.example")
	if never.Hash() != g.table.Hash() || never.EffectiveHash() != g.table.EffectiveHash() || len(g.table.Problems()) > 0 {
		t.Errorf("accepted: hashes %s %s, of a router that never held %s %s; %v", g.table.Hash(), g.table.EffectiveHash(), never.Hash(), never.EffectiveHash(), g.table.Problems())
	}
}

func TestAHoldThatARestoreEndsLeavesNothing(t *testing.T) {
	g := newGuarded(t)
	hash, effective := g.table.Hash(), g.table.EffectiveHash()
	g.lists(moved(3, guardedTenants, "a"), guardedDecks("elsewhere.example"))
	g.holds(4)
	g.restart()
	g.lists(moved(0, guardedTenants, "a"), guardedDecks(""))
	g.holds(0)
	g.serves(0, "a")
	g.deckIs("b.example")
	if g.table.Hash() != hash || g.table.EffectiveHash() != effective || len(g.table.Problems()) > 0 {
		t.Errorf("hashes %s %s, want %s %s; problems %v", g.table.Hash(), g.table.EffectiveHash(), hash, effective, g.table.Problems())
	}
}

// TestAHoldOfAnotherSourceNamesNoRevisionOfTheFormer loses many tenants with a source: the revision of the
// table in force is of the former one, and says nothing of when the loss began.
func TestAHoldOfAnotherSourceNamesNoRevisionOfTheFormer(t *testing.T) {
	g := newGuarded(t)
	g.lists(moved(20, guardedTenants, "a"), guardedDecks(""))
	if state := g.table.Guard(); state == nil || state.Before != 0 {
		t.Errorf("it tells %+v", state)
	}
	g = newGuarded(t)
	g.apply(compile.Update{Changes: dropped(0, 20)})
	g.lists(moved(20, guardedTenants, "a"), guardedDecks(""))
	if state := g.table.Guard(); state == nil || state.Before != 0 {
		t.Errorf("held before it was replaced, it tells %+v", state)
	}
}

// TestALossStaysHeldThroughAFaultOfOurOwn gives a compiler up while a few losses are held: the next one gets
// the same list, of a source that is no other to it.
func TestALossStaysHeldThroughAFaultOfOurOwn(t *testing.T) {
	g := newGuarded(t)
	g.lists(moved(1, guardedTenants, "a"), guardedDecks("elsewhere.example"))
	g.holds(2)
	next, err := g.compiler.Rebuilt()
	if err != nil {
		t.Fatal(err)
	}
	g.compiler = next
	g.apply(compile.Update{Whole: true, Changes: append(moved(1, guardedTenants, "a"), guardedDecks("elsewhere.example")...)})
	g.holds(2)
	g.serves(0, "a")
	g.deckIs("b.example")
}

// TestAFolderThatChangedWhileARouterWasDownIsTakenAsItIs starts anew on a folder: its revisions are counted
// anew, too, and it was neither restored nor is it another one.
func TestAFolderThatChangedWhileARouterWasDownIsTakenAsItIs(t *testing.T) {
	g := newGuarded(t)
	g.restart()
	changes := append(moved(3, guardedTenants, "a"), guardedDecks("elsewhere.example")...)
	g.apply(compile.Update{Whole: true, SourceChanged: true, MayLookEmpty: true, Origin: compile.OriginFiles, Changes: changes})
	g.holds(0)
	g.serves(0, "")
	g.deckIs("elsewhere.example")
}

func TestADeckInAnotherSpellingIsNoOtherForm(t *testing.T) {
	g := newGuarded(t)
	decks := guardedDecks("")
	decks[1].Value = []byte(`{"name":"b","kind":"Deck","attach":"mesh","domain":"b.example"}`)
	g.lists(moved(0, guardedTenants, "a"), decks)
	g.holds(0)
}

// claiming is a tenant with one host.
func claiming(name, host, deck string, created int64) compile.Change {
	return compile.Change{Key: "tenants/" + name, Created: created, Revision: created, Value: fmt.Appendf(nil,
		`{"kind":"Tenant","name":"%s","hosts":["%s"],"rules":[{"name":"all","deck":"%s"}]}`, name, host, deck)}
}

// TestATenantThatIsHeldKeepsItsHosts restores a source to before a tenant was made, where another one had its
// host: by that one's form the host would change its deck in the midst of the hold.
func TestATenantThatIsHeldKeepsItsHosts(t *testing.T) {
	cases := map[string]struct {
		former, lost compile.Change // at the host h.w.example, on the decks a and b
	}{
		"renamed":                      {claiming("x", "h.w.example", "a", 5), claiming("y", "h.w.example", "b", 9)},
		"under a wildcard of before":   {claiming("x", "*.w.example", "a", 5), claiming("y", "h.w.example", "b", 9)},
		"by a wildcard":                {claiming("x", "h.w.example", "a", 5), claiming("y", "*.w.example", "b", 9)},
		"a wildcard within a wildcard": {claiming("x", "*.example", "a", 5), claiming("y", "*.w.example", "b", 9)},
	}
	for name, of := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t)
			restored := append(moved(0, guardedTenants, "a"), of.former)
			g.apply(compile.Update{Changes: []compile.Change{of.lost}})
			g.servesHost("h.w.example", "b")
			g.lists(restored, guardedDecks(""))
			g.holds(1)
			g.servesHost("h.w.example", "b")
			g.restart()
			g.servesHost("h.w.example", "b")
			g.lists(append(moved(0, guardedTenants, "a"), of.former), guardedDecks(""))
			g.servesHost("h.w.example", "b")
			g.apply(compile.Update{Changes: []compile.Change{of.lost}}) // back: then age decides again
			g.holds(0)
			never := compile.NewCompiler(document.NewReader().Decode)
			both := append(append(moved(0, guardedTenants, "a"), of.former, of.lost), guardedDecks("")...)
			table, err := never.Compile(compile.Update{Whole: true, Revision: 1, Changes: both})
			if err != nil || table.EffectiveHash() != g.table.EffectiveHash() || table.Hash() != g.table.Hash() {
				t.Errorf("back, it has the effective hash %s, one that never held %s; %v; problems %v, %v", g.table.EffectiveHash(), table.EffectiveHash(), err, g.table.Problems(), table.Problems())
			}
			g.lists(append(moved(0, guardedTenants, "a"), of.former), guardedDecks(""))
			g.holds(1)
			g.apply(compile.Update{Accepted: g.table.Guard().Revision})
			g.holds(0)
			g.servesHost("h.w.example", "a")
		})
	}
}

// servesHost wants a host at a deck.
func (g *guarded) servesHost(host, want string) {
	g.t.Helper()
	d := g.table.Decide(&routing.Request{Host: []byte(host), Method: []byte("GET"), Path: []byte("/")})
	if d.Deck == nil || d.Deck.Name != want {
		g.t.Fatalf("%s is at %v (%s), want %s; problems %v", host, d.Deck, d.Fault, want, g.table.Problems())
	}
}
