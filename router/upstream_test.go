package router

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// ejectAfter is how many failures in a row take an address out of use.
const ejectAfter = 3

func TestAConnectionToADeckIsUsedAgain(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, fine)
	g.one(deck.addr)
	for range 5 { // each from another client
		wantStatus(t, g.ask(get("/")), 200, "")
	}
	if n := deck.connections(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

func TestConnectionsAreNeverSharedBetweenDecks(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, fine)
	g.put(deckAt("d1", deck.addr), deckAt("d2", deck.addr), tenantOn("acme", "d1", "acme.test"), tenantOn("globex", "d2", "globex.test"))
	for range 2 {
		wantStatus(t, g.ask(get("/")), 200, "")
		wantStatus(t, g.ask("GET / HTTP/1.1\r\nHost: globex.test\r\n\r\n"), 200, "")
	}
	if n := deck.connections(); n != 2 {
		t.Fatalf("%d connections, want one for each deck", n)
	}
}

// TestUnsolicitedBytesAreNobodysAnswer has a deck send a second answer that nobody asked
// for: at once, behind the first, and later, on the idle connection.
func TestUnsolicitedBytesAreNobodysAnswer(t *testing.T) {
	const evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
	f := func(serve func(c *rawClient)) {
		t.Helper()
		g := newGrid(t, nil)
		g.one(newRawDeck(t, func(c *rawClient) {
			if c.head() != "" {
				serve(c)
				_, _ = io.ReadAll(c.in)
			}
		}).addr)
		for range 3 {
			if r := g.ask(get("/")); r.body != "ok" {
				t.Fatalf("got %d %q", r.StatusCode, r.body)
			}
			if serve != nil {
				testkit.Eventually(t, "the deck has spoken", func() bool { return spoke(g) })
			}
		}
		if n := g.counts().Closed[upstream.ClosedUnsolicited]; n < 2 {
			t.Fatalf("%d connections were closed for it", n)
		}
	}
	f(func(c *rawClient) { _, _ = io.WriteString(c.Conn, fine+evil) })
	f(func(c *rawClient) {
		_, _ = io.WriteString(c.Conn, fine)
		time.Sleep(10 * time.Millisecond) // the answer is over by then
		_, _ = io.WriteString(c.Conn, evil)
	})
	f(func(c *rawClient) { _, _ = io.WriteString(c.Conn, "HTTP/1.1 204 No Content\r\n\r\n"[:0]+fine+"\r\n") })
}

// spoke says whether no idle connection is left that has nothing to read.
func spoke(g *grid) bool {
	for _, e := range g.router.published.Load().decks[0].endpoints {
		quietOnes := 0
		e.EachIdle(func(c *upstream.Conn) {
			if c.LookAt() == wire.Quiet {
				quietOnes++
			}
		})
		if quietOnes > 0 {
			return false
		}
	}
	return true
}

func TestAConnectionThatTheDeckClosedIsNotUsed(t *testing.T) {
	g := newGrid(t, nil)
	deck := newRawDeck(t, func(c *rawClient) {
		_ = c.head()
		_, _ = io.WriteString(c.Conn, fine) // and closes, without a word
	})
	g.one(deck.addr)
	for range 3 {
		wantStatus(t, g.ask(get("/")), 200, "")
		testkit.Eventually(t, "the deck has closed", func() bool { return spoke(g) })
	}
	if n := deck.connections(); n != 3 {
		t.Fatalf("%d connections", n)
	}
}

