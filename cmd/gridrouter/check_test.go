package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCheckWarnsOfEncodedSlashesWhereRulesReadPaths tries which documents are warned of.
func TestCheckWarnsOfEncodedSlashesWhereRulesReadPaths(t *testing.T) {
	const deck = "kind: Deck\nname: d1\ndomain: d1.test\nattach: direct\naddresses: [\"127.0.0.1:1\"]\n---\n"
	f := func(warned bool, tenant string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "docs.yaml")
		if err := os.WriteFile(path, []byte(deck+"kind: Tenant\nname: acme\nhosts: [acme.test]\n"+tenant), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, told bytes.Buffer
		root := newRootCommand()
		root.SetArgs([]string{"check", path})
		root.SetOut(&out)
		root.SetErr(&told)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%q: %v", tenant, err)
		}
		if got := strings.Contains(told.String(), "warning: tenant acme"); got != warned || !strings.Contains(out.String(), "no problems") {
			t.Errorf("%q: %s %s", tenant, out.String(), told.String())
		}
	}
	f(true, "encodedSlash: pass\nrules: [{name: a, match: {path: /a}, deck: d1}]\n")
	f(true, "encodedSlash: pass\nrules: [{name: a, key: {path: 1}, split: {d1: 1}}]\n")
	f(false, "encodedSlash: pass\nrules: [{name: a, deck: d1}]\n")
	f(false, "encodedSlash: refuse\nrules: [{name: a, match: {path: /a}, deck: d1}]\n")
	f(false, "rules: [{name: a, match: {path: /a}, deck: d1}]\n")
}
