package compile_test

import (
	"strings"
	"testing"

	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestOlderClaimKeepsAHost(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("zeta", "east", "shop.example"))
	g.Put(routingtest.TenantYAML("alpha", "west", "shop.example", "alpha.example"))
	g.Want("GET shop.example/", "east")
	g.Want("GET alpha.example/", "west")
	g.WantProblems("tenants/alpha host_conflict")
	g.Put(routingtest.TenantYAML("zeta", "east", "zeta.example"))
	g.Want("GET shop.example/", "west")
	g.WantProblems("")
	if hosts := g.Table.Hosts("alpha"); strings.Join(hosts, " ") != "alpha.example shop.example" {
		t.Error(hosts)
	}
}

func TestWithoutCreateRevisionsNamesDecideAboutHosts(t *testing.T) {
	g := routingtest.NewGrid(t)
	changes := g.Changes(routingtest.TwoDecks, routingtest.TenantYAML("zeta", "east", "shop.example"), routingtest.TenantYAML("alpha", "west", "shop.example"))
	table := routingtest.Compile(t, g.Compiler, compile.Update{Whole: true, Revision: 1, Changes: changes})
	if got := routingtest.Outcome(table.Decide(routingtest.Request(t, "GET shop.example/"))); got != "west" {
		t.Errorf("%s serves, want alpha's west", got)
	}
}

func TestATenantThatNeverWasGoodTakesNoHostByItsNameAlone(t *testing.T) {
	g := routingtest.NewGrid(t)
	changes := g.Changes(routingtest.TwoDecks, routingtest.TenantYAML("zeta", "east", "shop.example"))
	bad := compile.Change{Key: "tenants/alpha", Value: []byte(`{"kind":"Tenant","name":"alpha","hosts":["shop.example"],"rules":[]}`)}
	table := routingtest.Compile(t, g.Compiler, compile.Update{Whole: true, Revision: 1, Changes: append(changes, bad)})
	if got := routingtest.Outcome(table.Decide(routingtest.Request(t, "GET shop.example/"))); got != "east" {
		t.Errorf("%s serves, want zeta's east", got)
	}
	good := g.Changes(routingtest.TenantYAML("alpha", "west", "shop.example"))
	table = routingtest.Compile(t, g.Compiler, compile.Update{Revision: 2, Changes: good})
	if got := routingtest.Outcome(table.Decide(routingtest.Request(t, "GET shop.example/"))); got != "west" {
		t.Errorf("%s serves, want alpha's west, now that it is good", got)
	}
}

func TestHostUnderAnotherTenantsWildcardMustBeDelegated(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "*.acme.example"))
	g.Put(routingtest.TenantYAML("other", "west", "pay.acme.example", "other.example"))
	g.Want("GET pay.acme.example/", "east")
	g.Want("GET other.example/", "west")
	g.WantProblems("tenants/other host_not_delegated")
	g.Put(routingtest.TenantYAML("acme", "east", "*.acme.example") + "delegates: [pay.acme.example]\n")
	g.Want("GET pay.acme.example/", "west")
	g.WantProblems("")
	g.Put(routingtest.TenantYAML("acme", "east", "*.acme.example"))
	g.Want("GET pay.acme.example/", "east")
}

func TestAWildcardThatIsRefusedTakesNoHostsFromOthers(t *testing.T) {
	acme := routingtest.TenantYAML("acme", "east", "*.example") + "delegates: [pay.shop.example]\n"
	g := routingtest.NewGrid(t, routingtest.TwoDecks, acme)
	g.Put(routingtest.TenantYAML("intruder", "east", "*.shop.example"))
	g.Put(routingtest.TenantYAML("other", "west", "pay.shop.example"))
	g.Want("GET pay.shop.example/", "west")
	g.Want("GET x.shop.example/", "east")
	g.WantProblems("tenants/intruder host_not_delegated")
	g.Put(routingtest.TenantYAML("acme", "east", "*.example") + "delegates: [\"*.shop.example\"]\n") // now it holds
	g.Want("GET pay.shop.example/", "east")
	g.WantProblems("tenants/other host_not_delegated")
	g.Put(acme)
	g.Want("GET pay.shop.example/", "west")
}

func TestOlderHostStaysUnderAYoungerWildcard(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("other", "west", "pay.acme.example"))
	g.Put(routingtest.TenantYAML("acme", "east", "*.acme.example"))
	g.Want("GET pay.acme.example/", "west")
	g.Want("GET x.acme.example/", "east")
	g.WantProblems("tenants/acme wildcard_contested")
}
