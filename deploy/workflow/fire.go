package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Event is something that happened.
type Event[E ~string, C any] struct {
	Name E
	// By says who or what fired it, Why for which reason. Both are kept in the history.
	By, Why string
	// Learn returns the context with what the event brings, before guards look at it; nil brings
	// nothing. It must be pure.
	Learn func(C) C
}

// Stored is all that is known of one piece of work. It is kept as JSON in a [Store].
type Stored[S, E ~string, C any] struct {
	// Machine is the name of the machine, ID that of the piece of work.
	Machine string `json:"machine"`
	ID      string `json:"id"`
	// State is the present state, and Since the moment of its entry.
	State S         `json:"state"`
	Since time.Time `json:"since"`
	// Started is when the work began.
	Started time.Time `json:"started"`
	// Sequence counts the accepted events, the start being 1.
	Sequence int64 `json:"sequence"`
	Context  C     `json:"context"`
	// Pending lists the actions that are still to be carried out, in their order.
	Pending []Step `json:"pending,omitempty"`
	// Tries counts how often the first of them has failed in a row, and LastError says how.
	Tries     int    `json:"tries,omitempty"`
	LastError string `json:"lastError,omitempty"`
	// History has the latest accepted events, oldest first.
	History []Record[S, E] `json:"history,omitempty"`
}

// Step is one action that is to be carried out. Its ID stays the same however often that is tried, and
// no other step of any piece of work of another ID has it.
type Step struct {
	ID     string `json:"id"`
	Action Action `json:"action"`
}

// Record is one accepted event in a history. The start has no event and no state before it.
type Record[S, E ~string] struct {
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"`
	By       string    `json:"by,omitempty"`
	Event    E         `json:"event,omitempty"`
	From     S         `json:"from,omitempty"`
	To       S         `json:"to"`
	Why      string    `json:"why,omitempty"`
	// Abandoned lists the steps that were dropped.
	Abandoned []string `json:"abandoned,omitempty"`
}

// ErrPending says that an event has to wait until the pending actions are carried out.
var ErrPending = errors.New("actions are still to be carried out")

// RefusedError says that an event was not accepted; nothing has changed.
type RefusedError struct {
	Machine, State, Event string
	// Why is the reason.
	Why string
}

// Error says which event was refused in which state, and why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("machine %s: event %q is refused in state %q: %s", e.Machine, e.Event, e.State, e.Why)
}

// Start returns a new piece of work in the initial state.
func (m *Machine[S, E, C]) Start(id string, context C, by, why string, now time.Time) Stored[S, E, C] {
	next := Stored[S, E, C]{
		Machine: m.definition.Name, ID: id, State: m.definition.Initial, Since: moment(now), Started: moment(now),
		Sequence: 1, Context: context,
	}
	next.addSteps(m.states[next.State].Entry)
	next.History = []Record[S, E]{{Sequence: 1, At: moment(now), By: by, To: next.State, Why: why}}
	return next
}

// moment drops what JSON would lose: the monotonic clock and the place.
func moment(t time.Time) time.Time { return t.Round(0).UTC() }

// Fire returns what follows when an event happens. It is pure: it changes nothing of its arguments and
// carries nothing out. Errors are [*UnknownError] for a stored state of another version,
// [*RefusedError] for an event that the state does not answer, and [ErrPending].
func (m *Machine[S, E, C]) Fire(was Stored[S, E, C], event Event[E, C], now time.Time) (Stored[S, E, C], error) {
	if err := m.Check(was); err != nil {
		return was, err
	}
	refuse := func(format string, args ...any) (Stored[S, E, C], error) {
		return was, &RefusedError{m.definition.Name, string(was.State), string(event.Name), fmt.Sprintf(format, args...)}
	}
	if !m.events[event.Name] {
		return refuse("the machine knows no such event")
	}
	if was.Sequence == mostEvents {
		return refuse("it has had too many events")
	}
	next := was
	if event.Learn != nil {
		next.Context = event.Learn(next.Context)
	}
	taken, err := m.choose(was.State, event.Name, next.Context)
	if err != nil {
		return refuse("%v", err)
	}
	record := Record[S, E]{At: moment(now), By: event.By, Event: event.Name, From: was.State, Why: event.Why}
	if len(was.Pending) > 0 {
		if !taken.Abandon && !m.firesItself(was.State, event.Name) {
			return was, fmt.Errorf("event %q in state %q: %w", event.Name, was.State, ErrPending)
		}
		for _, step := range was.Pending {
			record.Abandoned = append(record.Abandoned, step.ID)
		}
	}
	next.Sequence++
	next.Pending, next.Tries, next.LastError = nil, 0, ""
	if err := m.follow(&next, taken, moment(now)); err != nil {
		return refuse("%v", err)
	}
	record.Sequence, record.To = next.Sequence, next.State
	next.History = append(slices.Clone(was.History), record)
	if extra := len(next.History) - m.definition.History; extra > 0 {
		next.History = slices.Clone(next.History[extra:])
	}
	return next, nil
}

