package compile_test

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestWhatTheGuardHoldsCostsInProportion deletes half of many tenants, one after the other, fast:
// nearly all of it is held. What an update allocates, and what it tells, must not grow with what
// is held already.
func TestWhatTheGuardHoldsCostsInProportion(t *testing.T) {
	const tenants = 8_000
	compiler, now := compile.NewCompiler(document.NewReader().Decode), time.Now()
	update := compile.Update{Revision: 1, At: now, Changes: []compile.Change{{Key: "decks/d1", Value: []byte(
		`{"kind":"Deck","name":"d1","domain":"d1.example","attach":"direct","addresses":["127.0.0.1:1"]}`)}}}
	for i := range tenants {
		update.Changes = append(update.Changes, compile.Change{Key: fmt.Sprintf("tenants/t%d", i), Value: fmt.Appendf(nil,
			`{"kind":"Tenant","name":"t%d","hosts":["t%d.example"],"epoch":1,"rules":[{"name":"all","deck":"d1"}]}`, i, i)})
	}
	table := routingtest.Compile(t, compiler, update)
	revision := int64(1)
	remove := func(from, to int) (bytes uint64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := from; i < to; i++ {
			revision++
			now = now.Add(time.Second / 300)
			table = routingtest.Compile(t, compiler, compile.Update{Revision: revision, At: now, Changes: []compile.Change{{Key: fmt.Sprintf("tenants/t%d", i), Deleted: true, Revision: revision}}})
		}
		runtime.ReadMemStats(&after)
		return (after.TotalAlloc - before.TotalAlloc) / uint64(to-from)
	}
	remove(0, 600)
	early := remove(600, 1000)
	remove(1000, 3600)
	late := remove(3600, 4000)
	guard := table.Guard()
	if guard == nil || guard.Documents < 3000 || guard.Dropped != guard.Documents || len(guard.Tenants) != 100 {
		t.Fatalf("held: %+v", guard)
	}
	if n := table.Counts().Problems; n > 101 {
		t.Errorf("%d problems are listed", n)
	}
	last := table.Problems()[0]
	if last.Key != "" || last.Code != routing.ProblemHeld || table.Counts().Tenants != tenants-(4000-guard.Documents) {
		t.Errorf("the first problem is %+v, of %+v", last, table.Counts())
	}
	if late > 2*early {
		t.Errorf("a deletion allocates %d bytes when many are held, and %d when few are", late, early)
	}
	t.Logf("bytes a deletion: %d when few are held, %d when many are", early, late)
	table = routingtest.Compile(t, compiler, compile.Update{Revision: revision, At: now, Accepted: revision})
	if table.Guard() != nil || table.Counts().Tenants != tenants-4000 || table.Counts().Problems != 0 {
		t.Errorf("after it was accepted: %+v, %+v", table.Guard(), table.Counts())
	}
}
