package lab

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shell launches a shell script as a part would be.
func shell(t *testing.T, script string, verbose *bytes.Buffer) (p *process, log string) {
	t.Helper()
	log = filepath.Join(t.TempDir(), "part.log")
	file, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	out := &output{file: file, name: "part"}
	if verbose != nil {
		out.lines = &sharedLines{w: verbose}
	}
	p, err = launch("/bin/sh", []string{"-c", script}, os.Environ(), out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.kill()
		file.Close()
	})
	return p, log
}

// hasWritten waits until the log holds the text. Unlike testkit.Eventually it shows what the log holds instead.
func hasWritten(t *testing.T, log, text string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		got, err := os.ReadFile(log)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(got), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log is %q, without %q", got, text)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestOutputGoesToTheLogAndLineByLineToTheViewer(t *testing.T) {
	var verbose bytes.Buffer
	p, log := shell(t, "printf 'one\\ntw'; printf 'o\\nthree' >&2", &verbose)
	<-p.Ended()
	got, err := os.ReadFile(log)
	if err != nil || string(got) != "one\ntwo\nthree" {
		t.Errorf("the log is %q, %v", got, err)
	}
	if want := "part          | one\npart          | two\n"; verbose.String() != want {
		t.Errorf("the viewer saw %q", verbose.String())
	}
	if p.Ending() != "exit status 0" || p.expected() || p.Running() {
		t.Errorf("it ended with %s, expected %v, running %v", p.Ending(), p.expected(), p.Running())
	}
	if got := lastLines(log, 2); got != "two / three" {
		t.Errorf("the last lines are %q", got)
	}
}

// TestAnEndThatWasAskedForIsExpected both ways: asked, and killed.
func TestAnEndThatWasAskedForIsExpected(t *testing.T) {
	p, log := shell(t, "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done", nil)
	hasWritten(t, log, "up")
	p.stop(20*time.Second, nil)
	hasWritten(t, log, "bye")
	if p.Ending() != "exit status 3" || !p.expected() {
		t.Errorf("it ended with %s, expected %v", p.Ending(), p.expected())
	}
	p, _ = shell(t, "while :; do sleep 0.01; done", nil)
	p.kill()
	if p.Ending() != "signal: killed" || !p.expected() {
		t.Errorf("it ended with %s, expected %v", p.Ending(), p.expected())
	}
}
