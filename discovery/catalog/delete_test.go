package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
)

func TestADeckThatIsReferredToIsNotDeleted(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("old") + deck("new") + tenant("acme", "a.example", "key: {header: x}, pins: true, split: {new: 1}"))
	f := func(text, undo, words string) {
		t.Helper()
		g.apply(text)
		_, err := g.PlanDelete(g.ctx, "decks/old", catalog.DeleteOptions{})
		g.wantRefusal(err, "one document refers to it: "+words, "--force")
		g.apply(undo)
	}
	plain := tenant("acme", "a.example", "key: {header: x}, pins: true, split: {new: 1}")
	f(tenant("acme", "a.example", "deck: old"), plain, "tenant acme (rules[0].deck)")
	f(tenant("acme", "a.example", "key: {header: x}, split: {new: 1, old: 0}"), plain, "tenant acme (rules[0].split.old)")
	f(tenant("acme", "a.example", "key: {header: x}, split: {new: 1}, missing: old"), plain, "tenant acme (rules[0].missing)")
	f(tenant("acme", "a.example", "key: {header: x}, ranges: [{from: 1, to: 1, deck: old}]"), plain, "tenant acme (rules[0].ranges[0].deck)")
	f(deck("new", "standby: old"), deck("new"), "deck new (standby)")
	f(pin("acme", "1", "old"), pin("acme", "1", "new"), "pin acme/1 (deck)")
	g.delete("decks/old", catalog.DeleteOptions{})
	if g.value("docs/decks/old") != "" {
		t.Error("the deck is still there")
	}
}

func TestReferrersAreListedAndForceDeletesAnyway(t *testing.T) {
	g := newGrid(t)
	var text strings.Builder
	text.WriteString(deck("old"))
	for i := range 8 {
		text.WriteString(tenant(fmt.Sprintf("t%d", i), fmt.Sprintf("t%d.example", i), "deck: old"))
	}
	g.apply(text.String())
	_, err := g.PlanDelete(g.ctx, "decks/old", catalog.DeleteOptions{})
	g.wantRefusal(err, "8 documents refer to it: tenant t0 (rules[0].deck), tenant t1", "and 3 more")
	plan := g.delete("decks/old", catalog.DeleteOptions{Force: true})
	if len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "deck_down") {
		t.Errorf("the plan notes %q", plan.Notes)
	}
	if g.value("docs/decks/old") != "" {
		t.Error("the deck is still there")
	}
}

func TestWhoBeginsToReferToADeckMeanwhileStopsItsDeletion(t *testing.T) {
	g := newGrid(t)
	f := func(text, words string) {
		t.Helper()
		g.apply(deck("old") + deck("new") + tenant("acme", "a.example", "key: {header: x}, pins: true, split: {new: 1}"))
		plan, err := g.PlanDelete(g.ctx, "decks/old", catalog.DeleteOptions{})
		if err != nil {
			t.Fatal(err)
		}
		g.apply(text)
		_, err = g.Apply(g.ctx, plan, nil)
		g.wantConflict(err, words)
	}
	f(tenant("acme", "a.example", "deck: old"), "tenant acme was changed")
	f(pin("acme", "1", "old"), "was c")
	g.drop("docs/pins/acme/1")
	f(deck("new", "standby: old"), "deck new was changed")
	f(tenant("globex", "b.example", "deck: old"), "tenant globex was created")
}

func TestADeckDeletedMeanwhileStopsWhoRefersToIt(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("old") + deck("new") + tenant("acme", "a.example", "deck: new"))
	plan := g.plan(tenant("acme", "a.example", "deck: old"))
	g.delete("decks/old", catalog.DeleteOptions{})
	_, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "deck old was deleted")
}

func TestADocumentThatNamesManyDecksReliesUponAllOfThem(t *testing.T) {
	g := newGrid(t)
	var decks, split strings.Builder
	for i := range 200 {
		name := fmt.Sprintf("d%03d", i)
		decks.WriteString(deck(name))
		fmt.Fprintf(&split, "%s: 1, ", name)
	}
	text := tenant("acme", "a.example", "key: {header: x}, split: {"+split.String()+"}")
	g.apply(decks.String())
	deleted := g.plan(text)
	g.delete("decks/d150", catalog.DeleteOptions{})
	_, err := g.Apply(g.ctx, deleted, nil)
	g.wantConflict(err, "decks/d150")
	g.apply(decks.String())
	changed := g.plan(text)
	g.apply(deck("d150", draining))
	_, err = g.Apply(g.ctx, changed, nil)
	g.wantConflict(err, "deck d150 was changed")
	g.apply(decks.String() + text)
}

