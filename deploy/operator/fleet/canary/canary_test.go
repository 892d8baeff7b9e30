package canary_test

import (
	"errors"
	"flag"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the pictures into docs/WORKFLOWS.md")

type (
	stored = workflow.Stored[canary.State, canary.Event, canary.Plan]
	event  = workflow.Event[canary.Event, canary.Plan]
)

var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)

func plan() canary.Plan {
	return canary.Plan{
		From: "r1", To: "r2", Deadline: 10 * time.Minute,
		Steps: []canary.Step{{Percent: 10, Hold: time.Minute}, {Percent: 50, Hold: time.Minute}},
	}
}

func TestTheMachineIsSound(t *testing.T) {
	if found := canary.New().Verify(); len(found) > 0 {
		t.Error(found)
	}
}

// rollout drives a machine by hand: every action is done at once.
type rollout struct {
	*testing.T
	machine *workflow.Machine[canary.State, canary.Event, canary.Plan]
	at      stored
	now     time.Time
	done    []string
}

func begin(t *testing.T, p canary.Plan) *rollout {
	t.Helper()
	m := canary.New()
	r := &rollout{T: t, machine: m, at: m.Start("r2", p, "tester", "", noon), now: noon}
	r.carryOut()
	return r
}

// afterCrash returns what another process finds of the rollout. Every test goes on from that, so that
// what is not stored is missed.
func (r *rollout) afterCrash() stored {
	r.Helper()
	text, err := r.machine.Encode(r.at)
	if err != nil {
		r.Fatal(err)
	}
	at, err := canary.New().Decode(text)
	if err != nil {
		r.Fatal(err)
	}
	return at
}

func (r *rollout) carryOut() {
	for _, step := range r.at.Pending {
		r.done = append(r.done, string(step.Action))
	}
	r.at.Pending = nil
}

func (r *rollout) fire(events ...canary.Event) *rollout {
	r.Helper()
	for _, name := range events {
		r.at = r.afterCrash()
		next, err := r.machine.Fire(r.at, event{Name: name, By: "tester"}, r.now)
		if err != nil {
			r.Fatal(err)
		}
		r.at = next
		r.carryOut()
	}
	return r
}

// wait lets time pass, and fires the time-out if one is due.
func (r *rollout) wait(d time.Duration) *rollout {
	r.Helper()
	r.now = r.now.Add(d)
	if name, due, ok := r.machine.Deadline(r.at); ok && !r.now.Before(due) {
		r.fire(name)
	}
	return r
}

func (r *rollout) stands(state canary.State, percent int, done ...string) *rollout {
	r.Helper()
	if r.at.State != state || r.at.Context.Percent() != percent || !slices.Equal(r.done, done) {
		r.Errorf("it is %s at %d %%, carried out %v; not %s at %d %%, %v", r.at.State, r.at.Context.Percent(), r.done, state, percent, done)
	}
	r.done = nil
	return r
}

func TestAGoodCanaryIsPromotedStepByStep(t *testing.T) {
	r := begin(t, plan()).stands(canary.Deploying, 10, "SetShare")
	r.fire(canary.PodsReady).stands(canary.Holding, 10)
	r.fire(canary.Inconclusive, canary.Passed, canary.Passed).stands(canary.Holding, 10)
	r.wait(59*time.Second).stands(canary.Holding, 10)
	r.wait(time.Second).stands(canary.Judging, 10)
	r.fire(canary.Inconclusive).stands(canary.Judging, 10)
	r.fire(canary.Passed).stands(canary.Deploying, 50, "SetShare")
	r.fire(canary.PodsReady).wait(time.Minute).fire(canary.Passed).stands(canary.Promoting, 50, "RollOutTarget")
	r.fire(canary.RolledOut).stands(canary.Promoted, 50, "RemoveCanary")
}

func TestABadCanaryIsRolledBackAtOnce(t *testing.T) {
	for _, until := range [][]canary.Event{
		{canary.PodsReady}, {canary.PodsReady, canary.HoldOver},
		{canary.PodsReady, canary.HoldOver, canary.Passed, canary.PodsReady},
		{canary.Promote},
	} {
		r := begin(t, plan()).fire(until...)
		r.done = nil
		r.fire(canary.Failed).stands(canary.RollingBack, r.at.Context.Percent(), "RestoreStable", "RemoveCanary")
		r.fire(canary.RolledOut).stands(canary.RolledBack, r.at.Context.Percent())
	}
}

