package workflow_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/deploy/workflow"
)

func names(at stored) []string {
	var list []string
	for _, step := range at.Pending {
		list = append(list, string(step.Action))
	}
	return list
}

// in is work that stands in a state and has nothing to carry out.
func in(s state, b backup) stored {
	return stored{Machine: "backup", ID: "b1", State: s, Since: noon, Started: noon, Sequence: 1, Context: b}
}

func TestEachKindOfTransition(t *testing.T) {
	m := machine(t)
	later := noon.Add(time.Minute)
	f := func(from stored, on happened, to state, since time.Time, steps ...string) {
		t.Helper()
		next, err := m.Fire(from, on, later)
		if err != nil {
			t.Error(err)
			return
		}
		if next.State != to || !next.Since.Equal(since) || !slices.Equal(names(next), steps) || next.Sequence != from.Sequence+1 {
			t.Errorf("%s on %s: state %s since %s, to do %v", from.State, on.Name, next.State, next.Since, names(next))
		}
	}
	// external
	f(in("checking", backup{}), happened{Name: "cancel"}, "dropped", later, "remove")
	f(in("copying", backup{}), happened{Name: "cancel"}, "dropped", later, "close", "remove")
	// self: left and entered again
	f(in("checking", backup{}), happened{Name: "again"}, "checking", later, "hash")
	// internal: neither left nor entered
	f(in("copying", backup{}), happened{Name: "touched"}, "copying", noon, "note")
	f(in("checking", backup{}), happened{Name: "hashed"}, "checking", noon)
	// by a choice, which sees what the transition changed
	f(in("copying", backup{Parts: 2}), happened{Name: "copied"}, "copying", later, "close", "count", "copy")
	f(in("copying", backup{Parts: 2, Copied: 1}), happened{Name: "copied"}, "checking", later, "close", "count", "hash")
	// by guards, which see what the event brings
	learn := func(hash string) func(backup) backup { return func(b backup) backup { b.Hash = hash; return b } }
	f(in("checking", backup{}), happened{Name: "hashed", Learn: learn("good")}, "kept", later, "announce")
	f(in("checking", backup{}), happened{Name: "hashed", Learn: learn("bad")}, "dropped", later, "remove")
}

func TestWhatIsRefusedChangesNothing(t *testing.T) {
	m := machine(t)
	f := func(from stored, on event, why string) {
		t.Helper()
		next, err := m.Fire(from, happened{Name: on, Learn: func(backup) backup { return backup{Parts: 77} }}, noon)
		var refused *workflow.RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), why) || refused.State != string(from.State) || refused.Event != string(on) {
			t.Errorf("%s on %s: %v", from.State, on, err)
		}
		if difference := cmp.Diff(from, next); difference != "" {
			t.Errorf("%s on %s changed it: %s", from.State, on, difference)
		}
	}
	f(in("copying", backup{}), "melted", "the machine knows no such event")
	f(in("copying", backup{}), "", "the machine knows no such event")
	f(in("copying", backup{}), "hashed", "the state does not answer it")
	f(in("kept", backup{}), "cancel", "the state does not answer it")
}

// Fire must not write into what it was given, however slices lie in memory.
func TestFireLeavesItsArgumentsAlone(t *testing.T) {
	m := machine(t)
	was := m.Start("b1", backup{Parts: 9}, "tester", "", noon)
	was.Pending = nil
	was.History = append(make([]workflow.Record[state, event], 0, 50), was.History...)
	one, err1 := m.Fire(was, happened{Name: "copied", By: "one"}, noon)
	two, err2 := m.Fire(was, happened{Name: "cancel", By: "two"}, noon)
	if err1 != nil || err2 != nil || len(was.History) != 1 || one.History[1].By != "one" || two.History[1].By != "two" {
		t.Errorf("%v, %v: %v, %v, %v", err1, err2, was.History, one.History, two.History)
	}
}