func TestATenantsPinsGoWithItOnlyIfAskedFor(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example *.b.example", splitRule) + pin("acme", "1", "east-1") + pin("acme", "2", "east-1"))
	g.apply(tenant("acme-2", "c.example", splitRule) + pin("acme-2", "1", "east-1"))
	_, err := g.PlanDelete(g.ctx, "tenants/acme", catalog.DeleteOptions{})
	g.wantRefusal(err, "has 2 pins", "--with-pins")
	plan := g.delete("tenants/acme", catalog.DeleteOptions{WithPins: true})
	if plan.Transactions != 1 {
		t.Errorf("the deletion takes %d transactions", plan.Transactions)
	}
	if g.value("docs/pins/acme/1") != "" || g.value("docs/pins/acme/2") != "" || g.value("docs/tenants/acme") != "" {
		t.Error("something is left")
	}
	if g.value("docs/pins/acme-2/1") == "" {
		t.Error("another tenant's pin is gone")
	}
	g.holds("a.example", "")
	g.holds("*.b.example", "")
}

func TestAnInterruptedDeletionOfATenantFinishesWhenRunAgain(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.importPins("acme", rows(0, 3_000, "east-1"))
	plan, err := g.PlanDelete(g.ctx, "tenants/acme", catalog.DeleteOptions{WithPins: true})
	if err != nil {
		t.Fatal(err)
	}
	result, err := g.applyInterrupted(plan, 2)
	if err == nil || len(result.Unwritten) != 1 {
		t.Fatalf("the deletion was not interrupted: %+v, %v", result, err)
	}
	if g.value("docs/tenants/acme") != "" {
		t.Error("the tenant outlives some of its pins")
	}
	_, err = g.PlanDelete(g.ctx, "tenants/acme", catalog.DeleteOptions{})
	if !errors.Is(err, catalog.ErrNotFound) || !strings.Contains(err.Error(), "--with-pins") {
		t.Errorf("the pins that are left are told as %v", err)
	}
	if notes := g.plan(tenant("acme", "a.example", splitRule)).Notes; len(notes) != 1 || !strings.Contains(notes[0], "left behind") {
		t.Errorf("a tenant that finds pins is told %q", notes)
	}
	g.delete("tenants/acme", catalog.DeleteOptions{WithPins: true})
	for _, key := range g.all() {
		if strings.HasPrefix(key, "docs/pins/") {
			t.Fatalf("%s is left", key)
		}
	}
}

func TestAPinThatComesMeanwhileStopsTheDeletionOfItsTenant(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	plan, err := g.PlanDelete(g.ctx, "tenants/acme", catalog.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	g.apply(pin("acme", "1", "east-1"))
	_, err = g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "acme")
}

func TestATenantDeletedMeanwhileTakesNoPins(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	plan := g.plan(pin("acme", "1", "east-1"))
	g.delete("tenants/acme", catalog.DeleteOptions{})
	_, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "tenant acme was deleted")
}

func TestWhatDoesNotExistIsNotFound(t *testing.T) {
	g := newGrid(t)
	for _, key := range []string{"decks/a", "tenants/a", "gslb/a.example", "pins/a/1"} {
		if _, err := g.PlanDelete(g.ctx, key, catalog.DeleteOptions{}); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("deleting %s: %v", key, err)
		}
		if _, err := g.Get(g.ctx, key); !errors.Is(err, catalog.ErrNotFound) {
			t.Errorf("getting %s: %v", key, err)
		}
	}
}

func TestAPinOfABadTenantStaysUntilTheTenantIsMended(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule) + pin("acme", "1", "east-1"))
	bad := `{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":2,"colour":"red"}`
	g.put("docs/tenants/acme", bad)
	_, err := g.PlanDelete(g.ctx, "pins/acme/1", catalog.DeleteOptions{})
	g.wantRefusal(err, `tenant "acme" in etcd is bad`)
	g.refuses(pin("acme", "2", "east-1"), `tenant "acme" in etcd is bad`)
	if g.value("docs/tenants/acme") != bad {
		t.Error("the bad tenant was written")
	}
	// With a good document beside it, or of a tenant that is gone, it works.
	g.apply(tenant("acme", "a.example", splitRule) + pin("acme", "2", "east-1"))
	g.drop("docs/tenants/acme")
	g.delete("pins/acme/1", catalog.DeleteOptions{})
	if g.value("docs/pins/acme/1") != "" {
		t.Error("the pin is still there")
	}
}

func TestAGslbDocumentIsDeleted(t *testing.T) {
	g := newGrid(t)
	g.apply("kind: Gslb\nname: west.deck.example\nvips: [{address: 10.9.0.1}]\n")
	g.delete("gslb/west.deck.example", catalog.DeleteOptions{})
	if g.value("docs/gslb/west.deck.example") != "" {
		t.Error("it is still there")
	}
}
