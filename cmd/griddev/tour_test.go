package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/bench/lab"
	"gridrouter.io/bench/lab/l4"
	"gridrouter.io/cmd/flags"
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
	all := tour.picture
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
	for _, stop := range append(sampleTour(t).stops, newKubeTour("curl", "dev", false).stops...) {
		for _, line := range stop.lines {
			if len(line.expect) == 0 && line.note == "" {
				t.Errorf("nobody says what this line is for: %s", line.text)
			}
		}
	}
}

func TestLinesOfTheKubeTourFitOnATerminal(t *testing.T) {
	const width, indented = 100, 5
	for _, stop := range newKubeTour("curl", "v0.0.0-1-g0123456-dirty", false).stops {
		for _, line := range stop.lines {
			for text := range strings.SplitSeq(line.text+"\n"+line.note, "\n") {
				if n := len(text) + indented; n > width {
					t.Errorf("%d columns, at most %d: %s", n, width, text)
				}
			}
		}
	}
}

func TestWhatTheKubeTourAppliesIsThere(t *testing.T) {
	named := regexp.MustCompile(kubeSamples + `/[a-z]+\.yaml`)
	files := map[string]bool{}
	for _, stop := range newKubeTour("curl", "dev", false).stops {
		for _, line := range stop.lines {
			for _, file := range named.FindAllString(line.text, -1) {
				files[file] = true
			}
		}
	}
	there, err := filepath.Glob(filepath.Join("..", "..", kubeSamples, "*.yaml"))
	if err != nil || len(there) != len(files) {
		t.Errorf("%d files are there, and %d are shown: %v", len(there), len(files), err)
	}
	for file := range files {
		if _, err := os.Stat(filepath.Join("..", "..", file)); err != nil {
			t.Error(err)
		}
	}
}

func TestTheOperatorIsShownWhereThereIsAKubernetes(t *testing.T) {
	t.Setenv(testbedVariable, "")
	for _, args := range [][]string{{"--kube"}, {"kube"}} {
		root := newRootCommand(time.Now())
		root.SetArgs(args)
		var told bytes.Buffer
		root.SetErr(&told)
		if status := flags.Main(t.Context(), root); status != flags.ExitUsage || !strings.Contains(told.String(), "make kube-tour") {
			t.Errorf("%q: exit status %d: %s", args, status, &told)
		}
	}
}

func TestTourEndsWithALineThatOthersNeed(t *testing.T) {
	var shown bytes.Buffer
	guide := &tour{bound: time.Minute, depends: true, env: []string{"WORD=three"}, stops: []stop{{"All", []line{
		{text: "echo one; echo two >&2; printf $WORD", live: true}, {text: "false"}, {text: "echo four"},
	}}}}
	err := guide.run(t.Context(), &report{w: &shown})
	if err == nil || !strings.Contains(err.Error(), "line 2 ") {
		t.Errorf("the tour's end: %v", err)
	}
	if got := shown.String(); !strings.Contains(got, "\n   | one\n   | two\n   | three\n") || strings.Contains(got, "four") {
		t.Errorf("shown:\n%s", got)
	}
}

func TestLineOfTheTourIsHeldToWhatItSays(t *testing.T) {
	tour := sampleTour(t)
	f := func(l line, good bool) {
		t.Helper()
		if answer, err := tour.try(t.Context(), l, &report{w: io.Discard}); (err == nil) != good {
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
