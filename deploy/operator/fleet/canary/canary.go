// Package canary is the state machine of a canary rollout: the new version gets a share of a fleet's
// pods, step by step, is judged beside the stable version at each step, and is then rolled out to all
// or taken away again.
//
// The package only says what follows what. Pods are changed and measured by who drives the machine: it
// carries out the actions, and turns what it sees into events.
package canary

import (
	"time"

	"gridrouter.io/deploy/workflow"
)

// State is where a rollout stands.
type State string

// The states of a rollout. The last three are final.
const (
	// Deploying waits until the pods of the step are ready.
	Deploying State = "Deploying"
	// Holding lets the canary serve for the time that the step asks for.
	Holding State = "Holding"
	// Judging waits for a verdict after that time.
	Judging State = "Judging"
	// NextStep chooses between another step and the promotion.
	NextStep State = "NextStep"
	// Paused waits for a person.
	Paused State = "Paused"
	// Promoting waits until the stable pods have the new version.
	Promoting State = "Promoting"
	// RollingBack waits until the stable pods have the former version and the canary is gone.
	RollingBack State = "RollingBack"
	// Promoted is the good end.
	Promoted State = "Promoted"
	// RolledBack is the other one.
	RolledBack State = "RolledBack"
)

// Event is what happens to a rollout.
type Event string

// The events. Passed, Failed and Inconclusive are verdicts of the analysis; HoldOver and ActionFailed fire
// themselves, and so does DeadlineExceeded in RollingBack. In the other states it is fired by who sees whether
// there is progress: a rollout that goes on slowly, or that nobody drove for a while, is not overdue.
const (
	// PodsReady says that the canary has its share of pods, all ready.
	PodsReady Event = "PodsReady"
	// HoldOver says that the step has lasted as long as it should.
	HoldOver Event = "HoldOver"
	// Passed says that the canary is as good as the stable version.
	Passed Event = "Passed"
	// Failed says that it is worse.
	Failed Event = "Failed"
	// Inconclusive says that too few requests were seen to tell.
	Inconclusive Event = "Inconclusive"
	// Pause and Resume come from a person.
	Pause Event = "Pause"
	// Resume begins the step anew.
	Resume Event = "Resume"
	// Promote is a person's word that the new version is good.
	Promote Event = "Promote"
	// Rollback is a person's word that it is not.
	Rollback Event = "Rollback"
	// RolledOut says that all stable pods are ready and have the version that was asked for.
	RolledOut Event = "RolledOut"
	// DeadlineExceeded says that a state made no progress for too long.
	DeadlineExceeded Event = "DeadlineExceeded"
	// ActionFailed says that an action was given up.
	ActionFailed Event = "ActionFailed"
)

// What is to be carried out. Each action states a target, so that it may run twice.
const (
	// SetShare gives the canary the share of pods that [Plan.Percent] names.
	SetShare workflow.Action = "SetShare"
	// RollOutTarget gives the stable pods the new version.
	RollOutTarget workflow.Action = "RollOutTarget"
	// RestoreStable gives the stable pods the former version.
	RestoreStable workflow.Action = "RestoreStable"
	// RemoveCanary takes the canary's pods away.
	RemoveCanary workflow.Action = "RemoveCanary"
)

// Step is one share of the fleet, and how long it lasts at least.
type Step struct {
	// Percent of the fleet's pods, 1 to 100.
	Percent int           `json:"percent"`
	Hold    time.Duration `json:"hold"`
}

// Plan is the context of the machine. It is fixed when the rollout begins: what people change in the
// spec meanwhile waits until this rollout has come to its end.
type Plan struct {
	// From and To name the revisions of the fleet that are rolled from and to.
	From string `json:"from"`
	To   string `json:"to"`
	// Steps has at least one step.
	Steps []Step `json:"steps"`
	// Deadline bounds how long a state may make no progress; 0 means for ever.
	Deadline time.Duration `json:"deadline"`
	// Step is the index of the present step.
	Step int `json:"step"`
}

// Percent returns the canary's share at the present step, 0 if there is no such step.
func (p Plan) Percent() int { return p.present().Percent }

