package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// from connects from an address of this machine's loopback network.
func (g *grid) from(address string) *rawClient {
	g.t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	conn, err := dialer.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return wireOn(g.t, conn)
}

// accepted waits until so many connections were accepted.
func (g *grid) accepted(total int) {
	g.t.Helper()
	testkit.Eventually(g.t, fmt.Sprint(total, " connections are accepted"), func() bool { _, n := g.router.clients.count(); return n >= uint64(total) })
}

// TestWhoSaysNothingKeepsNobodyOut fills all places in each way in which a client may say nothing,
// from many addresses and from one; a client that asks is served all the same.
func TestWhoSaysNothingKeepsNobodyOut(t *testing.T) {
	const places = 6
	ways := map[string]func(t *testing.T, w *rawClient){
		"nothing at all":   func(*testing.T, *rawClient) {},
		"a part of a head": func(_ *testing.T, w *rawClient) { w.send("GET / HTTP/1.1\r\nHost: ac") },
		"an empty line":    func(_ *testing.T, w *rawClient) { w.send("\r\n") },
		"nothing more, when served": func(t *testing.T, w *rawClient) {
			w.send(get("/"))
			wantStatus(t, w.reply("GET"), 200, "")
		},
	}
	for way, doIt := range ways {
		for _, addresses := range []int{1, places * 2} {
			g := newGrid(t, func(c *Config) { c.MaxClients = places })
			g.one(answering(t, fine).addr)
			g.router.clock.Stop()
			for i := range places * 2 {
				w := g.from(fmt.Sprintf("127.0.1.%d", 1+i%addresses))
				doIt(t, w)
				g.accepted(i + 1)
				g.router.clock.Advance(evictAfter)
			}
			for i := range 3 {
				w := g.from("127.0.0.2")
				w.send(get("/"))
				if r := w.reply("GET"); r.StatusCode != http.StatusOK {
					t.Errorf("%s, %d addresses: got %d", way, addresses, r.StatusCode)
				}
				g.accepted(places*2 + i + 1)
				g.router.clock.Advance(evictAfter)
			}
			testkit.Eventually(t, "no more are open than may be", func() bool { open, _ := g.router.clients.count(); return open <= places })
		}
	}
}

// TestTheLongestWaitingMakesRoomAndNoRequestIsEverCut has one connection of each state, and takes
// places until all but requests under way are gone.
func TestTheLongestWaitingMakesRoomAndNoRequestIsEverCut(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.MaxClients, c.MaxClientsPerAddress = 3, 3 })
	goOn := make(chan struct{})
	finish := sync.OnceFunc(func() { close(goOn) })
	defer finish()
	g.one(newRawDeck(t, func(c *rawClient) {
		for head := c.head(); head != ""; head = c.head() {
			if strings.Contains(head, "/busy") {
				<-goOn
			}
			_, _ = io.WriteString(c.Conn, fine)
		}
	}).addr)
	g.router.clock.Stop()
	busy := g.dial()
	busy.send(get("/busy"))
	testkit.Eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	var waiting []*rawClient
	for i := range 2 {
		g.router.clock.Advance(time.Second)
		w := g.dial()
		w.send(get("/"))
		wantStatus(t, w.reply("GET"), 200, "")
		g.accepted(2 + i)
		g.waiting(1 + i)
		waiting = append(waiting, w)
	}
	g.router.clock.Advance(time.Second)
	waiting[0].send(get("/")) // has the other one wait longer
	wantStatus(t, waiting[0].reply("GET"), 200, "")
	g.waiting(2)
	g.router.clock.Advance(time.Second)
	third := g.dial()
	waiting[1].expectEnd()
	g.accepted(4)
	third.send(get("/busy"))
	testkit.Eventually(t, "two requests are under way", func() bool { return g.router.counters.inFlight() == 2 })
	fourth := g.dial()
	waiting[0].expectEnd()
	fourth.send(get("/busy"))
	testkit.Eventually(t, "three requests are under way", func() bool { return g.router.counters.inFlight() == 3 })
	if n := g.router.clients.evicted.places.Load() + g.router.clients.evicted.address.Load(); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
	late := g.from("127.0.0.9") // waits in the queue: nobody else waits
	late.send(get("/"))
	testkit.Eventually(t, "the listener pauses", func() bool { return g.router.acceptPauses.Load() > 2 })
	finish()
	for _, w := range []*rawClient{busy, third, fourth} {
		wantStatus(t, w.reply("GET"), 200, "")
	}
	g.router.clock.Advance(evictAfter)
	wantStatus(t, late.reply("GET"), 200, "")
}

