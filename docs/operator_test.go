package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestTheOperatorPageSaysWhatToDo holds OPERATOR.md to the conditions, reasons and events that the operator can
// give: each has a row, whose last cell says what to do; and nothing else has one.
func TestTheOperatorPageSaysWhatToDo(t *testing.T) {
	page, err := os.ReadFile("OPERATOR.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(page), "\n## What to do when\n")
	if !found {
		t.Fatal(`OPERATOR.md has no section "What to do when"`)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	listed := map[string]bool{}
	row := regexp.MustCompile("^\\| `([A-Za-z]+)` \\|")
	for line := range strings.Lines(section) {
		name := row.FindStringSubmatch(line)
		if name == nil {
			continue
		}
		listed[name[1]] = true
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if do := strings.TrimSpace(cells[len(cells)-1]); len(cells) != 3 || do == "" {
			t.Errorf("the row of %s does not say in three cells what it means and what to do: %s", name[1], line)
		}
	}
	told := toldByTheOperator(t)
	for name, where := range told {
		if !listed[name] {
			t.Errorf("OPERATOR.md does not say what to do about %s, which %s gives", name, where)
		}
	}
	for name := range listed {
		if told[name] == "" {
			t.Errorf("OPERATOR.md has a row for %s, which nothing gives", name)
		}
	}
}

// toldByTheOperator returns the types and reasons of all conditions, and the reasons of events that are told
// besides, with where each comes from.
func toldByTheOperator(t *testing.T) map[string]string {
	t.Helper()
	told := map[string]string{}
	const conditions = "../deploy/api/v1alpha1/conditions.go"
	file, err := parser.ParseFile(token.NewFileSet(), conditions, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if value, ok := n.(*ast.ValueSpec); ok {
			for _, v := range value.Values {
				told[text(t, v)] = conditions
			}
		}
		return true
	})
	for _, folder := range []string{"../deploy/operator", "../deploy/clusters"} {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
				eventsOf(t, path, told)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < 40 || told["ObjectsLeft"] == "" {
		t.Errorf("only %d conditions, reasons and events were found", len(told))
	}
	return told
}

// eventsOf adds the reasons of events that a file writes, where they stand in the call. Others are those of
// conditions.
func eventsOf(t *testing.T, path string, told map[string]string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		const reason = 3 // of Eventf(regarding, related, type, reason, action, note, ...)
		if method, ok := call.Fun.(*ast.SelectorExpr); ok && method.Sel.Name == "Eventf" && len(call.Args) > reason {
			if _, literal := call.Args[reason].(*ast.BasicLit); literal {
				told[text(t, call.Args[reason])] = path
			}
		}
		return true
	})
}

// text is the value of a string's literal.
func text(t *testing.T, e ast.Expr) string {
	t.Helper()
	literal, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("%T is no literal", e)
	}
	value, err := strconv.Unquote(literal.Value)
	if err != nil {
		t.Fatal(err)
	}
	return value
}
