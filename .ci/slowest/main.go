// Command slowest reads what "go test -json" writes, prints what "go test" would have printed, and
// then the tests that took longest. It leaves the exit status to "go test".
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

const (
	shown    = 12      // tests
	maxEvent = 4 << 20 // bytes of one line
)

// event is a line of "go test -json"; see "go doc test2json".
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64 // seconds
}

// took is how long a test took.
type took struct {
	name    string
	seconds float64
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, maxEvent)
	held := map[string]*strings.Builder{} // output of tests that may still fail, by package and test
	var tests []took
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			fmt.Println(lines.Text()) // not of a test: a message of the go command
			continue
		}
		top, _, _ := strings.Cut(e.Test, "/") // parts of a test are told with it
		key := e.Package + " " + top
		switch {
		case e.Action == "build-output", e.Action == "output" && e.Test == "":
			if e.Output != "PASS\n" {
				fmt.Print(e.Output)
			}
		case e.Action == "output":
			if held[key] == nil {
				held[key] = &strings.Builder{}
			}
			held[key].WriteString(e.Output)
		case e.Test != "" && e.Test == top && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip"):
			if e.Action == "fail" && held[key] != nil {
				fmt.Print(held[key])
			}
			delete(held, key)
			tests = append(tests, took{strings.TrimPrefix(key, "gridrouter.io/"), e.Elapsed})
		}
	}
	if err := lines.Err(); err != nil {
		fmt.Fprintln(os.Stderr, "slowest: what go test writes cannot be read on:", err)
	}
	for _, output := range held { // of tests that never ended: a panic, or a time that was over
		fmt.Print(output)
	}
	tell(tests)
}

// tell prints the tests that took longest.
func tell(tests []took) {
	slices.SortFunc(tests, func(a, b took) int { return int(1000 * (b.seconds - a.seconds)) })
	fmt.Printf("the slowest of %d tests:\n", len(tests))
	for _, test := range tests[:min(shown, len(tests))] {
		fmt.Printf("  %6.1f s  %s\n", test.seconds, test.name)
	}
}
