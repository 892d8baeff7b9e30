package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// from connects from an address of this machine's loopback network.
func (g *grid) from(address string) *wire {
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
	eventually(g.t, fmt.Sprint(total, " connections are accepted"), func() bool { _, n := g.router.clients.count(); return n >= uint64(total) })
}

// TestWhoSaysNothingKeepsNobodyOut fills all places in each way in which a client may say nothing,
// from many addresses and from one; a client that asks is served all the same.
func TestWhoSaysNothingKeepsNobodyOut(t *testing.T) {
	const places = 6
	ways := map[string]func(t *testing.T, w *wire){
		"nothing at all":   func(*testing.T, *wire) {},
		"a part of a head": func(_ *testing.T, w *wire) { w.send("GET / HTTP/1.1\r\nHost: ac") },
		"an empty line":    func(_ *testing.T, w *wire) { w.send("\r\n") },
		"nothing more, when served": func(t *testing.T, w *wire) {
			w.send(get("/"))
			wantStatus(t, w.reply("GET"), 200, "")
		},
	}
	for way, doIt := range ways {
		for _, addresses := range []int{1, places * 2} {
			g := newGrid(t, func(c *Config) { c.MaxClients = places })
			g.one(answering(t, fine).addr)
			for i := range places * 2 {
				w := g.from(fmt.Sprintf("127.0.1.%d", 1+i%addresses))
				doIt(t, w)
				g.accepted(i + 1)
			}
			for i := range 3 {
				w := g.from("127.0.0.2")
				w.send(get("/"))
				if r := w.reply("GET"); r.StatusCode != http.StatusOK {
					t.Errorf("%s, %d addresses: got %d", way, addresses, r.StatusCode)
				}
				g.accepted(places*2 + i + 1)
			}
			eventually(t, "no more are open than may be", func() bool { open, _ := g.router.clients.count(); return open <= places })
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
	g.one(newRawDeck(t, func(c *wire) {
		for head := c.head(); head != ""; head = c.head() {
			if strings.Contains(head, "/busy") {
				<-goOn
			}
			_, _ = io.WriteString(c.Conn, fine)
		}
	}).addr)
	g.router.clock.stop()
	busy := g.dial()
	busy.send(get("/busy"))
	eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	var waiting []*wire
	for i := range 2 {
		g.router.clock.advance(time.Second)
		w := g.dial()
		w.send(get("/"))
		wantStatus(t, w.reply("GET"), 200, "")
		g.accepted(2 + i)
		waiting = append(waiting, w)
	}
	g.router.clock.advance(time.Second)
	waiting[0].send(get("/")) // has the other one wait longer
	wantStatus(t, waiting[0].reply("GET"), 200, "")
	eventually(t, "it waits again", func() bool { return g.router.counters.inFlight() == 1 })
	g.router.clock.advance(time.Second)
	third := g.dial()
	waiting[1].expectEnd()
	g.accepted(4)
	third.send(get("/busy"))
	eventually(t, "two requests are under way", func() bool { return g.router.counters.inFlight() == 2 })
	fourth := g.dial()
	waiting[0].expectEnd()
	fourth.send(get("/busy"))
	eventually(t, "three requests are under way", func() bool { return g.router.counters.inFlight() == 3 })
	if n := g.router.clients.evicted.places.Load() + g.router.clients.evicted.address.Load(); n != 2 {
		t.Errorf("%d are counted, want 2", n)
	}
	late := g.from("127.0.0.9") // waits in the queue: nobody else waits
	late.send(get("/"))
	eventually(t, "the listener pauses", func() bool { return g.router.acceptPauses.Load() > 2 })
	finish()
	for _, w := range []*wire{busy, third, fourth, late} {
		wantStatus(t, w.reply("GET"), 200, "")
	}
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
		g.one(newRawDeck(t, func(c *wire) {
			for c.head() != "" {
				<-goOn
				_, _ = io.WriteString(c.Conn, fine)
			}
		}).addr)
		var all []*wire
		for i := range places {
			w := g.dial()
			w.send(header(i) + get("/")) // busy: it cannot make room
			g.accepted(i + 1)
			all = append(all, w)
			if i < open {
				eventually(t, "its request is under way", func() bool { return g.router.counters.inFlight() == int64(i+1) })
			}
		}
		eventually(t, "the others are refused", func() bool { return g.router.turned.total[rudeShare].Load() == uint64(places-open) })
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
	eventually(t, "all have gone", func() bool { open, _ := g.router.clients.count(); return open == 0 })
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
