package catalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/discovery/catalog"
)

// tenants are n small tenants whose one rule is given.
func tenants(n int, rule string) string {
	var text strings.Builder
	for i := range n {
		text.WriteString(tenant(fmt.Sprintf("t%02d", i), fmt.Sprintf("t%02d.example", i), rule))
	}
	return text.String()
}

// documents are all documents as etcd holds them, by key.
func (g *grid) documents() map[string]string {
	g.Helper()
	found := map[string]string{}
	if _, err := g.List(g.ctx, "", func(items []catalog.Item) error {
		for _, item := range items {
			found[item.Key] = string(item.Value)
		}
		return nil
	}); err != nil {
		g.Fatal(err)
	}
	return found
}

// differ lists the keys of documents that are not alike.
func differ(a, b map[string]string) (keys []string) {
	for key := range a {
		if a[key] != b[key] {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if _, there := a[key]; !there {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// dropAll deletes everything under a folder behind the catalog's back, in one transaction.
func (g *grid) dropAll(folder string) (revision int64) {
	g.Helper()
	answer, err := g.client.Delete(g.ctx, g.prefix+folder, clientv3.WithPrefix())
	if err != nil {
		g.Fatal(err)
	}
	return answer.Header.Revision
}

// revision is etcd's present one.
func (g *grid) revision() int64 {
	g.Helper()
	answer, err := g.client.Get(g.ctx, g.prefix)
	if err != nil {
		g.Fatal(err)
	}
	return answer.Header.Revision
}

// discard plans and carries out a discard.
func (g *grid) discard(revision int64) *catalog.Plan {
	g.Helper()
	plan, err := g.PlanDiscard(g.ctx, revision, catalog.Options{})
	if err != nil {
		g.Fatalf("discard %d: %v", revision, err)
	}
	g.carryOut(plan)
	return plan
}

// tellsOf lets a router tell the fleet what it holds.
func (g *grid) tellsOf(id string, held *catalog.StatusGuard) {
	g.Helper()
	g.tells("fleet/", id, held)
}

// serverTellsOf is tellsOf for a GSLB server.
func (g *grid) serverTellsOf(id string, held *catalog.StatusGuard) {
	g.Helper()
	g.tells("gslb/", id, held)
}

func (g *grid) tells(folder, id string, held *catalog.StatusGuard) {
	g.Helper()
	text, err := json.Marshal(catalog.Status{ID: id, Guard: held})
	if err != nil {
		g.Fatal(err)
	}
	g.put(folder+id, string(text))
}

func TestAMassChangeIsRefusedUnlessItIsAllowed(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(30, "deck: east-1"))
	g.apply(tenants(10, "deck: east-2")) // as many as may be at once
	g.apply(tenants(10, "deck: east-1"))
	g.refuses(tenants(11, "deck: east-2"), "11 of 30 tenants", "more than 10 at once", "--allow-mass-change")
	// What leaves the rules as they were is no such change, and new tenants are none.
	g.apply(strings.ReplaceAll(tenants(30, "deck: east-1"), "rules:", "timeouts: {total: 3s}\nrules:"))
	if g.value("guard/accept") != "" {
		t.Error("a mark was written by changes that need none")
	}
	plan, err := g.Plan(g.ctx, g.parse(tenants(30, "deck: east-2")+deck("east-3")), catalog.Options{AllowMassChange: true, Why: "move"})
	if err != nil {
		t.Fatal(err)
	}
	result := g.carryOut(plan)
	state, err := g.GuardState(g.ctx)
	if err != nil || state.Accepted == nil || state.Accepted.Revision != result.Revision || state.Accepted.By != "kim@bastion" || state.Accepted.Why != "move" {
		t.Errorf("the mark is %+v, %v; the last transaction was %d", state.Accepted, err, result.Revision)
	}
}

func TestEachTransactionOfAMassChangeBearsTheMark(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(90, "deck: east-1"))
	from := g.revision()
	plan, err := g.Plan(g.ctx, g.parse(tenants(90, "deck: east-2")+deck("east-3")), catalog.Options{AllowMassChange: true})
	if err != nil || plan.Transactions < 2 {
		t.Fatalf("%d transactions, %v", plan.Transactions, err)
	}
	g.carryOut(plan)
	for revision := from + 1; revision <= g.revision(); revision++ {
		written, err := g.client.Get(g.ctx, g.prefix, clientv3.WithPrefix(), clientv3.WithRev(revision), clientv3.WithMinModRev(revision), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		tenants, mark := 0, 0
		for _, kv := range written.Kvs {
			if strings.HasPrefix(string(kv.Key), g.prefix+"docs/tenants/") {
				tenants++
			}
			if string(kv.Key) == g.prefix+"guard/accept" {
				mark++
			}
		}
		if (tenants > 0) != (mark > 0) {
			t.Errorf("revision %d writes %d tenants and %d marks", revision, tenants, mark)
		}
	}
}

func TestPinsAndDecksCountForTheirTenants(t *testing.T) {
	g := newGrid(t)
	pins := func(deck string) string {
		text := ""
		for i := range 11 {
			text += pin(fmt.Sprintf("t%02d", i), "1", deck)
		}
		return text
	}
	g.apply(twoDecks + tenants(11, splitRule) + pins("east-1") + pin("t00", "2", "east-1") + pin("t00", "3", "east-1"))
	g.refuses(pins("east-2"), "11 of 11 tenants")
	g.apply(pin("t00", "1", "east-2") + pin("t00", "2", "east-2") + pin("t00", "3", "east-2")) // one tenant
	g.apply(strings.ReplaceAll(pins("east-2"), `"1"`, `"9"`))                                  // new ones
	_, err := g.PlanDelete(g.ctx, "decks/east-1", catalog.DeleteOptions{Force: true})
	g.wantRefusal(err, "11 of 11 tenants")
	g.delete("decks/east-1", catalog.DeleteOptions{Force: true, Options: catalog.Options{AllowMassChange: true}})
	if state, err := g.GuardState(g.ctx); err != nil || state.Accepted == nil || state.Accepted.Revision != g.revision() {
		t.Errorf("the mark is %+v, %v", state.Accepted, err)
	}
}

func TestAMarkIsNotWrittenWhileAnotherChangeIsHeld(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(11, "deck: east-1"))
	g.tellsOf("r1", &catalog.StatusGuard{Revision: 7, Held: 50})
	_, err := g.Plan(g.ctx, g.parse(tenants(11, "deck: east-2")), catalog.Options{AllowMassChange: true})
	g.wantRefusal(err, "routers hold another mass change, up to revision 7", "gridctl guard accept 7", "gridctl guard discard 7")
	g.tellsOf("r1", nil)
	if _, err = g.Plan(g.ctx, g.parse(tenants(11, "deck: east-2")), catalog.Options{AllowMassChange: true}); err != nil {
		t.Error(err)
	}
}

func TestAnAcceptanceNeverGoesBackwards(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	newest := g.revision()
	mark, err := g.GuardAccept(g.ctx, newest, "it is meant")
	if err != nil || mark.Revision != newest || mark.Why != "it is meant" {
		t.Fatalf("%+v, %v", mark, err)
	}
	stored := g.value("guard/accept")
	if mark, err = g.GuardAccept(g.ctx, newest-1, ""); err != nil || mark.Revision != newest || g.value("guard/accept") != stored {
		t.Errorf("an older one: %+v, %v", mark, err)
	}
	// Revision 0 in the stored form stands for its own.
	g.put("guard/accept", `{"revision":0,"by":"kim"}`)
	own := g.revision()
	if mark, err = g.GuardAccept(g.ctx, own, ""); err != nil || mark.Revision != own || mark.By != "kim" {
		t.Errorf("one that is accepted by a mark of revision 0: %+v, %v", mark, err)
	}
	g.put("guard/accept", `{"revision":9000000000000000000}`)
	if state, err := g.GuardState(g.ctx); err != nil || state.Accepted != nil || !strings.Contains(state.Fault, "was itself written at") {
		t.Errorf("a mark from the future: %+v, %v", state, err)
	}
	if mark, err = g.GuardAccept(g.ctx, newest, ""); err != nil || mark.Revision != newest {
		t.Errorf("instead of a mark that cannot be read: %+v, %v", mark, err)
	}
	// Somebody who still holds it has not acted on the mark, and is named again.
	was := g.revision()
	g.tellsOf("r1", &catalog.StatusGuard{Revision: newest - 1, Held: 50})
	if mark, err = g.GuardAccept(g.ctx, newest-1, ""); err != nil || mark.Revision != newest || g.revision() != was+2 {
		t.Errorf("of what is still held: %+v, %v", mark, err)
	}
	_, err = g.GuardAccept(g.ctx, 1<<60, "")
	g.wantRefusal(err, "is no revision to accept")
	_, err = g.GuardAccept(g.ctx, 0, "")
	g.wantRefusal(err, "is no revision to accept")
}

func TestTheStateOfTheGuardNamesWhoHolds(t *testing.T) {
	g := newGrid(t)
	g.tellsOf("r1", nil)
	g.tellsOf("r2", &catalog.StatusGuard{Revision: 812, Held: 50})
	g.tellsOf("r3", &catalog.StatusGuard{Revision: 810, Held: 49})
	g.put("fleet/r4", "garbage")
	state, err := g.GuardState(g.ctx)
	if err != nil || state.Revision != 812 || state.Routers != 4 || len(state.Holding) != 2 || state.Holding[0].ID != "r2" || state.Accepted != nil {
		t.Errorf("the state is %+v, %v", state, err)
	}
}

func TestADiscardPutsBackWhatWasDeletedByteForByte(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + deck("east-3") + tenant("staying", "s.example", "deck: east-3"))
	g.apply(deck("east-3", "state: draining") + tenants(50, splitRule) + pin("t07", "a/b", "east-1") + pin("t08", "1", "east-2"))
	g.put("docs/decks/by-hand", `{"kind": "Deck", "name": "by-hand", "domain": "h.deck.example", "attach": "direct", "addresses": ["127.0.0.1:1"]}`)
	before := g.documents()
	plan := g.discard(g.dropAll("docs/"))
	if keys := differ(before, g.documents()); len(keys) > 0 {
		t.Errorf("other than before: %v", keys)
	}
	if plan.Transactions < 2 || len(plan.Notes) != 1 || !strings.Contains(plan.Notes[0], "no router tells when the change began") {
		t.Errorf("%d transactions, notes %q", plan.Transactions, plan.Notes)
	}
	records, err := g.Changes(g.ctx, "tenants/t07")
	if err != nil || records[0].Action() != catalog.Create || !strings.HasPrefix(records[0].Why, "discard what the guard holds") {
		t.Errorf("the record is %+v, %v", records[0], err)
	}
	// No mark accepts anything on the way, and a second discard of the same finds nothing to do.
	if g.value("guard/accept") != "" {
		t.Error("a discard wrote a mark")
	}
}

func TestADiscardPutsPinsBackBeforeTheirTenant(t *testing.T) {
	g := newGrid(t)
	text := twoDecks + tenant("acme", "a.example", splitRule)
	for i := range 200 {
		text += pin("acme", fmt.Sprint(i), "east-1")
	}
	g.apply(text)
	g.discard(g.dropAll("docs/"))
	back, err := g.Get(g.ctx, "tenants/acme")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.List(g.ctx, "pins/acme/", func(items []catalog.Item) error {
		for _, item := range items {
			if item.Revision > back.Revision {
				t.Errorf("%s came back after its tenant", item.Key)
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func TestADiscardLeadsTenantsBackAboveTheEpochThatTheyHad(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(12, splitRule) + pin("t03", "1", "east-1"))
	g.apply(tenant("t00", "t00.example", otherRule))
	was := g.documents()
	var ops []clientv3.Op
	for i := range 12 {
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sdocs/tenants/t%02d", g.prefix, i),
			fmt.Sprintf(`{"kind":"Tenant","name":"t%02d","hosts":["t%02d.example"],"epoch":9,"rules":[{"name":"all","deck":"east-1"}]}`, i, i)))
	}
	ops = append(ops, clientv3.OpPut(g.prefix+"docs/pins/t03/1", `{"kind":"Pin","tenant":"t03","key":"1","deck":"east-2"}`))
	answer, err := g.client.Txn(g.ctx).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	g.discard(answer.Header.Revision)
	for i := range 12 {
		name := fmt.Sprintf("t%02d", i)
		if g.wantEpoch(name, 10); len(g.stored(name).Rules[0].Split) != 2 {
			t.Errorf("%s leads elsewhere", name)
		}
	}
	if now := g.documents(); now["pins/t03/1"] != was["pins/t03/1"] {
		t.Errorf("the pin is %s", now["pins/t03/1"])
	}
}

func TestADiscardLeavesWhatWasChangedSince(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(12, splitRule) + pin("t03", "1", "east-1"))
	held := g.dropAll("docs/tenants/")
	g.apply(tenant("t01", "t01.example", otherRule))
	g.apply(tenant("t02", "t02.example", otherRule))
	g.delete("tenants/t02", catalog.DeleteOptions{})
	plan := g.discard(held)
	now := g.documents()
	if now["tenants/t02"] != "" || g.stored("t01").Rules[0].Split["east-1"] != 50 || now["tenants/t00"] == "" {
		t.Errorf("there are %v", now)
	}
	notes := strings.Join(plan.Notes, "\n")
	for _, note := range []string{"not put back: tenant t01: it was changed after that revision", "not put back: tenant t02: it was changed after that revision"} {
		if !strings.Contains(notes, note) {
			t.Errorf("the notes do not say %q:\n%s", note, notes)
		}
	}
}

func TestADiscardGoesBackAsFarAsTheRoutersCount(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(15, splitRule))
	before, from := g.documents(), g.revision()
	for i := range 15 {
		g.drop(fmt.Sprintf("docs/tenants/t%02d", i))
	}
	held := g.revision()
	g.tellsOf("r1", &catalog.StatusGuard{Revision: held, Before: from, Held: 5})
	if plan := g.discard(held); len(plan.Notes) > 0 {
		t.Errorf("the notes are %q", plan.Notes)
	}
	if keys := differ(before, g.documents()); len(keys) > 0 {
		t.Errorf("other than before: %v", keys)
	}
}

func TestADiscardGoesByTheRecordsWhereEtcdHasForgotten(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(12, splitRule) + pin("t03", "1", "east-1"))
	g.apply(tenant("gone", "gone.example", splitRule))
	g.delete("tenants/gone", catalog.DeleteOptions{})
	g.put("docs/tenants/by-hand", `{"kind":"Tenant","name":"by-hand","hosts":["h.example"],"epoch":1,"rules":[{"name":"all","deck":"east-1"}]}`)
	before := g.documents()
	held := g.dropAll("docs/")
	if _, err := g.client.Compact(g.ctx, held); err != nil {
		t.Fatal(err)
	}
	plan := g.discard(held)
	now := g.documents()
	for key := range before {
		if (now[key] == "") != (key == "tenants/by-hand") {
			t.Errorf("%s is %q", key, now[key])
		}
	}
	if now["tenants/gone"] != "" || now["pins/t03/1"] != before["pins/t03/1"] {
		t.Errorf("there are %v", now)
	}
	g.wantEpoch("t05", 2) // the records do not know all, so that the mapping may be another
	if !strings.Contains(strings.Join(plan.Notes, "\n"), "etcd has compacted revision") {
		t.Errorf("the notes are %q", plan.Notes)
	}
}

