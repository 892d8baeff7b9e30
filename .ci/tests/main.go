// Command tests runs "go test" with the arguments that it is given, prints what "go test" would have
// printed, and then the tests that took longest. With -again=N, tests that failed are run N times more,
// alone: docs/adr/0023 says when, and what that says of them.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

const (
	shown       = 12      // tests
	maxEvent    = 4 << 20 // bytes of one line
	maxUnstable = 3       // tests of one run: more have one cause, which is no chance
)

// event is a line of "go test -json"; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// test is a test that ended.
type test struct {
	pack, name string
	seconds    float64
}

func (t test) String() string { return strings.TrimPrefix(t.pack, "gridrouter.io/") + " " + t.name }

// outcome is what a run of "go test" came to.
type outcome struct {
	tests  []test            // that ended
	failed []test            // of them
	packs  map[string]bool   // packages that failed
	begun  map[string]string // tests that never ended, and their packages
	grave  string            // output that chance does not explain; empty: none
}

func main() {
	again := flag.Int("again", 0, "how often a test that failed must pass alone, to be called unstable rather than failed; 0: never")
	live := flag.Bool("live", false, "print what tests say as they say it, and not only what failed ones said")
	flag.Parse()
	result, err := run(flag.Args(), *live)
	tell(result.tests)
	if err != nil && !result.passesAgain(flag.Args(), *again) {
		os.Exit(1)
	}
}

// run runs "go test" with arguments. Its error is that of "go test".
func run(args []string, live bool) (outcome, error) {
	o := outcome{packs: map[string]bool{}, begun: map[string]string{}}
	command := os.Getenv("GO")
	if command == "" {
		command = "go"
	}
	cmd := exec.Command(command, append([]string{"test", "-json"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return o, err
	}
	if err := cmd.Start(); err != nil {
		return o, err
	}
	o.read(out, live)
	return o, cmd.Wait()
}

// read reads what "go test -json" writes, and prints what "go test" would have.
func (o *outcome) read(out io.Reader, live bool) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, maxEvent)
	held := map[string]*strings.Builder{} // output of tests that may still fail, by package and test
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // not of a test: a message of the go command
			continue
		}
		top, _, _ := strings.Cut(e.Test, "/") // parts of a test are told with it
		key := e.Package + " " + top
		switch {
		case e.Action == "build-fail":
			o.grave = "it does not compile"
		case e.Action == "build-output", e.Action == "output" && (e.Test == "" || live):
			o.look(e.Output)
			if e.Output != "PASS\n" {
				fmt.Print(e.Output)
			}
		case e.Action == "output":
			o.look(e.Output)
			if held[key] == nil {
				held[key] = &strings.Builder{}
			}
			held[key].WriteString(e.Output)
		case e.Action == "fail" && e.Test == "":
			o.packs[e.Package] = true
		case e.Action == "run" && e.Test == top:
			o.begun[key] = e.Package
		case e.Test != "" && e.Test == top && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			if e.Action == "fail" && held[key] != nil {
				fmt.Print(held[key])
			}
			delete(held, key)
			delete(o.begun, key)
			o.ended(test{e.Package, top, e.Elapsed}, e.Action == "fail")
		}
	}
	if err := lines.Err(); err != nil {
		o.grave = "what go test writes cannot be read on: " + err.Error()
	}
	for _, output := range held { // of tests that never ended: a panic, or a time that was over
		fmt.Print(output)
	}
}

func (o *outcome) ended(t test, failed bool) {
	o.tests = append(o.tests, t)
	if failed {
		o.failed = append(o.failed, t)
	}
}

// look notes what is no matter of chance wherever it shows.
func (o *outcome) look(output string) {
	for _, sign := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.HasPrefix(output, sign) {
			o.grave = strings.TrimSpace(output)
		}
	}
}

// tell prints the tests that took longest.
func tell(tests []test) {
	slices.SortFunc(tests, func(a, b test) int { return int(1000 * (b.seconds - a.seconds)) })
	fmt.Printf("the slowest of %d tests:\n", len(tests))
	for _, test := range tests[:min(shown, len(tests))] {
		fmt.Printf("  %6.1f s  %s\n", test.seconds, test)
	}
}

// passesAgain runs the tests that failed so often again, each by itself, and says whether all passed.
func (o *outcome) passesAgain(args []string, times int) bool {
	if times == 0 {
		return false
	}
	for _, t := range o.failed {
		delete(o.packs, t.pack)
	}
	switch {
	case o.grave != "":
		return refuse("chance does not explain this: %s", o.grave)
	case len(o.begun) > 0 || len(o.packs) > 0 || len(o.failed) == 0:
		return refuse("a package failed beside its tests, or tests never ended")
	case len(o.failed) > maxUnstable:
		return refuse("%d tests failed, and more than %d have one cause", len(o.failed), maxUnstable)
	}
	for _, t := range o.failed {
		fmt.Printf("\n== %s failed: once more, alone, %d times\n", t, times)
		if _, err := run(alone(args, t, times), false); err != nil {
			return refuse("%s fails alone too", t)
		}
	}
	for _, t := range o.failed {
		fmt.Printf("UNSTABLE: %s failed beside others and passed %d times alone: a fault of the test or of what it tries, to be mended first\n", t, times)
	}
	return true
}

// alone returns the arguments that run one test so often: those of the run, without what chose its tests.
func alone(args []string, t test, times int) []string {
	kept := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		return chooses.MatchString(arg) || !strings.HasPrefix(arg, "-")
	})
	return append(kept, fmt.Sprintf("-count=%d", times), "-run=^"+regexp.QuoteMeta(t.name)+"$", t.pack)
}

var chooses = regexp.MustCompile(`^--?(run|skip|count|p|v)(=|$)`)

func refuse(format string, args ...any) bool {
	fmt.Printf("not tried again: "+format+"\n", args...)
	return false
}
