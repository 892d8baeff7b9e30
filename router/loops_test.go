package router

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/metrics"
	"gridrouter.io/routing"
)

// handled counts the requests that routers began, whatever became of them.
func handled(grids []*grid) (total uint64) {
	for _, g := range grids {
		var took metrics.Histogram
		for i := range g.router.counters.lanes {
			took.Add(&g.router.counters.lanes[i].Latencies)
		}
		total += took.Total()
	}
	return total
}

// TestADeckThatLeadsBackToRoutersCostsOneRequestFewPlaces leads decks back to the router itself,
// and around over others, with and without trust between them. One request may pass maxHops
// routers, and is refused by the next; nothing stays behind.
func TestADeckThatLeadsBackToRoutersCostsOneRequestFewPlaces(t *testing.T) {
	for _, routers := range []int{1, 2, 3} {
		for _, trusted := range [][]netip.Prefix{nil, prefixes("127.0.0.0/8")} {
			for _, host := range []routing.HostHeader{routing.HostHeaderOriginal, routing.HostHeaderDeck} {
				name := fmt.Sprintf("%d routers, trusted %v, host %s", routers, trusted, host)
				grids := make([]*grid, routers)
				for i := range grids {
					grids[i] = newGrid(t, func(cfg *Config) { cfg.ID, cfg.TrustedProxies = fmt.Sprintf("r%d", i), trusted })
				}
				for i, g := range grids {
					deck := deckAt("d1", grids[(i+1)%routers].addr)
					deck.HostHeader = host
					g.put(deck, tenantOn("acme", "d1", "acme.test", "d1.deck.test"))
				}
				r := grids[0].ask(get("/", "X-Grid-Hops: 0", "X-Grid-Hops: nonsense"))
				if r.StatusCode != http.StatusLoopDetected { // the fault's name is that router's word, and passes no second one
					t.Errorf("%s: got %d %q", name, r.StatusCode, r.body)
				}
				testkit.Eventually(t, "nothing is in flight", func() bool {
					total := int64(0)
					for _, g := range grids {
						total += g.router.counters.inFlight()
					}
					return total == 0
				})
				if n := handled(grids); n != maxHops+1 {
					t.Errorf("%s: the request was handled %d times, want %d", name, n, maxHops+1)
				}
			}
		}
	}
}

// TestWhatAClientSaysOfHopsHurtsItsOwnRequestAtMost tries what a client may make up.
func TestWhatAClientSaysOfHopsHurtsItsOwnRequestAtMost(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	f := func(status int, hops string, fields ...string) {
		t.Helper()
		r := g.ask(get("/", fields...))
		if status == http.StatusLoopDetected {
			wantStatus(t, r, status, "loop_detected")
			return
		}
		wantStatus(t, r, status, "")
		head := <-heads
		if strings.Count(strings.ToLower(head), "hops") != 1 || !strings.Contains(head, "\r\nX-Grid-Hops: "+hops+"\r\n") {
			t.Errorf("%q: the deck got %q", fields, head)
		}
	}
	f(200, "1")
	f(200, "1", "X-Grid-Hops: 0")
	f(200, "4", "X-Grid-Hops: 3")
	f(200, "4", "x-grid-hops: 3", "X-Grid-Hops: 1") // the greatest counts
	f(508, "", "X-Grid-Hops: 4")
	f(508, "", "X-GRID-HOPS:999999999999999999", "X-Grid-Hops: 0")
	f(200, "1", "X-Grid-Hops: -9")
	f(200, "1", "X-Grid-Hops:")
	f(200, "1", "X-Grid-Hops: 9999999999999999999999999")
	f(200, "1", "X-Grid-Hops: 4, 4")
	f(200, "1", "X_Grid_Hops: 9") // a shadow is dropped
	f(200, "1", "Connection: X-Grid-Hops", "X-Grid-Hops: 0")
	f(508, "", "Connection: X-Grid-Hops", "X-Grid-Hops: 4")
	f(200, "1", "X-Grid-Router: router-under-test") // the name alone says nothing
}
