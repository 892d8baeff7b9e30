package routing_test

import (
	"strings"
	"testing"

	"gridrouter.io/routing/routingtest"
)

// TestAKeyBeyondItsLimitIsRefusedFromEverySource takes each source of keys to its last
// good length and one byte beyond, where no other rule gets its turn.
func TestAKeyBeyondItsLimitIsRefusedFromEverySource(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, `
kind: Tenant
name: acme
hosts: [acme.example]
rules:
  - {name: header, match: {path: /header}, key: {header: x-id}, split: {east: 1}, missing: next}
  - {name: cookie, match: {path: /cookie}, key: {cookie: id}, split: {east: 1}, missing: next}
  - {name: query, match: {path: /query}, key: {query: id}, split: {east: 1}, missing: next}
  - {name: path, match: {path: /path}, key: {path: 2}, split: {east: 1}, missing: next}
  - {name: rest, deck: west}
`)
	for _, before := range []string{"GET acme.example/header\nx-id: ", "GET acme.example/cookie\ncookie: id=", "GET acme.example/query?id=", "GET acme.example/path/"} {
		g.Want(before+strings.Repeat("k", 512), "east")
		g.Want(before+strings.Repeat("k", 513), "bad_request")
	}
}
