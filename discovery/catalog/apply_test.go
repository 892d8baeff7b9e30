package catalog_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
)

const twoDecks = `
kind: Deck
name: east-1
domain: east-1.deck.example
attach: direct
addresses: [127.0.0.1:8081]
---
kind: Deck
name: east-2
domain: east-2.deck.example
attach: direct
addresses: [127.0.0.1:8082]
`

func TestApplyWritesWhatIsGivenAndNothingTwice(t *testing.T) {
	g := newGrid(t)
	text := twoDecks + tenant("acme", "shop.example", "deck: east-1") + `---
kind: Gslb
name: west-1.deck.example
vips: [{address: 10.9.0.1}]
`
	plan := g.apply(text)
	order := []string{"gslb/west-1.deck.example", "decks/east-1", "decks/east-2", "tenants/acme"}
	for i, key := range order {
		if plan.Changes[i].Key != key || plan.Changes[i].Action != catalog.Create {
			t.Errorf("change %d is %+v, want the creation of %s", i, plan.Changes[i], key)
		}
		if g.value("docs/"+key) == "" {
			t.Errorf("%s is not stored", key)
		}
	}
	if got, want := g.value("docs/tenants/acme"), `{"kind":"Tenant","name":"acme","hosts":["shop.example"],"epoch":1,"rules":[{"name":"all","deck":"east-1"}]}`; got != want {
		t.Errorf("stored\n%s\nwant\n%s", got, want)
	}
	before := g.all()
	again := g.apply(text)
	if again.Pending() != 0 || again.Transactions != 0 || len(again.Changes) != 4 {
		t.Errorf("the second plan is %+v, want nothing to do", again)
	}
	if after := g.all(); !slices.Equal(before, after) {
		t.Errorf("applying the same again changed\n%v\nto\n%v", before, after)
	}
}

func TestPlanWritesNothing(t *testing.T) {
	g := newGrid(t)
	g.plan(twoDecks + tenant("acme", "*.shop.example", "deck: east-1"))
	if keys := g.all(); len(keys) > 0 {
		t.Errorf("a plan wrote %v", keys)
	}
}

func TestOnlyMeaningIsCompared(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.put("docs/decks/east-1", `{ "kind": "Deck", "domain": "east-1.deck.example", "name": "east-1", "addresses": ["127.0.0.1:8081"], "attach": "direct" }`)
	if plan := g.plan(twoDecks); plan.Pending() != 0 {
		t.Errorf("another spelling of the same document is to be written: %+v", plan.Changes)
	}
}

func TestWhatIsStoredBadIsReplaced(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.put("docs/tenants/acme", `{"kind":"Tenant","name":"acme","epoch":7,"rules":[`)
	g.put("docs/decks/east-1", `not JSON`)
	g.apply(twoDecks + tenant("acme", "shop.example", "deck: east-1"))
	g.wantEpoch("acme", 1+1)
	history, err := g.History(g.ctx, "decks/east-1")
	if err != nil || len(history) != 2 {
		t.Fatalf("history: %v, %v", history, err)
	}
	if got := string(history[0].Before); got != `"not JSON"` {
		t.Errorf("the record's before is %s", got)
	}
}

func TestDecksAreWrittenBehindTheirStandbys(t *testing.T) {
	g := newGrid(t)
	plan := g.apply(deck("a", "standby: b") + deck("b", "standby: c") + deck("c", "standby: a"))
	var order []string
	for _, c := range plan.Changes {
		order = append(order, strings.TrimPrefix(c.Key, "decks/"))
	}
	if got := strings.Join(order, " "); got != "c b a" {
		t.Errorf("decks are written in the order %s", got)
	}
}

