package routing_test

import (
	"testing"

	"gridrouter.io/routing/routingtest"
)

func TestDeckStates(t *testing.T) {
	f := func(deck, standby, want string) {
		t.Helper()
		g := routingtest.NewGrid(t, routingtest.DeckYAML("east", deck), routingtest.DeckYAML("west", standby), routingtest.TenantYAML("acme", "east", "acme.example"))
		g.Want("GET acme.example/", want)
	}
	f("", "", "east")
	f("state: active", "", "east")
	f("state: draining", "", "east")
	f("state: down", "", "deck_down")
	f("state: down\nstandby: west", "", "west")
	f("state: down\nstandby: west", "state: draining", "west")
	f("state: down\nstandby: west", "state: down", "deck_down")
	f("state: down\nstandby: west", "state: down\nstandby: east", "deck_down") // one hop
	f("standby: west", "", "east")
	f("state: down\nstandby: nobody", "", "deck_down")
}

func TestDecisionUnderAStandbyNamesBothDecks(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.DeckYAML("east", "state: down\nstandby: west"), routingtest.DeckYAML("west", ""), routingtest.TenantYAML("acme", "east", "acme.example"))
	d := g.Table.Decide(routingtest.Request(t, "GET acme.example/"))
	if d.Mapped.Name != "east" || d.Deck.Name != "west" {
		t.Errorf("mapped %s, served by %s", d.Mapped.Name, d.Deck.Name)
	}
}