// TestOneAddressHasItsShareAndTrustedPeersHaveAll counts places by address, also by the one that
// a PROXY header names.
func TestOneAddressHasItsShareAndTrustedPeersHaveAll(t *testing.T) {
	const places, share = 9, 3
	f := func(header func(i int) string, adjust func(*Config), open int) {
		t.Helper()
		g := newGrid(t, func(c *Config) {
			c.MaxClients, c.MaxClientsPerAddress = places, share
			adjust(c)
		})
		goOn := make(chan struct{})
		g.one(newRawDeck(t, func(c *rawClient) {
			for c.head() != "" {
				<-goOn
				_, _ = io.WriteString(c.Conn, fine)
			}
		}).addr)
		var all []*rawClient
		for i := range places {
			w := g.dial()
			w.send(header(i) + get("/")) // busy: it cannot make room
			g.accepted(i + 1)
			all = append(all, w)
			if i < open {
				testkit.Eventually(t, "its request is under way", func() bool { return g.router.counters.inFlight() == int64(i+1) })
			}
		}
		testkit.Eventually(t, "the others are refused", func() bool { return g.router.refused.total[refusedAddressShare].Load() == uint64(places-open) })
		if n := g.router.counters.inFlight(); n != int64(open) {
			t.Errorf("%d requests are under way, want %d", n, open)
		}
		close(goOn)
		for i, w := range all[:open] {
			if r, err := w.tryReply("GET"); err != nil || r.StatusCode != http.StatusOK {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
	none := func(int) string { return "" }
	f(none, func(*Config) {}, share)
	f(none, func(c *Config) { c.TrustedProxies = prefixes("127.0.0.0/8") }, places)
	proxied := func(c *Config) { c.TrustedProxies, c.ProxyProtocol = prefixes("127.0.0.0/8"), true }
	f(func(int) string { return "PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\n" }, proxied, share)
	f(func(i int) string { return fmt.Sprintf("PROXY TCP4 203.0.113.%d 192.0.2.9 1234 80\r\n", i) }, proxied, places)
	f(func(i int) string { return fmt.Sprintf("PROXY TCP6 2001:db8::%d 2001:db8::9 1234 80\r\n", i) }, proxied, share) // one network
	f(func(i int) string { return fmt.Sprintf("PROXY TCP6 2001:db8:0:%d::1 2001:db8::9 1234 80\r\n", i) }, proxied, places)
	f(func(int) string { return "PROXY UNKNOWN\r\n" }, proxied, places) // the trusted peer itself
}

// TestAShareHoldsWhateverItsSize opens idle connections of one address, and counts those that stay
// and those that made room.
func TestAShareHoldsWhateverItsSize(t *testing.T) {
	for share := 1; share <= 4; share++ {
		g := newGrid(t, func(c *Config) { c.MaxClients, c.MaxClientsPerAddress = 100, share })
		g.one(answering(t, fine).addr)
		g.router.clock.Stop()
		for i := range 20 {
			g.from("127.0.7.7")
			g.accepted(i + 1)
			g.router.clock.Advance(evictAfter)
		}
		other := g.from("127.0.7.8")
		g.accepted(21)
		testkit.Eventually(t, "the others are gone", func() bool { open, _ := g.router.clients.count(); return open == share+1 })
		if s := &g.router.clients.evicted; s.address.Load() != uint64(20-share) || s.places.Load() != 0 {
			t.Errorf("share %d: %d made room for their address and %d for others, want %d and 0", share, s.address.Load(), s.places.Load(), 20-share)
		}
		other.send(get("/"))
		wantStatus(t, other.reply("GET"), 200, "")
	}
}

// TestWhoIsRefusedCostsNobodyAPlace fills the places with idle clients and one busy address.
func TestWhoIsRefusedCostsNobodyAPlace(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.MaxClients, c.MaxClientsPerAddress = 4, 2 })
	goOn := make(chan struct{})
	defer close(goOn)
	g.one(newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			<-goOn
			_, _ = io.WriteString(c.Conn, fine)
		}
	}).addr)
	for i := range 2 {
		g.from("127.0.6.6").send(get("/"))
		testkit.Eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == int64(i+1) })
	}
	for i := range 2 {
		g.from(fmt.Sprintf("127.0.6.%d", 7+i))
		g.accepted(3 + i)
	}
	for i := range 5 {
		g.from("127.0.6.6").expectEnd()
		g.accepted(5 + i)
	}
	if open, _ := g.router.clients.count(); open != 4 {
		t.Errorf("%d connections are open, want the 4 that were", open)
	}
	if n := g.router.clients.evicted.places.Load() + g.router.clients.evicted.address.Load(); n > 0 {
		t.Errorf("%d made room", n)
	}
}

