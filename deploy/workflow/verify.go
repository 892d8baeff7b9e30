package workflow

import (
	"fmt"
	"strings"
)

// Problem says what kind of finding it is.
type Problem string

// What [Machine.Verify] can find.
const (
	// Unreachable is a state to which no way leads from the initial one.
	Unreachable Problem = "unreachable state"
	// DeadEnd is a state from which no final state can be reached.
	DeadEnd Problem = "dead end"
	// Unhandled is an event that no state answers, or one that fires itself in a state which does not
	// answer it.
	Unhandled Problem = "unhandled event"
	// Overlap is a state and an event for which two transitions could be taken.
	Overlap Problem = "overlapping guards"
	// Gap is a state and an event that has transitions of which none could be taken.
	Gap Problem = "gap between guards"
	// Endless is a time-out that an internal transition answers, which leaves it due, or choices that
	// lead round in a circle.
	Endless Problem = "endless"
	// Undecided is a state and an event with too many guards to try all their answers.
	Undecided Problem = "undecided guards"
)

// Finding is one thing that a declaration forgot.
type Finding struct {
	Problem Problem
	// State and Event say where, as far as they apply.
	State, Event string
	Text         string
}

// String returns the finding as a sentence.
func (f Finding) String() string { return string(f.Problem) + ": " + f.Text }

// mostCases is how many combinations of answers are tried for one state and event.
const mostCases = 4096

// Verify looks for what a sound declaration may still have forgotten, and returns it in the order of the
// declaration; nothing means that all is well. The test of every machine runs it.
//
// Whether guards overlap or leave gaps is decided by trying every combination of the answers that they
// declare. Guards count as independent of each other: a combination that never comes about has to be
// answered too, or is made impossible by asking one question with more answers instead of two.
func (m *Machine[S, E, C]) Verify() []Finding {
	var found []Finding
	reached := m.reachable()
	ending := m.reachFinal()
	for i := range m.definition.States {
		s := &m.definition.States[i]
		switch {
		case !reached[s.Name]:
			found = append(found, Finding{Unreachable, string(s.Name), "", fmt.Sprintf("no way leads from %q to %q", m.definition.Initial, s.Name)})
		case !ending[s.Name]:
			found = append(found, Finding{DeadEnd, string(s.Name), "", fmt.Sprintf("no way leads from %q to a final state", s.Name)})
		}
		found = append(found, m.verifyOwnEvents(s)...)
		if s.Kind == Choice {
			found = append(found, m.verifyGuards(s.Name, "")...)
			if m.circle(s.Name) {
				found = append(found, Finding{Endless, string(s.Name), "", fmt.Sprintf("choice %q can lead back to itself through choices alone", s.Name)})
			}
		}
		for _, event := range m.definition.Events {
			if len(m.ways[way[S, E]{s.Name, event}]) > 0 {
				found = append(found, m.verifyGuards(s.Name, event)...)
			}
		}
	}
	for _, event := range m.definition.Events {
		if !m.answered(event) {
			found = append(found, Finding{Unhandled, "", string(event), fmt.Sprintf("no state answers event %q", event)})
		}
	}
	return found
}

// reachable returns the states that can be reached from the initial one.
func (m *Machine[S, E, C]) reachable() map[S]bool {
	return m.spread(map[S]bool{m.definition.Initial: true}, func(from, to S) (seen, next S) { return from, to })
}

// reachFinal returns the states from which a final one can be reached.
func (m *Machine[S, E, C]) reachFinal() map[S]bool {
	final := map[S]bool{}
	for _, s := range m.definition.States {
		final[s.Name] = s.Kind == Final
	}
	return m.spread(final, func(from, to S) (seen, next S) { return to, from })
}

// spread adds states to a set until it stays the same. For each arrow, order says which end must be in
// the set for the other one to be added.
func (m *Machine[S, E, C]) spread(set map[S]bool, order func(from, to S) (seen, next S)) map[S]bool {
	for grown := true; grown; {
		grown = false
		for _, t := range m.definition.Transitions {
			for _, from := range t.From {
				if seen, next := order(from, t.To); !t.Internal && set[seen] && !set[next] {
					set[next], grown = true, true
				}
			}
		}
	}
	return set
}

