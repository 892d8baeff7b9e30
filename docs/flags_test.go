package docs_test

import (
	"go/ast"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestTheFlagsPageHasEveryFlag compares FLAGS.md with the flags that gridrouter registers.
func TestTheFlagsPageHasEveryFlag(t *testing.T) {
	name := regexp.MustCompile(`^"([a-z][a-z-]+)"$`)
	registered := map[string]bool{"config": true} // its name is a constant
	add := func(expression ast.Expr) {
		if match := name.FindStringSubmatch(textOf(expression, nil)); match != nil {
			registered[match[1]] = true
		}
	}
	for _, file := range parseRooms(t, "../cmd/gridrouter", "../cmd/flags") {
		ast.Inspect(file, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.CallExpr: // fs.StringVar(&value, "name", default, usage)
				method := strings.TrimSuffix(lastName(node.Fun), "P")
				if strings.HasSuffix(method, "Var") && len(node.Args) >= 4 {
					add(node.Args[1])
				}
			case *ast.CompositeLit: // waits: {"name", &value, default, help}
				if array, ok := node.Type.(*ast.ArrayType); ok && lastName(array.Elt) == "wait" {
					for _, element := range node.Elts {
						add(element.(*ast.CompositeLit).Elts[0])
					}
				}
			}
			return true
		})
	}
	page, err := os.ReadFile("FLAGS.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `--") {
			for _, match := range regexp.MustCompile("`--([a-z-]+)").FindAllStringSubmatch(cell, -1) {
				documented[match[1]] = true
			}
		}
	}
	if len(registered) < 40 {
		t.Fatalf("the code registers %d flags as this test reads it; it must have changed its form", len(registered))
	}
	for flag := range registered {
		if !documented[flag] {
			t.Errorf("FLAGS.md lacks --%s", flag)
		}
	}
	for flag := range documented {
		if !registered[flag] {
			t.Errorf("FLAGS.md has --%s, which nobody registers", flag)
		}
	}
}