func TestEveryReferenceMustExist(t *testing.T) {
	g := newGrid(t)
	f := func(text string, words ...string) {
		t.Helper()
		g.refuses(text, append(words, "there is no deck")...)
	}
	f(deck("a", "standby: nobody"), "grid.yaml:2", "decks/a", "standby", `"nobody"`)
	f(tenant("acme", "a.example", "deck: nobody"), "tenants/acme", "rules[0].deck")
	f(tenant("acme", "a.example", "key: {header: x}, split: {nobody: 0, never: 1}"), "rules[0].split.never", "rules[0].split.nobody")
	f(tenant("acme", "a.example", "key: {header: x}, ranges: [{from: 1, to: 2, deck: nobody}]"), "rules[0].ranges[0].deck")
	f(deck("east-1")+tenant("acme", "a.example", "key: {header: x}, split: {east-1: 1}, missing: nobody"), "rules[0].missing")
	f(deck("orders-east-1")+tenant("acme", "a.example", "deck: orders-east-9"), `did you mean "orders-east-1"?`)
	f(deck("east-1")+tenant("acme", "a.example", "deck: east-1")+pin("acme", "1", "nobody"), "pins/acme/1", "deck")
	g.refuses(deck("east-1")+pin("nobody", "1", "east-1"), "pins/nobody/1", "tenant", "there is no tenant")
}

func TestReferencesMayBeStoredAlready(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.apply(tenant("acme", "a.example", "key: {header: x}, pins: true, split: {east-1: 1}"))
	g.apply(pin("acme", "10/86", "east-2"))
	if got := g.value("docs/pins/acme/10%2F86"); got != `{"kind":"Pin","tenant":"acme","key":"10/86","deck":"east-2"}` {
		t.Errorf("the pin is stored as %q", got)
	}
}

func TestADocumentGivenTwiceIsRefused(t *testing.T) {
	g := newGrid(t)
	g.refuses(deck("a")+deck("a"), "decks/a", "given twice", "grid.yaml:2", "grid.yaml:9")
}

func TestBadDocumentsAreRefusedWithTheirPlace(t *testing.T) {
	g := newGrid(t)
	g.refuses("kind: Deck\nname: a\ncolour: red\n", "grid.yaml:3", "colour")
}

func TestChangesLeaveRecords(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("a"))
	g.apply(deck("a", "state: down"))
	g.delete("decks/a", catalog.DeleteOptions{Options: catalog.Options{Why: "no more"}})
	history, err := g.History(g.ctx, "decks/a")
	if err != nil || len(history) != 3 {
		t.Fatalf("history: %v, %v", history, err)
	}
	first, second, third := history[2], history[1], history[0]
	if first.Number != 1 || second.Number != 2 || third.Number != 3 {
		t.Errorf("the records are numbered %d, %d, %d", first.Number, second.Number, third.Number)
	}
	if string(first.Before) != "null" || string(first.After) != string(second.Before) || string(second.After) != string(third.Before) || string(third.After) != "null" {
		t.Errorf("before and after do not follow each other: %+v", history)
	}
	if first.Who != "kim@bastion" || first.Why != "a test" || third.Why != "no more" || first.When.IsZero() || first.When.Location().String() != "UTC" {
		t.Errorf("who, why or when: %+v, %+v", first, third)
	}
	if g.value("changes/decks/a/000000000001") == "" {
		t.Error("the first record is not where the contract says")
	}
}

func TestTheLastTwentyRecordsAreKept(t *testing.T) {
	g := newGrid(t)
	for i := range 25 {
		g.apply(deck("a", fmt.Sprintf("zone: z%d", i)))
	}
	history, err := g.History(g.ctx, "decks/a")
	if err != nil || len(history) != 20 {
		t.Fatalf("there are %d records, %v", len(history), err)
	}
	if history[0].Number != 25 || history[19].Number != 6 {
		t.Errorf("records %d to %d are kept", history[19].Number, history[0].Number)
	}
}

func TestADocumentThatFitsNoRecordIsRefused(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("east-1"))
	var ranges strings.Builder
	for i := range 9_000 {
		fmt.Fprintf(&ranges, "{from: %d, to: %d, deck: east-1},", 10*i, 10*i+5)
	}
	large := tenant("acme", "a.example", "key: {header: x}, ranges: ["+ranges.String()+"]")
	g.refuses(large, "tenants/acme", "KiB long as JSON, at most 320", "pins or a split")
}

func TestTheReasonHasALimit(t *testing.T) {
	g := newGrid(t)
	_, err := g.Plan(g.ctx, g.parse(deck("a")), catalog.Options{Why: strings.Repeat("x", 1025)})
	g.wantRefusal(err, "--why", "1024")
}