// verifyOwnEvents looks whether a state answers the events that it fires itself.
func (m *Machine[S, E, C]) verifyOwnEvents(s *State[S, E, C]) []Finding {
	var found []Finding
	unanswered := func(event E, what string) {
		if len(m.ways[way[S, E]{s.Name, event}]) == 0 {
			found = append(found, Finding{Unhandled, string(s.Name), string(event), fmt.Sprintf("state %q does not answer its own %s %q", s.Name, what, event)})
		}
	}
	for _, timeout := range s.Timeouts {
		unanswered(timeout.Event, "time-out")
		for _, t := range m.ways[way[S, E]{s.Name, timeout.Event}] {
			if t.Internal {
				found = append(found, Finding{Endless, string(s.Name), string(timeout.Event),
					fmt.Sprintf("time-out %q of %q stays due after its internal transition", timeout.Event, s.Name)})
			}
		}
	}
	if s.Failure != nil {
		unanswered(s.Failure.Event, "failure event")
	}
	return found
}

// circle says whether a choice can lead back to itself through choices alone.
func (m *Machine[S, E, C]) circle(start S) bool {
	seen := map[S]bool{}
	for next := []S{start}; len(next) > 0; next = next[1:] {
		for _, t := range m.ways[way[S, E]{next[0], ""}] {
			if t.To == start {
				return true
			}
			if m.states[t.To].Kind == Choice && !seen[t.To] {
				seen[t.To] = true
				next = append(next, t.To)
			}
		}
	}
	return false
}

func (m *Machine[S, E, C]) answered(event E) bool {
	for _, s := range m.definition.States {
		if len(m.ways[way[S, E]{s.Name, event}]) > 0 {
			return true
		}
	}
	return false
}

// verifyGuards tries every combination of answers for one state and event, and tells the first one
// that no transition takes and the first one that more than one would take.
func (m *Machine[S, E, C]) verifyGuards(state S, event E) []Finding {
	transitions := m.ways[way[S, E]{state, event}]
	guards, cases := guardsOf(transitions)
	where := fmt.Sprintf("event %q in state %q", event, state)
	if event == "" {
		where = fmt.Sprintf("choice %q", state)
	}
	if cases > mostCases {
		return []Finding{{Undecided, string(state), string(event), fmt.Sprintf("%s: more than %d combinations of answers", where, mostCases)}}
	}
	var found []Finding
	gap, overlap := false, false
	for number := range cases {
		answers, told := answersOf(guards, number)
		taken := 0
		for _, t := range transitions {
			if meets(t, answers) {
				taken++
			}
		}
		if taken == 0 && !gap {
			gap = true
			found = append(found, Finding{Gap, string(state), string(event), where + ": no transition for " + told})
		}
		if taken > 1 && !overlap {
			overlap = true
			found = append(found, Finding{Overlap, string(state), string(event), fmt.Sprintf("%s: %d transitions for %s", where, taken, told)})
		}
	}
	return found
}

// guardsOf returns the guards of some transitions, each once, and how many combinations of answers they
// have, which is not counted further than just over [mostCases].
func guardsOf[S, E ~string, C any](transitions []*Transition[S, E, C]) (guards []*Guard[C], cases int) {
	cases = 1
	seen := map[string]bool{}
	for _, t := range transitions {
		for _, condition := range t.If {
			if g := condition.Guard; !seen[g.Name] {
				seen[g.Name] = true
				guards = append(guards, g)
				if cases <= mostCases {
					cases *= len(g.Answers)
				}
			}
		}
	}
	return guards, cases
}

// answersOf returns one combination of answers by its number, as a map and in words.
func answersOf[C any](guards []*Guard[C], number int) (answers map[string]string, told string) {
	answers = make(map[string]string, len(guards))
	words := make([]string, 0, len(guards))
	for _, g := range guards {
		answer := g.Answers[number%len(g.Answers)]
		number /= len(g.Answers)
		answers[g.Name] = answer
		words = append(words, g.Name+" = "+answer)
	}
	if len(words) == 0 {
		return answers, "any context"
	}
	return answers, strings.Join(words, ", ")
}

func meets[S, E ~string, C any](t *Transition[S, E, C], answers map[string]string) bool {
	for _, condition := range t.If {
		if answers[condition.Guard.Name] != condition.Answer {
			return false
		}
	}
	return true
}