func TestADiscardOfNoChangeIsRefused(t *testing.T) {
	g := newGrid(t)
	_, err := g.PlanDiscard(g.ctx, 1<<60, catalog.Options{})
	g.wantRefusal(err, "is no revision of a change")
	_, err = g.PlanDiscard(g.ctx, 0, catalog.Options{})
	g.wantRefusal(err, "is no revision of a change")
}

// TestManySmallCallsAreWeighedTogether repoints tenants one a call, as fast as it can: the guard of
// the routers would hold the eleventh, and so it is refused, until it is said to be meant.
func TestManySmallCallsAreWeighedTogether(t *testing.T) {
	g := newGrid(t)
	all := twoDecks
	for i := range 30 {
		all += tenant(fmt.Sprintf("t%02d", i), fmt.Sprintf("t%02d.example", i), splitRule)
	}
	g.apply(all)
	move := func(i int, rule string) string {
		return tenant(fmt.Sprintf("t%02d", i), fmt.Sprintf("t%02d.example", i), rule)
	}
	for i := range 10 {
		g.apply(move(i, otherRule))
	}
	g.apply(move(3, splitRule)) // a tenant that is counted already
	g.apply(tenant("new", "new.example", splitRule))
	g.refuses(move(10, otherRule), "with those of the last 10s", "11 of 31 tenants", "write it again in", "--allow-mass-change")
	g.refuses(move(10, otherRule)+move(11, otherRule), "12 of 31 tenants")
	if _, err := g.PlanDelete(g.ctx, "tenants/t12", catalog.DeleteOptions{}); err == nil {
		t.Error("a deletion is not weighed")
	}
	plan, err := g.Plan(g.ctx, g.parse(move(10, otherRule)), catalog.Options{AllowMassChange: true})
	if err != nil {
		t.Fatal(err)
	}
	g.carryOut(plan)
	g.apply(move(11, otherRule)) // what came before is meant by that too
	g.put("recent/moves", "nonsense")
	g.apply(move(12, otherRule))
	g.put("recent/moves", "null")
	g.apply(move(14, otherRule))
	g.put("recent/moves", `{"a":"2999-01-01T00:00:00Z","b":"2001-01-01T00:00:00Z"}`)
	g.apply(move(13, otherRule))
}