// TestWhatTheRouterClosesItselfIsNobodysFault evicts connections that have sent a part of a PROXY
// header, or of a handshake, and has the router end with others.
func TestWhatTheRouterClosesItselfIsNobodysFault(t *testing.T) {
	g := newGrid(t, func(c *Config) {
		c.MaxClients, c.ProxyProtocol, c.TrustedProxies = 1, true, prefixes("127.0.0.0/8")
	})
	g.one(answering(t, fine).addr)
	g.router.clock.Stop()
	for i, says := range []string{"PROXY TC", "", "P", "\r\n\r\n\x00", "PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\n", ""} {
		w := g.dial()
		w.send(says)
		g.accepted(i + 1)
		testkit.Eventually(t, "it has been read", func() bool { return !g.someHaveSaid() })
		g.router.clock.Advance(evictAfter)
	}
	testkit.Eventually(t, "all but one made room", func() bool { return g.router.clients.evicted.places.Load() == 5 })
	g.router.clients.closeAll()
	testkit.Eventually(t, "all are gone", func() bool { open, _ := g.router.clients.count(); return open == 0 })
	for why := range refusalReasons {
		if n := g.router.refused.total[why].Load(); n > 0 {
			t.Errorf("%d are counted as %s", n, why)
		}
	}
	if n := g.logs.FilterMessage("a connection was closed before a request").Len(); n > 0 {
		t.Errorf("%d are told of", n)
	}
}

// someHaveSaid says whether something has come that the router has not read.
func (g *grid) someHaveSaid() (said bool) {
	g.router.clients.each(func(c *client) { said = said || c.hasUnread() })
	return said
}

// TestARefusedClientBehindABalancerIsNamed looks for the client in the log.
func TestARefusedClientBehindABalancerIsNamed(t *testing.T) {
	g := newGrid(t, func(c *Config) {
		c.MaxClientsPerAddress, c.ProxyProtocol, c.TrustedProxies = 1, true, prefixes("127.0.0.0/8")
	})
	goOn := make(chan struct{})
	defer close(goOn)
	g.one(newRawDeck(t, func(c *rawClient) {
		_ = c.head()
		<-goOn
	}).addr)
	const header = "PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\n"
	g.dial().send(header + get("/"))
	testkit.Eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	second := g.dial()
	second.send(header)
	second.expectEnd()
	lines := g.logs.FilterMessage("a connection was closed before a request").All()
	if len(lines) != 1 || lines[0].ContextMap()["client"] != "203.0.113.7" || !strings.HasPrefix(fmt.Sprint(lines[0].ContextMap()["peer"]), "127.0.0.1:") {
		t.Errorf("told %+v", lines)
	}
}

// TestWhoHasJustComeIsServed has three times as many clients as there are places, each from its own
// address, ask once on a connection of their own, again and again: they wait for each other, in
// the system's queue, and nobody is cut.
func TestWhoHasJustComeIsServed(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.MaxClients = 8 })
	g.router.clock.Stop() // so that nobody has waited for long, however slow the clients are
	g.one(newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			time.Sleep(2 * time.Millisecond) // of work
			_, _ = io.WriteString(c.Conn, fine)
		}
	}).addr)
	var cut atomic.Int64
	var group sync.WaitGroup
	for i := range 24 {
		group.Go(func() {
			for range 10 {
				w := g.from(fmt.Sprintf("127.0.8.%d", 1+i))
				_, _ = io.WriteString(w.Conn, get("/", "Connection: close"))
				if r, err := w.tryReply("GET"); err != nil || r.StatusCode != http.StatusOK {
					cut.Add(1)
				}
				_ = w.Close()
			}
		})
	}
	group.Wait()
	if n := cut.Load(); n > 0 {
		t.Errorf("%d of 240 requests were cut", n)
	}
}

