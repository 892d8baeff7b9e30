package main

import (
	"strings"
	"testing"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestARouterHoldsWhatEtcdHasLost exports the documents of a router, and compiles them: the table is the
// same.
func TestARouterHoldsWhatEtcdHasLost(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir+"/all.yaml", deckYAML("d1", "127.0.0.1:1")+deckYAML("d2", "127.0.0.1:2")+
		"kind: Tenant\nname: acme\nhosts: [acme.example, \"*.acme.example\"]\ndelegates: [x.acme.example]\nepoch: 7\ntimeouts: {total: 3s}\n"+
		"rules: [{name: users, key: {header: x-user-id}, pins: true, split: {d1: 1, d2: 3}}]\n---\n"+
		"kind: Tenant\nname: other\nhosts: [x.acme.example, o.example]\nrules: [{name: all, deck: d2}]\n---\n"+
		"kind: Tenant\nname: bad\nhosts: [bad.example]\nrules: []\n---\n"+
		"kind: Pin\ntenant: acme\nkey: \"a/b c\"\ndeck: d2\n---\nkind: Pin\ntenant: acme\nkey: \"1\"\ndeck: d1\n")
	s := startServe(t, "--routes", dir, "--access-log", "off")
	s.ready(t)
	status, body := fetch(s.admin + "/export")
	if status != 200 {
		t.Fatal(status, body)
	}
	reader := catalog.NewReader()
	compile := func(name, text string) *routing.Table {
		t.Helper()
		docs, err := reader.ReadFile(name, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		update := compile.Update{Whole: true}
		for _, doc := range docs {
			if doc.Err != nil {
				t.Fatalf("%v of %s", doc.Err, doc.Key)
			}
			update.Changes = append(update.Changes, compile.Change{Key: doc.Key, Value: doc.JSON})
		}
		return routingtest.Compile(t, compile.NewCompiler(reader.Decode), update)
	}
	table := compile("export.json", body)
	if counts := table.Counts(); counts.Tenants != 2 || counts.Decks != 2 || counts.Pins != 2 || counts.Hosts != 4 || counts.Problems != 0 {
		t.Errorf("exported are %+v:\n%s", counts, body)
	}
	view, _ := table.Tenant("acme")
	if view.Document == nil || view.Epoch != 7 || len(view.Document.Delegates) != 1 || len(view.Document.Rules) != 1 || strings.Contains(body, `"name":"bad"`) {
		t.Errorf("acme is %+v of\n%s", view.Document, body)
	}
}