// TestManyDeletionsOfNamesAreWeighedTogether deletes names one a call: GSLB servers would hold the
// eleventh. What became of tenants counts apart.
func TestManyDeletionsOfNamesAreWeighedTogether(t *testing.T) {
	g := newGrid(t)
	all := twoDecks + tenants(12, splitRule)
	for i := range 14 {
		all += fmt.Sprintf("---\nkind: Gslb\nname: n%02d.grid.example\nvips: [{address: 10.0.0.1}]\n", i)
	}
	g.apply(all)
	name := func(i int) string { return fmt.Sprintf("gslb/n%02d.grid.example", i) }
	for i := range 10 {
		g.delete(name(i), catalog.DeleteOptions{})
	}
	_, err := g.PlanDelete(g.ctx, name(10), catalog.DeleteOptions{})
	g.wantRefusal(err, "with those of the last 10s", "11 of 14 names", "GSLB servers hold more than 10", "--allow-mass-change")
	g.delete("tenants/t00", catalog.DeleteOptions{})
	if g.value("guard/accept") != "" {
		t.Error("a mark was written by changes that need none")
	}
	meant := catalog.DeleteOptions{Options: catalog.Options{AllowMassChange: true}}
	g.delete(name(10), meant)
	if state, err := g.GuardState(g.ctx); err != nil || state.Accepted == nil || state.Accepted.Revision != g.revision()-1 { // the word for the next calls came after it
		t.Errorf("the mark is %+v, %v", state.Accepted, err)
	}
	g.delete(name(11), catalog.DeleteOptions{}) // what came before is meant by that too
	g.tellsOf("r1", &catalog.StatusGuard{Revision: 7, Held: 50})
	_, err = g.PlanDelete(g.ctx, name(12), meant)
	g.wantRefusal(err, "gridctl guard accept 7")
}

