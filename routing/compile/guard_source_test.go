package compile_test

import (
	"testing"

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
