package routing_test

import (
	"testing"

	"gridrouter.io/routing/routingtest"
)

func TestHostsExactBeatsWildcardAndLongerBeatsShorter(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.DeckYAML("north", ""),
		routingtest.TenantYAML("a", "east", "*.acme.example")+"delegates: [\"*.shop.acme.example\", www.acme.example]\n",
		routingtest.TenantYAML("b", "west", "*.shop.acme.example"),
		routingtest.TenantYAML("c", "north", "www.acme.example"))
	g.WantProblems("")
	g.Want("GET x.acme.example/", "east")
	g.Want("GET x.y.acme.example/", "east")
	g.Want("GET x.shop.acme.example/", "west")
	g.Want("GET a.b.shop.acme.example/", "west")
	g.Want("GET shop.acme.example/", "east")
	g.Want("GET www.acme.example/", "north")
	g.Want("GET acme.example/", "no_tenant")
	g.Want("GET xacme.example/", "no_tenant")
}
