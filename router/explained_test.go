package router

import (
	"encoding/json"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// TestExplainHeedsEachOfItsParameters asks about requests that differ in one thing each,
// which each decides.
func TestExplainHeedsEachOfItsParameters(t *testing.T) {
	g := newGrid(t, nil)
	admin := adminOf(g, nil)
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Rules = []routing.Rule{
		{Name: "posts", Match: &routing.Match{Methods: []string{"POST"}}, Deck: "d1"},
		{Name: "canary", Match: &routing.Match{Headers: map[string]string{"x-release": "canary", "x-region": "east"}}, Deck: "d2"},
		{Name: "ip", Key: &routing.KeySource{ClientIP: true}, Split: map[string]int{"d3": 1}, Missing: "d4"},
	}
	const nowhere = "127.0.0.1:1"
	g.put(deckAt("d1", nowhere), deckAt("d2", nowhere), deckAt("d3", nowhere), deckAt("d4", nowhere), tenant)
	f := func(query, deck, rules string) {
		t.Helper()
		status, body := fetch(t, "GET", admin.URL+"/explain?url=http://acme.test/&"+query)
		var got routing.Explanation
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != 200 {
			t.Fatalf("%s: %d %q %v", query, status, body, err)
		}
		var considered []string
		for _, rule := range got.Rules {
			considered = append(considered, rule.Name+" "+rule.Result)
			if rule.Why == "" {
				t.Errorf("%s: the rule %s does not say why", query, rule.Name)
			}
		}
		if got.Deck != deck || strings.Join(considered, ", ") != rules {
			t.Errorf("%s: %s after %q, want %s after %q", query, got.Deck, considered, deck, rules)
		}
	}
	f("", "d4", "posts passed over, canary passed over, ip decided")
	f("method=POST", "d1", "posts decided")
	f("header=X-Release:canary&header=X-Region:east", "d2", "posts passed over, canary decided")
	f("header=X-Release:canary", "d4", "posts passed over, canary passed over, ip decided")
	f("clientIP=192.0.2.7", "d3", "posts passed over, canary passed over, ip decided")
}

// TestTheDecksPageCountsWhatIsInFlight looks at /decks while a request is on a deck.
func TestTheDecksPageCountsWhatIsInFlight(t *testing.T) {
	g := newGrid(t, nil)
	admin := adminOf(g, nil)
	held := newRawDeck(t, func(c *rawClient) { _ = c.head(); _ = c.head() })
	standby := deckAt("d2", "127.0.0.1:1")
	standby.State = routing.DeckDraining
	g.put(standby, deckAt("d1", held.addr), tenantOn("acme", "d1", "acme.test"))
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "the request is on the deck", func() bool { return held.connections() == 1 && g.router.counters.inFlight() == 1 })
	_, body := fetch(t, "GET", admin.URL+"/decks")
	var decks []upstream.DeckStatus
	if err := json.Unmarshal([]byte(body), &decks); err != nil || len(decks) != 2 {
		t.Fatalf("/decks: %q %v", body, err)
	}
	for _, deck := range decks {
		want, state := int64(0), routing.DeckDraining
		if deck.Name == "d1" {
			want, state = 1, routing.DeckActive
		}
		if deck.InFlight != want || deck.State != state || len(deck.Addresses) != 1 || deck.Addresses[0].InFlight != want || deck.Addresses[0].Health != "in use" {
			t.Errorf("%s: %+v", deck.Name, deck)
		}
	}
}
