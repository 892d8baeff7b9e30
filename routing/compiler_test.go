package routing_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/routing"
)

func TestBadTenantKeepsItsLastGoodFormAndStopsNobody(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"), tenant("globex", "west", "globex.example"))
	before := g.table.EffectiveHash()
	hash := g.table.Hash()
	g.raw("tenants/acme", `{"kind":"Tenant","name":"acme","hosts":["other.example"],"rules":[]}`)
	g.want("GET acme.example/", "east")
	g.want("GET other.example/", "no_tenant")
	g.want("GET globex.example/", "west")
	g.wantProblems("tenants/acme bad_document")
	if g.table.EffectiveHash() != before {
		t.Error("the effective hash changed, though what is in force did not")
	}
	if g.table.Hash() == hash {
		t.Error("the hash leaves out a bad value")
	}
	if p := g.table.Problems()[0]; p.Origin != "etcd" || p.Revision != g.revision || !strings.Contains(p.Message, "rules") {
		t.Errorf("the problem does not say where and what: %+v", p)
	}
	g.put(tenant("acme", "west", "acme.example"))
	g.want("GET acme.example/", "west")
	g.wantProblems("")
}

func TestTenantThatNeverWasGoodAnswersTenantInvalid(t *testing.T) {
	g := newGrid(t, twoDecks)
	g.raw("tenants/acme", `{"kind":"Tenant","name":"acme","hosts":["acme.example","Bad Host"],"rules":[]}`)
	g.want("GET acme.example/", "tenant_invalid")
	g.raw("tenants/globex", `garbage`)
	g.wantProblems("tenants/acme bad_document, tenants/globex bad_document")
	g.del("tenants/acme", "tenants/globex")
	g.want("GET acme.example/", "no_tenant")
	g.wantProblems("")
}

func TestBadDeckKeepsItsLastGoodForm(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"))
	g.raw("decks/east", `{"kind":"Deck","name":"east","domain":"x"}`)
	g.want("GET acme.example/", "east")
	g.wantProblems("decks/east bad_document")
}

func TestUnknownDeckIsHeldUntilItExists(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"))
	g.put(tenant("acme", "north", "acme.example", "more.example"))
	g.want("GET acme.example/", "east")
	g.want("GET more.example/", "no_tenant")
	g.wantProblems("tenants/acme unknown_deck")
	g.put(deckDocument("north", ""))
	g.want("GET acme.example/", "north")
	g.want("GET more.example/", "north")
	g.wantProblems("")
}

func TestDeletedDeckGivesDeckDownNeverNotFound(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"))
	g.del("decks/east")
	g.want("GET acme.example/", "deck_down")
	g.wantProblems("tenants/acme unknown_deck")
	if got := outcome(g.fresh().Decide(request(t, "GET acme.example/"))); got != "deck_down" {
		t.Errorf("a router that starts says %s", got)
	}
	g.put(twoDecks)
	g.want("GET acme.example/", "east")
	g.wantProblems("")
}

func TestNewTenantMayNameDecksThatDoNotExistYet(t *testing.T) {
	g := newGrid(t, `
kind: Tenant
name: acme
hosts: [acme.example]
rules:
  - {name: tools, match: {path: /tools}, deck: nowhere}
  - {name: all, deck: east}
`, twoDecks)
	g.want("GET acme.example/tools", "deck_down")
	g.want("GET acme.example/", "east")
	g.wantProblems("tenants/acme unknown_deck")
}

func TestDeckStates(t *testing.T) {
	f := func(deck, standby, want string) {
		t.Helper()
		g := newGrid(t, deckDocument("east", deck), deckDocument("west", standby), tenant("acme", "east", "acme.example"))
		g.want("GET acme.example/", want)
	}
	f("", "", "east")
	f("state: active", "", "east")
	f("state: draining", "", "east")
	f("state: down", "", "deck_down")
	f("state: down\nstandby: west", "", "west")
	f("state: down\nstandby: west", "state: draining", "west")
	f("state: down\nstandby: west", "state: down", "deck_down")
	f("state: down\nstandby: west", "state: down\nstandby: east", "deck_down") // one hop
	f("standby: west", "", "east")
	f("state: down\nstandby: nobody", "", "deck_down")
}