// TestABodyThatNeverComesKeepsNobodyOut fills all places with requests whose bodies do not come,
// or with connections whose last answer is not read.
func TestABodyThatNeverComesKeepsNobodyOut(t *testing.T) {
	const places = 6
	for _, says := range []string{
		"POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 10\r\n\r\n", "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 10\r\n\r\nhello",
		"POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe", "\x01",
	} {
		g := newGrid(t, func(c *Config) { c.MaxClients = places })
		g.one(answering(t, fine).addr)
		g.router.clock.Stop()
		for i := range places {
			w := g.from(fmt.Sprintf("127.0.9.%d", 1+i))
			w.send(says)
			g.accepted(i + 1)
		}
		testkit.Eventually(t, "they are waited for", func() bool {
			waited := 0
			g.router.clients.each(func(c *client) {
				if c.bodySince.Load() > 0 || c.waitingSince.Load() == longWaiting {
					waited++
				}
			})
			return waited == places || says == "\x01" && g.router.lingering.Load() == 0
		})
		late := g.from("127.0.9.99")
		late.send(get("/"))
		g.router.clock.Advance(bodyAfter + time.Second)
		wantStatus(t, late.reply("GET"), 200, "")
	}
}

// TestTheFirstHeadHasOneTimeForAll has a client use up most of its time before the head, and stop.
func TestTheFirstHeadHasOneTimeForAll(t *testing.T) {
	g := newGrid(t, func(c *Config) {
		c.ProxyProtocol, c.TrustedProxies = true, prefixes("127.0.0.0/8")
		c.ClientTimeouts.Head = 10 * time.Second
	})
	g.one(answering(t, fine).addr)
	g.router.clock.Stop()
	w := g.dial()
	g.accepted(1)
	g.router.clock.Advance(8 * time.Second)
	w.send("PROXY UNKNOWN\r\nGET / HTTP/1.1\r\n")
	testkit.Eventually(t, "the header has been read", func() bool {
		n := uint64(0)
		for i := range g.router.counters.lanes {
			n += g.router.counters.lanes[i].receivedBytes.Load()
		}
		return n > 0
	})
	g.router.clock.Advance(3 * time.Second)
	wantStatus(t, w.reply("GET"), 408, "request_timeout")
}

// TestPlacesAreGivenBackWhateverBecameOfAConnection opens and closes many, and looks at the books.
func TestPlacesAreGivenBackWhateverBecameOfAConnection(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.MaxClients, c.MaxClientsPerAddress = 5, 2 })
	g.one(answering(t, fine).addr)
	for i := range 40 {
		w := g.from(fmt.Sprintf("127.0.2.%d", 1+i%3))
		if i%2 == 0 {
			_, _ = io.WriteString(w.Conn, get("/"))
		}
		g.accepted(i + 1)
		if i%5 == 0 {
			_ = w.Close()
		}
	}
	g.router.clients.closeAll()
	testkit.Eventually(t, "all have gone", func() bool { open, _ := g.router.clients.count(); return open == 0 })
	s := &g.router.clients
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) > 0 || s.evicting != 0 {
		t.Errorf("%d addresses and %d evicted ones are left", len(s.peers), s.evicting)
	}
	if (&client{peer: netip.MustParseAddr("2001:db8::1")}).shareOf() != netip.MustParseAddr("2001:db8::") {
		t.Error("an IPv6 address is not its network's")
	}
}

// waiting waits until so many clients are waited for: one is some time after it has its answer, and that
// time must not lie behind the next step of a clock that stands still.
func (g *grid) waiting(n int) {
	g.t.Helper()
	testkit.Eventually(g.t, "the router waits for clients", func() bool {
		now := 0
		g.router.clients.each(func(c *client) {
			if c.waitingSince.Load() > 0 {
				now++
			}
		})
		return now == n
	})
}
