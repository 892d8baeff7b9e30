package docs_test

import (
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// TestEachKeySourceIsDocumented looks in the row of `key` in DOCUMENTS.md for each source that a rule may name.
func TestEachKeySourceIsDocumented(t *testing.T) {
	row := rowOf(t, "DOCUMENTS.md", "key")
	for _, source := range membersOf[routing.KeySource](t) {
		if !strings.Contains(row, "`"+source+"`") && !strings.Contains(row, "`"+source+": true`") {
			t.Errorf("DOCUMENTS.md does not say what a key from %q is", source)
		}
	}
}

// TestEachKeySourceIsTried looks for each source in the tests that would not fail without it.
func TestEachKeySourceIsTried(t *testing.T) {
	for _, source := range reflect.VisibleFields(reflect.TypeFor[routing.KeySource]()) {
		member, _, _ := strings.Cut(source.Tag.Get("json"), ",")
		for path, want := range map[string]string{
			"../routing/testdata/decisions/key_sources.txt": "key: {" + member + ": ",
			"../routing/allocation_test.go":                 "key: {" + member + ": ",
			"../routing/reading_test.go":                    "KeySource{" + source.Name + ": ",
			"../router/agreement_test.go":                   "KeySource{" + source.Name + ": ",
		} {
			if text, err := os.ReadFile(path); err != nil {
				t.Fatal(err)
			} else if !strings.Contains(string(text), want) {
				t.Errorf("%s lacks %q: try the new source there", path, want)
			}
		}
	}
}

// TestEachParameterOfExplainIsDocumented fills a question, and looks for each parameter of its query: in the row of
// /explain in ADMIN.md, and in what /explain answers where it is asked nothing.
func TestEachParameterOfExplainIsDocumented(t *testing.T) {
	var question admission.Question
	fields := reflect.ValueOf(&question).Elem()
	for i := range fields.NumField() {
		fill(t, fields.Type().Field(i).Name, fields.Field(i))
	}
	row := rowOf(t, "ADMIN.md", "GET /explain")
	answer := matchIn(t, "../router/admin/explain.go", `"say which request: (.*)"`)
	for parameter := range question.Query() {
		if !regexp.MustCompile("`" + parameter + "[`=]").MatchString(row) {
			t.Errorf("ADMIN.md does not say that /explain takes %q", parameter)
		}
		if !regexp.MustCompile("[?&]" + parameter + "=").MatchString(answer) {
			t.Errorf("what /explain answers without a URL does not name %q: %s", parameter, answer)
		}
	}
}

// TestTheHelpOfBatchesNamesEachMember looks for each member of a line of a batch in the help of --batch.
func TestTheHelpOfBatchesNamesEachMember(t *testing.T) {
	for _, command := range []string{"gridrouter", "gridctl"} {
		words := strings.FieldsFunc(matchIn(t, "../cmd/"+command+"/explain.go", "\"batch\", \"\", \"(.*)\""), func(r rune) bool { return r == ' ' || r == ',' || r == ';' })
		for _, member := range membersOf[admission.Question](t) {
			if !slices.Contains(words, member) {
				t.Errorf("%s explain: the help of --batch does not name %q", command, member)
			}
		}
	}
}

// membersOf returns the members of JSON of a struct.
func membersOf[T any](t *testing.T) (names []string) {
	t.Helper()
	for _, field := range reflect.VisibleFields(reflect.TypeFor[T]()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		names = append(names, name)
	}
	if len(names) < 3 || slices.Contains(names, "") {
		t.Fatalf("%v has the members %q, as this test reads it", reflect.TypeFor[T](), names)
	}
	return names
}

// rowOf returns the one row of a page whose first cell is this name.
func rowOf(t *testing.T, page, name string) string {
	t.Helper()
	return matchIn(t, page, "(?m)^\\| `"+name+"` \\|(.*)$")
}

// matchIn returns the one match of the group of an expression in a file.
func matchIn(t *testing.T, path, expression string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	matches := regexp.MustCompile(expression).FindAllStringSubmatch(string(text), -1)
	if len(matches) != 1 {
		t.Fatalf("%s has %d matches of %s, want one", path, len(matches), expression)
	}
	return matches[0][1]
}
