package workflow_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/deploy/workflow"
)

// soundText is what is stored of a backup.
func soundText(t testing.TB) string {
	t.Helper()
	m := workflow.Must(sample())
	text, err := m.Encode(m.Start("b1", backup{Parts: 3}, "ann", "nightly", noon))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestWhatAnotherVersionStoredIsNamed(t *testing.T) {
	m, sound := machine(t), soundText(t)
	f := func(old, replacement, what, name string) {
		t.Helper()
		_, err := m.Decode([]byte(strings.Replace(sound, old, replacement, 1)))
		var unknown *workflow.UnknownError
		if !errors.As(err, &unknown) || unknown.What != what || unknown.Name != name || !strings.Contains(err.Error(), "another version of the program") {
			t.Error(err)
		}
	}
	f(`"machine":"backup"`, `"machine":"move"`, "machine", "move")
	f(`"state":"copying"`, `"state":"encrypting"`, "state", "encrypting")
	f(`"state":"copying"`, `"state":"which"`, "state", "which") // nothing stands in a choice
	f(`"action":"copy"`, `"action":"encrypt"`, "action", "encrypt")
}

func TestWhatIsNoStoredStateIsRefused(t *testing.T) {
	m, sound := machine(t), soundText(t)
	f := func(text, says string) {
		t.Helper()
		if _, err := m.Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", text, err)
		}
	}
	f(``, "read what is stored: EOF")
	f(`{}`, `the machine ""`)
	f(sound+`{}`, "something follows it")
	f(strings.Replace(sound, `"parts"`, `"bits"`, 1)+`]`, "something follows it")
	f(strings.Replace(sound, `"id":`, `"name":`, 1), `unknown field "name"`)
	f(strings.Replace(sound, `"Parts":`, `"Pieces":`, 1), `unknown field "Pieces"`)
	f(strings.Replace(sound, `"id":"b1",`, ``, 1), "has no ID")
	f(strings.Replace(sound, `"sequence":1`, `"sequence":0`, 1), "no count of events")
	f(strings.Replace(sound, `"since":"2030-01-02T12:00:00Z",`, ``, 1), "no moment of entry")
	if _, err := m.Encode(stored{}); err == nil {
		t.Error("what cannot be read was written")
	}
}

// FuzzDecode reads anything. What is read can go on: it is stored and read again as the same, and no
// event makes the machine panic.
func FuzzDecode(f *testing.F) {
	sound := soundText(f)
	f.Add(sound)
	f.Add(strings.Replace(sound, "copying", "encrypting", 1))
	f.Add(strings.Replace(sound, `"sequence":1`, `"sequence":9223372036854775807`, 1))
	f.Add(`{"machine":"backup","id":"b","state":"kept","since":"2030-01-02T12:00:00Z","sequence":2,"context":null}`)
	m := workflow.Must(sample())
	f.Fuzz(func(t *testing.T, text string) {
		at, err := m.Decode([]byte(text))
		if err != nil {
			return
		}
		again, err := m.Encode(at)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", text, err)
		}
		read, err := m.Decode(again)
		if err != nil {
			t.Fatalf("%s was written and cannot be read: %v", again, err)
		}
		if difference := cmp.Diff(at, read); difference != "" {
			t.Fatal(difference)
		}
		m.Deadline(at)
		for _, on := range append(sample().Events, "melted") {
			if next, err := m.Fire(at, happened{Name: on}, noon); err == nil && m.Check(next) != nil {
				t.Fatalf("%s leads from %s to what cannot be stored: %v", on, text, m.Check(next))
			}
		}
	})
}
