package workflow_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/workflow"
)

func TestTheSampleIsSound(t *testing.T) {
	if found := machine(t).Verify(); len(found) > 0 {
		t.Error(found)
	}
}

func TestVerifyFindsWhatADeclarationForgot(t *testing.T) {
	f := func(problem workflow.Problem, says string, change func(*definition)) {
		t.Helper()
		d := sample()
		change(&d)
		m, err := workflow.New(d)
		if err != nil {
			t.Error(err)
			return
		}
		found := m.Verify()
		if !slices.ContainsFunc(found, func(f workflow.Finding) bool {
			return f.Problem == problem && strings.Contains(f.String(), says)
		}) {
			t.Errorf("no %s with %s in %v", problem, says, found)
		}
	}
	f(workflow.Unreachable, `no way leads from "copying" to "attic"`, func(d *definition) {
		d.States = append(d.States, states{{Name: "attic", Kind: workflow.Final}}...)
	})
	f(workflow.DeadEnd, `no way leads from "checking" to a final state`, func(d *definition) {
		d.Transitions = slices.DeleteFunc(d.Transitions, func(t transition) bool {
			return t.From[0] == "checking" && !t.Internal && t.To != "checking" || len(t.From) == 2
		})
	})
	f(workflow.Unhandled, `no state answers event "melted"`, func(d *definition) { d.Events = append(d.Events, "melted") })
	f(workflow.Unhandled, `state "copying" does not answer its own time-out "again"`, func(d *definition) {
		d.States[0].Timeouts = append(d.States[0].Timeouts, timeouts{{Event: "again", Label: "limit", After: limit}}...)
	})
	f(workflow.Unhandled, `state "checking" does not answer its own failure event "broken"`, func(d *definition) {
		d.States[2].Failure = &workflow.Failure[event]{Tries: 1, Event: "broken"}
	})
	f(workflow.Endless, `time-out "touched" of "copying" stays due`, func(d *definition) {
		d.States[0].Timeouts = timeouts{{Event: "touched", Label: "limit", After: limit}}
	})
	f(workflow.Endless, `choice "which" can lead back to itself`, func(d *definition) {
		d.Transitions[1].To = "which"
	})
	f(workflow.Gap, `event "hashed" in state "checking": no transition for hash = missing`, func(d *definition) {
		d.Transitions = slices.Delete(d.Transitions, 6, 7)
	})
	f(workflow.Gap, `choice "which": no transition for more parts = no`, func(d *definition) {
		d.Transitions = slices.Delete(d.Transitions, 2, 3)
	})
	f(workflow.Gap, `choice "empty": no transition for any context`, func(d *definition) {
		d.States = append(d.States, states{{Name: "empty", Kind: workflow.Choice}}...)
	})
	f(workflow.Overlap, `choice "which": 2 transitions for more parts = yes`, func(d *definition) {
		d.Transitions[2].If = nil
	})
	f(workflow.Overlap, `event "again" in state "checking": 2 transitions for any context`, func(d *definition) {
		d.Transitions = append(d.Transitions, d.Transitions[8])
	})
	f(workflow.Undecided, `event "again" in state "checking": more than 4096`, func(d *definition) {
		for _, name := range strings.Split("abcdefghijklm", "") {
			g := workflow.YesNo(name, func(backup) bool { return true })
			d.Transitions[8].If = append(d.Transitions[8].If, g.Is(workflow.Yes))
		}
	})
}

