package compile_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestCachedPinsDecideAsResidentOnes drives a compiler that holds all pins and one that
// reads cached ones on demand through the same writes: rules that change between the two
// modes, pins that come, move and go, tenants that share policies. All documents are good,
// epochs rise and decks stay, so that nothing depends on the past: a compiler that is told
// everything at once must agree as well.
func TestCachedPinsDecideAsResidentOnes(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 3))
	reader := document.NewReader()
	resident, cached := compile.NewCompiler(reader.Decode), compile.NewCompiler(reader.Decode)
	cached.CachePins()
	stored := map[string]compile.Change{}
	update := compile.Update{Revision: 1}
	for n := range 4 {
		key := fmt.Sprintf("decks/d%d", n)
		stored[key] = compile.Change{Key: key, Value: fmt.Appendf(nil, `{"kind":"Deck","name":"d%d","domain":"d%d.example","attach":"mesh"}`, n, n), Revision: 1, Created: 1}
		update.Changes = append(update.Changes, stored[key])
	}
	asked := map[routing.Via]int{}
	wanted := 0
	for round := range 60 {
		held := routingtest.Compile(t, resident, cloneUpdate(update))
		unheld := routingtest.Compile(t, cached, cloneUpdate(update))
		if round%5 == 4 {
			sections, err := cached.Checkpoint().Sections()
			if err != nil {
				t.Fatal(err)
			}
			cached = compile.NewCompiler(reader.Decode)
			cached.CachePins()
			if unheld, err = cached.Restore(sections); err != nil {
				t.Fatal(err)
			}
		}
		whole := compile.Update{Whole: true, Revision: update.Revision}
		for _, change := range stored {
			whole.Changes = append(whole.Changes, change)
		}
		heldAtOnce, cachedAtOnce := compile.NewCompiler(reader.Decode), compile.NewCompiler(reader.Decode)
		cachedAtOnce.CachePins()
		tables := []*routing.Table{held, unheld, routingtest.Compile(t, heldAtOnce, cloneUpdate(whole)), routingtest.Compile(t, cachedAtOnce, cloneUpdate(whole))}
		if a, b := tables[0], tables[2]; a.EffectiveHash() != b.EffectiveHash() || a.Counts() != b.Counts() {
			t.Fatalf("round %d: step by step %s %+v, at once %s %+v", round, a.EffectiveHash(), a.Counts(), b.EffectiveHash(), b.Counts())
		}
		wanted += mustDecideAlike(t, round, tables, stored, asked)
		update = goodUpdate(random, stored, int64(round+2))
	}
	if wanted < 50 || asked[routing.ViaPin] < 100 || asked[routing.ViaSplit] < 100 {
		t.Errorf("too little was tried: %d pins read on demand, %v", wanted, asked)
	}
}

// mustDecideAlike asks all tables about all keys. It counts what the first one went by in asked, and
// returns how many pins were read on demand.
func mustDecideAlike(t *testing.T, round int, tables []*routing.Table, stored map[string]compile.Change, asked map[routing.Via]int) (wanted int) {
	t.Helper()
	for tenant := range 6 {
		for user := range 7 {
			var first routing.Decision
			for i, table := range tables {
				r := pinRequest(tenant, user)
				d := table.Decide(&r)
				if d.PinWanted {
					wanted++
					d = table.DecidePinned(&r, readPin(t, stored, d.Tenant, user))
				}
				if i == 0 {
					first = d
					asked[d.Via]++
				}
				if deckOf(first) != deckOf(d) || first.Fault != d.Fault || first.Via != d.Via || first.Rule != d.Rule || first.Epoch != d.Epoch || table.Hash() != tables[0].Hash() {
					t.Fatalf("round %d: h%d, user k%d: resident: deck %q %s %s; cached, resident at once, cached at once [%d]: deck %q %s %s",
						round, tenant, user, deckOf(first), first.Via, first.Fault, i, deckOf(d), d.Via, d.Fault)
				}
			}
		}
	}
	return wanted
}

func pinRequest(tenant, user int) routing.Request {
	return routing.Request{Host: fmt.Appendf(nil, "h%d.example", tenant), Method: []byte("GET"), Path: []byte("/"),
		Fields: routingtest.Fields{{"x-user-id", fmt.Sprint("k", user)}}}
}

func deckOf(d routing.Decision) string {
	if d.Deck == nil {
		return ""
	}
	return d.Deck.Name
}

// readPin does what reading a pin on demand does.
func readPin(t *testing.T, stored map[string]compile.Change, tenant string, user int) routing.Pinned {
	t.Helper()
	change, ok := stored[fmt.Sprintf("pins/%s/k%d", tenant, user)]
	if !ok {
		t.Fatalf("a pin of %s for k%d is wanted, and there is none", tenant, user)
	}
	var pin routing.Pin
	if err := json.Unmarshal(change.Value, &pin); err != nil {
		t.Fatal(err)
	}
	return routing.Pinned{State: routing.PinFound, Deck: pin.Deck, Sum: routing.PinSum(change.Key, change.Value)}
}

// goodUpdate writes and deletes some documents, all of them good.
func goodUpdate(random *rand.Rand, stored map[string]compile.Change, revision int64) compile.Update {
	update := compile.Update{Revision: revision}
	changed := map[string]bool{}
	for range 1 + random.IntN(5) {
		tenant := random.IntN(6)
		key, value := fmt.Sprintf("tenants/t%d", tenant), goodTenant(random, tenant, revision)
		if random.IntN(3) > 0 {
			user := random.IntN(5)
			key = fmt.Sprintf("pins/t%d/k%d", tenant, user)
			value = fmt.Sprintf(`{"kind":"Pin","tenant":"t%d","key":"k%d","deck":"d%d"}`, tenant, user, random.IntN(4))
		}
		if changed[key] {
			continue
		}
		changed[key] = true
		change := compile.Change{Key: key, Value: []byte(value), Revision: revision, Created: revision}
		if before, exists := stored[key]; exists {
			if random.IntN(4) == 0 {
				delete(stored, key)
				update.Changes = append(update.Changes, compile.Change{Key: key, Deleted: true, Revision: revision})
				continue
			}
			change.Created = before.Created
		}
		stored[key] = change
		update.Changes = append(update.Changes, change)
	}
	return update
}

// goodTenant is one of few policies, now and then in another spelling.
func goodTenant(random *rand.Rand, tenant int, revision int64) string {
	mode := []string{"", `"pins":true,`, `"pins":"cached",`}[random.IntN(3)]
	text := fmt.Sprintf(`{"kind":"Tenant","name":"t%d","hosts":["h%d.example"],"epoch":%d,"rules":[{"name":"users","key":{"header":"x-user-id"},%s"split":{"d0":1,"d%d":%d}}]}`,
		tenant, tenant, revision, mode, 1+random.IntN(2), 1+random.IntN(2))
	if random.IntN(3) == 0 {
		text = strings.Replace(text, `"split"`, ` "split"`, 1)
	}
	return text
}
