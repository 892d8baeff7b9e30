package compile_test

import (
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/routingtest"
)

const pinnedTenant = `
kind: Tenant
name: acme
hosts: [acme.example]
rules:
  - {name: users, key: {header: x-user-id}, pins: true, split: {east: 1}}
`

func TestPinsGoFirst(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant, routingtest.PinYAML("7", "west"), routingtest.PinYAML("a/b", "west"))
	g.Want("GET acme.example/\nx-user-id: 7", "west")
	g.Want("GET acme.example/\nx-user-id: a/b", "west")
	g.Want("GET acme.example/\nx-user-id: 8", "east")
	if counts := g.Table.Counts(); counts != (routing.Counts{Tenants: 1, Hosts: 1, Decks: 2, Pins: 2}) {
		t.Errorf("%+v", counts)
	}
	g.Delete("pins/acme/7")
	g.Want("GET acme.example/\nx-user-id: 7", "east")
	if g.Table.Counts().Pins != 1 || g.View("acme").Pins != 1 {
		t.Error("a deleted pin is counted")
	}
}

func TestPinsOutliveTheirTenantsForm(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.PinYAML("7", "west"))
	g.WantProblems("pins/acme/7 unknown_tenant")
	g.Put(pinnedTenant)
	g.WantProblems("")
	g.Want("GET acme.example/\nx-user-id: 7", "west")
	g.Put(pinnedTenant + "epoch: 2\n")
	g.Want("GET acme.example/\nx-user-id: 7", "west")
	g.Delete("tenants/acme")
	g.WantProblems("pins/acme/7 unknown_tenant")
}

func TestPinThatCannotBeReadIsNeverGuessed(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant)
	g.Raw("pins/acme/7", `garbage`)
	g.Want("GET acme.example/\nx-user-id: 7", "pin_unreadable")
	g.Want("GET acme.example/\nx-user-id: 8", "east")
	g.WantProblems("pins/acme/7 bad_document")
	g.Put(routingtest.PinYAML("7", "west"))
	g.Want("GET acme.example/\nx-user-id: 7", "west")
	g.Raw("pins/acme/7", `{"kind":"Pin","tenant":"acme","key":"8","deck":"east"}`)
	g.Want("GET acme.example/\nx-user-id: 7", "west") // the last good form
	g.WantProblems("pins/acme/7 bad_document")
}

func TestPinKeysInOtherSpellingsAreProblems(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant)
	g.Raw("pins/acme/%37", `{"kind":"Pin","tenant":"acme","key":"7","deck":"west"}`)
	g.Want("GET acme.example/\nx-user-id: 7", "east")
	g.WantProblems("pins/acme/%37 bad_key")
	g.Delete("pins/acme/%37")
	g.WantProblems("")
}

func TestPinToAnUnknownDeck(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, pinnedTenant, routingtest.PinYAML("7", "west"))
	g.Put(routingtest.PinYAML("7", "north"))
	g.Want("GET acme.example/\nx-user-id: 7", "west")
	g.WantProblems("pins/acme/7 unknown_deck")
	g.Put(routingtest.DeckYAML("north", ""))
	g.Want("GET acme.example/\nx-user-id: 7", "north")
	g.Delete("decks/north")
	g.Want("GET acme.example/\nx-user-id: 7", "deck_down")
	g.WantProblems("pins/acme/7 unknown_deck")
}
