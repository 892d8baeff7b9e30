// Package workflow has state machines for work that takes longer than one call: rollouts, restores,
// moves. A machine is declared as data: states, events, guards, transitions and the names of actions.
//
// [Machine.Fire] is pure: a stored state, an event and a time go in, the next stored state comes out,
// with the actions that are still to be carried out. [Runner] carries them out and keeps what is
// stored by compare-and-set, so that work goes on after a crash at any write. [Machine.Verify] finds
// what a declaration forgot, and [Machine.Mermaid] and [Machine.PlantUML] draw it.
//
// The package starts no goroutine and reads no clock: the time is always an argument.
package workflow

import "time"

// Definition declares a machine. S, E and C are the types of its states, its events and its context.
//
// The context is the data that the work carries with it, such as the number of its present step. It is
// stored beside the state as JSON, guards decide by it, and only events and transitions change it. It
// is copied by assignment: who changes a slice or a map in it replaces it by another one.
type Definition[S, E ~string, C any] struct {
	// Name is told in stored states, in errors and in pictures.
	Name string
	// Initial is the state in which work begins.
	Initial S
	// States lists all states, Events all events, both in the order in which they are drawn.
	States []State[S, E, C]
	// Events lists all events, those of time-outs and failures too.
	Events []E
	// Transitions lists all ways from state to state.
	Transitions []Transition[S, E, C]
	// History bounds how many records of past transitions are kept; 0 means 20.
	History int
}

// Kind says what a state is for.
type Kind int

// The kinds of states.
const (
	// Ordinary states are those in which work stands and waits for events.
	Ordinary Kind = iota
	// Choice states are passed within the transition that leads to them: guards decide where to.
	Choice
	// Final states end the work.
	Final
)

// Action names something to be done. What carries it out is given to [NewRunner]. An action may run
// twice, after a crash, so it must be idempotent.
type Action string

// State is one state of a machine.
type State[S, E ~string, C any] struct {
	Name S
	Kind Kind
	// Entry and Exit are carried out when the state is entered or left; an internal transition does
	// neither. A choice has none.
	Entry, Exit []Action
	// Timeouts are events that fire by themselves when the state has lasted for some time.
	Timeouts []Timeout[E, C]
	// Failure says when an action that fails again and again is given up; nil means never.
	Failure *Failure[E]
}

// Timeout is an event with a deadline. The deadline is computed from the stored moment of entry and the
// stored context, so that it survives restarts.
type Timeout[E ~string, C any] struct {
	Event E
	// Label names the duration in pictures.
	Label string
	// After says how long after the entry the event is due; 0 or less means never.
	After func(C) time.Duration
}

// Failure is an event that fires by itself when the action that is next has failed Tries times in a row.
type Failure[E ~string] struct {
	Tries int
	Event E
}

// Transition is a way from one state to another. It is external if it leads to another state, a self
// transition if it leads to the same state (which is left and entered again, with its time anew), and
// internal if it says so: then the state is neither left nor entered.
type Transition[S, E ~string, C any] struct {
	// From lists the states that it leads from.
	From []S
	// On is the event that it answers; a way out of a choice has none.
	On E
	// To is the state it leads to; an internal transition has none.
	To S
	// Internal keeps the state, its time and its time-outs.
	Internal bool
	// If lists what guards must answer; all must hold.
	If []Condition[C]
	// Do are carried out between the exit of the one state and the entry of the other.
	Do []Action
	// Update returns the changed context; nil changes nothing. It must be pure.
	Update func(C) C
	// Abandon lets the event be accepted while actions of former transitions are still to be carried
	// out; those are dropped. Without it the event waits for them. Events of time-outs and failures
	// always drop them.
	Abandon bool
}

// Guard is a named question about the context with a fixed list of answers. Since the answers are
// declared, [Machine.Verify] can try all of them.
type Guard[C any] struct {
	Name string
	// Answers lists every answer that Decide may give.
	Answers []string
	// Decide answers. It must be pure.
	Decide func(C) string
}

// Yes and No are the answers of a guard made by [YesNo].
const (
	Yes = "yes"
	No  = "no"
)

// YesNo makes a guard that answers [Yes] or [No].
func YesNo[C any](name string, holds func(C) bool) *Guard[C] {
	return &Guard[C]{Name: name, Answers: []string{Yes, No}, Decide: func(c C) string {
		if holds(c) {
			return Yes
		}
		return No
	}}
}

// Is is the condition that the guard gives an answer.
func (g *Guard[C]) Is(answer string) Condition[C] { return Condition[C]{Guard: g, Answer: answer} }

// Condition is a guard with the answer that it must give.
type Condition[C any] struct {
	Guard  *Guard[C]
	Answer string
}