func TestConnectionsEndWhereTheAnswerSaysSo(t *testing.T) {
	f := func(answer string) {
		t.Helper()
		g := newGrid(t, nil)
		deck := answering(t, answer) // it says so, but does not close
		g.one(deck.addr)
		for range 2 {
			wantStatus(t, g.ask(get("/")), 200, "")
		}
		if n := deck.connections(); n != 2 {
			t.Fatalf("%q: %d connections", answer, n)
		}
	}
	f("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 2\r\n\r\nok")
	f("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

func TestAnHTTP10DeckMayKeepItsConnection(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
	g.one(deck.addr)
	for range 2 {
		wantStatus(t, g.ask(get("/")), 200, "")
	}
	if n := deck.connections(); n != 1 {
		t.Fatalf("%d connections", n)
	}
}

func TestIdleConnectionsEndAfterTheDecksIdleTimeout(t *testing.T) {
	g := newGrid(t, nil)
	raw := answering(t, fine)
	deck := deckAt("d1", raw.addr)
	deck.Timeouts.Idle = routing.Duration(time.Hour)
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	wantStatus(t, g.ask(get("/")), 200, "")
	e := g.router.published.Load().decks[0].endpoints[0]
	g.router.clock.Stop()
	g.router.clock.Advance(time.Hour - time.Minute)
	g.router.publisher.sweep(g.router.clock.Now())
	if openConnections(g) != 1 {
		t.Fatal("a connection was closed before its time")
	}
	g.router.clock.Advance(2 * time.Minute)
	g.router.publisher.sweep(g.router.clock.Now())
	if openConnections(g) != 0 {
		t.Fatal("a connection was kept beyond its time")
	}
	wantStatus(t, g.ask(get("/")), 200, "")
	// One that is too old is not used even where nobody has swept it yet.
	g.router.clock.Advance(2 * time.Hour)
	if c := e.Reuse(0, time.Hour); c != nil {
		t.Fatal("a connection was used after its time")
	}
}

func TestARefusingAddressIsEjectedAndComesBack(t *testing.T) {
	g := newGrid(t, nil)
	dead := testkit.FreeAddr(t)
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Retry = &routing.Retry{Attempts: 1}
	g.put(deckAt("d1", answering(t, fine).addr, dead), tenant)
	g.router.clock.Stop() // so that it is not tried again meanwhile
	failures := 0
	for range 60 {
		if r := g.ask(get("/")); r.StatusCode != http.StatusOK {
			wantStatus(t, r, 502, "connect_failed")
			failures++
		}
		g.over() // else its address looks busy, and the next one goes to the other
	}
	if failures != ejectAfter {
		t.Fatalf("%d requests failed, want %d", failures, ejectAfter)
	}
	if g.logs.FilterMessageSnippet("taken out of use").Len() != 1 {
		t.Fatalf("logs: %v", g.logs.All())
	}
	view := g.router.published.Load().decks[0]
	i := slices.IndexFunc(view.endpoints, func(e *upstream.Endpoint) bool { return e.Address() == dead })
	e := view.endpoints[i]
	// It is tried again, by one request, when its time is over; in the meantime it has come up.
	revive(t, dead)
	g.router.clock.Advance(time.Minute) // longer than any back-off
	for range 20 {
		wantStatus(t, g.ask(get("/")), 200, "")
	}
	if e.Status().Health != "in use" || g.logs.FilterMessageSnippet("in use again").Len() != 1 {
		t.Fatalf("%+v, logs %v", e.Status(), g.logs.All())
	}
}

// revive serves at an address where nobody listened.
func revive(t *testing.T, addr string) {
	t.Helper()
	deck := &rawDeck{addr: addr}
	var err error
	if deck.ln, err = listenAt(addr); err != nil {
		t.Skipf("somebody else took %s: %v", addr, err)
	}
	deck.wg.Go(func() {
		for {
			conn, err := deck.ln.Accept()
			if err != nil {
				return
			}
			deck.mu.Lock()
			deck.all = append(deck.all, conn)
			deck.mu.Unlock()
			deck.wg.Go(func() {
				c := wireOn(t, conn)
				for c.head() != "" {
					_, _ = io.WriteString(c.Conn, fine)
				}
			})
		}
	})
	t.Cleanup(deck.close)
}

func TestASilentAddressIsEjected(t *testing.T) {
	const firstByte = 20 * time.Millisecond
	g := newGrid(t, nil)
	g.router.clock.Stop()
	silent := newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			g.router.clock.Advance(firstByte + wire.WatchEvery)
		}
	})
	deck := deckAt("d1", answering(t, fine).addr, silent.addr)
	deck.Timeouts.FirstByte = routing.Duration(firstByte)
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	timeouts := 0
	for range 40 {
		if g.ask(get("/")).fault() == "deck_timeout" {
			timeouts++
		}
		g.over() // else its address looks busy, and the next one goes to the other
	}
	if timeouts != ejectAfter { // all before the clock had come to when it is tried again
		t.Fatalf("%d requests timed out, want %d", timeouts, ejectAfter)
	}
}

