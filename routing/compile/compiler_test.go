package compile_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestBadTenantKeepsItsLastGoodFormAndStopsNobody(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"), routingtest.TenantYAML("globex", "west", "globex.example"))
	before := g.Table.EffectiveHash()
	hash := g.Table.Hash()
	g.Raw("tenants/acme", `{"kind":"Tenant","name":"acme","hosts":["other.example"],"rules":[]}`)
	g.Want("GET acme.example/", "east")
	g.Want("GET other.example/", "no_tenant")
	g.Want("GET globex.example/", "west")
	g.WantProblems("tenants/acme bad_document")
	if g.Table.EffectiveHash() != before {
		t.Error("the effective hash changed, though what is in force did not")
	}
	if g.Table.Hash() == hash {
		t.Error("the hash leaves out a bad value")
	}
	if p := g.Table.Problems()[0]; p.Origin != "etcd" || p.Revision != g.Revision || !strings.Contains(p.Message, "rules") {
		t.Errorf("the problem does not say where and what: %+v", p)
	}
	g.Put(routingtest.TenantYAML("acme", "west", "acme.example"))
	g.Want("GET acme.example/", "west")
	g.WantProblems("")
}

func TestTenantThatNeverWasGoodAnswersTenantInvalid(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks)
	g.Raw("tenants/acme", `{"kind":"Tenant","name":"acme","hosts":["acme.example","Bad Host"],"rules":[]}`)
	g.Want("GET acme.example/", "tenant_invalid")
	g.Raw("tenants/globex", `garbage`)
	g.WantProblems("tenants/acme bad_document, tenants/globex bad_document")
	g.Delete("tenants/acme", "tenants/globex")
	g.Want("GET acme.example/", "no_tenant")
	g.WantProblems("")
}

func TestBadDeckKeepsItsLastGoodForm(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"))
	g.Raw("decks/east", `{"kind":"Deck","name":"east","domain":"x"}`)
	g.Want("GET acme.example/", "east")
	g.WantProblems("decks/east bad_document")
}

func TestUnknownDeckIsHeldUntilItExists(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"))
	g.Put(routingtest.TenantYAML("acme", "north", "acme.example", "more.example"))
	g.Want("GET acme.example/", "east")
	g.Want("GET more.example/", "no_tenant")
	g.WantProblems("tenants/acme unknown_deck")
	g.Put(routingtest.DeckYAML("north", ""))
	g.Want("GET acme.example/", "north")
	g.Want("GET more.example/", "north")
	g.WantProblems("")
}

func TestDeletedDeckGivesDeckDownNeverNotFound(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"))
	g.Delete("decks/east")
	g.Want("GET acme.example/", "deck_down")
	g.WantProblems("tenants/acme unknown_deck")
	if got := routingtest.Outcome(g.Fresh().Decide(routingtest.Request(t, "GET acme.example/"))); got != "deck_down" {
		t.Errorf("a router that starts says %s", got)
	}
	g.Put(routingtest.TwoDecks)
	g.Want("GET acme.example/", "east")
	g.WantProblems("")
}

func TestNewTenantMayNameDecksThatDoNotExistYet(t *testing.T) {
	g := routingtest.NewGrid(t, `
kind: Tenant
name: acme
hosts: [acme.example]
rules:
  - {name: tools, match: {path: /tools}, deck: nowhere}
  - {name: all, deck: east}
`, routingtest.TwoDecks)
	g.Want("GET acme.example/tools", "deck_down")
	g.Want("GET acme.example/", "east")
	g.WantProblems("tenants/acme unknown_deck")
}

func TestValuesOfOtherKindsAreCountedInTheHashAlone(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks)
	hash := g.Table.Hash()
	g.Raw("nonsense/x", `{}`)
	g.WantProblems("nonsense/x bad_document")
	if g.Table.Hash() == hash {
		t.Error("the hash leaves out a stored pair")
	}
	g.Delete("nonsense/x")
	if g.Table.Hash() != hash || g.Problems() != "" {
		t.Error("a deleted pair leaves traces")
	}
}

