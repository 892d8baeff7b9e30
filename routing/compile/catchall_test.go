package compile_test

import (
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/routingtest"
)

// TestWhatNoTenantOwnsGoesToTheOneThatCatchesAll holds who goes first, and that nothing that is
// somebody's is caught: not the hosts of a bad tenant, and not those that two want.
func TestWhatNoTenantOwnsGoesToTheOneThatCatchesAll(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example", "*.wild.example"))
	g.Want("GET nobody.example/", "no_tenant")
	g.Put(routingtest.TenantYAML("rest", "west", "*", "rest.example"))
	g.WantProblems("")
	for _, host := range []string{"nobody.example", "x", "192.0.2.1", "[2001:db8::1]", "wild.example", "rest.example", "sub.acme.example"} {
		g.Want("GET "+host+"/", "west")
	}
	for _, host := range []string{"acme.example", "a.wild.example", "b.a.wild.example"} {
		g.Want("GET "+host+"/", "east")
	}
	for host, owner := range map[string]string{"acme.example": "acme", "rest.example": "rest", "nobody.example": ""} {
		if got, ok := g.Table.OwnerOf([]byte(host)); got != owner || ok != (owner != "") {
			t.Errorf("%s is owned by %q %v, want %q: what is caught is nobody's", host, got, ok, owner)
		}
	}
	// A tenant that never was good has its hosts all the same.
	g.Raw("tenants/bad", `{"kind":"Tenant","name":"bad","hosts":["bad.example"],"rules":[]}`)
	g.Want("GET bad.example/", "tenant_invalid")
	g.Delete("tenants/bad")
	g.Want("GET bad.example/", "west")
	// It goes with its tenant, and needs nobody's leave for other hosts.
	g.Put(routingtest.TenantYAML("new", "east", "new.example"))
	g.Want("GET new.example/", "east")
	g.WantProblems("")
	g.Delete("tenants/rest")
	g.Want("GET nobody.example/", "no_tenant")
	g.Want("GET new.example/", "east")
}

// TestOneTenantCatchesAll has two want it: the older one has it, and the other a problem.
func TestOneTenantCatchesAll(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("zeta", "east", "*"))
	g.Put(routingtest.TenantYAML("alpha", "west", "*", "alpha.example"))
	g.Want("GET nobody.example/", "east")
	g.Want("GET alpha.example/", "west")
	g.WantProblems("tenants/alpha host_conflict")
	g.Put(routingtest.TenantYAML("zeta", "east", "zeta.example"))
	g.Want("GET nobody.example/", "west")
	g.WantProblems("")
}

// TestARouterThatStartsAnewHasTheSameOneCatchAll compiles all documents at once.
func TestARouterThatStartsAnewHasTheSameOneCatchAll(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"), routingtest.TenantYAML("rest", "west", "*"))
	if !routing.Covers("*.a.example", "x.a.example") || routing.Covers("*", "x.a.example") || !routing.Covers("*", "*") {
		t.Error("what catches all is a pattern for delegates")
	}
	if got, want := g.Fresh().EffectiveHash(), g.Table.EffectiveHash(); got != want {
		t.Errorf("a router that starts anew has %s, want %s", got, want)
	}
}