// TestADiscardKeepsWhatWasAcknowledgedBeforeTheChange has documents be changed and created a moment
// before all of them are wiped, within the span that the routers count.
func TestADiscardKeepsWhatWasAcknowledgedBeforeTheChange(t *testing.T) {
	for _, alone := range []bool{true, false} { // whether the wipe was too much by itself
		for _, wiped := range []string{"docs/", "docs/tenants/"} {
			discardKeeps(t, alone, wiped)
		}
	}
}

func discardKeeps(t *testing.T, alone bool, wiped string) {
	t.Helper()
	g := newGrid(t)
	g.apply(twoDecks + tenants(15, splitRule) + pin("t01", "1", "east-1") + pin("t04", "1", "east-1"))
	from := g.revision()
	g.apply(tenant("t00", "t00.example", otherRule))               // moved
	g.apply(tenant("new", "new.example", splitRule))               // created
	g.apply(pin("t02", "9", "east-2") + pin("t01", "1", "east-2")) // set, and moved
	g.apply(deck("east-9"))
	g.delete("pins/t04/1", catalog.DeleteOptions{}) // which raises its tenant's epoch
	if alone {
		from = g.revision()
	}
	was := g.documents()
	held := g.dropAll(wiped)
	g.tellsOf("r1", &catalog.StatusGuard{Revision: held, Before: from, Held: 16})
	g.serverTellsOf("names", &catalog.StatusGuard{Revision: held, Before: 2, Held: 1}) // it follows nothing that changed since
	g.discard(held)
	if keys := differ(was, g.documents()); len(keys) > 0 {
		t.Errorf("other than before: %v", keys)
	}
	for range 2 { // and it can be run again
		if plan := g.discard(held); plan.Pending() > 0 {
			t.Errorf("once more it would write %+v", plan.Changes)
		}
	}
	if keys := differ(was, g.documents()); len(keys) > 0 {
		t.Errorf("after it was run again, other than before: %v", keys)
	}
	// Nor where what is held has grown beyond the first run, which is a part of the span then.
	g.apply(deck("east-8"))
	was, held = g.documents(), g.revision()
	g.tellsOf("r1", &catalog.StatusGuard{Revision: held, Before: from, Held: 1})
	g.discard(held)
	if keys := differ(was, g.documents()); len(keys) > 0 {
		t.Errorf("after it was run for a newer revision, other than before: %v", keys)
	}
}

