package catalog_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
)

const noRules = "deck: east-1"

// rollBack plans and carries out a rollback.
func (g *grid) rollBack(key string, to int64) *catalog.Plan {
	g.Helper()
	plan, err := g.PlanRollback(g.ctx, key, to, catalog.Options{})
	if err != nil {
		g.Fatalf("roll %s back to change %d: %v", key, to, err)
	}
	g.carryOut(plan)
	return plan
}

// refusesRollback wants a refusal with all the words, and nothing written.
func (g *grid) refusesRollback(key string, to int64, words ...string) {
	g.Helper()
	before := strings.Join(g.all(), " ")
	_, err := g.PlanRollback(g.ctx, key, to, catalog.Options{})
	g.wantRefusal(err, words...)
	if strings.Join(g.all(), " ") != before {
		g.Error("a refused rollback wrote")
	}
}

func TestChangesSayWhatTheyDid(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.apply(tenant("acme", "a.example", otherRule))
	g.delete("tenants/acme", catalog.DeleteOptions{})
	records, err := g.Changes(g.ctx, "tenants/acme")
	if err != nil || len(records) != 3 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	f := func(place int, number int64, action catalog.Action, before, after uint64) {
		t.Helper()
		r := &records[place]
		was, is := r.Epochs()
		if r.Number != number || r.Action() != action || was != before || is != after {
			t.Errorf("record %d: change %d, %s, epoch %d to %d", place, r.Number, r.Action(), was, is)
		}
	}
	f(0, 3, catalog.Delete, 2, 0)
	f(1, 2, catalog.Update, 1, 2)
	f(2, 1, catalog.Create, 0, 1)
}

func TestADocumentWithoutRecordsHasNoChanges(t *testing.T) {
	g := newGrid(t)
	_, err := g.Changes(g.ctx, "tenants/acme")
	if !errors.Is(err, catalog.ErrNotFound) || !strings.Contains(err.Error(), "check the name") {
		t.Errorf("of an unknown document: %v", err)
	}
	g.put("docs/tenants/acme", `{}`)
	var none *catalog.NoRecordsError
	if _, err = g.Changes(g.ctx, "tenants/acme"); !errors.As(err, &none) || !none.Stored || errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("of a document that was put by other means: %v", err)
	}
	if _, err = g.PlanRollback(g.ctx, "tenants/acme", 1, catalog.Options{}); !errors.As(err, &none) {
		t.Errorf("a rollback without records: %v", err)
	}
}

func TestARollbackGivesTheFormBackWithANewEpoch(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example b.example", splitRule))
	g.apply(tenant("acme", "a.example", otherRule))
	g.apply(tenant("acme", "a.example", otherRule, "timeouts: {total: 3s}"))
	g.holds("b.example", "")
	plan := g.rollBack("tenants/acme", 1)
	if c := change(t, plan, "tenants/acme"); c.EpochFrom != 2 || c.EpochTo != 3 || c.Place != "change 1" {
		t.Errorf("the plan says %+v", c)
	}
	now := g.stored("acme")
	if now.Epoch != 3 || now.Rules[0].Split["east-1"] != 60 || len(now.Hosts) != 2 || now.Timeouts != nil {
		t.Errorf("stored is %+v", now)
	}
	g.holds("b.example", "acme")
	records, err := g.Changes(g.ctx, "tenants/acme")
	if err != nil || records[0].Number != 4 || records[0].Why != "rollback to change 1" || records[0].Action() != catalog.Update {
		t.Errorf("the record is %+v, %v", records[0], err)
	}
	// The form is there already: the epoch it had then is no difference.
	if plan := g.rollBack("tenants/acme", 1); plan.Pending() != 0 {
		t.Errorf("a second rollback writes %+v", plan.Changes)
	}
	g.wantEpoch("acme", 3)
}

func TestARollbackOfHostsAloneLeavesTheEpoch(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.apply(tenant("acme", "a.example b.example", splitRule))
	g.rollBack("tenants/acme", 1)
	g.wantEpoch("acme", 1)
	g.holds("b.example", "")
}