func (p Plan) present() Step {
	if p.Step < 0 || p.Step >= len(p.Steps) {
		return Step{}
	}
	return p.Steps[p.Step]
}

// tries is how often an action is tried before the rollout is rolled back.
const tries = 10

// New returns the machine.
func New() *workflow.Machine[State, Event, Plan] {
	return workflow.Must(workflow.Definition[State, Event, Plan]{
		Name: "canary", Initial: Deploying, States: states(), Transitions: transitions(),
		Events: []Event{
			PodsReady, HoldOver, Passed, Failed, Inconclusive, Pause, Resume, Promote, Rollback, RolledOut,
			DeadlineExceeded, ActionFailed,
		},
	})
}

func states() []workflow.State[State, Event, Plan] {
	type timeout = workflow.Timeout[Event, Plan]
	deadline := timeout{Event: DeadlineExceeded, Label: "deadline", After: func(p Plan) time.Duration { return p.Deadline }}
	// A step without a hold is over at once: a time-out of nothing would mean that there is none.
	hold := timeout{Event: HoldOver, Label: "hold", After: func(p Plan) time.Duration { return max(p.present().Hold, 1) }}
	failure := &workflow.Failure[Event]{Tries: tries, Event: ActionFailed}
	return []workflow.State[State, Event, Plan]{
		{Name: Deploying, Entry: []workflow.Action{SetShare}, Failure: failure},
		{Name: Holding, Timeouts: []timeout{hold}},
		{Name: Judging},
		{Name: NextStep, Kind: workflow.Choice},
		{Name: Paused},
		{Name: Promoting, Entry: []workflow.Action{RollOutTarget}, Failure: failure},
		// A rollback is never given up. When its deadline is over it is stated anew, and the history says so.
		{Name: RollingBack, Entry: []workflow.Action{RestoreStable, RemoveCanary}, Timeouts: []timeout{deadline}},
		{Name: Promoted, Kind: workflow.Final, Entry: []workflow.Action{RemoveCanary}},
		{Name: RolledBack, Kind: workflow.Final},
	}
}

func transitions() []workflow.Transition[State, Event, Plan] {
	moreSteps := workflow.YesNo("more steps", func(p Plan) bool { return p.Step+1 < len(p.Steps) })
	type to = workflow.Transition[State, Event, Plan]
	return []to{
		{From: []State{Deploying}, On: PodsReady, To: Holding},
		// A bad verdict counts at once, a good one only after the step's time.
		{From: []State{Holding}, On: Passed, Internal: true},
		{From: []State{Holding, Judging}, On: Inconclusive, Internal: true},
		{From: []State{Holding}, On: HoldOver, To: Judging},
		{From: []State{Judging}, On: Passed, To: NextStep},
		{From: []State{Holding, Judging, Promoting}, On: Failed, To: RollingBack},
		{
			From: []State{NextStep}, If: []workflow.Condition[Plan]{moreSteps.Is(workflow.Yes)}, To: Deploying,
			Update: func(p Plan) Plan { p.Step++; return p },
		},
		{From: []State{NextStep}, If: []workflow.Condition[Plan]{moreSteps.Is(workflow.No)}, To: Promoting},
		// What was measured before a pause says nothing of what is after it: the step begins anew.
		{From: []State{Deploying, Holding, Judging}, On: Pause, To: Paused, Abandon: true},
		{From: []State{Paused}, On: Resume, To: Deploying},
		{From: []State{Deploying, Holding, Judging, Paused}, On: Promote, To: Promoting, Abandon: true},
		{From: []State{Promoting}, On: RolledOut, To: Promoted},
		{From: []State{Deploying, Holding, Judging, Paused, Promoting}, On: Rollback, To: RollingBack, Abandon: true},
		{From: []State{Deploying, Judging, Promoting}, On: DeadlineExceeded, To: RollingBack, Abandon: true},
		{From: []State{Deploying, Promoting}, On: ActionFailed, To: RollingBack},
		{From: []State{RollingBack}, On: DeadlineExceeded, To: RollingBack},
		{From: []State{RollingBack}, On: RolledOut, To: RolledBack},
	}
}
