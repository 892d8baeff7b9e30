package workflow

import (
	"fmt"
	"strings"
)

// Mermaid draws the machine as a state diagram in the language of Mermaid. The same declaration always
// gives the same text.
func (m *Machine[S, E, C]) Mermaid() string {
	var text strings.Builder
	text.WriteString("stateDiagram-v2\n")
	m.draw(&text)
	return text.String()
}

// PlantUML draws the machine as a state diagram in the language of PlantUML. The same declaration
// always gives the same text.
func (m *Machine[S, E, C]) PlantUML() string {
	var text strings.Builder
	fmt.Fprintf(&text, "@startuml %s\nhide empty description\n", m.definition.Name)
	m.draw(&text)
	text.WriteString("@enduml\n")
	return text.String()
}

// draw writes what both languages share: states with what is done in them, and arrows.
func (m *Machine[S, E, C]) draw(text *strings.Builder) {
	line := func(format string, args ...any) { fmt.Fprintf(text, "    "+format+"\n", args...) }
	for _, s := range m.definition.States {
		if s.Kind == Choice {
			line("state %s <<choice>>", s.Name)
		}
	}
	line("[*] --> %s", m.definition.Initial)
	for i := range m.definition.States {
		s := &m.definition.States[i]
		for _, part := range []struct {
			when    string
			actions []Action
		}{{"entry", s.Entry}, {"exit", s.Exit}} {
			if len(part.actions) > 0 {
				line("%s : %s / %s", s.Name, part.when, joined(part.actions))
			}
		}
		m.drawWays(s, line)
		if s.Kind == Final {
			line("%s --> [*]", s.Name)
		}
	}
}

// drawWays draws the transitions out of one state, in the order of their declaration. An internal one
// is a line within the state.
func (m *Machine[S, E, C]) drawWays(s *State[S, E, C], line func(string, ...any)) {
	for i := range m.definition.Transitions {
		t := &m.definition.Transitions[i]
		for _, from := range t.From {
			switch label := m.label(s, t); {
			case from != s.Name:
			case t.Internal:
				line("%s : %s", s.Name, label)
			case label == "":
				line("%s --> %s", s.Name, t.To)
			default:
				line("%s --> %s : %s", s.Name, t.To, label)
			}
		}
	}
}

// label describes a transition out of a state: event, when it fires itself, conditions, actions.
func (m *Machine[S, E, C]) label(s *State[S, E, C], t *Transition[S, E, C]) string {
	var parts []string
	if t.On != "" {
		parts = append(parts, string(t.On))
	}
	for _, timeout := range s.Timeouts {
		if timeout.Event == t.On {
			parts = append(parts, "after "+timeout.Label)
		}
	}
	if s.Failure != nil && s.Failure.Event == t.On {
		parts = append(parts, fmt.Sprintf("after %d failures", s.Failure.Tries))
	}
	if len(t.If) > 0 {
		words := make([]string, 0, len(t.If))
		for _, condition := range t.If {
			words = append(words, condition.words())
		}
		parts = append(parts, "["+strings.Join(words, ", ")+"]")
	}
	if len(t.Do) > 0 {
		parts = append(parts, "/ "+joined(t.Do))
	}
	return strings.Join(parts, " ")
}

// words tells a condition: a yes or no question by its name, any other with its answer.
func (c Condition[C]) words() string {
	switch c.Answer {
	case Yes:
		return c.Guard.Name
	case No:
		return "not " + c.Guard.Name
	}
	return c.Guard.Name + " = " + c.Answer
}

func joined(actions []Action) string {
	words := make([]string, len(actions))
	for i, action := range actions {
		words[i] = string(action)
	}
	return strings.Join(words, ", ")
}
