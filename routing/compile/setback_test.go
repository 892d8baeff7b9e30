package compile_test

import (
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestPinsOfATenantThatWasSetBackStay restores a backup under a compiler: the pins that are
// stored then are those of an older epoch, and lead nowhere until a form of the tenant is
// accepted. A router that goes on from a snapshot, and one that lists everything, do the same.
func TestPinsOfATenantThatWasSetBackStay(t *testing.T) {
	backup := []string{pinnedTenant + "epoch: 3\n", routingtest.PinYAML("moved", "east"), routingtest.PinYAML("deleted", "west")}
	g := routingtest.NewGrid(t, append([]string{routingtest.TwoDecks}, backup...)...)
	g.Put(pinnedTenant+"epoch: 7\n", routingtest.PinYAML("moved", "west"), routingtest.PinYAML("made", "west"))
	g.Delete("pins/acme/deleted")
	before, effective := g.Table.Hash(), g.Table.EffectiveHash()
	stays := func(what string) {
		t.Helper()
		g.Want("GET acme.example/\nx-user-id: moved", "west")
		g.Want("GET acme.example/\nx-user-id: made", "west")
		g.Want("GET acme.example/\nx-user-id: deleted", "east") // by the split
		if g.Table.EffectiveHash() != effective || g.Table.Counts().Pins != 2 {
			t.Errorf("%s: in force is something else: %+v", what, g.Table.Counts())
		}
	}
	stays("before")

	g.Put(backup...)
	g.Delete("pins/acme/made")
	stays("restored")
	g.WantProblems("tenants/acme epoch_rewound")
	if got := g.Fresh(); got.Hash() != g.Table.Hash() || g.Table.Hash() == before {
		t.Error("the hash is not that of what is stored")
	}
	sections, err := g.Compiler.Checkpoint().Sections()
	if err != nil {
		t.Fatal(err)
	}
	g.Compiler = compile.NewCompiler(g.Reader.Decode)
	if g.Table, err = g.Compiler.Restore(sections); err != nil {
		t.Fatal(err)
	}
	stays("from a snapshot")
	stored := g.Whole()
	g.Table = routingtest.Compile(t, g.Compiler, stored)
	stays("listed")
	if got := g.Fresh(); got.Hash() != g.Table.Hash() {
		t.Error("after a list the hash is not that of what is stored")
	}
	g.Put(routingtest.PinYAML("moved", "west"), routingtest.PinYAML("later", "west")) // past gridctl, which would raise the epoch
	stays("written meanwhile")

	g.Put(pinnedTenant + "epoch: 8\n") // settled
	g.Want("GET acme.example/\nx-user-id: moved", "west")
	g.Want("GET acme.example/\nx-user-id: deleted", "west")
	g.Want("GET acme.example/\nx-user-id: made", "east")
	g.Want("GET acme.example/\nx-user-id: later", "west")
	g.WantProblems("")
	if got := g.Fresh(); got.EffectiveHash() != g.Table.EffectiveHash() || got.Counts() != g.Table.Counts() {
		t.Errorf("in the end %+v, want %+v", g.Table.Counts(), got.Counts())
	}
}

// TestPinsOnDemandOfATenantThatWasSetBackAreNotRead asks for cached pins of a tenant whose stored
// epoch was set back: what is stored is of the backup, and decides nothing.
func TestPinsOnDemandOfATenantThatWasSetBackAreNotRead(t *testing.T) {
	const cachedTenant = "kind: Tenant\nname: acme\nhosts: [acme.example]\nrules: [{name: users, key: {header: x-user-id}, pins: cached, split: {east: 1}}]\n"
	g := routingtest.NewGrid(t)
	g.Compiler.CachePins()
	g.Put(routingtest.TwoDecks, cachedTenant+"epoch: 7\n", routingtest.PinYAML("7", "west"))
	for _, key := range []string{"7", "8"} {
		r := routingtest.Request(t, "GET acme.example/\nx-user-id: "+key)
		if d := g.Table.Decide(r); d.PinWanted != (key == "7") {
			t.Errorf("key %s before: %+v", key, d)
		}
	}
	g.Put(cachedTenant + "epoch: 3\n")
	g.Delete("pins/acme/7")
	for _, key := range []string{"7", "8"} {
		if d := g.Table.Decide(routingtest.Request(t, "GET acme.example/\nx-user-id: "+key)); d.Fault != routing.FaultPinUnreadable {
			t.Errorf("key %s of a tenant that was set back: %+v", key, d)
		}
	}
	g.Put(cachedTenant + "epoch: 8\n")
	g.Want("GET acme.example/\nx-user-id: 7", "east")
}