func TestDecisionUnderAStandbyNamesBothDecks(t *testing.T) {
	g := newGrid(t, deckDocument("east", "state: down\nstandby: west"), deckDocument("west", ""), tenant("acme", "east", "acme.example"))
	d := g.table.Decide(request(t, "GET acme.example/"))
	if d.Mapped.Name != "east" || d.Deck.Name != "west" {
		t.Errorf("mapped %s, served by %s", d.Mapped.Name, d.Deck.Name)
	}
}

func TestHostsExactBeatsWildcardAndLongerBeatsShorter(t *testing.T) {
	g := newGrid(t, twoDecks, deckDocument("north", ""),
		tenant("a", "east", "*.acme.example")+"delegates: [\"*.shop.acme.example\", www.acme.example]\n",
		tenant("b", "west", "*.shop.acme.example"),
		tenant("c", "north", "www.acme.example"))
	g.wantProblems("")
	g.want("GET x.acme.example/", "east")
	g.want("GET x.y.acme.example/", "east")
	g.want("GET x.shop.acme.example/", "west")
	g.want("GET a.b.shop.acme.example/", "west")
	g.want("GET shop.acme.example/", "east")
	g.want("GET www.acme.example/", "north")
	g.want("GET acme.example/", "no_tenant")
	g.want("GET xacme.example/", "no_tenant")
}

func TestOlderClaimKeepsAHost(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("zeta", "east", "shop.example"))
	g.put(tenant("alpha", "west", "shop.example", "alpha.example"))
	g.want("GET shop.example/", "east")
	g.want("GET alpha.example/", "west")
	g.wantProblems("tenants/alpha host_conflict")
	g.put(tenant("zeta", "east", "zeta.example"))
	g.want("GET shop.example/", "west")
	g.wantProblems("")
	if hosts := g.table.Hosts("alpha"); strings.Join(hosts, " ") != "alpha.example shop.example" {
		t.Error(hosts)
	}
}

func TestWithoutCreateRevisionsNamesDecideAboutHosts(t *testing.T) {
	g := newGrid(t)
	changes := g.changes(twoDecks, tenant("zeta", "east", "shop.example"), tenant("alpha", "west", "shop.example"))
	table := g.compiler.Compile(routing.Update{Whole: true, Revision: 1, Changes: changes})
	if got := outcome(table.Decide(request(t, "GET shop.example/"))); got != "west" {
		t.Errorf("%s serves, want alpha's west", got)
	}
}

func TestATenantThatNeverWasGoodTakesNoHostByItsNameAlone(t *testing.T) {
	g := newGrid(t)
	changes := g.changes(twoDecks, tenant("zeta", "east", "shop.example"))
	bad := routing.Change{Key: "tenants/alpha", Value: []byte(`{"kind":"Tenant","name":"alpha","hosts":["shop.example"],"rules":[]}`)}
	table := g.compiler.Compile(routing.Update{Whole: true, Revision: 1, Changes: append(changes, bad)})
	if got := outcome(table.Decide(request(t, "GET shop.example/"))); got != "east" {
		t.Errorf("%s serves, want zeta's east", got)
	}
	good := g.changes(tenant("alpha", "west", "shop.example"))
	table = g.compiler.Compile(routing.Update{Revision: 2, Changes: good})
	if got := outcome(table.Decide(request(t, "GET shop.example/"))); got != "west" {
		t.Errorf("%s serves, want alpha's west, now that it is good", got)
	}
}

func TestHostUnderAnotherTenantsWildcardMustBeDelegated(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "*.acme.example"))
	g.put(tenant("other", "west", "pay.acme.example", "other.example"))
	g.want("GET pay.acme.example/", "east")
	g.want("GET other.example/", "west")
	g.wantProblems("tenants/other host_not_delegated")
	g.put(tenant("acme", "east", "*.acme.example") + "delegates: [pay.acme.example]\n")
	g.want("GET pay.acme.example/", "west")
	g.wantProblems("")
	g.put(tenant("acme", "east", "*.acme.example"))
	g.want("GET pay.acme.example/", "east")
}

