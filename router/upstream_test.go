package router

import (
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

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

func TestTheConnectionPutBackLastIsUsedFirst(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	e := g.router.published.Load().decks[0].endpoints[0]
	var made []*deckConn
	for range 3 {
		c, err := e.dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		made = append(made, c)
	}
	for _, c := range made {
		c.release(0)
	}
	for i := range made {
		c := e.reuse(0, time.Minute)
		if c != made[len(made)-1-i] {
			t.Fatalf("connection %d is another one", i)
		}
		defer c.close(closedIdle)
	}
	made[0].release(0)
	if e.reuse(1, time.Minute) != made[0] {
		t.Fatal("what is idle in one shard is not found from another")
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
				eventually(t, "the deck has spoken", func() bool { return spoke(g) })
			}
		}
		if n := g.router.publisher.live["d1"].counters.closed[closedUnsolicited].Load(); n < 2 {
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
		e.pool.filter(func(c *deckConn) bool {
			if c.LookAt() == wire.Quiet {
				quietOnes++
			}
			return true
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
		eventually(t, "the deck has closed", func() bool { return spoke(g) })
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
	if c := e.reuse(0, time.Hour); c != nil {
		t.Fatal("a connection was used after its time")
	}
}

func TestARefusingAddressIsEjectedAndComesBack(t *testing.T) {
	g := newGrid(t, nil)
	dead := refusedAddress(t)
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Retry = &routing.Retry{Attempts: 1}
	g.put(deckAt("d1", answering(t, fine).addr, dead), tenant)
	failures, begun := 0, time.Now()
	for range 60 {
		if r := g.ask(get("/")); r.StatusCode != http.StatusOK {
			wantStatus(t, r, 502, "connect_failed")
			failures++
		}
	}
	if trials := int(time.Since(begun) / backoffLow); failures < ejectAfter || failures > ejectAfter+trials {
		t.Fatalf("%d requests failed, want %d, and %d trials at most", failures, ejectAfter, trials)
	}
	if g.logs.FilterMessageSnippet("taken out of use").Len() != 1 {
		t.Fatalf("logs: %v", g.logs.All())
	}
	view := g.router.published.Load().decks[0]
	i := slices.IndexFunc(view.endpoints, func(e *endpoint) bool { return e.text == dead })
	e := view.endpoints[i]
	// It is tried again, by one request, when its time is over; in the meantime it has come up.
	revive(t, dead)
	e.ejectedUntil.Store(g.router.clock.Now())
	for range 20 {
		wantStatus(t, g.ask(get("/")), 200, "")
	}
	if e.ejected() || g.logs.FilterMessageSnippet("in use again").Len() != 1 {
		t.Fatalf("ejected=%v, logs %v", e.ejected(), g.logs.All())
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
	g := newGrid(t, nil)
	silent := newRawDeck(t, func(c *rawClient) { _, _ = io.ReadAll(c.in) })
	deck := deckAt("d1", answering(t, fine).addr, silent.addr)
	deck.Timeouts.FirstByte = routing.Duration(20 * time.Millisecond)
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	timeouts, begun := 0, time.Now()
	for range 40 {
		if g.ask(get("/")).fault() == "deck_timeout" {
			timeouts++
		}
	}
	if trials := int(time.Since(begun) / backoffLow); timeouts < ejectAfter || timeouts > ejectAfter+trials {
		t.Fatalf("%d requests timed out, want %d, and %d trials at most", timeouts, ejectAfter, trials)
	}
}

func TestWhenAllAddressesAreEjectedAllAreUsed(t *testing.T) {
	g := newGrid(t, nil)
	g.one(refusedAddress(t), refusedAddress(t))
	for range 20 {
		wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	}
}

func TestAnEjectedAddressIsTriedByOneRequestAndBacksOff(t *testing.T) {
	g := newGrid(t, nil)
	e := newEndpoint(g.router, &liveDeck{name: "d"}, netip.MustParseAddrPort("127.0.0.1:1"))
	g.router.clock.Stop()
	for range ejectAfter - 1 {
		e.failed("x")
	}
	if e.ejected() {
		t.Fatal("ejected too soon")
	}
	e.failed("x")
	backoff := backoffLow
	for range 8 {
		g.router.clock.Advance(backoff - 1)
		if !e.ejected() || e.try() {
			t.Fatalf("in use before %v are over", backoff)
		}
		g.router.clock.Advance(1)
		if !e.try() {
			t.Fatalf("not tried after %v", backoff)
		}
		if e.try() {
			t.Fatal("tried twice at once")
		}
		e.failed("x")
		e.failed("x") // another request that was under way
		backoff = min(2*backoff, backoffHigh)
	}
	if backoff != backoffHigh {
		t.Fatalf("backs off for %v at most", backoff)
	}
	e.succeeded()
	if e.ejected() || e.failures.Load() != 0 {
		t.Fatal("a success does not bring it back")
	}
}

func TestTheLessLoadedOfTwoAddressesIsPicked(t *testing.T) {
	g := newGrid(t, nil)
	live := &liveDeck{name: "d"}
	busy := newEndpoint(g.router, live, netip.MustParseAddrPort("127.0.0.1:1"))
	free := newEndpoint(g.router, live, netip.MustParseAddrPort("127.0.0.1:2"))
	busy.inFlight.Store(5)
	for range 50 {
		if pick([]*endpoint{busy, free}) != free {
			t.Fatal("the busier one was picked")
		}
	}
	if pick(nil) != nil || pick([]*endpoint{busy}) != busy {
		t.Fatal("nothing, or the only one, is not what was picked")
	}
	free.ejectedUntil.Store(1 << 62)
	for range 50 {
		if pick([]*endpoint{busy, free}) != busy {
			t.Fatal("an ejected one was picked")
		}
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
	eventually(t, "a request is under way", entered.Load)
	wantStatus(t, g.ask(get("/")), 200, "") // leaves an idle connection
	e := g.router.published.Load().decks[0].endpoints[0]
	fresh := answering(t, fine)
	g.one(fresh.addr)
	if idle, open := e.pool.idle.Load(), e.connections.Load(); idle != 0 || open != 1 {
		t.Fatalf("%d idle, %d open right after the change", idle, open)
	}
	wantStatus(t, g.ask(get("/")), 200, "")
	if fresh.connections() != 1 {
		t.Fatal("the new address got no request at once")
	}
	close(block)
	wantStatus(t, busy.reply("GET"), 200, "")
	eventually(t, "the old address's last connection closes", func() bool { return e.connections.Load() == 0 })
	eventually(t, "it is forgotten", func() bool {
		g.router.publisher.mu.Lock()
		defer g.router.publisher.mu.Unlock()
		return len(g.router.publisher.retired) == 0
	})
}

func TestConnectionsAndCountersOutliveATable(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, fine)
	g.one(deck.addr)
	wantStatus(t, g.ask(get("/")), 200, "")
	live := g.router.published.Load().decks[0].live
	again := deckAt("d1", deck.addr)
	again.Zone = "elsewhere"
	g.put(again)
	wantStatus(t, g.ask(get("/")), 200, "")
	if g.router.published.Load().decks[0].live != live || deck.connections() != 1 {
		t.Fatalf("%d connections", deck.connections())
	}
	g.drop("decks/d1", "tenants/acme")
	if len(g.router.publisher.live) != 0 {
		t.Fatal("a deck that is gone is kept")
	}
}

func TestThePoolIsBounded(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	e := g.router.published.Load().decks[0].endpoints[0]
	e.pool.idle.Store(maxIdle)
	wantStatus(t, g.ask(get("/")), 200, "")
	eventually(t, "the surplus connection closes", func() bool { return e.connections.Load() == 0 })
	e.pool.idle.Store(0)
}

// Without probes an answer whose deck lost its power would be waited for without end.
func TestADeckThatVanishesIsNoticed(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	live := g.router.publisher.live["d1"]
	for _, e := range live.endpoints {
		c, err := e.dial(patience)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close(closedSurplus)
		probed := 0
		err = c.Raw.Control(func(fd uintptr) {
			probed, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
		})
		if err != nil || probed == 0 {
			t.Fatalf("the connection is not probed: %v", err)
		}
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
		if fault := x.connect(); fault != noFault {
			t.Fatal(fault)
		}
		x.client.left.Store(left)
		x.upload.whole = true
		x.settle(&bodyFlow{over: true})
		if idle := x.endpoint.pool.idle.Load(); (idle == 1) == left {
			t.Errorf("client left: %v, idle connections: %d", left, idle)
		}
		x.endpoint.pool.closeAll(closedIdle)
	}
}