func TestHistoryTellsWhoWhenWhatAndWhyAndIsBounded(t *testing.T) {
	m := machine(t)
	at := m.Start("b1", backup{Parts: 100}, "ann", "nightly", noon)
	if want := (workflow.Record[state, event]{Sequence: 1, At: noon, By: "ann", To: "copying", Why: "nightly"}); !cmp.Equal(at.History[0], want) {
		t.Errorf("the start is %+v", at.History[0])
	}
	for i := range 6 {
		at.Pending = nil
		next, err := m.Fire(at, happened{Name: "copied", By: "bob", Why: "done"}, noon.Add(time.Duration(i+1)*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		at = next
	}
	want := workflow.Record[state, event]{Sequence: 7, At: noon.Add(6 * time.Second), By: "bob", Event: "copied", From: "copying", To: "copying", Why: "done"}
	if len(at.History) != 4 || !cmp.Equal(at.History[3], want) || at.History[0].Sequence != 4 {
		t.Errorf("the history is %+v", at.History)
	}
}

func TestAnEventWaitsForPendingActionsUnlessItDropsThem(t *testing.T) {
	m := machine(t)
	at := m.Start("b1", backup{Parts: 2}, "", "", noon)
	for _, waits := range []event{"copied", "touched"} {
		if _, err := m.Fire(at, happened{Name: waits}, noon); !errors.Is(err, workflow.ErrPending) {
			t.Errorf("%s: %v", waits, err)
		}
	}
	for _, drops := range []event{"cancel", "late", "broken"} {
		next, err := m.Fire(at, happened{Name: drops}, noon)
		if err != nil || !slices.Equal(names(next), []string{"close", "remove"}) {
			t.Errorf("%s: %v, to do %v", drops, err, names(next))
			continue
		}
		if last := next.History[len(next.History)-1]; !slices.Equal(last.Abandoned, []string{"b1/1.1/copy"}) {
			t.Errorf("%s: the history says that %v were dropped", drops, last.Abandoned)
		}
	}
}

func TestStepsHaveNamesOfTheirOwn(t *testing.T) {
	m := machine(t)
	seen := map[string]bool{}
	for _, id := range []string{"b1", "b2"} {
		at := m.Start(id, backup{Parts: 5}, "", "", noon)
		for range 5 {
			for _, step := range at.Pending {
				if seen[step.ID] {
					t.Errorf("%s twice", step.ID)
				}
				seen[step.ID] = true
			}
			at.Pending = nil
			var err error
			if at, err = m.Fire(at, happened{Name: "copied"}, noon); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d steps", len(seen))
	}
}

func TestADeadlineIsCountedFromTheStoredMomentOfEntry(t *testing.T) {
	m := machine(t)
	at := m.Start("b1", backup{Parts: 9, Limit: time.Hour}, "", "", noon.In(time.FixedZone("elsewhere", 3600)))
	text, err := m.Encode(at)
	if err != nil {
		t.Fatal(err)
	}
	if at, err = m.Decode(text); err != nil {
		t.Fatal(err)
	}
	if on, due, ok := m.Deadline(at); !ok || on != "late" || !due.Equal(noon.Add(time.Hour)) {
		t.Errorf("after it was stored, %q is due at %s (%v)", on, due, ok)
	}
	at.Context.Limit = 0
	if on, _, ok := m.Deadline(at); ok {
		t.Errorf("%q is due without a limit", on)
	}
	if on, _, ok := m.Deadline(in("checking", backup{Limit: time.Hour})); ok {
		t.Errorf("%q is due in a state that has no time-out", on)
	}
}

func TestAGuardThatGivesAnUndeclaredAnswerIsRefused(t *testing.T) {
	d := sample()
	odd := &workflow.Guard[backup]{Name: "odd", Answers: []string{"a"}, Decide: func(backup) string { return "b" }}
	d.Transitions[8].If = conditions{odd.Is("a")}
	m := workflow.Must(d)
	if _, err := m.Fire(in("checking", backup{}), happened{Name: "again"}, noon); err == nil || !strings.Contains(err.Error(), `guard "odd" gives the answer "b"`) {
		t.Error(err)
	}
}
