package compile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestSplitsAreSharedAndRememberedWithinBounds(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks)
	for i := range 300 { // more decks than costs are remembered for
		g.Put(fmt.Sprintf("kind: Tenant\nname: t-%d\nhosts: [t-%d.example]\nrules: [{name: all, key: {host: true}, split: {deck-%d: 1, east: 1}}]\n", i, i, i))
	}
	if d := g.Table.Decide(routingtest.Request(t, "GET t-0.example/")); d.Via != routing.ViaSplit {
		t.Errorf("%+v", d)
	}
}

// TestNoNamesFillAShard writes tenants with as many delegates as one may have, whose names lie
// in one shard by the unseeded hash, which anybody can compute: together they are larger than a
// shard can be. All are in force, and so is the next one.
func TestNoNamesFillAShard(t *testing.T) {
	compiler := compile.NewCompiler(func(key string, _ []byte) (any, error) {
		name := strings.TrimPrefix(key, "tenants/")
		tenant := &routing.Tenant{Kind: routing.KindTenant, Name: name, Hosts: []string{"*." + name + ".example"}, Epoch: 1, Rules: []routing.Rule{{Name: "all", Deck: "d"}}}
		for i := range routing.MaxHosts {
			tenant.Delegates = append(tenant.Delegates, fmt.Sprintf("%s%05d.%s.example", strings.Repeat("d", 58), i, name))
		}
		return tenant, nil
	})
	update := compile.Update{Revision: 1}
	var names []string
	for i := 0; len(names) < 24; i++ {
		if name := fmt.Sprintf("t%d", i); xxhash.Sum64String(name)>>48 == 0x5555 {
			names = append(names, name)
			update.Changes = append(update.Changes, compile.Change{Key: "tenants/" + name, Value: []byte(name)})
		}
	}
	table := routingtest.Compile(t, compiler, update)
	for _, name := range names {
		view, ok := table.Tenant(name)
		if !ok || view.Document == nil || len(view.Document.Delegates) != routing.MaxHosts {
			t.Fatalf("%s is not in force with its delegates", name)
		}
	}
	table = routingtest.Compile(t, compiler, compile.Update{Revision: 2, Changes: []compile.Change{{Key: "tenants/" + names[3], Deleted: true}}})
	if _, ok := table.Tenant(names[3]); ok || table.Counts().Tenants != 23 {
		t.Error("a tenant among them cannot be deleted")
	}
}