func TestARollbackBringsADeletedTenantBackAboveItsLastEpoch(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule, "epoch: 41"))
	g.delete("tenants/acme", catalog.DeleteOptions{})
	g.holds("a.example", "")
	g.rollBack("tenants/acme", 1)
	g.wantEpoch("acme", 42)
	g.holds("a.example", "acme")
}

func TestARollbackOfAPinRaisesItsTenantsEpoch(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule) + pin("acme", "a/b", "east-1"))
	g.apply(pin("acme", "a/b", "east-2"))
	epoch := g.stored("acme").Epoch
	g.rollBack(catalog.PinKey("acme", "a/b"), 1)
	g.wantEpoch("acme", epoch+1)
	item, err := g.Get(g.ctx, catalog.PinKey("acme", "a/b"))
	if err != nil || item.Document.(*routing.Pin).Deck != "east-1" {
		t.Errorf("the pin is %s, %v", item.Value, err)
	}
}

func TestARollbackKeepsTodaysRules(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + deck("old") + tenant("acme", "a.example b.example", "deck: old") + tenant("globex", "c.example", noRules))
	g.apply(tenant("acme", "a.example", noRules))
	g.apply(tenant("globex", "b.example", noRules))
	g.refusesRollback("tenants/acme", 1, "change 1", "b.example", `belongs to tenant "globex"`)
	g.apply(tenant("globex", "c.example", noRules) + deck("old", "state: draining"))
	g.refusesRollback("tenants/acme", 1, "change 1: tenants/acme: rules[0].deck", "draining")
	g.delete("decks/old", catalog.DeleteOptions{})
	g.refusesRollback("tenants/acme", 1, `there is no deck "old"`)
	// What is refused now is not refused for ever.
	g.rollBack("decks/old", 1)
	g.rollBack("tenants/acme", 1)
	g.holds("b.example", "acme")
}

func TestARollbackToNothingIsRefused(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", noRules))
	g.delete("tenants/acme", catalog.DeleteOptions{})
	g.apply(tenant("acme", "a.example", noRules))
	g.refusesRollback("tenants/acme", 2, "change 2: tenants/acme: there was no tenant acme then", "gridctl delete")
	g.refusesRollback("tenants/acme", 0, "change 0", "there was no tenant acme then")
	g.refusesRollback("tenants/acme", 4, "change 4", "those after the changes 1 to 3 are")
}

func TestTheFormBeforeTheOldestRecordIsWithinReach(t *testing.T) {
	g := newGrid(t)
	const changes = catalog.KeptRecords + 4
	g.apply(twoDecks)
	zones := func(n int) string { return deck("spare", "zone: z"+strings.Repeat("z", n)) }
	for n := 1; n <= changes; n++ {
		g.apply(zones(n))
	}
	g.refusesRollback("decks/spare", 3, "those after the changes 4 to 24 are")
	g.rollBack("decks/spare", 4)
	item, err := g.Get(g.ctx, "decks/spare")
	if err != nil || item.Document.(*routing.Deck).Zone != "zzzzz" {
		t.Errorf("the deck is %s, %v", item.Value, err)
	}
}

func TestAFormThatRoutersCannotUseIsNotHadBack(t *testing.T) {
	g := newGrid(t)
	record := func(number string, after any) {
		value, err := json.Marshal(map[string]any{"who": "kim", "why": "", "when": "2026-01-02T03:04:05Z", "before": nil, "after": after})
		if err != nil {
			t.Fatal(err)
		}
		g.put("changes/decks/east-1/00000000000"+number, string(value))
	}
	g.apply(twoDecks)
	record("2", "garbage {")
	record("3", map[string]any{"kind": "Deck", "name": "east-1", "colour": "red"})
	record("4", map[string]any{"kind": "Deck", "name": "east-2"})
	g.refusesRollback("decks/east-1", 2, "change 2: decks/east-1", "no document that routers can use")
	g.refusesRollback("decks/east-1", 3, "refused today", "colour")
	g.refusesRollback("decks/east-1", 4, "refused today")
}