// follow takes a transition, and passes the choices that it leads to.
func (m *Machine[S, E, C]) follow(next *Stored[S, E, C], taken *Transition[S, E, C], now time.Time) error {
	if !taken.Internal {
		next.addSteps(m.states[next.State].Exit)
	}
	for range len(m.states) + 1 {
		next.addSteps(taken.Do)
		if taken.Update != nil {
			next.Context = taken.Update(next.Context)
		}
		if taken.Internal {
			return nil
		}
		to := m.states[taken.To]
		if to.Kind != Choice {
			next.State, next.Since = to.Name, now
			next.addSteps(to.Entry)
			return nil
		}
		var err error
		if taken, err = m.choose(to.Name, "", next.Context); err != nil {
			return err
		}
	}
	return errors.New("its choices lead round in a circle")
}

// choose returns the one transition out of a state on an event whose conditions hold.
func (m *Machine[S, E, C]) choose(from S, on E, context C) (*Transition[S, E, C], error) {
	var chosen *Transition[S, E, C]
	ways := m.ways[way[S, E]{from, on}]
	for _, t := range ways {
		holds, err := conditionsHold(t, context)
		if err != nil {
			return nil, err
		}
		if holds && chosen != nil {
			return nil, fmt.Errorf("the guards of two transitions out of %q hold", from)
		}
		if holds {
			chosen = t
		}
	}
	switch {
	case len(ways) == 0:
		return nil, errors.New("the state does not answer it")
	case chosen == nil:
		return nil, fmt.Errorf("no guard of a transition out of %q holds", from)
	}
	return chosen, nil
}

func conditionsHold[S, E ~string, C any](t *Transition[S, E, C], context C) (bool, error) {
	for _, condition := range t.If {
		answer := condition.Guard.Decide(context)
		if !slices.Contains(condition.Guard.Answers, answer) {
			return false, fmt.Errorf("guard %q gives the answer %q, which it does not declare", condition.Guard.Name, answer)
		}
		if answer != condition.Answer {
			return false, nil
		}
	}
	return true, nil
}

// firesItself says whether an event is one of a state's time-outs or its failure event.
func (m *Machine[S, E, C]) firesItself(state S, event E) bool {
	s := m.states[state]
	return s.Failure != nil && s.Failure.Event == event ||
		slices.ContainsFunc(s.Timeouts, func(t Timeout[E, C]) bool { return t.Event == event })
}

// addSteps adds actions to those that are to be carried out.
func (s *Stored[S, E, C]) addSteps(actions []Action) {
	for _, action := range actions {
		id := s.ID + "/" + strconv.FormatInt(s.Sequence, 10) + "." + strconv.Itoa(len(s.Pending)+1) + "/" + string(action)
		s.Pending = append(s.Pending, Step{ID: id, Action: action})
	}
}

// Deadline returns the time-out of the present state that is due first, and when; false means that it
// has none.
func (m *Machine[S, E, C]) Deadline(at Stored[S, E, C]) (event E, due time.Time, ok bool) {
	state := m.states[at.State]
	if state == nil {
		return event, due, false
	}
	for _, timeout := range state.Timeouts {
		after := timeout.After(at.Context)
		if after <= 0 {
			continue
		}
		if moment := at.Since.Add(after); !ok || moment.Before(due) {
			event, due, ok = timeout.Event, moment, true
		}
	}
	return event, due, ok
}
