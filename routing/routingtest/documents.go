package routingtest

import (
	"fmt"
	"strings"
)

// TwoDecks are the decks east and west.
const TwoDecks = `
kind: Deck
name: east
domain: east.deck.example
attach: direct
addresses: [127.0.0.1:80]
---
kind: Deck
name: west
domain: west.deck.example
attach: direct
addresses: [127.0.0.2:80]
`

// DeckYAML returns a deck of that name. more are further lines.
func DeckYAML(name, more string) string {
	return "kind: Deck\nname: " + name + "\ndomain: " + name + ".deck.example\nattach: direct\naddresses: [127.0.0.9:80]\n" + more
}

// TenantYAML returns a tenant that sends everything to one deck.
func TenantYAML(name, deck string, hosts ...string) string {
	return "kind: Tenant\nname: " + name + "\nhosts: [\"" + strings.Join(hosts, `", "`) + "\"]\nrules: [{name: all, deck: " + deck + "}]\n"
}

// PinYAML returns a pin of the tenant acme.
func PinYAML(key, deck string) string {
	return fmt.Sprintf("kind: Pin\ntenant: acme\nkey: %q\ndeck: %s\n", key, deck)
}