func TestNewRefusesWhatIsNotSoundInItself(t *testing.T) {
	f := func(says string, change func(*definition)) {
		t.Helper()
		d := sample()
		change(&d)
		if m, err := workflow.New(d); err == nil || m != nil || !strings.Contains(err.Error(), says) {
			t.Errorf("not %q: %v", says, err)
		}
	}
	never := workflow.YesNo("more parts", func(backup) bool { return false })
	f(`its name is no identifier`, func(d *definition) { d.Name = "" })
	f(`event "so: on" is no identifier`, func(d *definition) { d.Events = append(d.Events, "so: on") })
	f(`state "a b" is no identifier`, func(d *definition) { d.States = append(d.States, states{{Name: "a b"}}...) })
	f(`action "a/b" is no identifier`, func(d *definition) { d.Transitions[0].Do = actions{"a/b"} })
	f(`the initial state "nowhere" is no ordinary state`, func(d *definition) { d.Initial = "nowhere" })
	f(`the initial state "which" is no ordinary state`, func(d *definition) { d.Initial = "which" })
	f(`event "late" is no identifier or declared twice`, func(d *definition) { d.Events = append(d.Events, "late") })
	f(`state "kept" is no identifier or declared twice`, func(d *definition) { d.States[0].Name = "kept" })
	f(`state "kept": only an ordinary state has exit actions`, func(d *definition) { d.States[3].Exit = actions{"x"} })
	f(`state "which": a choice has no entry actions`, func(d *definition) { d.States[1].Entry = actions{"x"} })
	f(`time-out "soon" needs a declared event`, func(d *definition) { d.States[0].Timeouts[0].Event = "soon" })
	f(`time-out "late" needs a declared event, a label of plain words and a duration`, func(d *definition) { d.States[0].Timeouts[0].After = nil })
	f(`at least one try`, func(d *definition) { d.States[0].Failure.Tries = 0 })
	f(`leads from no state`, func(d *definition) { d.Transitions[0].From = nil })
	f(`leads from "attic", which is not declared`, func(d *definition) { d.Transitions[0].From = []state{"attic"} })
	f(`leads to "attic": it needs a declared state`, func(d *definition) { d.Transitions[0].To = "attic" })
	f(`or to be internal`, func(d *definition) { d.Transitions[3].To = "kept" })
	f(`event "soon" is not declared`, func(d *definition) { d.Transitions[0].On = "soon" })
	f(`leads out of the final state "kept"`, func(d *definition) { d.Transitions[8].From = []state{"kept"} })
	f(`a way out of the choice "which" has no event`, func(d *definition) { d.Transitions[1].On = "late" })
	f(`a transition out of "checking" has no event`, func(d *definition) { d.Transitions[8].On = "" })
	f(`the guard never answers "maybe"`, func(d *definition) { d.Transitions[8].If = conditions{never.Is("maybe")} })
	f(`guard "more parts" is not named by plain words, or shares its name`, func(d *definition) { d.Transitions[8].If = conditions{never.Is(workflow.No)} })
}

func TestPicturesAreTheSameEachTime(t *testing.T) {
	want := `stateDiagram-v2
    state which <<choice>>
    [*] --> copying
    copying : entry / copy
    copying : exit / close
    copying --> which : copied / count
    copying : touched / note
    copying --> dropped : cancel / remove
    copying --> dropped : late after limit / remove
    copying --> dropped : broken after 3 failures / remove
    which --> copying : [more parts]
    which --> checking : [not more parts]
    checking : entry / hash
    checking --> kept : hashed [hash = right]
    checking --> dropped : hashed [hash = wrong] / remove
    checking : hashed [hash = missing]
    checking --> dropped : cancel / remove
    checking --> checking : again
    kept : entry / announce
    kept --> [*]
    dropped --> [*]
`
	for range 20 {
		if m := machine(t); m.Mermaid() != want {
			t.Fatalf("Mermaid:\n%s", m.Mermaid())
		} else if plant := m.PlantUML(); plant != "@startuml backup\nhide empty description\n"+strings.TrimPrefix(want, "stateDiagram-v2\n")+"@enduml\n" {
			t.Fatalf("PlantUML:\n%s", plant)
		}
	}
}

// The sample's machine is used by many at once; the race detector watches.
func TestAMachineIsSharedSafely(t *testing.T) {
	m := machine(t)
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := m.Fire(in("checking", backup{}), happened{Name: "again"}, noon.Add(time.Second))
			m.Verify()
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