// TestADiscardTouchesOnlyWhatItsHoldersFollow wipes one of the two sorts of documents, with changes of
// the other sort since the holders' revisions.
func TestADiscardTouchesOnlyWhatItsHoldersFollow(t *testing.T) {
	names := func(n int, address string) (text string) {
		for i := range n {
			text += fmt.Sprintf("---\nkind: Gslb\nname: n%02d.grid.example\nvips: [{address: %s}]\n", i, address)
		}
		return text
	}
	for wiped, tells := range map[string]func(*grid, string, *catalog.StatusGuard){
		"docs/gslb/": (*grid).serverTellsOf, "docs/tenants/": (*grid).tellsOf,
	} {
		g := newGrid(t)
		g.apply(twoDecks + names(3, "10.0.0.1") + tenants(15, splitRule) + pin("t01", "1", "east-1"))
		from := g.revision()
		if wiped == "docs/gslb/" {
			g.apply(tenant("t00", "t00.example", otherRule) + pin("t01", "1", "east-2"))
			g.delete("tenants/t05", catalog.DeleteOptions{})
			g.delete("pins/t01/1", catalog.DeleteOptions{})
		} else {
			g.apply(names(2, "10.0.0.2"))
			g.delete("gslb/n02.grid.example", catalog.DeleteOptions{})
		}
		was := g.documents()
		held := g.dropAll(wiped)
		tells(g, "holder", &catalog.StatusGuard{Revision: held, Before: from, Held: 3})
		g.discard(held)
		if keys := differ(was, g.documents()); len(keys) > 0 {
			t.Errorf("after %s was wiped, other than before: %v", wiped, keys)
		}
	}
}

