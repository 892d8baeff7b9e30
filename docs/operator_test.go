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

// TestPagesSayWhatToDo holds OPERATOR.md and ETCD.md to the conditions, reasons and events that the operator can give:
// each has a row in one of them, whose last cell says what to do; and nothing else has one.
func TestPagesSayWhatToDo(t *testing.T) {
	told, listed := toldByTheOperator(t), map[string]string{}
	row := regexp.MustCompile("^\\| `([A-Za-z]+)` \\|")
	for _, name := range []string{"OPERATOR.md", "ETCD.md"} {
		page, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		_, section, found := strings.Cut(string(page), "\n## What to do when\n")
		if !found {
			t.Fatalf(`%s has no section "What to do when"`, name)
		}
		section, _, _ = strings.Cut(section, "\n## ")
		for line := range strings.Lines(section) {
			of := row.FindStringSubmatch(line)
			if of == nil {
				continue
			}
			listed[of[1]] = name
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
			if do := strings.TrimSpace(cells[len(cells)-1]); len(cells) != 3 || do == "" {
				t.Errorf("%s: the row of %s does not say in three cells what it means and what to do: %s", name, of[1], line)
			}
		}
	}
	for name, where := range told {
		if listed[name] == "" {
			t.Errorf("neither page says what to do about %s, which %s gives", name, where)
		}
	}
	for name, page := range listed {
		if told[name] == "" {
			t.Errorf("%s has a row for %s, which nothing gives", page, name)
		}
	}
}

// TestTheEtcdPageTellsEachStep holds ETCD.md to the steps of the operator, which people read in events.
func TestTheEtcdPageTellsEachStep(t *testing.T) {
	page, err := os.ReadFile("ETCD.md")
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "../deploy/operator/etcd/plan/plan.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		value, ok := n.(*ast.ValueSpec)
		if !ok || value.Type == nil {
			return true
		}
		if kind, ok := value.Type.(*ast.Ident); ok && kind.Name == "Act" {
			found++
			if act := text(t, value.Values[0]); act != "Wait" && !strings.Contains(string(page), "| `"+act+"` |") {
				t.Errorf("ETCD.md does not tell of the step %s", act)
			}
		}
		return true
	})
	if found < 10 {
		t.Errorf("only %d steps were found", found)
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
