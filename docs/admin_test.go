package docs_test

import (
	"bytes"
	"go/ast"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestEachAdminEndpointIsDocumented compares the table in ADMIN.md with the patterns that package
// router and those below it register.
func TestEachAdminEndpointIsDocumented(t *testing.T) {
	text, err := os.ReadFile("ADMIN.md")
	if err != nil {
		t.Fatal(err)
	}
	registered := map[string]bool{}
	for _, file := range parseRooms(t, "../router") {
		ast.Inspect(file, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok || len(call.Args) < 2 {
				return true
			}
			if name := lastName(call.Fun); name != "Handle" && name != "HandleFunc" {
				return true
			}
			pattern := strings.Trim(textOf(call.Args[0], nil), `"`)
			if strings.HasPrefix(pattern, "/debug/pprof/") {
				pattern = "/debug/pprof/"
			}
			registered[pattern] = true
			return true
		})
	}
	documented := map[string]bool{}
	for _, match := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllSubmatch(beforeSections(text), -1) {
		documented[string(match[1])] = true
	}
	if len(registered) < 10 {
		t.Fatalf("package router registers %d endpoints as this test reads it; it must have changed its form", len(registered))
	}
	for pattern := range registered {
		if !documented[pattern] {
			t.Errorf("docs/ADMIN.md lacks %q", pattern)
		}
	}
	for pattern := range documented {
		if !registered[pattern] {
			t.Errorf("docs/ADMIN.md has %q, which nobody registers", pattern)
		}
	}
}

// beforeSections returns what stands before the first section of a page.
func beforeSections(page []byte) []byte {
	before, _, _ := bytes.Cut(page, []byte("\n## "))
	return before
}

// adminFields says which struct a part of a section of ADMIN.md describes: one that has this member,
// wherever it stands. A struct's members stand below the name of the list or object that they are in.
var adminFields = []struct{ section, below, member string }{
	{"Table", "", "publishedSecondsAgo"},
	{"Table", "", "sourceDetail"},
	{"Table", "counts.", "decks,pins"},
	{"Table", "guard.", "repointed"},
	{"Problems", "", "code"},
	{"Tenants", "", "tunnels"},
	{"Decks", "", "inFlight,resolved"},
	{"Decks", "addresses.", "health,idle"},
	{"Decks", "lastFailure.", "secondsAgo"},
	{"GSLB", "", "nextSeconds"},
	{"Explain", "", "mapped,slot"},
	{"Explain", "rules.", "result"},
}

// TestTheAdminPageHasEveryField compares the tables of fields in ADMIN.md with the members of the
// structs that the endpoints show.
func TestTheAdminPageHasEveryField(t *testing.T) {
	page, err := os.ReadFile("ADMIN.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]map[string]bool{} // section -> field as it is written
	section := ""
	for line := range strings.Lines(string(page)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
			documented[section] = map[string]bool{}
		}
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `") && section != "" {
			for _, match := range backquoted.FindAllStringSubmatch(cell, -1) {
				documented[section][match[1]] = true
			}
		}
	}
	shapes := structsOf(t, "../router", "../routing", "../gslb")
	for _, want := range adminFields {
		members := shapeWith(t, shapes, strings.Split(want.member, ","))
		for member, optional := range members {
			name := want.below + member
			if optional {
				name = "[" + name + "]"
			}
			if !documented[want.section][name] {
				t.Errorf("ADMIN.md lacks %q in section %s", name, want.section)
			}
			delete(documented[want.section], name)
		}
	}
	for _, want := range adminFields {
		for name := range documented[want.section] {
			t.Errorf("ADMIN.md has %q in section %s, which the code does not", name, want.section)
		}
		documented[want.section] = nil
	}
}

// structsOf returns the members of JSON of each struct: whether they are left out where empty.
func structsOf(t *testing.T, folders ...string) (all []map[string]bool) {
	t.Helper()
	tag := regexp.MustCompile(`json:"([A-Za-z]+)(,omitempty)?`)
	for _, file := range parseRooms(t, folders...) {
		ast.Inspect(file, func(node ast.Node) bool {
			structure, ok := node.(*ast.StructType)
			if !ok {
				return true
			}
			members := map[string]bool{}
			for _, field := range structure.Fields.List {
				if field.Tag != nil {
					if match := tag.FindStringSubmatch(field.Tag.Value); match != nil {
						members[match[1]] = match[2] != ""
					}
				}
			}
			all = append(all, members)
			return true
		})
	}
	return all
}

// shapeWith returns the one struct that has these members.
func shapeWith(t *testing.T, shapes []map[string]bool, members []string) map[string]bool {
	t.Helper()
	var found []map[string]bool
	for _, shape := range shapes {
		if !slices.ContainsFunc(members, func(member string) bool { _, ok := shape[member]; return !ok }) {
			found = append(found, shape)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d structs have the members %q, want one", len(found), members)
	}
	return found[0]
}