func TestAWildcardThatIsRefusedTakesNoHostsFromOthers(t *testing.T) {
	acme := tenant("acme", "east", "*.example") + "delegates: [pay.shop.example]\n"
	g := newGrid(t, twoDecks, acme)
	g.put(tenant("intruder", "east", "*.shop.example"))
	g.put(tenant("other", "west", "pay.shop.example"))
	g.want("GET pay.shop.example/", "west")
	g.want("GET x.shop.example/", "east")
	g.wantProblems("tenants/intruder host_not_delegated")
	g.put(tenant("acme", "east", "*.example") + "delegates: [\"*.shop.example\"]\n") // now it holds
	g.want("GET pay.shop.example/", "east")
	g.wantProblems("tenants/other host_not_delegated")
	g.put(acme)
	g.want("GET pay.shop.example/", "west")
}

func TestOlderHostStaysUnderAYoungerWildcard(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("other", "west", "pay.acme.example"))
	g.put(tenant("acme", "east", "*.acme.example"))
	g.want("GET pay.acme.example/", "west")
	g.want("GET x.acme.example/", "east")
	g.wantProblems("tenants/acme wildcard_contested")
}

func TestEpochIsNeverRewound(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example")+"epoch: 5\n")
	g.put(tenant("acme", "west", "acme.example") + "epoch: 4\n")
	g.want("GET acme.example/", "east")
	g.wantProblems("tenants/acme epoch_rewound")
	g.put(tenant("acme", "west", "acme.example") + "epoch: 5\n")
	g.want("GET acme.example/", "west")
	g.wantProblems("")
	g.del("tenants/acme")
	g.put(tenant("acme", "east", "acme.example"))
	g.want("GET acme.example/", "tenant_invalid") // the fence outlives the document
	g.wantProblems("tenants/acme epoch_rewound")
	if d := g.table.Decide(request(t, "GET acme.example/")); d.Tenant != "acme" {
		t.Errorf("tenant %q", d.Tenant)
	}
}

const pinnedTenant = `
kind: Tenant
name: acme
hosts: [acme.example]
rules:
  - {name: users, key: {header: x-user-id}, pins: true, split: {east: 1}}
`

func pin(key, deck string) string {
	return fmt.Sprintf("kind: Pin\ntenant: acme\nkey: %q\ndeck: %s\n", key, deck)
}

func TestPinsGoFirst(t *testing.T) {
	g := newGrid(t, twoDecks, pinnedTenant, pin("7", "west"), pin("a/b", "west"))
	g.want("GET acme.example/\nx-user-id: 7", "west")
	g.want("GET acme.example/\nx-user-id: a/b", "west")
	g.want("GET acme.example/\nx-user-id: 8", "east")
	if counts := g.table.Counts(); counts != (routing.Counts{Tenants: 1, Hosts: 1, Decks: 2, Pins: 2}) {
		t.Errorf("%+v", counts)
	}
	g.del("pins/acme/7")
	g.want("GET acme.example/\nx-user-id: 7", "east")
	if g.table.Counts().Pins != 1 || g.tenant("acme").Pins != 1 {
		t.Error("a deleted pin is counted")
	}
}

func TestPinsOutliveTheirTenantsForm(t *testing.T) {
	g := newGrid(t, twoDecks, pin("7", "west"))
	g.wantProblems("pins/acme/7 unknown_tenant")
	g.put(pinnedTenant)
	g.wantProblems("")
	g.want("GET acme.example/\nx-user-id: 7", "west")
	g.put(pinnedTenant + "epoch: 2\n")
	g.want("GET acme.example/\nx-user-id: 7", "west")
	g.del("tenants/acme")
	g.wantProblems("pins/acme/7 unknown_tenant")
}

func TestPinThatCannotBeReadIsNeverGuessed(t *testing.T) {
	g := newGrid(t, twoDecks, pinnedTenant)
	g.raw("pins/acme/7", `garbage`)
	g.want("GET acme.example/\nx-user-id: 7", "pin_unreadable")
	g.want("GET acme.example/\nx-user-id: 8", "east")
	g.wantProblems("pins/acme/7 bad_document")
	g.put(pin("7", "west"))
	g.want("GET acme.example/\nx-user-id: 7", "west")
	g.raw("pins/acme/7", `{"kind":"Pin","tenant":"acme","key":"8","deck":"east"}`)
	g.want("GET acme.example/\nx-user-id: 7", "west") // the last good form
	g.wantProblems("pins/acme/7 bad_document")
}

func TestPinKeysInOtherSpellingsAreProblems(t *testing.T) {
	g := newGrid(t, twoDecks, pinnedTenant)
	g.raw("pins/acme/%37", `{"kind":"Pin","tenant":"acme","key":"7","deck":"west"}`)
	g.want("GET acme.example/\nx-user-id: 7", "east")
	g.wantProblems("pins/acme/%37 bad_key")
	g.del("pins/acme/%37")
	g.wantProblems("")
}

