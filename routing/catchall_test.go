package routing_test

import (
	"testing"

	"gridrouter.io/routing"
)

// TestWhatNoTenantOwnsGoesToTheOneThatCatchesAll holds who goes first, and that nothing that is
// somebody's is caught: not the hosts of a bad tenant, and not those that two want.
func TestWhatNoTenantOwnsGoesToTheOneThatCatchesAll(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example", "*.wild.example"))
	g.want("GET nobody.example/", "no_tenant")
	g.put(tenant("rest", "west", "*", "rest.example"))
	g.wantProblems("")
	for _, host := range []string{"nobody.example", "x", "192.0.2.1", "[2001:db8::1]", "wild.example", "rest.example", "sub.acme.example"} {
		g.want("GET "+host+"/", "west")
	}
	for _, host := range []string{"acme.example", "a.wild.example", "b.a.wild.example"} {
		g.want("GET "+host+"/", "east")
	}
	for host, owner := range map[string]string{"acme.example": "acme", "rest.example": "rest", "nobody.example": ""} {
		if got, ok := g.table.OwnerOf([]byte(host)); got != owner || ok != (owner != "") {
			t.Errorf("%s is owned by %q %v, want %q: what is caught is nobody's", host, got, ok, owner)
		}
	}
	// A tenant that never was good has its hosts all the same.
	g.raw("tenants/bad", `{"kind":"Tenant","name":"bad","hosts":["bad.example"],"rules":[]}`)
	g.want("GET bad.example/", "tenant_invalid")
	g.del("tenants/bad")
	g.want("GET bad.example/", "west")
	// It goes with its tenant, and needs nobody's leave for other hosts.
	g.put(tenant("new", "east", "new.example"))
	g.want("GET new.example/", "east")
	g.wantProblems("")
	g.del("tenants/rest")
	g.want("GET nobody.example/", "no_tenant")
	g.want("GET new.example/", "east")
}

// TestOneTenantCatchesAll has two want it: the older one has it, and the other a problem.
func TestOneTenantCatchesAll(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("zeta", "east", "*"))
	g.put(tenant("alpha", "west", "*", "alpha.example"))
	g.want("GET nobody.example/", "east")
	g.want("GET alpha.example/", "west")
	g.wantProblems("tenants/alpha host_conflict")
	g.put(tenant("zeta", "east", "zeta.example"))
	g.want("GET nobody.example/", "west")
	g.wantProblems("")
}

// TestARouterThatStartsAnewHasTheSameOneCatchAll compiles all documents at once.
func TestARouterThatStartsAnewHasTheSameOneCatchAll(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"), tenant("rest", "west", "*"))
	if !routing.Covers("*.a.example", "x.a.example") || routing.Covers("*", "x.a.example") || !routing.Covers("*", "*") {
		t.Error("what catches all is a pattern for delegates")
	}
	if got, want := g.fresh().EffectiveHash(), g.table.EffectiveHash(); got != want {
		t.Errorf("a router that starts anew has %s, want %s", got, want)
	}
}
