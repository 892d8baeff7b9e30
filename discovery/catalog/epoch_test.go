package catalog_test

import (
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
)

const (
	splitRule = "key: {header: x}, pins: true, split: {east-1: 60, east-2: 40}"
	otherRule = "key: {header: x}, pins: true, split: {east-1: 50, east-2: 50}"
)

func TestTheEpochIsRaisedWheneverAKeyMayMove(t *testing.T) {
	g := newGrid(t)
	f := func(text string, epoch uint64) {
		t.Helper()
		g.apply(text)
		g.wantEpoch("acme", epoch)
	}
	f(twoDecks+tenant("acme", "a.example", splitRule), 1)
	f(tenant("acme", "a.example", splitRule), 1)
	f(tenant("acme", "a.example b.example", splitRule, "timeouts: {total: 3s}"), 1) // no key moves
	f(tenant("acme", "a.example", otherRule), 2)
	f(tenant("acme", "a.example", otherRule), 2) // the file's epoch is lower, and nothing changed
	f(pin("acme", "1", "east-1"), 3)
	f(pin("acme", "1", "east-1"), 3)
	f(pin("acme", "1", "east-2"), 4)
	f(pin("acme", "1", "east-1")+pin("acme", "2", "east-1")+tenant("acme", "a.example", splitRule), 5) // once a call
	g.delete("pins/acme/1", catalog.DeleteOptions{})
	g.wantEpoch("acme", 6)
	f(tenant("acme", "a.example", splitRule, "epoch: 6"), 6)
	f(tenant("acme", "a.example", splitRule, "epoch: 9"), 9)
	f(tenant("acme", "a.example", otherRule, "epoch: 20"), 21)
}

func TestTheEpochIsRaisedInTheTransactionOfTheFirstChange(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.apply(pin("acme", "1", "east-1") + pin("acme", "2", "east-1"))
	pinned, err := g.Get(g.ctx, "pins/acme/1")
	if err != nil {
		t.Fatal(err)
	}
	raised, err := g.Get(g.ctx, "tenants/acme")
	if err != nil || raised.Revision != pinned.Revision {
		t.Errorf("the pin was written at revision %d, the epoch at %d (%v)", pinned.Revision, raised.Revision, err)
	}
	plan := g.apply(pin("acme", "3", "east-2"))
	if c := change(t, plan, "tenants/acme"); c.EpochFrom != 2 || c.EpochTo != 3 || c.Action != catalog.Update {
		t.Errorf("the plan says of the tenant %+v", c)
	}
}

func TestATenantThatComesBackGoesOnAboveItsLastEpoch(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule, "epoch: 41"))
	g.apply(tenant("acme", "a.example", otherRule))
	g.delete("tenants/acme", catalog.DeleteOptions{})
	g.apply(tenant("acme", "a.example", otherRule))
	g.wantEpoch("acme", 43)
	// Removed behind the catalog's back, its records still know.
	g.drop("docs/tenants/acme")
	g.apply(tenant("acme", "a.example", otherRule, "epoch: 5"))
	g.wantEpoch("acme", 44)
	// A newest record that cannot be read does not hide the others.
	g.drop("docs/tenants/acme")
	g.put("changes/tenants/acme/000000000099", `{{`)
	g.apply(tenant("acme", "a.example", otherRule))
	g.wantEpoch("acme", 45)
	if g.value("changes/tenants/acme/000000000100") == "" {
		t.Error("the next record does not follow the newest one")
	}
}

func TestARenamedOrMovedRuleRaisesTheEpoch(t *testing.T) {
	g := newGrid(t)
	rules := func(a, b string) string {
		return "---\nkind: Tenant\nname: acme\nhosts: [a.example]\nrules:\n- " + a + "\n- " + b + "\n"
	}
	first, second := "{name: a, match: {path: /a}, deck: east-1}", "{name: b, deck: east-2}"
	g.apply(twoDecks + rules(first, second))
	g.apply(rules(first, "{name: c, deck: east-2}"))
	g.wantEpoch("acme", 2)
	g.apply(rules("{name: c, deck: east-2}", first))
	g.wantEpoch("acme", 3)
}

func TestAHostAloneLeavesTheEpochs(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example b.example", splitRule) + tenant("globex", "c.example", splitRule))
	g.apply(tenant("acme", "b.example", splitRule) + tenant("globex", "c.example a.example", splitRule))
	g.wantEpoch("acme", 1)
	g.wantEpoch("globex", 1)
}

// TestAnEpochThatLeaptIsLeftBehind writes epochs past apply that no change makes, and applies: the
// tenant goes on above the last epoch that it had before.
func TestAnEpochThatLeaptIsLeftBehind(t *testing.T) {
	for _, leapt := range []string{"18446744073709551615", "281474976710657", "281474976710656", "1099511627777", "9007199254740993"} {
		g := newGrid(t)
		g.apply(twoDecks + tenant("acme", "a.example", splitRule))
		g.apply(tenant("acme", "a.example", otherRule))
		g.wantEpoch("acme", 2)
		stored, err := g.Get(g.ctx, "tenants/acme")
		if err != nil {
			t.Fatal(err)
		}
		g.put("docs/tenants/acme", strings.Replace(string(stored.Value), `"epoch":2`, `"epoch":`+leapt, 1))
		g.apply(tenant("acme", "a.example", splitRule))
		g.wantEpoch("acme", 3)
		g.put("docs/tenants/acme", strings.Replace(string(stored.Value), `"epoch":2`, `"epoch":`+leapt, 1))
		g.apply(tenant("acme", "a.example", splitRule))
		g.wantEpoch("acme", 4)
		g.delete("tenants/acme", catalog.DeleteOptions{})
		g.apply(tenant("acme", "a.example", splitRule))
		g.wantEpoch("acme", 5)
	}
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.refuses(tenant("acme", "a.example", splitRule, "epoch: 4294967298"), "routers refuse such a step")
	g.refuses(tenant("other", "b.example", splitRule, "epoch: 1099511627777"), "routers refuse such a step")
	g.apply(tenant("acme", "a.example", splitRule, "epoch: 4294967297"))
	g.apply(tenant("acme", "a.example", otherRule))
	g.wantEpoch("acme", 4294967298)
}
