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
	f(begin+"hosts: [a.test\n"+end, "a.yaml:3:8: is not YAML: the [ that is opened here is never closed")
	for _, c := range []struct{ text, want string }{
		{"kind: Tenant\nname: [a\nhosts: []\n", "2:7: is not YAML: the [ that is opened here"},
		{"kind: Tenant\nhosts: [a.example,\n", "2:8: is not YAML: the [ that is opened here"},
		{"kind: Tenant\nrules:\n  - {name: all, deck: d1\nhosts: [x]\n", "3:5: is not YAML: the { that is opened here"},
		{"kind: Tenant\nname: a\nhosts: [a.example}\n", "3:18: is not YAML: } closes the [ of line 3, column 8"},
		{"kind: Tenant\nname: \"a\nhosts: []\n", "2:7: is not YAML: the quotation mark \" that is opened here is never closed"},
		{"kind: Tenant\nname: 'it''s\n", "2:7: is not YAML: the quotation mark ' that is opened here is never closed"},
		{"kind: Deck\nname: d\ndomain: d.test\nattach: mesh\n---\nkind: Tenant\nname: \"x\n", "7:7: is not YAML: the quotation mark"},
		{"kind: Tenant\nname: \"a\\qb\"\n", `2:9: is not YAML: \q is no escape`},
		{"kind: Tenant\nname: \"say \"hi\"\"\n", "2:13: is not YAML: the text in quotes of line 2, column 7 has ended before this"},
		{`{"kind":"Tenant" "name":"a"}`, "1:18: is not YAML: a comma is missing before this"},
		{"{\"kind\":\"Tenant\"\n \"name\":\"a\"}", "2:2: is not YAML: a comma is missing before this"},
		{"kind: Tenant\nname: a\x01b\n", "2:8: is not YAML: this is the control character U+0001"},
		{"kind: Tenant\nname: é\x01b\n", "2:8: is not YAML: this is the control character U+0001"},
		{"kind: Tenant\nrules:\n  - name: a\n    deck: b\n   match: c\n", "5:4: is not YAML: this line is indented by 3"},
		{"kind: Tenant\nrules:\n    name: a\n  match: c\n", "4:3: is not YAML: this line is indented by 2"},
		{"kind: Tenant\nname: a\n- x\n", "3:1: is not YAML: did not find expected key: this line"},
		{"kind: Tenant\nname: a\nhosts\n  - x\n", "3:1: is not YAML: could not find expected ':': a name is followed by a colon"},
		{"kind: Tenant\n name: a\n", "2:2: is not YAML: mapping values are not allowed in this context: this line is indented more"},
		// What is no mistake is not taken for one that comes behind it.
		{"kind: Tenant\nname: don't [do # it's {\nhosts: [a\n", "3:8: is not YAML: the [ that is opened here"},
		{"kind: Tenant\nname: \"a ] b # c\"\nhosts: ['}', \"{\", a\n", "3:8: is not YAML: the [ that is opened here"},
		{"kind: Tenant\nname: a-[b\nhosts: [a:1, -x, - {b]\n", "3:22: is not YAML: ] closes the { of line 3, column 20"},
		{"kind: Tenant\nhosts:\n- a\n- b\nrules: {\n", "5:8: is not YAML: the { that is opened here"},
	} {
		f(c.text, "a.yaml:"+c.want)
	}
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
