package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// step matches an item of a list that begins with a function and the file it is in:
// 1. `Type.method` ([file.go](../folder/file.go)).
var step = regexp.MustCompile("(?m)^([0-9]+)\\. `([A-Za-z.]+)` \\(\\[[^]]+\\]\\(([^)]+)\\)\\)")

// TestTenFunctionsTellARequestAndAChange holds the sections that tell a course in ten functions: each
// has at most ten items, and each item's function is in the file that it names.
func TestTenFunctionsTellARequestAndAChange(t *testing.T) {
	told := 0
	for path, text := range pages(t) {
		for _, section := range strings.Split(text, "\n## ")[1:] {
			heading, body, _ := strings.Cut(section, "\n")
			if !strings.HasSuffix(heading, " in ten functions") {
				continue
			}
			told++
			steps := step.FindAllStringSubmatch(body, -1)
			if items := regexp.MustCompile(`(?m)^[0-9]+\. `).FindAllString(body, -1); len(items) != len(steps) || len(items) == 0 || len(items) > 10 {
				t.Errorf("%s: %q has %d items, of which %d name a function and its file; at most ten, and all, should", path, heading, len(items), len(steps))
			}
			for _, item := range steps {
				file := filepath.Join(filepath.Dir(path), filepath.FromSlash(item[3]))
				if !functionsOf(t, file)[item[2]] {
					t.Errorf("%s: %q says that %s is in %s, and it is not", path, heading, item[2], item[3])
				}
			}
		}
	}
	if told != 2 {
		t.Errorf("%d sections tell a course in ten functions, want those of a request and of a document's change", told)
	}
}

// functionsOf returns the functions of a file by name, methods as Type.method.
func functionsOf(t *testing.T, file string) map[string]bool {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, declaration := range parsed.Decls {
		function, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := function.Name.Name
		if function.Recv != nil {
			receiver := function.Recv.List[0].Type
			if pointer, ok := receiver.(*ast.StarExpr); ok {
				receiver = pointer.X
			}
			name = lastName(receiver) + "." + name
		}
		names[name] = true
	}
	return names
}
