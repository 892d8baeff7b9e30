package workflow

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
)

// defaultHistory is how many records are kept if a definition does not say.
const defaultHistory = 20

// Machine is a definition that was checked and indexed. It is immutable: any number of goroutines may
// use it at once.
type Machine[S, E ~string, C any] struct {
	definition Definition[S, E, C]
	states     map[S]*State[S, E, C]
	events     map[E]bool
	actions    map[Action]bool
	// ways lists the transitions out of a state on an event, in the order of their declaration.
	ways map[way[S, E]][]*Transition[S, E, C]
}

// What names may look like, so that pictures can show them in either language.
var (
	identifier = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)      // of machines, states, events and actions
	words      = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 _-]*$`) // of guards, answers and time-outs
)

// way is a state and an event that it may answer; out of a choice the event is empty.
type way[S, E ~string] struct {
	from S
	on   E
}

// New checks that a definition is sound in itself, which means that every name in it is declared once
// and used where it may be, and returns its machine. What a sound definition may still have forgotten
// is found by [Machine.Verify].
func New[S, E ~string, C any](d Definition[S, E, C]) (*Machine[S, E, C], error) {
	if d.History == 0 {
		d.History = defaultHistory
	}
	d.States, d.Events, d.Transitions = slices.Clone(d.States), slices.Clone(d.Events), slices.Clone(d.Transitions)
	m := &Machine[S, E, C]{
		definition: d, states: map[S]*State[S, E, C]{}, events: map[E]bool{}, actions: map[Action]bool{},
		ways: map[way[S, E]][]*Transition[S, E, C]{},
	}
	problems := []error{m.addEvents(), m.addStates(), m.addTransitions(), m.checkGuards()}
	if !identifier.MatchString(d.Name) {
		problems = append(problems, errors.New("its name is no identifier"))
	}
	for action := range m.actions {
		if !identifier.MatchString(string(action)) {
			problems = append(problems, fmt.Errorf("action %q is no identifier", action))
		}
	}
	if initial := m.states[d.Initial]; initial == nil || initial.Kind != Ordinary {
		problems = append(problems, fmt.Errorf("the initial state %q is no ordinary state", d.Initial))
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("machine %q: %w", d.Name, err)
	}
	return m, nil
}

// Must is [New] for definitions that are part of the program. It panics where New returns an error.
func Must[S, E ~string, C any](d Definition[S, E, C]) *Machine[S, E, C] {
	m, err := New(d)
	if err != nil {
		panic(err)
	}
	return m
}

// Name returns the name of the machine.
func (m *Machine[S, E, C]) Name() string { return m.definition.Name }

// Is says of what kind a state is; false means that the machine does not know it.
func (m *Machine[S, E, C]) Is(state S) (Kind, bool) {
	known := m.states[state]
	if known == nil {
		return 0, false
	}
	return known.Kind, true
}

func (m *Machine[S, E, C]) addEvents() error {
	var problems []error
	for _, event := range m.definition.Events {
		if !identifier.MatchString(string(event)) || m.events[event] {
			problems = append(problems, fmt.Errorf("event %q is no identifier or declared twice", event))
		}
		m.events[event] = true
	}
	return errors.Join(problems...)
}

func (m *Machine[S, E, C]) addStates() error {
	var problems []error
	for i := range m.definition.States {
		s := &m.definition.States[i]
		if !identifier.MatchString(string(s.Name)) || m.states[s.Name] != nil {
			problems = append(problems, fmt.Errorf("state %q is no identifier or declared twice", s.Name))
		}
		m.states[s.Name] = s
		m.addActions(s.Entry, s.Exit)
		if s.Kind != Ordinary && (len(s.Exit) > 0 || len(s.Timeouts) > 0 || s.Failure != nil) {
			problems = append(problems, fmt.Errorf("state %q: only an ordinary state has exit actions, time-outs or a failure event", s.Name))
		}
		if s.Kind == Choice && len(s.Entry) > 0 {
			problems = append(problems, fmt.Errorf("state %q: a choice has no entry actions", s.Name))
		}
		for _, timeout := range s.Timeouts {
			if !m.events[timeout.Event] || timeout.After == nil || !words.MatchString(timeout.Label) {
				problems = append(problems, fmt.Errorf("state %q: time-out %q needs a declared event, a label of plain words and a duration", s.Name, timeout.Event))
			}
		}
		if s.Failure != nil && (!m.events[s.Failure.Event] || s.Failure.Tries < 1) {
			problems = append(problems, fmt.Errorf("state %q: failure event %q needs to be declared, and at least one try", s.Name, s.Failure.Event))
		}
	}
	return errors.Join(problems...)
}

func (m *Machine[S, E, C]) addActions(lists ...[]Action) {
	for _, list := range lists {
		for _, action := range list {
			m.actions[action] = true
		}
	}
}

func (m *Machine[S, E, C]) addTransitions() error {
	var problems []error
	for i := range m.definition.Transitions {
		t := &m.definition.Transitions[i]
		m.addActions(t.Do)
		if len(t.From) == 0 {
			problems = append(problems, fmt.Errorf("a transition on %q to %q leads from no state", t.On, t.To))
		}
		if t.Internal != (t.To == "") || t.To != "" && m.states[t.To] == nil {
			problems = append(problems, fmt.Errorf("a transition from %q on %q leads to %q: it needs a declared state, or to be internal", t.From, t.On, t.To))
		}
		if t.On != "" && !m.events[t.On] {
			problems = append(problems, fmt.Errorf("a transition from %q: event %q is not declared", t.From, t.On))
		}
		for _, from := range t.From {
			problems = append(problems, m.addWay(from, t))
		}
	}
	return errors.Join(problems...)
}

func (m *Machine[S, E, C]) addWay(from S, t *Transition[S, E, C]) error {
	m.ways[way[S, E]{from, t.On}] = append(m.ways[way[S, E]{from, t.On}], t)
	switch s := m.states[from]; {
	case s == nil:
		return fmt.Errorf("a transition on %q leads from %q, which is not declared", t.On, from)
	case s.Kind == Final:
		return fmt.Errorf("a transition on %q leads out of the final state %q", t.On, from)
	case s.Kind == Choice && (t.On != "" || t.Internal):
		return fmt.Errorf("a way out of the choice %q has no event and leads to a state", from)
	case s.Kind == Ordinary && t.On == "":
		return fmt.Errorf("a transition out of %q has no event", from)
	}
	return nil
}

// checkGuards finds conditions that no guard can meet, and two guards of one name.
func (m *Machine[S, E, C]) checkGuards() error {
	var problems []error
	named := map[string]*Guard[C]{}
	for _, t := range m.definition.Transitions {
		for _, condition := range t.If {
			g := condition.Guard
			if g == nil || g.Decide == nil || !slices.Contains(g.Answers, condition.Answer) || !words.MatchString(condition.Answer) {
				problems = append(problems, fmt.Errorf("a transition from %q on %q: the guard never answers %q, or not by plain words", t.From, t.On, condition.Answer))
				continue
			}
			if other := named[g.Name]; !words.MatchString(g.Name) || other != nil && other != g {
				problems = append(problems, fmt.Errorf("guard %q is not named by plain words, or shares its name with another guard", g.Name))
			}
			named[g.Name] = g
		}
	}
	return errors.Join(problems...)
}
