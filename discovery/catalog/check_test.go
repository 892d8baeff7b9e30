package catalog_test

import (
	"errors"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
)

func TestCheckLooksAcrossDocumentsWithoutEtcd(t *testing.T) {
	f := func(text string, wants ...string) {
		t.Helper()
		docs, err := catalog.NewReader().ReadFile("grid.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		errs := catalog.Check(docs)
		if len(errs) != len(wants) {
			t.Errorf("got %d errors, want %d:\n%v", len(errs), len(wants), errors.Join(errs...))
			return
		}
		for i, want := range wants {
			if !strings.Contains(errs[i].Error(), want) {
				t.Errorf("error %d is\n%v\nand does not say\n%s", i, errs[i], want)
			}
			var refusal *catalog.ReasonError
			if !errors.As(errs[i], &refusal) || !strings.HasPrefix(refusal.Place, "grid.yaml:") || refusal.Key == "" {
				t.Errorf("error %d has no place or key: %#v", i, errs[i])
			}
		}
	}
	good := twoDecks + tenant("acme", "a.example", splitRule) + pin("acme", "1", "east-1")
	f(good)
	f(good+pin("acme", "1", "east-2"), "pins/acme/1: is given twice, first at grid.yaml:21")
	f(good+pin("globex", "1", "east-2"), `pins/globex/1: tenant: there is no tenant "globex"`)
	f(good+pin("acme", "2", "east-3"), `pins/acme/2: deck: there is no deck "east-3"; did you mean "east-1"?`)
	f(good+tenant("globex", "a.example", all), `tenants/globex: hosts[0]: "a.example" belongs to tenant "acme" already (grid.yaml:14)`)
	f(good+tenant("globex", "*.example", all), `tenants/acme: hosts[0]: "a.example" lies under "*.example" of tenant "globex" (grid.yaml:23)`)
	f(good + tenant("globex", "*.example", all, delegates("a.example")))
	f(good+deck("lost", "standby: nowhere"), `decks/lost: standby: there is no deck "nowhere"`)
	// A mesh deck's name may be resolved elsewhere.
	f("kind: Deck\nname: west\ndomain: west.deck.example\nattach: mesh\n")
	// What is wrong with a document by itself is not told again, nor is what follows from it.
	f("kind: Deck\nname: bad\ndomain: bad.example\nattach: nowhere\n" + tenant("acme", "a.example", "deck: bad"))
	// Nothing can be said of what is new on a draining deck.
	f(deck("east-1", draining) + tenant("acme", "a.example", all))
}