func TestFaultsOfTheSourceAreProblems(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks)
	fault := routing.Problem{Origin: "broken.yaml", Code: routing.ProblemUnreadable, Message: "no"}
	table := routingtest.Compile(t, g.Compiler, compile.Update{Revision: 9, Faults: []routing.Problem{fault}})
	if len(table.Problems()) != 1 || table.Problems()[0] != fault {
		t.Errorf("%+v", table.Problems())
	}
	if table = routingtest.Compile(t, g.Compiler, compile.Update{Revision: 10}); len(table.Problems()) != 0 {
		t.Errorf("%+v", table.Problems())
	}
}

func TestPublishedTablesNeverChange(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant, routingtest.PinYAML("7", "west"))
	old := g.Table
	g.Put(routingtest.DeckYAML("west", "state: down"), routingtest.PinYAML("7", "east"), routingtest.TenantYAML("new", "west", "*.new.example", "new.example"))
	g.Delete("decks/east", "tenants/acme")
	f := func(text, want string) {
		t.Helper()
		if got := routingtest.Outcome(old.Decide(routingtest.Request(t, text))); got != want {
			t.Errorf("the old table says %s of %q, want %s", got, text, want)
		}
	}
	f("GET acme.example/\nx-user-id: 7", "west")
	f("GET acme.example/\nx-user-id: 8", "east")
	f("GET new.example/", "no_tenant")
	f("GET x.new.example/", "no_tenant")
}

// TestAnyOrderOfChangesGivesTheSameTable writes random documents, one at a time, and
// compares with a compiler that reads everything at once: hashes, problems, decisions.
func TestAnyOrderOfChangesGivesTheSameTable(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	hosts := []string{"a.example", "b.example", "*.a.example", "x.a.example", "*.x.a.example", "y.x.a.example", "*.example"}
	g := routingtest.NewGrid(t, routingtest.DeckYAML("deck-0", ""), routingtest.DeckYAML("deck-1", ""), routingtest.DeckYAML("deck-2", ""), routingtest.DeckYAML("deck-3", ""))
	compared := 0
	for step := range 600 {
		deck := fmt.Sprintf("deck-%d", r.IntN(4))
		name := fmt.Sprintf("t-%d", r.IntN(5))
		switch r.IntN(8) {
		case 0:
			if r.IntN(8) == 0 {
				g.Delete("decks/" + deck)
			}
		case 1, 2:
			g.Put(routingtest.DeckYAML(deck, []string{"", "state: down", "state: draining", "standby: deck-9"}[r.IntN(4)]))
		case 3:
			g.Delete("tenants/" + name)
		case 4, 5, 6:
			own := hosts[r.IntN(len(hosts))]
			text := routingtest.TenantYAML(name, deck, own)
			if strings.HasPrefix(own, "*.") && r.IntN(2) == 0 {
				text += "delegates: [\"x." + own[2:] + "\"]\n"
			}
			g.Put(text)
		case 7:
			g.Put(fmt.Sprintf("kind: Pin\ntenant: %s\nkey: \"%d\"\ndeck: %s\n", name, r.IntN(3), deck))
		}
		fresh := g.Fresh()
		if g.Table.Hash() != fresh.Hash() {
			t.Fatalf("step %d: hash %s, fresh %s", step, g.Table.Hash(), fresh.Hash())
		}
		again := routingtest.Compile(t, g.Compiler, g.Whole())
		if again.Hash() != g.Table.Hash() || again.EffectiveHash() != g.Table.EffectiveHash() {
			t.Fatalf("step %d: the same list again changes the hashes", step)
		}
		if slices.ContainsFunc(g.Table.Problems(), func(p routing.Problem) bool {
			return p.Code == routing.ProblemUnknownDeck && !strings.HasPrefix(p.Key, "decks/")
		}) {
			continue // a tenant or pin names an unknown deck: what is in force depends on what came before
		}
		compared++
		if g.Table.EffectiveHash() != fresh.EffectiveHash() {
			t.Fatalf("step %d: effective hashes differ", step)
		}
		for _, host := range hosts {
			text := "GET " + strings.Replace(host, "*", "w", 1) + "/"
			if got, want := g.Deck(text), routingtest.Outcome(fresh.Decide(routingtest.Request(t, text))); got != want {
				t.Fatalf("step %d: %s -> %s, fresh %s", step, text, got, want)
			}
		}
	}
	if compared < 100 {
		t.Errorf("only %d of 600 steps were compared in full", compared)
	}
}
