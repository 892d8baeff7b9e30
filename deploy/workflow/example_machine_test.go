package workflow_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/deploy/workflow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A backup: it is copied part by part, checked, and kept or thrown away.
type state string
type event string

type backup struct {
	Parts, Copied int
	Hash          string
	Limit         time.Duration
}

type (
	definition = workflow.Definition[state, event, backup]
	states     = []workflow.State[state, event, backup]
	transition = workflow.Transition[state, event, backup]
	timeouts   = []workflow.Timeout[event, backup]
	conditions = []workflow.Condition[backup]
	actions    = []workflow.Action
	stored     = workflow.Stored[state, event, backup]
	happened   = workflow.Event[event, backup]
)

func limit(b backup) time.Duration { return b.Limit }

// sample returns a sound definition with each kind of state and transition in it.
func sample() definition {
	more := workflow.YesNo("more parts", func(b backup) bool { return b.Copied < b.Parts })
	hash := &workflow.Guard[backup]{Name: "hash", Answers: []string{"right", "wrong", "missing"}, Decide: func(b backup) string {
		switch b.Hash {
		case "":
			return "missing"
		case "good":
			return "right"
		}
		return "wrong"
	}}
	return definition{
		Name: "backup", Initial: "copying", History: 4,
		Events: []event{"copied", "hashed", "touched", "again", "cancel", "late", "broken"},
		States: states{
			{
				Name: "copying", Entry: actions{"copy"}, Exit: actions{"close"}, Timeouts: timeouts{{Event: "late", Label: "limit", After: limit}},
				Failure: &workflow.Failure[event]{Tries: 3, Event: "broken"},
			},
			{Name: "which", Kind: workflow.Choice},
			{Name: "checking", Entry: actions{"hash"}},
			{Name: "kept", Kind: workflow.Final, Entry: actions{"announce"}},
			{Name: "dropped", Kind: workflow.Final},
		},
		Transitions: []transition{
			{From: []state{"copying"}, On: "copied", To: "which", Do: actions{"count"}, Update: func(b backup) backup { b.Copied++; return b }},
			{From: []state{"which"}, If: conditions{more.Is(workflow.Yes)}, To: "copying"},
			{From: []state{"which"}, If: conditions{more.Is(workflow.No)}, To: "checking"},
			{From: []state{"copying"}, On: "touched", Internal: true, Do: actions{"note"}},
			{From: []state{"checking"}, On: "hashed", If: conditions{hash.Is("right")}, To: "kept"},
			{From: []state{"checking"}, On: "hashed", If: conditions{hash.Is("wrong")}, To: "dropped", Do: actions{"remove"}},
			{From: []state{"checking"}, On: "hashed", If: conditions{hash.Is("missing")}, Internal: true},
			{From: []state{"copying", "checking"}, On: "cancel", To: "dropped", Do: actions{"remove"}, Abandon: true},
			{From: []state{"checking"}, On: "again", To: "checking"},
			{From: []state{"copying"}, On: "late", To: "dropped", Do: actions{"remove"}},
			{From: []state{"copying"}, On: "broken", To: "dropped", Do: actions{"remove"}},
		},
	}
}

func machine(t *testing.T) *workflow.Machine[state, event, backup] {
	t.Helper()
	m, err := workflow.New(sample())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// noon is when the tests begin.
var noon = time.Date(2030, 1, 2, 12, 0, 0, 0, time.UTC)
