package docs_test

import (
	"fmt"
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

// faultRow is what is said of a fault: by a row of FAULTS.md, or by the table in the code.
type faultRow struct {
	status, whose, again string
}

// TestTheFaultsPageIsTheFaultTable compares FAULTS.md with the faults that the code declares, and
// with the table that gives each its status, whose it is, and whether a retry is safe. It finds
// both by their form, wherever in router and routing they stand.
func TestTheFaultsPageIsTheFaultTable(t *testing.T) {
	declared, code := readFaults(t)
	page := faultsOfPage(t)
	if len(declared) < 20 || len(code) < 20 {
		t.Fatalf("the code declares %d faults and has a table of %d, as this test reads it; they must have changed their form", len(declared), len(code))
	}
	for _, name := range declared {
		if _, ok := code[name]; !ok {
			t.Errorf("the code declares the fault %q, and its table lacks it", name)
		}
	}
	for name, want := range code {
		if got, ok := page[name]; !ok {
			t.Errorf("FAULTS.md lacks %q", name)
		} else if got != want {
			t.Errorf("FAULTS.md says of %q: %+v, the code: %+v", name, got, want)
		}
	}
	for name := range page {
		if _, ok := code[name]; !ok {
			t.Errorf("FAULTS.md has %q, which the code does not", name)
		}
	}
}

// faultsOfPage reads the table of the page.
func faultsOfPage(t *testing.T) map[string]faultRow {
	t.Helper()
	text, err := os.ReadFile("FAULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]faultRow{}
	row := regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9]{3}) \\| ([a-z]+) \\| (yes|no) \\|")
	for _, match := range row.FindAllStringSubmatch(string(text), -1) {
		if _, twice := rows[match[1]]; twice {
			t.Errorf("FAULTS.md has %q twice", match[1])
		}
		rows[match[1]] = faultRow{match[2], match[3], match[4]}
	}
	return rows
}

// readFaults returns the codes of all constants of the type Fault, and the rows of the table.
func readFaults(t *testing.T) (declared []string, table map[string]faultRow) {
	t.Helper()
	files := parseRooms(t, "../router", "../routing")
	constants := map[string]string{} // name -> text of all constants that are literals
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			spec, ok := node.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if i < len(spec.Values) {
					if literal, ok := spec.Values[i].(*ast.BasicLit); ok {
						constants[name.Name] = strings.Trim(literal.Value, `"`)
					}
				}
			}
			if lastName(spec.Type) == "Fault" {
				for _, name := range spec.Names {
					if code := constants[name.Name]; code != "" {
						declared = append(declared, code)
					}
				}
			}
			return true
		})
	}
	table = map[string]faultRow{}
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			function, ok := node.(*ast.FuncDecl)
			if !ok || function.Type.Results == nil {
				return true
			}
			for name, row := range faultRows(function, constants) {
				table[name] = row
			}
			return false
		})
	}
	return declared, table
}

// faultRows reads the rows of a table: literals of a fault, a status, whose it is, and whether it is
// safe to try again.
func faultRows(function *ast.FuncDecl, constants map[string]string) map[string]faultRow {
	short := map[string]string{} // of the function's own constants, such as c for culpritClient
	rows := map[string]faultRow{}
	ast.Inspect(function, func(node ast.Node) bool {
		switch node := node.(type) {
		case *ast.ValueSpec:
			for i, name := range node.Names {
				if i < len(node.Values) {
					short[name.Name] = lastName(node.Values[i])
				}
			}
		case *ast.CompositeLit:
			if len(node.Elts) < 4 {
				return true
			}
			code, status := constants[lastName(node.Elts[0])], textOf(node.Elts[1], constants)
			if _, err := strconv.Atoi(status); err != nil || code == "" {
				return true
			}
			again := map[string]string{"true": "yes", "false": "no"}[lastName(node.Elts[3])]
			whose := lastName(node.Elts[2])
			if long := short[whose]; long != "" {
				whose = long
			}
			rows[code] = faultRow{status, strings.ToLower(whose[max(0, strings.LastIndexFunc(whose, isUpper)):]), again}
		}
		return true
	})
	return rows
}

func isUpper(r rune) bool { return r >= 'A' && r <= 'Z' }

// textOf returns a literal, or what the constant of that name is.
func textOf(expression ast.Expr, constants map[string]string) string {
	if literal, ok := expression.(*ast.BasicLit); ok {
		return literal.Value
	}
	return constants[lastName(expression)]
}

// lastName returns a name without its package; empty: the expression is no name.
func lastName(expression ast.Expr) string {
	switch e := expression.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// parseRooms parses what is compiled into the product in these folders and below.
func parseRooms(t *testing.T, folders ...string) (files []*ast.File) {
	t.Helper()
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			files = append(files, file)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}
