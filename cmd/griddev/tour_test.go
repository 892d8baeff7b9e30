package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/bench/lab"
	"gridrouter.io/bench/lab/l4"
)

// sampleTour is a tour of a grid that does not run.
func sampleTour(t *testing.T) *tour {
	t.Helper()
	layout, err := lab.NewLayout("127.78.9")
	if err != nil {
		t.Fatal(err)
	}
	return newTour(&lab.Grid{Layout: layout}, "curl", "./bin")
}

func TestTourIsWrittenForItsBlock(t *testing.T) {
	tour := sampleTour(t)
	all := tour.picture()
	for _, stop := range tour.stops {
		for _, line := range stop.lines {
			all += line.text
		}
	}
	if strings.Contains(all, "127.77.") || !strings.Contains(all, "127.78.9.1:8080") {
		t.Errorf("the tour is not of the block 127.78.9:\n%s", all)
	}
}

func TestEveryLineOfTheTourIsCheckedOrExplained(t *testing.T) {
	for _, stop := range sampleTour(t).stops {
		for _, line := range stop.lines {
			if len(line.expect) == 0 && line.note == "" {
				t.Errorf("nobody says what this line is for: %s", line.text)
			}
		}
	}
}

func TestLineOfTheTourIsHeldToWhatItSays(t *testing.T) {
	tour := sampleTour(t)
	f := func(l line, good bool) {
		t.Helper()
		if answer, err := tour.try(t.Context(), l); (err == nil) != good {
			t.Errorf("%q answers %q: %v", l.text, answer, err)
		}
	}
	f(line{text: "echo one two", expect: []string{"one", "two"}}, true)
	f(line{text: "echo one two", expect: []string{"one", "three"}}, false)
	f(line{text: "echo one two", reject: []string{"two"}}, false)
	f(line{text: "echo one; exit 3", expect: []string{"one"}}, false)
	f(line{text: "echo to stderr >&2", expect: []string{"stderr"}}, true)
	counter := filepath.Join(t.TempDir(), "n")
	f(line{text: "echo x >> " + counter + "; cat " + counter, expect: []string{"x\nx\nx"}, again: true}, true)
}

func TestAnswersStandApartFromLines(t *testing.T) {
	if got, want := indent("a\r\nb\n\n"), "   | a\n   | b\n"; got != want {
		t.Errorf("indented: %q, not %q", got, want)
	}
	if got := indent("\n"); got != "" {
		t.Errorf("nothing, indented: %q", got)
	}
}

func TestPathsAreTypedFromHere(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if current, err := os.Getwd(); err != nil {
		t.Fatal(err)
	} else if got := here(filepath.Join(current, "bin", "griddev")); got != "./bin/griddev" {
		t.Errorf("below: %q", got)
	}
	if got := here("/usr/bin/griddev"); got != "/usr/bin/griddev" {
		t.Errorf("elsewhere: %q", got)
	}
}

func TestRealServersAreReadFromFlags(t *testing.T) {
	got, err := parseReals([]string{"127.0.0.1:80", "127.0.0.2:80,health=http://127.0.0.2:81/readyz"})
	want := []l4.Real{{Address: "127.0.0.1:80"}, {Address: "127.0.0.2:80", Health: "http://127.0.0.2:81/readyz"}}
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("real servers (-want +got):\n%s", diff)
	}
	for _, bad := range []string{"127.0.0.1", "127.0.0.1:80,weight=3", ""} {
		if _, err := parseReals([]string{bad}); err == nil {
			t.Errorf("--to %q is taken", bad)
		}
	}
}