func TestWhenAllAddressesAreEjectedAllAreUsed(t *testing.T) {
	g := newGrid(t, nil)
	g.one(testkit.FreeAddr(t), testkit.FreeAddr(t))
	for range 20 {
		wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	}
}

func TestARemovedAddressDrains(t *testing.T) {
	g := newGrid(t, nil)
	block := make(chan struct{})
	var entered atomic.Bool
	old := newRawDeck(t, func(c *rawClient) {
		for head := c.head(); head != ""; head = c.head() {
			if strings.Contains(head, "/wait") {
				entered.Store(true)
				<-block
			}
			_, _ = io.WriteString(c.Conn, fine)
		}
	})
	g.one(old.addr)
	busy := g.dial()
	busy.send(get("/wait"))
	testkit.Eventually(t, "a request is under way", entered.Load)
	wantStatus(t, g.ask(get("/")), 200, "") // leaves an idle connection
	e := g.router.published.Load().decks[0].endpoints[0]
	fresh := answering(t, fine)
	g.one(fresh.addr)
	if idle, open := e.Status().Idle, e.Status().Connections; idle != 0 || open != 1 {
		t.Fatalf("%d idle, %d open right after the change", idle, open)
	}
	wantStatus(t, g.ask(get("/")), 200, "")
	if fresh.connections() != 1 {
		t.Fatal("the new address got no request at once")
	}
	close(block)
	wantStatus(t, busy.reply("GET"), 200, "")
	testkit.Eventually(t, "the old address's last connection closes", func() bool { return e.Status().Connections == 0 })
}

func TestConnectionsAndCountersOutliveATable(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, fine)
	g.one(deck.addr)
	wantStatus(t, g.ask(get("/")), 200, "")
	live := g.live()
	again := deckAt("d1", deck.addr)
	again.Zone = "elsewhere"
	g.put(again)
	wantStatus(t, g.ask(get("/")), 200, "")
	if g.live() != live || deck.connections() != 1 {
		t.Fatalf("%d connections", deck.connections())
	}
	g.drop("decks/d1", "tenants/acme")
	g.put(again, tenantOn("acme", "d1", "acme.test"))
	if g.live() == live {
		t.Fatal("a deck that was gone is the one it was")
	}
}

// TestAConnectionWhoseClientLeftIsNotUsedAgain has a client leave while its answer is already
// there: the watch may have ended the reading of the deck's connection by then.
func TestAConnectionWhoseClientLeftIsNotUsedAgain(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	for _, left := range []bool{false, true} {
		x := newExchange(g.router)
		x.client = &client{router: g.router, lane: &g.router.counters.lanes[0]}
		x.lane, x.started = x.client.lane, time.Now()
		x.now = g.router.published.Load()
		x.view = x.now.decks[0]
		x.endpoint = x.view.endpoints[0]
		x.decision.Deck = x.view.compiled
		if fault := x.connect(); fault != faults.None {
			t.Fatal(fault)
		}
		x.client.departed.Store(left)
		x.upload.whole = true
		x.endAnswer(&bodyFlow{})
		if idle := x.endpoint.Status().Idle; (idle == 1) == left {
			t.Errorf("client left: %v, idle connections: %d", left, idle)
		}
		x.endpoint.Sweep(g.router.clock.Now(), -time.Second) // closes all
	}
}
