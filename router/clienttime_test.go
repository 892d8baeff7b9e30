package router

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// TestWhatIsUnreadDoesNotCutTheLastAnswer has a client that says that it is its last request send
// more all the same: an empty line, as some do behind a body, or another request, or the farewell
// of TLS. To close at once would reset the connection, and lose what is on its way.
func TestWhatIsUnreadDoesNotCutTheLastAnswer(t *testing.T) {
	const size = 2 << 20
	g, secure, trust := secureGrid(t, nil)
	told := make(chan struct{})
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-told
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))
	f := func(over *tls.Config, head, more string) {
		t.Helper()
		addr := g.addr
		if over != nil {
			addr = secure
		}
		plain, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer plain.Close()
		_ = plain.(*net.TCPConn).SetReadBuffer(128 << 10) // so that the answer waits in the router's system
		_ = plain.SetDeadline(time.Now().Add(2 * patience))
		conn := plain
		if over != nil {
			client := tls.Client(plain, over)
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			conn = client
		}
		w := wireOn(t, conn)
		_, _ = io.WriteString(conn, head)
		testkit.Eventually(t, "the head has been read", func() bool { return g.router.counters.inFlight() > 0 })
		if more == "farewell" {
			_ = conn.(*tls.Conn).CloseWrite()
		} else {
			_, _ = io.WriteString(conn, more)
		}
		told <- struct{}{} // all has been said, and the body of it read
		same, before := 0, uint64(0)
		testkit.Eventually(t, "the router is done with it, or its system takes no more", func() bool {
			sent := uint64(0)
			for i := range g.router.counters.lanes {
				sent += g.router.counters.lanes[i].sentBytes.Load()
			}
			if same++; sent != before {
				same, before = 0, sent
			}
			return g.router.lingering.Load() > 0 || !g.connected(plain.LocalAddr()) || same > 100
		})
		r, err := w.tryReply("GET")
		if err != nil || r.err != nil || len(r.body) != size {
			t.Errorf("%.20q, then %.20q: %v %v, %d bytes of the body", head, more, err, r.err, len(r.body))
		}
	}
	const closing = "POST / HTTP/1.1\r\nHost: acme.test\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"
	const old = "POST / HTTP/1.0\r\nHost: acme.test\r\nContent-Length: 5\r\n\r\n"
	for _, head := range []string{closing, old} {
		f(nil, head, "hello")
		f(nil, head, "hello\r\n")
		f(nil, head, "hello"+get("/"))
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{RootCAs: trust, ServerName: "acme.test", MinVersion: version, MaxVersion: version}
		f(config, closing+"hello", "\r\n")
		f(config, closing+"hello", "farewell")
	}
}

// connected says whether the router holds a connection from an address.
func (g *grid) connected(from net.Addr) (held bool) {
	g.router.clients.each(func(c *client) { held = held || c.TCP.RemoteAddr().String() == from.String() })
	return held
}

// TestTheTimeForTheWholeIsToldAsSuch ends it in each state of an upload.
func TestTheTimeForTheWholeIsToldAsSuch(t *testing.T) {
	f := func(what string, takes bool, request string) {
		t.Helper()
		g := newGrid(t, nil)
		answered := make(chan struct{})
		defer close(answered)
		deck := newRawDeck(t, func(c *rawClient) {
			if takes {
				_, _ = io.Copy(io.Discard, c.in)
			}
			<-answered // it says nothing, and does not close before
		})
		tenant := tenantOn("acme", "d1", "acme.test")
		tenant.Timeouts = &routing.TenantTimeouts{Total: routing.Duration(300 * time.Millisecond)}
		g.put(deckAt("d1", deck.addr), tenant)
		w := g.dial()
		go func() { _, _ = io.WriteString(w.Conn, request) }() // as much as is taken
		r, err := w.tryReply("POST")
		if err != nil || r.StatusCode != http.StatusGatewayTimeout || r.fault() != "deck_timeout" {
			t.Errorf("%s: got %+v %v", what, r, err)
			return
		}
		testkit.Eventually(t, "the failure is counted", func() bool { return g.counts().Failures[upstream.FailedTotal] == 1 })
		for cause := upstream.NoFailure + 1; cause < upstream.Causes; cause++ {
			if n := g.counts().Failures[cause]; cause != upstream.FailedTotal && n > 0 {
				t.Errorf("%s: counted as %s too", what, cause)
			}
		}
		for wait := range clientWaits {
			if n := g.router.clientTimeouts[wait].Load(); n > 0 {
				t.Errorf("%s: counted as a client that is slow: %s", what, wait)
			}
		}
	}
	const head = "POST / HTTP/1.1\r\nHost: acme.test\r\n"
	for range 5 {
		f("the deck takes nothing", false, head+"Content-Length: 20971520\r\n\r\n"+strings.Repeat("x", 20<<20))
		f("the client stops", true, head+"Content-Length: 100\r\n\r\nabc")
		f("the client stops within a chunk", true, head+"Transfer-Encoding: chunked\r\n\r\n5\r\nab")
		f("the client waits to be told to go on", true, head+"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
		f("the deck does not answer", true, head+"Content-Length: 3\r\n\r\nabc")
	}
}

// TestABodyThatIsMalformedAtOnceCostsNoConnection sends one with the head, again and again.
func TestABodyThatIsMalformedAtOnceCostsNoConnection(t *testing.T) {
	g := newGrid(t, nil)
	deck := answering(t, fine)
	g.one(deck.addr)
	for range 5 {
		wantStatus(t, g.ask(get("/")), 200, "")
		r := g.ask("POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
		wantStatus(t, r, 400, "bad_request")
		if !strings.Contains(r.body, badChunks) {
			t.Errorf("the client is told %q", r.body)
		}
	}
	if n := deck.connections(); n != 1 {
		t.Errorf("the deck saw %d connections, want 1", n)
	}
}

// TestAClientThatRightlyWaitsIsNotTooSlow has the time for a body be shorter than that for 100.
func TestAClientThatRightlyWaitsIsNotTooSlow(t *testing.T) {
	g := newGrid(t, func(c *Config) {
		c.ClientTimeouts.Body, c.ClientTimeouts.Continue = 300*time.Millisecond, time.Hour
	})
	g.router.clock.Stop()
	asked, goOn := make(chan struct{}), make(chan struct{})
	g.one(newRawDeck(t, func(c *rawClient) {
		_ = c.head()
		close(asked)
		<-goOn
		_, _ = io.WriteString(c.Conn, "HTTP/1.1 100 Continue\r\n\r\n")
		_, _ = io.ReadFull(c.in, make([]byte, 5))
		_, _ = io.WriteString(c.Conn, fine)
	}).addr)
	w := g.dial()
	w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
	<-asked // before that it is the head that is waited for
	g.someClient("the body is waited for", isRead)
	g.router.clock.Advance(time.Minute) // within the time for 100, and beyond that for a body
	g.watchOnce()
	close(goOn)
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 100 ") {
		t.Fatalf("got %q", head)
	}
	w.send("hello")
	wantStatus(t, w.reply("POST"), 200, "")
}