// TestADiscardLeavesWhatALaterWipeTook wipes a second time, change records included, and discards the
// first change: what was acknowledged in between is for a discard of the second.
func TestADiscardLeavesWhatALaterWipeTook(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(15, splitRule))
	from := g.revision()
	held := g.dropAll("docs/")
	g.tellsOf("r1", &catalog.StatusGuard{Revision: held, Before: from, Held: 16})
	g.discard(held)
	g.apply(tenant("t00", "t00.example", otherRule))
	g.dropAll("changes/")
	g.dropAll("docs/")
	g.discard(held)
	if left := g.documents(); len(left) > 0 {
		t.Errorf("%d documents came back by forms from before acknowledged changes", len(left))
	}
}

// TestADiscardPutsBackWhatItCan wipes documents of which some were written past gridctl and would be
// refused today: they are named, and keep none of the others away.
func TestADiscardPutsBackWhatItCan(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(15, splitRule) + pin("t01", "1", "east-1"))
	large := func(name string, bytes int) string {
		return fmt.Sprintf(`{"kind":"Tenant","name":%q,"hosts":["%s.example"],"epoch":7,"rules":[{"name":"all","deck":"east-1","match":{"path":"/%s"}}]}`, name, name, strings.Repeat("x", bytes))
	}
	for key, value := range map[string]string{
		"tenants/large":    large("large", 400<<10), // larger than gridctl takes, and routers take it
		"tenants/larger":   large("larger", 1000<<10),
		"tenants/deckless": `{"kind":"Tenant","name":"deckless","hosts":["deckless.example"],"epoch":1,"rules":[{"name":"all","deck":"nowhere"}]}`,
		"pins/deckless/k":  `{"kind":"Pin","tenant":"deckless","key":"k","deck":"east-1"}`, // relies upon the one before
		"tenants/garbage":  `{"kind":"Tenant"`,
		"pins/nobody/k":    `{"kind":"Pin","tenant":"nobody","key":"k","deck":"east-1"}`,
	} {
		g.put("docs/"+key, value)
	}
	was := g.documents()
	held := g.dropAll("docs/")
	plan := g.discard(held)
	want := []string{"pins/deckless/k", "pins/nobody/k", "tenants/deckless", "tenants/garbage", "tenants/larger"}
	if keys := differ(was, g.documents()); !slices.Equal(keys, want) {
		t.Errorf("other than before: %q, want %q", keys, want)
	}
	notes := strings.Join(plan.Notes, "\n")
	for _, said := range []string{"pin deckless/k", "pin nobody/k", "tenant deckless", "tenant garbage", "tenant larger"} {
		if !strings.Contains(notes, "not put back: "+said+": its earlier form is refused today") {
			t.Errorf("the notes do not tell of %s:\n%s", said, notes)
		}
	}
}

