package workflow_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/deploy/workflow"
)

// The property: whatever the machine, whatever happens, and wherever the process dies, the work that
// another process goes on with ends as if nobody had died, with the same steps carried out.

var errCrash = errors.New("the process died")

type (
	numbers      = workflow.Stored[state, event, int]
	numberRunner = workflow.Runner[state, event, int]
)

// world is what machines run in: it outlives their processes, and lets one die.
type world struct {
	store *memory[state, event, int]
	// effects counts what was carried out by the ID of its step.
	effects map[string]int
	// operations counts writes and actions, twice each: before and after. At crashAt the process dies.
	operations, crashAt int
}

func (w *world) operation() error {
	w.operations++
	if w.operations == w.crashAt {
		return errCrash
	}
	return nil
}

// process returns a runner that knows nothing but the store, like a process that was just started.
func (w *world) process(t *testing.T, list []workflow.Action) *numberRunner {
	t.Helper()
	do := map[workflow.Action]workflow.Do[int]{}
	for _, action := range list {
		do[action] = func(_ context.Context, step workflow.Step, _ int) error {
			if err := w.operation(); err != nil {
				return err
			}
			w.effects[step.ID]++
			return w.operation()
		}
	}
	r, err := workflow.NewRunner(w.store.machine, w.store, do)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// script is a machine and what happens to it.
type script struct {
	machine *workflow.Machine[state, event, int]
	actions []workflow.Action
	events  []event
}

// play runs a script in a world where the process dies at one operation, and returns what is stored in
// the end.
func (s script) play(t *testing.T, crashAt int) (numbers, *world) {
	t.Helper()
	w := &world{store: &memory[state, event, int]{machine: s.machine}, effects: map[string]int{}, crashAt: crashAt}
	w.store.before, w.store.after = w.operation, w.operation
	r := w.process(t, s.actions)
	// again makes a new process if the last one died, and says whether it did.
	again := func(err error) bool {
		if errors.Is(err, errCrash) {
			r = w.process(t, s.actions)
			return true
		}
		var refused *workflow.RefusedError
		if err != nil && !errors.As(err, &refused) {
			t.Fatal(err)
		}
		return false
	}
	start := func() error { _, err := r.Start(t.Context(), "w", 0, "tester", "", noon); return err }
	for again(start()) {
	}
	for i, name := range s.events {
		now := noon.Add(time.Duration(i) * time.Minute)
		at, _, err := w.store.Load(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for was := at.Sequence; at.Sequence == was; {
			_, err := r.Fire(t.Context(), workflow.Event[event, int]{Name: name, By: "tester"}, now)
			if !again(err) {
				break
			}
			if at, _, err = w.store.Load(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		resume := func() error { _, err := r.Resume(t.Context(), now); return err }
		for again(resume()) {
		}
	}
	at, _, err := w.store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return at, w
}

// randomScript draws a machine and events. Its declaration may be full of faults of the kind that
// Verify finds: what is promised of crashes holds for those as well.
func randomScript(random *rand.Rand) script {
	pick := func(n int) int { return random.IntN(n) }
	d := workflow.Definition[state, event, int]{Name: "random", Initial: "s0", History: 5 + pick(5)}
	used := map[workflow.Action]bool{}
	some := func() []workflow.Action {
		var list []workflow.Action
		for range pick(3) {
			action := workflow.Action(fmt.Sprint("a", pick(6)))
			used[action] = true
			list = append(list, action)
		}
		return list
	}
	for i := range 4 {
		d.Events = append(d.Events, event(fmt.Sprint("e", i)))
	}
	d.Events = append(d.Events, "tick")
	ordinary := 2 + pick(4)
	var targets []state
	for i := range ordinary {
		s := workflow.State[state, event, int]{Name: state(fmt.Sprint("s", i)), Entry: some(), Exit: some()}
		if pick(2) == 0 {
			after := time.Duration(1+pick(3)) * time.Minute
			s.Timeouts = []workflow.Timeout[event, int]{{Event: "tick", Label: "while", After: func(int) time.Duration { return after }}}
		}
		d.States = append(d.States, s)
		targets = append(targets, s.Name)
	}
	d.States = append(d.States,
		workflow.State[state, event, int]{Name: "c", Kind: workflow.Choice},
		workflow.State[state, event, int]{Name: "f", Kind: workflow.Final, Entry: some()})
	target := func() state { return append(targets, "c", "f")[pick(len(targets)+2)] }
	odd := workflow.YesNo("odd", func(n int) bool { return n%2 == 1 })
	grow := func(n int) int { return n + 1 }
	add := func(from state, on event, to state, when ...workflow.Condition[int]) {
		t := workflow.Transition[state, event, int]{From: []state{from}, On: on, To: to, If: when, Do: some(), Update: grow, Abandon: pick(4) == 0}
		if on != "" && on != "tick" && pick(5) == 0 { // an internal time-out stays due
			t.To, t.Internal = "", true
		}
		d.Transitions = append(d.Transitions, t)
	}
	add("c", "", targets[pick(len(targets))], odd.Is(workflow.Yes))
	add("c", "", "f", odd.Is(workflow.No))
	for _, from := range targets {
		add(from, "tick", target())
		for _, on := range d.Events[:4] {
			switch pick(3) {
			case 0:
				add(from, on, target())
			case 1:
				add(from, on, target(), odd.Is(workflow.Yes))
				add(from, on, target(), odd.Is(workflow.No))
			}
		}
	}
	s := script{machine: workflow.Must(d), actions: slices.Sorted(maps.Keys(used))}
	for range 6 {
		s.events = append(s.events, d.Events[pick(4)])
	}
	return s
}

func TestWorkEndsTheSameWhereverTheProcessDies(t *testing.T) {
	machines := 30
	if testing.Short() {
		machines = 10
	}
	crashes := 0
	for seed := range machines {
		s := randomScript(rand.New(rand.NewPCG(1, uint64(seed))))
		want, whole := s.play(t, 0)
		for id, count := range whole.effects {
			if count != 1 {
				t.Fatalf("machine %d: without a crash %s ran %d times", seed, id, count)
			}
		}
		for crashAt := 1; crashAt <= whole.operations; crashAt++ {
			got, w := s.play(t, crashAt)
			crashes++
			if difference := cmp.Diff(want, got); difference != "" {
				t.Fatalf("machine %d, crash at %d: %s", seed, crashAt, difference)
			}
			if !slices.Equal(slices.Sorted(maps.Keys(whole.effects)), slices.Sorted(maps.Keys(w.effects))) {
				t.Fatalf("machine %d, crash at %d: carried out %v, not %v", seed, crashAt, w.effects, whole.effects)
			}
			repeated := 0
			for _, count := range w.effects {
				repeated += count - 1
			}
			if repeated > 1 {
				t.Fatalf("machine %d, crash at %d: %d actions ran again", seed, crashAt, repeated)
			}
		}
	}
	if crashes < 200 {
		t.Errorf("only %d crashes were tried", crashes)
	}
	t.Logf("%d machines, %d crashes", machines, crashes)
}
