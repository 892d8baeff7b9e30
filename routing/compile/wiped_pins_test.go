package compile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
	"gridrouter.io/routing/routingtest"
)

// TestCachedPinsThatAreWipedAreNotTakenForAbsent wipes tenants and pins, or pins alone, by events and
// by a list, of a compiler that goes on, is restored, or is rebuilt meanwhile. While the guard
// holds, a key whose pin cannot be read goes nowhere; when all comes back, or the loss is
// accepted, all is as if nothing had happened, or as if nothing had ever been there.
func TestCachedPinsThatAreWipedAreNotTakenForAbsent(t *testing.T) {
	decks, tenants, pins := wipeable()
	ways := map[string]compile.Update{
		"all by events":  {Changes: gone(slices.Concat(tenants, pins), 2)},
		"pins by events": {Changes: gone(pins, 2)},
		"all by a list":  {Whole: true, Changes: decks},
		"pins by a list": {Whole: true, Changes: slices.Concat(decks, tenants)},
	}
	for way, wipe := range ways {
		left := decks
		if strings.HasPrefix(way, "pins") {
			left = slices.Concat(decks, tenants)
		}
		for _, between := range []string{"nothing", "restored", "rebuilt"} {
			for _, end := range []string{"comes back by events", "comes back by a list", "is accepted"} {
				w := &wiped{t: t, what: way + ", " + between + ", " + end, compiler: newCachingCompiler(), stored: routing.PinSum(pins[7].Key, pins[7].Value)}
				before := w.step(compile.Update{Whole: true, Changes: slices.Concat(decks, tenants, pins)}, 1)
				table := w.step(wipe, 2)
				switch between {
				case "restored":
					table = w.restore()
				case "rebuilt":
					table = w.rebuild(left)
				}
				w.mustBeHeld(table)
				switch end {
				case "comes back by events":
					w.mustEndIn(w.step(compile.Update{Changes: slices.Concat(tenants, pins)}, 3), before, "d1")
				case "comes back by a list":
					w.mustEndIn(w.step(compile.Update{Whole: true, Changes: slices.Concat(decks, tenants, pins)}, 3), before, "d1")
				case "is accepted":
					never := routingtest.Compile(t, newCachingCompiler(), compile.Update{Whole: true, Changes: slices.Clone(left)})
					outcome := "no_tenant"
					if strings.HasPrefix(way, "pins") {
						outcome = "d0"
					}
					w.mustEndIn(w.step(compile.Update{Accepted: 2}, 3), never, outcome)
				}
			}
		}
	}
}

const wipedTenants = 30

// wipeable returns two decks, tenants on one of them, and for each a pin to the other.
func wipeable() (decks, tenants, pins []compile.Change) {
	for n := range 2 {
		decks = append(decks, compile.Change{Key: fmt.Sprintf("decks/d%d", n), Revision: 1, Created: 1, Value: fmt.Appendf(nil,
			`{"kind":"Deck","name":"d%d","domain":"d%d.example","attach":"mesh"}`, n, n)})
	}
	for i := range wipedTenants {
		tenants = append(tenants, compile.Change{Key: fmt.Sprintf("tenants/t%d", i), Revision: 1, Created: 1, Value: fmt.Appendf(nil,
			`{"kind":"Tenant","name":"t%d","hosts":["h%d.example"],"epoch":1,"rules":[{"name":"users","key":{"header":"x-user-id"},"pins":"cached","split":{"d0":1}}]}`, i, i)})
		pins = append(pins, compile.Change{Key: fmt.Sprintf("pins/t%d/k1", i), Revision: 1, Created: 1, Value: fmt.Appendf(nil,
			`{"kind":"Pin","tenant":"t%d","key":"k1","deck":"d1"}`, i)})
	}
	return decks, tenants, pins
}

// gone deletes what was written.
func gone(changes []compile.Change, revision int64) (deleted []compile.Change) {
	for _, change := range changes {
		deleted = append(deleted, compile.Change{Key: change.Key, Deleted: true, Revision: revision})
	}
	return deleted
}

func newCachingCompiler() *compile.Compiler {
	compiler := compile.NewCompiler(document.NewReader().Decode)
	compiler.CachePins()
	return compiler
}

// wiped is a compiler with a clock, whose documents are wiped.
type wiped struct {
	t        *testing.T
	what     string
	compiler *compile.Compiler
	stored   uint64 // hash of the pin that is asked for, as it was at first and is when it comes back
}

// step compiles an update; a second goes by with each revision.
func (w *wiped) step(u compile.Update, revision int64) *routing.Table {
	w.t.Helper()
	u.Revision, u.At = revision, time.Date(2026, 1, 1, 0, 0, int(revision), 0, time.UTC)
	return routingtest.Compile(w.t, w.compiler, cloneUpdate(u))
}

func (w *wiped) restore() *routing.Table {
	w.t.Helper()
	sections, err := w.compiler.Checkpoint().Sections()
	if err != nil {
		w.t.Fatal(err)
	}
	w.compiler = newCachingCompiler()
	table, err := w.compiler.Restore(sections)
	if err != nil {
		w.t.Fatal(err)
	}
	return table
}

func (w *wiped) rebuild(stored []compile.Change) *routing.Table {
	w.t.Helper()
	next, err := w.compiler.Rebuilt()
	if err != nil {
		w.t.Fatal(err)
	}
	w.compiler = next
	return w.step(compile.Update{Whole: true, Changes: stored}, 2)
}

// outcome asks for a key whose pin is read on demand.
func (w *wiped) outcome(table *routing.Table, etcdSays routing.Pinned) string {
	request := pinRequest(7, 1)
	d := table.Decide(&request)
	if d.PinWanted {
		d = table.DecidePinned(&request, etcdSays)
	}
	return deckOf(d) + string(d.Fault)
}

func (w *wiped) mustBeHeld(table *routing.Table) {
	w.t.Helper()
	if got := w.outcome(table, routing.Pinned{State: routing.PinAbsent}); got != "pin_unreadable" || table.Guard() == nil || table.Guard().Documents < wipedTenants {
		w.t.Errorf("%s: while it is held the key gets %q; %+v", w.what, got, table.Guard())
	}
	if table.Counts() != (routing.Counts{Tenants: wipedTenants, Hosts: wipedTenants, Decks: 2, Pins: wipedTenants, Problems: table.Counts().Problems}) {
		w.t.Errorf("%s: while it is held there are %+v", w.what, table.Counts())
	}
}

func (w *wiped) mustEndIn(table, want *routing.Table, outcome string) {
	w.t.Helper()
	if table.Guard() != nil || table.Hash() != want.Hash() || table.EffectiveHash() != want.EffectiveHash() || table.Counts() != want.Counts() {
		w.t.Errorf("%s: %s %s %+v %+v, want %s %s %+v", w.what, table.Hash(), table.EffectiveHash(), table.Counts(), table.Guard(), want.Hash(), want.EffectiveHash(), want.Counts())
	}
	if got := w.outcome(table, routing.Pinned{State: routing.PinFound, Deck: "d1", Sum: w.stored}); got != outcome {
		w.t.Errorf("%s: in the end the key gets %q, want %q", w.what, got, outcome)
	}
}
