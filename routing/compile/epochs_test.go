package compile_test

import (
	"fmt"
	"math"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestEpochIsNeverRewound(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example")+"epoch: 5\n")
	g.Put(routingtest.TenantYAML("acme", "west", "acme.example") + "epoch: 4\n")
	g.Want("GET acme.example/", "east")
	g.WantProblems("tenants/acme epoch_rewound")
	g.Put(routingtest.TenantYAML("acme", "west", "acme.example") + "epoch: 5\n")
	g.Want("GET acme.example/", "west")
	g.WantProblems("")
	g.Delete("tenants/acme")
	g.Put(routingtest.TenantYAML("acme", "east", "acme.example"))
	g.Want("GET acme.example/", "tenant_invalid") // the fence outlives the document
	g.WantProblems("tenants/acme epoch_rewound")
	if d := g.Table.Decide(routingtest.Request(t, "GET acme.example/")); d.Tenant != "acme" {
		t.Errorf("tenant %q", d.Tenant)
	}
}

// TestAnEpochThatLeapsIsRefused: the last good form stays, and the next change has room.
func TestAnEpochThatLeapsIsRefused(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks)
	f := func(epoch uint64, on, code string) {
		t.Helper()
		g.Raw("tenants/acme", fmt.Sprintf(`{"kind":"Tenant","name":"acme","hosts":["a.example"],"epoch":%d,"rules":[{"name":"all","deck":%q}]}`, epoch, on))
		got := ""
		for _, p := range g.Table.Problems() {
			got = p.Code
		}
		if got != code {
			t.Errorf("epoch %d: problem %q, want %q", epoch, got, code)
		}
	}
	f(routing.MaxFirstEpoch+1, "east", routing.ProblemEpochLeapt)
	f(5, "east", "")
	f(5+routing.MaxEpochStep+1, "west", routing.ProblemEpochLeapt)
	f(routing.MaxEpoch+1, "west", routing.ProblemBadDocument)
	f(math.MaxUint64, "west", routing.ProblemBadDocument)
	f(6, "east", "")
	f(6+routing.MaxEpochStep, "east", "")
	f(6, "west", routing.ProblemEpochRewound)
}

// TestWhatOtherRoutersHaveSeenIsHeeded tells a compiler of epochs that others have seen: before the
// document, with it, and after it was put in force.
func TestWhatOtherRoutersHaveSeenIsHeeded(t *testing.T) {
	acme := func(epoch uint64, on string) compile.Change {
		return compile.Change{Key: "tenants/acme", Revision: 5, Created: 2, Value: fmt.Appendf(nil,
			`{"kind":"Tenant","name":"acme","hosts":["a.example","*.b.example"],"epoch":%d,"rules":[{"name":"all","deck":%q}]}`, epoch, on)}
	}
	seen := map[string]uint64{"acme": 23, "nobody": 7, "Bad Name": 9}
	f := func(what, want string, updates ...compile.Update) *routingtest.Grid {
		t.Helper()
		g := routingtest.NewGrid(t, routingtest.TwoDecks)
		for _, u := range updates {
			g.Revision++
			u.Revision = g.Revision
			g.Table = routingtest.Compile(t, g.Compiler, u)
		}
		for _, host := range []string{"a.example", "x.b.example"} {
			g.Want("GET "+host+"/", want)
		}
		if rewound := g.Table.Rewound(); (want == "tenant_invalid") != (rewound["acme"] == 23) || len(rewound) > 1 {
			t.Errorf("%s: set back are %v", what, rewound)
		}
		return g
	}
	f("before", "tenant_invalid", compile.Update{Seen: seen}, compile.Update{Changes: []compile.Change{acme(18, "east")}})
	f("with it", "tenant_invalid", compile.Update{Seen: seen, Changes: []compile.Change{acme(18, "east")}})
	late := f("after it", "tenant_invalid", compile.Update{Changes: []compile.Change{acme(18, "east")}}, compile.Update{Seen: seen})
	f("after a newer one", "east", compile.Update{Changes: []compile.Change{acme(23, "east")}}, compile.Update{Seen: seen})
	g := f("and then a higher one", "west", compile.Update{Changes: []compile.Change{acme(18, "east")}}, compile.Update{Seen: seen}, compile.Update{Changes: []compile.Change{acme(24, "west")}})
	fresh := routingtest.NewGrid(t, routingtest.TwoDecks)
	fresh.Table = routingtest.Compile(t, fresh.Compiler, compile.Update{Changes: []compile.Change{acme(24, "west")}})
	if g.Table.EffectiveHash() != fresh.Table.EffectiveHash() || g.Table.Hash() != fresh.Table.Hash() || len(g.Table.Problems()) > 0 {
		t.Errorf("in the end: %+v", g.Table.Problems())
	}
	late.Table = routingtest.Compile(t, late.Compiler, compile.Update{Changes: []compile.Change{{Key: "tenants/acme", Deleted: true}}})
	late.Want("GET a.example/", "no_tenant")
}