// TestARestoreIsSettledButForTenantsThatCannotBeWritten settles what can be: a document that is bad, or was written past
// its bounds, is left, and named.
func TestARestoreIsSettledButForTenantsThatCannotBeWritten(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(3, splitRule))
	g.put("docs/tenants/t01", `{"kind":"Tenant"`)
	var delegates []string
	for i := range 9000 {
		delegates = append(delegates, fmt.Sprintf("%s%d.t02.example", strings.Repeat("d", 40), i))
	}
	g.put("docs/tenants/t02", fmt.Sprintf(`{"kind":"Tenant","name":"t02","hosts":["*.t02.example"],"delegates":["%s"],"epoch":1,"rules":[{"name":"all","deck":"orders-1"}]}`,
		strings.Join(delegates, `","`)))
	if err := g.RecordEpochs(g.ctx, map[string]uint64{"t00": 7, "t01": 7, "t02": 7}); err != nil {
		t.Fatal(err)
	}
	plan, left, err := g.PlanRestored(g.ctx, catalog.Options{AllowMassChange: true})
	if err != nil {
		t.Fatal(err)
	}
	told := errors.Join(left...).Error()
	if len(left) != 2 || !strings.Contains(told, "tenants/t01: the stored document is bad") || !strings.Contains(told, "tenants/t02: is ") {
		t.Errorf("left are %s", told)
	}
	g.carryOut(plan)
	if stored := g.value("docs/tenants/t00"); !strings.Contains(stored, `"epoch":8`) {
		t.Errorf("the tenant that can be settled is %s", stored)
	}
	if _, left, err := g.PlanRestored(g.ctx, catalog.Options{}); err == nil || len(left) > 0 {
		t.Errorf("with nothing but those left: %v, %v", left, err)
	}
}

// TestASettledRestoreOfManyTenantsIsAMassChange settles a restore as it is stored: what routers have in
// force of each tenant is another form, whatever is stored.
func TestASettledRestoreOfManyTenantsIsAMassChange(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenants(15, splitRule))
	seen := map[string]uint64{}
	for i := range 15 {
		seen[fmt.Sprintf("t%02d", i)] = 7
	}
	if err := g.RecordEpochs(g.ctx, seen); err != nil {
		t.Fatal(err)
	}
	const refusal = "this drops, or changes where they lead, 15 of 15 tenants"
	if _, _, err := g.PlanRestored(g.ctx, catalog.Options{}); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("it is planned without a word: %v", err)
	}
	if _, err := g.Plan(g.ctx, g.parse(tenants(15, splitRule)), catalog.Options{}); err == nil || !strings.Contains(err.Error(), refusal) {
		t.Errorf("so is the same by apply: %v", err)
	}
	plan, _, err := g.PlanRestored(g.ctx, catalog.Options{AllowMassChange: true})
	if err != nil {
		t.Fatal(err)
	}
	result := g.carryOut(plan)
	var mark catalog.Mark
	if err := json.Unmarshal([]byte(g.value("guard/accept")), &mark); err != nil || result.Revision == 0 {
		t.Errorf("nobody is told that it is meant: %v", err)
	}
	g.apply(tenants(15, splitRule)) // settled, the same is no change
}
