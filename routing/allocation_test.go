package routing_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/routingtest"
)

const everyKeySource = `
kind: Tenant
name: acme
hosts: [acme.example, "*.acme.example"]
rules:
  - {name: tools, match: {path: /tools, methods: [PUT], headers: {x-a: b}, cookies: {c: d}, query: {e: "f g"}}, deck: west}
  - {name: header, key: {header: x-user-id}, pins: true, ranges: [{from: 100, to: 199, deck: west}], split: {east: 60, west: 40}, missing: next}
  - {name: cookie, key: {cookie: uid}, split: {east: 60, west: 40}, missing: next}
  - {name: query, key: {query: u}, split: {east: 60, west: 40}, missing: next}
  - {name: claim, key: {claim: sub}, split: {east: 60, west: 40}, missing: next}
  - {name: path, match: {path: /users}, key: {path: 2}, split: {east: 60, west: 40}, missing: next}
  - {name: host, match: {path: /host}, key: {host: true}, split: {east: 60, west: 40}}
  - {name: ip, key: {clientIP: true}, split: {east: 60, west: 40}}
`

// cheapFields reads a header without allocating, as a router's does.
type cheapFields struct {
	names  []string
	values [][]byte
}

func (c *cheapFields) Field(name string) (value []byte, lines int) {
	for i := range c.names {
		if c.names[i] == name {
			if lines++; lines == 1 {
				value = c.values[i]
			}
		}
	}
	return value, lines
}

func (c *cheapFields) Line(name string, n int) []byte {
	for i := range c.names {
		if c.names[i] == name {
			if n == 0 {
				return c.values[i]
			}
			n--
		}
	}
	return nil
}

// onThePath returns the request as a router would hold it.
func onThePath(t testing.TB, text string) *routing.Request {
	t.Helper()
	r := routingtest.Request(t.(*testing.T), text)
	cheap := &cheapFields{}
	for _, line := range r.Fields.(routingtest.Fields) {
		cheap.names = append(cheap.names, strings.ToLower(line[0]))
		cheap.values = append(cheap.values, []byte(line[1]))
	}
	r.Fields = cheap
	return r
}

func TestDecidingAllocatesNothing(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, everyKeySource, routingtest.PinYAML("7", "west"))
	token := "Bearer e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"a":[1,2],"sub":"u\u0041"}`)) + ".c2ln"
	f := func(text, rule string, via routing.Via) {
		t.Helper()
		r := onThePath(t, text)
		d := g.Table.Decide(r) // grows the scratch space
		if d.Rule != rule || d.Via != via {
			t.Errorf("%q was decided by %q via %q, want %q via %q (%s)", text, d.Rule, d.Via, rule, via, d.Reason)
		}
		if n := testing.AllocsPerRun(200, func() { g.Table.Decide(r) }); n != 0 {
			t.Errorf("%q: %v allocations", text, n)
		}
	}
	f("PUT acme.example/tools/x?e=f%20g\nx-a: b\ncookie: c=d", "tools", routing.ViaDeck)
	f("GET acme.example/\nx-user-id: 7", "header", routing.ViaPin)
	f("GET acme.example/\nx-user-id: 150", "header", routing.ViaRange)
	f("GET a.b.acme.example/\nx-user-id: someone", "header", routing.ViaSplit)
	f("GET acme.example/\ncookie: a=b; uid=7", "cookie", routing.ViaSplit)
	f("GET acme.example/\ncookie: a=b\ncookie: c=d\ncookie: uid=7", "cookie", routing.ViaSplit)
	f("GET acme.example/?a=b&u=%37", "query", routing.ViaSplit)
	f("GET acme.example/\nauthorization: "+token, "claim", routing.ViaSplit)
	f("GET acme.example/x/../users/%37", "path", routing.ViaSplit)
	f("GET acme.example/host", "host", routing.ViaSplit)
	f("GET acme.example/other\n@2001:db8::7", "ip", routing.ViaSplit)
	f("GET nobody.example/", "", routing.ViaNone)
	f("GET acme.example/a%2fb", "", routing.ViaNone)
}

func BenchmarkDecide(b *testing.B) {
	t := &testing.T{}
	g := routingtest.NewGrid(t, routingtest.TwoDecks, everyKeySource, routingtest.PinYAML("7", "west"))
	run := func(name, text string) {
		r := onThePath(t, text)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				g.Table.Decide(r)
			}
		})
	}
	run("pin", "GET acme.example/\nx-user-id: 7")
	run("range", "GET acme.example/\nx-user-id: 150")
	run("split", "GET acme.example/\nx-user-id: someone")
	run("wildcard", "GET a.b.acme.example/\nx-user-id: someone")
	run("unknown", "GET nobody.example/")
}

const cachedPins = `
kind: Tenant
name: acme
hosts: [acme.example]
rules: [{name: users, key: {header: x-user-id}, pins: cached, split: {d1: 1}}]
`

// pinnedAmong returns a table of that many decks, and a request whose pin, read on demand, names the
// last of them.
func pinnedAmong(t testing.TB, decks int) (*routing.Table, *routing.Request, routing.Pinned) {
	t.Helper()
	last := fmt.Sprintf("d%d", decks)
	g := routingtest.NewGrid(t.(*testing.T))
	g.Compiler.CachePins()
	var documents []string
	for n := range decks {
		documents = append(documents, fmt.Sprintf("kind: Deck\nname: d%d\ndomain: d%d.deck.example\nattach: mesh\n", n+1, n+1))
	}
	g.Put(append(documents, cachedPins, routingtest.PinYAML("7", last))...)
	r := onThePath(t, "GET acme.example/\nx-user-id: 7")
	if d := g.Table.Decide(r); !d.PinWanted {
		t.Fatalf("no pin is wanted: %+v", d)
	}
	pin := routing.Pinned{State: routing.PinFound, Deck: last, Sum: routing.PinSum("pins/acme/7", g.Stored["pins/acme/7"].Value)}
	if d := g.Table.DecidePinned(r, pin); d.Deck == nil || d.Deck.Name != last {
		t.Fatalf("the decision is %+v", d)
	}
	return g.Table, r, pin
}

// TestAPinThatWasReadOnDemandAllocatesNothing holds that a deck is found by its name in an index.
func TestAPinThatWasReadOnDemandAllocatesNothing(t *testing.T) {
	table, r, pin := pinnedAmong(t, 2000)
	if n := testing.AllocsPerRun(200, func() { table.DecidePinned(r, pin) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if parts := table.Parts(); len(parts.DeckIDs) != len(parts.Decks) {
		t.Errorf("the index has %d names of %d decks", len(parts.DeckIDs), len(parts.Decks))
	} else {
		for id, deck := range parts.Decks {
			if parts.DeckIDs[deck.Name] != int32(id) {
				t.Errorf("%s has ID %d, and %d in the index", deck.Name, id, parts.DeckIDs[deck.Name])
			}
		}
	}
	pin.Deck = "nowhere"
	if d := table.DecidePinned(r, pin); d.Fault != routing.FaultDeckDown {
		t.Errorf("a deck that nobody named: %+v", d)
	}
}

// BenchmarkDecidePinned decides by a pin that was read on demand.
func BenchmarkDecidePinned(b *testing.B) {
	for _, decks := range []int{2, 2000} {
		table, r, pin := pinnedAmong(&testing.T{}, decks)
		b.Run(fmt.Sprintf("decks=%d", decks), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.DecidePinned(r, pin)
			}
		})
	}
}
