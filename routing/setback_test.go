package routing_test

import (
	"testing"

	"gridrouter.io/routing"
)

// TestPinsOfATenantThatWasSetBackStay restores a backup under a compiler: the pins that are
// stored then are those of an older epoch, and lead nowhere until a form of the tenant is
// accepted. A router that goes on from a snapshot, and one that lists everything, do the same.
func TestPinsOfATenantThatWasSetBackStay(t *testing.T) {
	backup := []string{pinnedTenant + "epoch: 3\n", pin("moved", "east"), pin("deleted", "west")}
	g := newGrid(t, append([]string{twoDecks}, backup...)...)
	g.put(pinnedTenant+"epoch: 7\n", pin("moved", "west"), pin("made", "west"))
	g.del("pins/acme/deleted")
	before, effective := g.table.Hash(), g.table.EffectiveHash()
	stays := func(what string) {
		t.Helper()
		g.want("GET acme.example/\nx-user-id: moved", "west")
		g.want("GET acme.example/\nx-user-id: made", "west")
		g.want("GET acme.example/\nx-user-id: deleted", "east") // by the split
		if g.table.EffectiveHash() != effective || g.table.Counts().Pins != 2 {
			t.Errorf("%s: in force is something else: %+v", what, g.table.Counts())
		}
	}
	stays("before")

	g.put(backup...)
	g.del("pins/acme/made")
	stays("restored")
	g.wantProblems("tenants/acme epoch_rewound")
	if got := g.fresh(); got.Hash() != g.table.Hash() || g.table.Hash() == before {
		t.Error("the hash is not that of what is stored")
	}
	sections, err := g.compiler.Checkpoint().Sections()
	if err != nil {
		t.Fatal(err)
	}
	g.compiler = routing.NewCompiler(g.reader.Decode)
	if g.table, err = g.compiler.Restore(sections); err != nil {
		t.Fatal(err)
	}
	stays("from a snapshot")
	stored := g.whole()
	g.table = g.compiler.Compile(stored)
	stays("listed")
	if got := g.fresh(); got.Hash() != g.table.Hash() {
		t.Error("after a list the hash is not that of what is stored")
	}
	g.put(pin("moved", "west"), pin("later", "west")) // past gridctl, which would raise the epoch
	stays("written meanwhile")

	g.put(pinnedTenant + "epoch: 8\n") // settled
	g.want("GET acme.example/\nx-user-id: moved", "west")
	g.want("GET acme.example/\nx-user-id: deleted", "west")
	g.want("GET acme.example/\nx-user-id: made", "east")
	g.want("GET acme.example/\nx-user-id: later", "west")
	g.wantProblems("")
	if got := g.fresh(); got.EffectiveHash() != g.table.EffectiveHash() || got.Counts() != g.table.Counts() {
		t.Errorf("in the end %+v, want %+v", g.table.Counts(), got.Counts())
	}
}

// TestPinsOnDemandOfATenantThatWasSetBackAreNotRead asks for cached pins of a tenant whose stored
// epoch was set back: what is stored is of the backup, and decides nothing.
func TestPinsOnDemandOfATenantThatWasSetBackAreNotRead(t *testing.T) {
	const cachedTenant = "kind: Tenant\nname: acme\nhosts: [acme.example]\nrules: [{name: users, key: {header: x-user-id}, pins: cached, split: {east: 1}}]\n"
	g := newGrid(t)
	g.compiler.CachePins()
	g.put(twoDecks, cachedTenant+"epoch: 7\n", pin("7", "west"))
	for _, key := range []string{"7", "8"} {
		r := request(t, "GET acme.example/\nx-user-id: "+key)
		if d := g.table.Decide(r); d.PinWanted != (key == "7") {
			t.Errorf("key %s before: %+v", key, d)
		}
	}
	g.put(cachedTenant + "epoch: 3\n")
	g.del("pins/acme/7")
	for _, key := range []string{"7", "8"} {
		if d := g.table.Decide(request(t, "GET acme.example/\nx-user-id: "+key)); d.Fault != routing.FaultPinUnreadable {
			t.Errorf("key %s of a tenant that was set back: %+v", key, d)
		}
	}
	g.put(cachedTenant + "epoch: 8\n")
	g.want("GET acme.example/\nx-user-id: 7", "east")
}
