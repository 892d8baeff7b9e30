package docs

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// wallClock are the calls that make of a moment something that steps with the wall clock: what
// [time.Time] holds of the monotonic clock is lost by them.
func wallClock() map[string]bool {
	return map[string]bool{"Unix": true, "UnixMilli": true, "UnixMicro": true, "UnixNano": true}
}

// wallClockUses are where the wall clock is meant, each with its reason: FILE CALL.
func wallClockUses() map[string]string {
	return map[string]string{
		"router/wire/socket.go Unix":            "a deadline that is over at any time of any clock",
		"gslb/query.go Unix":                    "a deadline that is over at any time of any clock",
		"router/certs/metrics.go Unix":          "when a certificate ends is told by the calendar",
		"cmd/gridrouter/serve_snapshot.go Unix": "when a file was written, for people and their alerts",
	}
}

// TestNoWaitIsCountedByTheWallClock looks for moments without their monotonic reading: a step of
// the clock would end every request in flight, or prolong waits.
func TestNoWaitIsCountedByTheWallClock(t *testing.T) {
	allowed, used := wallClockUses(), map[string]bool{}
	for _, room := range []string{"router", "routing", "discovery", "gslb", "cmd/gridrouter"} {
		err := filepath.WalkDir(filepath.Join("..", room), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			for _, use := range wallClockCalls(t, path) {
				if used[use] = true; allowed[use] == "" {
					t.Errorf("%s loses the monotonic clock; count by time.Time, time.Since or the router's clock, or give a reason here", use)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for use := range allowed {
		if !used[use] {
			t.Errorf("%s is allowed, and not there", use)
		}
	}
}

// wallClockCalls returns the calls of a file that lose the monotonic clock, as FILE CALL.
func wallClockCalls(t *testing.T, path string) (uses []string) {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(node ast.Node) bool {
		if call, ok := node.(*ast.CallExpr); ok {
			if selector, ok := call.Fun.(*ast.SelectorExpr); ok && wallClock()[selector.Sel.Name] {
				uses = append(uses, fmt.Sprintf("%s %s", strings.TrimPrefix(filepath.ToSlash(path), "../"), selector.Sel.Name))
			}
		}
		return true
	})
	return uses
}