func TestPinToAnUnknownDeck(t *testing.T) {
	g := newGrid(t, twoDecks, pinnedTenant, pin("7", "west"))
	g.put(pin("7", "north"))
	g.want("GET acme.example/\nx-user-id: 7", "west")
	g.wantProblems("pins/acme/7 unknown_deck")
	g.put(deckDocument("north", ""))
	g.want("GET acme.example/\nx-user-id: 7", "north")
	g.del("decks/north")
	g.want("GET acme.example/\nx-user-id: 7", "deck_down")
	g.wantProblems("pins/acme/7 unknown_deck")
}

func TestValuesOfOtherKindsAreCountedInTheHashAlone(t *testing.T) {
	g := newGrid(t, twoDecks)
	hash := g.table.Hash()
	g.raw("nonsense/x", `{}`)
	g.wantProblems("nonsense/x bad_document")
	if g.table.Hash() == hash {
		t.Error("the hash leaves out a stored pair")
	}
	g.del("nonsense/x")
	if g.table.Hash() != hash || g.problems() != "" {
		t.Error("a deleted pair leaves traces")
	}
}

func TestFaultsOfTheSourceAreProblems(t *testing.T) {
	g := newGrid(t, twoDecks)
	fault := routing.Problem{Origin: "broken.yaml", Code: routing.ProblemUnreadable, Message: "no"}
	table := g.compiler.Compile(routing.Update{Revision: 9, Faults: []routing.Problem{fault}})
	if len(table.Problems()) != 1 || table.Problems()[0] != fault {
		t.Errorf("%+v", table.Problems())
	}
	if table = g.compiler.Compile(routing.Update{Revision: 10}); len(table.Problems()) != 0 {
		t.Errorf("%+v", table.Problems())
	}
}

