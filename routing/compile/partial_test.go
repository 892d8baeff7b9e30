package compile_test

import (
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestWhatMayBeInAPlaceThatWasNeverReadIsNobodysYet holds what a table says of hosts while a part of the
// source has never been read: nothing that may be another tenant's there.
func TestWhatMayBeInAPlaceThatWasNeverReadIsNobodysYet(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("rest", "west", "*"), routingtest.TenantYAML("pay", "west", "pay.acme.example"),
		"kind: Tenant\nname: acme\nhosts: [acme.example, '*.acme.example']\ndelegates: [pay.acme.example, '*.sub.acme.example', gone.acme.example]\nrules: [{name: all, deck: east}]\n",
		"kind: Tenant\nname: pinned\nhosts: [pinned.example]\nrules: [{name: users, key: {header: x-user-id}, pins: true, split: {east: 1}}]\n",
		"kind: Pin\ntenant: pinned\nkey: '7'\ndeck: west\n")
	g.WantProblems("")
	update := g.Whole()
	line := routing.Problem{Origin: "b.yaml:7", Code: routing.ProblemUnreadable, Message: "it is given twice"}
	file := routing.Problem{Origin: "c.yaml", Code: routing.ProblemUnreadable, Message: "it is broken"}
	update.Faults = []routing.Problem{line, file}
	compiler := compile.NewCompiler(g.Reader.Decode)
	want := func(partial bool, table *routing.Table, want map[string]string) {
		t.Helper()
		g.Table = table
		if table.Partial() != partial {
			t.Errorf("partial: %v, want %v", table.Partial(), partial)
		}
		for host, outcome := range want {
			g.Want("GET "+host+"/", outcome)
		}
		g.Want("GET pinned.example/\nx-user-id: 7", "west")
		g.Want("GET pinned.example/\nx-user-id: 8", map[bool]string{true: "pin_unreadable", false: "east"}[partial])
	}
	unread := map[string]string{
		"acme.example": "east", "x.acme.example": "east", "pay.acme.example": "west",
		"x.sub.acme.example": "no_table", "gone.acme.example": "no_table", "nobody.example": "no_table",
	}
	read := map[string]string{"acme.example": "east", "x.sub.acme.example": "east", "gone.acme.example": "east", "nobody.example": "west"}
	want(true, routingtest.Compile(t, compiler, update), unread)

	sections, err := compiler.Checkpoint().Sections()
	if err != nil {
		t.Fatal(err)
	}
	restored := compile.NewCompiler(g.Reader.Decode)
	table, err := restored.Restore(sections)
	if err != nil {
		t.Fatal(err)
	}
	want(true, table, unread)
	rebuilt, err := compiler.Rebuilt()
	if err != nil {
		t.Fatal(err)
	}
	for _, compiler = range []*compile.Compiler{compiler, restored, rebuilt} {
		update := g.Whole()
		update.Faults = []routing.Problem{file}
		want(true, routingtest.Compile(t, compiler, update), unread)
		update = g.Whole()
		update.Faults = []routing.Problem{line}
		want(false, routingtest.Compile(t, compiler, update), read)
		update = g.Whole()
		update.Faults = []routing.Problem{file}
		want(false, routingtest.Compile(t, compiler, update), read)
	}
}
