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

// TestCheckWarnsOfChoicesThatRoutersDoNotMake: a router uses every address of a name alike.
func TestCheckWarnsOfChoicesThatRoutersDoNotMake(t *testing.T) {
	f := func(warned bool, deck, name string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "docs.yaml")
		if err := os.WriteFile(path, []byte(deck+"---\n"+name), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, told bytes.Buffer
		root := newRootCommand()
		root.SetArgs([]string{"check", path})
		root.SetOut(&out)
		root.SetErr(&told)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		if got := strings.Contains(told.String(), "warning: m1.deck.test chooses"); got != warned {
			t.Errorf("%q: %s %s", name, out.String(), told.String())
		}
	}
	const mesh = "kind: Deck\nname: m1\ndomain: m1.deck.test\nattach: mesh\n"
	const direct = "kind: Deck\nname: m1\ndomain: m1.deck.test\nattach: direct\naddresses: [\"127.0.0.1:1\"]\n"
	const weighted = "kind: Gslb\nname: m1.deck.test\nvips: [{address: 10.0.0.1, weight: 1}, {address: 10.0.0.2, weight: 999}]\n"
	f(true, mesh, weighted)
	f(true, mesh, "kind: Gslb\nname: m1.deck.test\npolicy: failover\nvips: [{address: 10.0.0.1, priority: 1}, {address: 10.0.0.2, priority: 2}]\n")
	f(false, direct, weighted)
	f(false, mesh, "kind: Gslb\nname: m1.deck.test\nvips: [{address: 10.0.0.1}, {address: 10.0.0.2}]\n")
	f(false, mesh, "kind: Gslb\nname: m1.deck.test\nvips: [{address: 10.0.0.1, weight: 7}]\n")
	f(false, mesh, strings.ReplaceAll(weighted, "m1.", "m2."))
}
