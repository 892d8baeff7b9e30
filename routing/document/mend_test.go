package document_test

import (
	"errors"
	"iter"
	"strings"
	"testing"
	"unicode/utf8"

	"gridrouter.io/routing/document"
)

// TestWhatPeopleWriteIsToldWithItsMend writes what people write, and looks for the place and the words.
func TestWhatPeopleWriteIsToldWithItsMend(t *testing.T) {
	reader := document.NewReader()
	f := func(text, want string) {
		t.Helper()
		docs, err := reader.ReadFile("a.yaml", []byte(text))
		for _, doc := range docs {
			if doc.Err != nil && err == nil {
				err = doc.Err
			}
		}
		got := "fine"
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q\ngives %s\nwant  %s", text, got, want)
		}
	}
	const begin, end = "kind: Tenant\nname: acme\n", "rules: [{name: all, deck: d1}]\n"
	f(begin+"hosts: [*.a.test]\n"+end, `a.yaml:3:9: is not YAML: what begins with * is an alias`)
	f(begin+"hosts: [a.test, *.b.test]\n"+end, `a.yaml:3:17: is not YAML: what begins with * is an alias`)
	f(begin+"hosts:\n  - *.a.test\n"+end, `a.yaml:4:5: is not YAML: what begins with * is an alias`)
	f(begin+"hosts: [\"*.a.test\", a.test]\n"+end, "fine")
	f(begin+"hosts: ['*.a.test'] # *.b.test and what else: more\n"+end, "fine")
	f(begin+"hosts: [a.test]\nrules:\n\t- {name: all, deck: d1}\n", "a.yaml:5:1: is not YAML: a tab indents this line")
	f(begin+"hosts: [a.test]\nrules:\n  - name: all\n  \tdeck: d1\n", "a.yaml:6:3: is not YAML: a tab indents this line")
	f(begin+"hosts: [a.test]\nrules: [{name: all, key: {header: “x-id”}, split: {d1: 1}}]\n", "a.yaml:4:35: rules[0].key.header: stands in quotation marks of print")
	f(begin+"hosts: [a.test]\nrules: [{name: all, match: {path: @x}, deck: d1}]\n", "a.yaml:4:35: is not YAML: no value may begin with @")
	f("kind: Tenant\nname: acme: x\nhosts: [a.test]\n"+end, `a.yaml:2:7: is not YAML: text that holds ": " goes into quotes: "acme: x"`)
	f(begin+"hosts: [a.test]\n"+end+"---\n\uFEFF"+begin+"hosts: [b.test]\n"+end, "fine")
	f("\uFEFF"+begin+"hosts: [a.test]\n"+end+"---\n# second\n\uFEFFkind: Deck\nname: d1\ndomain: d.test\nattach: mesh\n", "fine")
	f(begin+"hosts: [a.test\n"+end, "a.yaml:2:1: is not YAML: did not find expected")
}

// FuzzSlips looks for mistakes in any text: a place that is told is one that the text has.
func FuzzSlips(f *testing.F) {
	f.Add("hosts: [*.a.test]\n\tx: “y” @z\n a: b: c")
	reader := document.NewReader()
	f.Fuzz(func(t *testing.T, text string) {
		docs, err := reader.ReadFile("a.yaml", []byte(text))
		lines := strings.Split(text, "\n")
		for _, doc := range docs {
			err = errors.Join(err, doc.Err)
		}
		for err := range allErrors(err) {
			if err.Line < 0 || err.Line > len(lines)+1 || err.Column < 0 || err.Line > 0 && err.Line <= len(lines) && err.Column > utf8.RuneCountInString(lines[err.Line-1])+1 {
				t.Fatalf("%v is told of\n%q", err, text)
			}
		}
	})
}

// allErrors yields every error of a document that an error holds.
func allErrors(err error) iter.Seq[*document.Error] {
	return func(yield func(*document.Error) bool) {
		var walk func(error) bool
		walk = func(err error) bool {
			switch err := err.(type) { //nolint:errorlint // it is walked through by hand
			case *document.Error:
				return yield(err)
			case interface{ Unwrap() []error }:
				for _, one := range err.Unwrap() {
					if !walk(one) {
						return false
					}
				}
			}
			return true
		}
		walk(err)
	}
}