// Who drives the machine sees whether there is progress, and says when there was none for too long.
func TestEveryStateThatMakesNoProgressCanBeEnded(t *testing.T) {
	for _, until := range [][]canary.Event{nil, {canary.PodsReady, canary.HoldOver}, {canary.Promote}} {
		r := begin(t, plan()).fire(until...)
		r.done = nil
		r.wait(1000*time.Hour).stands(r.at.State, 10)
		r.fire(canary.DeadlineExceeded).stands(canary.RollingBack, 10, "RestoreStable", "RemoveCanary")
		if last := r.at.History[len(r.at.History)-1]; last.Event != canary.DeadlineExceeded {
			t.Errorf("the history says %+v", last)
		}
	}
}

func TestARollbackIsNeverGivenUp(t *testing.T) {
	r := begin(t, plan()).fire(canary.Rollback)
	for range 5 {
		r.done = nil
		r.wait(10*time.Minute).stands(canary.RollingBack, 10, "RestoreStable", "RemoveCanary")
	}
	r.fire(canary.RolledOut).stands(canary.RolledBack, 10)
}

func TestAStepBeginsAnewAfterAPause(t *testing.T) {
	r := begin(t, plan()).fire(canary.PodsReady)
	r.done = nil
	r.wait(50*time.Second).fire(canary.Pause).stands(canary.Paused, 10)
	r.wait(1000*time.Hour).stands(canary.Paused, 10)
	r.fire(canary.Resume).stands(canary.Deploying, 10, "SetShare")
	r.fire(canary.PodsReady).wait(59*time.Second).stands(canary.Holding, 10)
	r.wait(time.Second).stands(canary.Judging, 10)
}

func TestAPersonPromotesOrRollsBackFromEveryStateBeforeTheEnd(t *testing.T) {
	for _, until := range [][]canary.Event{nil, {canary.PodsReady}, {canary.PodsReady, canary.HoldOver}, {canary.Pause}} {
		begin(t, plan()).fire(until...).fire(canary.Promote, canary.RolledOut)
		begin(t, plan()).fire(until...).fire(canary.Rollback, canary.RolledOut)
	}
	begin(t, plan()).fire(canary.Promote, canary.Rollback, canary.RolledOut).stands(canary.RolledBack, 10,
		"SetShare", "RollOutTarget", "RestoreStable", "RemoveCanary")
}

// What a person asks for does not wait for an action that fails.
func TestAPersonIsHeardWhileActionsArePending(t *testing.T) {
	m := canary.New()
	at := m.Start("r2", plan(), "", "", noon)
	for _, name := range []canary.Event{canary.Pause, canary.Promote, canary.Rollback, canary.DeadlineExceeded, canary.ActionFailed} {
		if _, err := m.Fire(at, event{Name: name}, noon); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Fire(at, event{Name: canary.PodsReady}, noon); !errors.Is(err, workflow.ErrPending) {
		t.Error(err)
	}
}

func TestAStepWithoutAHoldIsJudgedAtOnce(t *testing.T) {
	p := plan()
	p.Steps[0].Hold = 0
	begin(t, p).fire(canary.PodsReady).wait(1).stands(canary.Judging, 10, "SetShare")
}

func TestAPlanWithoutSuchAStepHasNoShare(t *testing.T) {
	for _, step := range []int{-1, 2} {
		p := plan()
		p.Step = step
		if p.Percent() != 0 {
			t.Errorf("step %d has %d %%", step, p.Percent())
		}
	}
}

// TestThePageShowsTheMachine compares docs/WORKFLOWS.md with what the machine prints.
func TestThePageShowsTheMachine(t *testing.T) {
	const page = "../../../../docs/WORKFLOWS.md"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for language, picture := range map[string]string{"mermaid": canary.New().Mermaid(), "plantuml": canary.New().PlantUML()} {
		before, rest, found := strings.Cut(want, "```"+language+"\n")
		_, after, closed := strings.Cut(rest, "```")
		if !found || !closed {
			t.Fatalf("%s has no block of %s", page, language)
		}
		want = before + "```" + language + "\n" + picture + "```" + after
	}
	if *update && want != string(text) {
		if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s shows another machine: go test ./deploy/operator/fleet/canary -update", page)
	}
}
