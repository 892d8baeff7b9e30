package workflow

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// UnknownError says that a stored state has a name in it that the machine does not know, as when a
// newer version has written it. Nothing is done with such a state.
type UnknownError struct {
	Machine string
	// What is "machine", "state" or "action", and Name is what is not known.
	What, Name string
}

// Error says what is not known, and what that means.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("machine %s: what is stored names the %s %q, which is not known here: another version of the program has written it",
		e.Machine, e.What, e.Name)
}

// Check says whether the machine can go on from a stored state. The error is [*UnknownError], or says
// what is missing.
func (m *Machine[S, E, C]) Check(at Stored[S, E, C]) error {
	unknown := func(what, name string) error { return &UnknownError{m.definition.Name, what, name} }
	if at.Machine != m.definition.Name {
		return unknown("machine", at.Machine)
	}
	if state := m.states[at.State]; state == nil || state.Kind == Choice {
		return unknown("state", string(at.State))
	}
	for _, step := range at.Pending {
		if !m.actions[step.Action] {
			return unknown("action", string(step.Action))
		}
	}
	if at.ID == "" || at.Sequence < 1 || at.Sequence > mostEvents || at.Since.IsZero() || at.Tries < 0 {
		return fmt.Errorf("machine %s: what is stored has no ID, no count of events or no moment of entry", m.definition.Name)
	}
	return nil
}

// mostEvents is the highest count of events, which any reader of JSON can hold exactly.
const mostEvents = 1 << 53

// Encode returns a stored state as JSON.
func (m *Machine[S, E, C]) Encode(at Stored[S, E, C]) ([]byte, error) {
	if err := m.Check(at); err != nil {
		return nil, err
	}
	return json.Marshal(at)
}

// Decode reads a stored state. A field that is not known is an error, since it would be lost when the
// state is stored again.
func (m *Machine[S, E, C]) Decode(text []byte) (Stored[S, E, C], error) {
	var at Stored[S, E, C]
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&at)
	if err == nil {
		if _, more := decoder.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows it")
		}
	}
	if err != nil {
		return Stored[S, E, C]{}, fmt.Errorf("machine %s: read what is stored: %w", m.definition.Name, err)
	}
	if err := m.Check(at); err != nil {
		return Stored[S, E, C]{}, err
	}
	return at, nil
}