func TestPublishedTablesNeverChange(t *testing.T) {
	g := newGrid(t, twoDecks, pinnedTenant, pin("7", "west"))
	old := g.table
	g.put(deckDocument("west", "state: down"), pin("7", "east"), tenant("new", "west", "*.new.example", "new.example"))
	g.del("decks/east", "tenants/acme")
	f := func(text, want string) {
		t.Helper()
		if got := outcome(old.Decide(request(t, text))); got != want {
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
	g := newGrid(t, deckDocument("deck-0", ""), deckDocument("deck-1", ""), deckDocument("deck-2", ""), deckDocument("deck-3", ""))
	compared := 0
	for step := range 600 {
		deck := fmt.Sprintf("deck-%d", r.IntN(4))
		name := fmt.Sprintf("t-%d", r.IntN(5))
		switch r.IntN(8) {
		case 0:
			if r.IntN(8) == 0 {
				g.del("decks/" + deck)
			}
		case 1, 2:
			g.put(deckDocument(deck, []string{"", "state: down", "state: draining", "standby: deck-9"}[r.IntN(4)]))
		case 3:
			g.del("tenants/" + name)
		case 4, 5, 6:
			own := hosts[r.IntN(len(hosts))]
			text := tenant(name, deck, own)
			if strings.HasPrefix(own, "*.") && r.IntN(2) == 0 {
				text += "delegates: [\"x." + own[2:] + "\"]\n"
			}
			g.put(text)
		case 7:
			g.put(fmt.Sprintf("kind: Pin\ntenant: %s\nkey: \"%d\"\ndeck: %s\n", name, r.IntN(3), deck))
		}
		fresh := g.fresh()
		if g.table.Hash() != fresh.Hash() {
			t.Fatalf("step %d: hash %s, fresh %s", step, g.table.Hash(), fresh.Hash())
		}
		again := g.compiler.Compile(g.whole())
		if again.Hash() != g.table.Hash() || again.EffectiveHash() != g.table.EffectiveHash() {
			t.Fatalf("step %d: the same list again changes the hashes", step)
		}
		if slices.ContainsFunc(g.table.Problems(), func(p routing.Problem) bool {
			return p.Code == routing.ProblemUnknownDeck && !strings.HasPrefix(p.Key, "decks/")
		}) {
			continue // a tenant or pin names an unknown deck: what is in force depends on what came before
		}
		compared++
		if g.table.EffectiveHash() != fresh.EffectiveHash() {
			t.Fatalf("step %d: effective hashes differ", step)
		}
		for _, host := range hosts {
			text := "GET " + strings.Replace(host, "*", "w", 1) + "/"
			if got, want := g.deck(text), outcome(fresh.Decide(request(t, text))); got != want {
				t.Fatalf("step %d: %s -> %s, fresh %s", step, text, got, want)
			}
		}
	}
	if compared < 100 {
		t.Errorf("only %d of 600 steps were compared in full", compared)
	}
}

// TestAnEpochThatLeapsIsRefused: the last good form stays, and the next change has room.
func TestAnEpochThatLeapsIsRefused(t *testing.T) {
	g := newGrid(t, twoDecks)
	f := func(epoch uint64, on, code string) {
		t.Helper()
		g.raw("tenants/acme", fmt.Sprintf(`{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":%d,"rules":[{"name":"all","deck":%q}]}`, epoch, on))
		got := ""
		for _, p := range g.table.Problems() {
			got = p.Code
		}
		if got != code {
			t.Errorf("epoch %d: problem %q, want %q", epoch, got, code)
		}
	}
	f(routing.MaxFirstEpoch+1, "east", routing.ProblemEpochLeapt)
	f(5, "east", "")
	f(5+routing.MaxEpochStep+1, "west", routing.ProblemEpochLeapt)
	f(routing.MaxEpoch+1, "west", routing.ProblemBadDocument)
	f(math.MaxUint64, "west", routing.ProblemBadDocument)
	f(6, "east", "")
	f(6+routing.MaxEpochStep, "east", "")
	f(6, "west", routing.ProblemEpochRewound)
}

// TestWhatOtherRoutersHaveSeenIsHeeded tells a compiler of epochs that others have seen: before the
// document, with it, and after it was put in force.
func TestWhatOtherRoutersHaveSeenIsHeeded(t *testing.T) {
	acme := func(epoch uint64, on string) routing.Change {
		return routing.Change{Key: "tenants/acme", Revision: 5, Created: 2, Value: fmt.Appendf(nil,
			`{"kind":"Tenant","name":"acme","hosts":["a.example","*.b.example"],"epoch":%d,"rules":[{"name":"all","deck":%q}]}`, epoch, on)}
	}
	seen := map[string]uint64{"acme": 23, "nobody": 7, "Bad Name": 9}
	f := func(what, want string, updates ...routing.Update) *grid {
		t.Helper()
		g := newGrid(t, twoDecks)
		for _, u := range updates {
			g.revision++
			u.Revision = g.revision
			g.table = g.compiler.Compile(u)
		}
		for _, host := range []string{"a.example", "x.b.example"} {
			g.want("GET "+host+"/", want)
		}
		if rewound := g.table.Rewound(); (want == "tenant_invalid") != (rewound["acme"] == 23) || len(rewound) > 1 {
			t.Errorf("%s: set back are %v", what, rewound)
		}
		return g
	}
	f("before", "tenant_invalid", routing.Update{Seen: seen}, routing.Update{Changes: []routing.Change{acme(18, "east")}})
	f("with it", "tenant_invalid", routing.Update{Seen: seen, Changes: []routing.Change{acme(18, "east")}})
	late := f("after it", "tenant_invalid", routing.Update{Changes: []routing.Change{acme(18, "east")}}, routing.Update{Seen: seen})
	f("after a newer one", "east", routing.Update{Changes: []routing.Change{acme(23, "east")}}, routing.Update{Seen: seen})
	g := f("and then a higher one", "west", routing.Update{Changes: []routing.Change{acme(18, "east")}}, routing.Update{Seen: seen}, routing.Update{Changes: []routing.Change{acme(24, "west")}})
	fresh := newGrid(t, twoDecks)
	fresh.table = fresh.compiler.Compile(routing.Update{Changes: []routing.Change{acme(24, "west")}})
	if g.table.EffectiveHash() != fresh.table.EffectiveHash() || g.table.Hash() != fresh.table.Hash() || len(g.table.Problems()) > 0 {
		t.Errorf("in the end: %+v", g.table.Problems())
	}
	late.table = late.compiler.Compile(routing.Update{Changes: []routing.Change{{Key: "tenants/acme", Deleted: true}}})
	late.want("GET a.example/", "no_tenant")
}
