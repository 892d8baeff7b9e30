package router

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

const (
	upgrade  = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
	switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)

// tunnelDeck switches protocols and then does as talk says.
func tunnelDeck(t testing.TB, talk func(c *rawClient)) *rawDeck {
	return newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, switched)
			talk(c)
		}
	})
}

// open asks for a tunnel and returns the connection behind the answer.
func (g *grid) open() *rawClient {
	g.t.Helper()
	w := g.dial()
	w.send("GET /chat HTTP/1.1\r\nHost: acme.test\r\n" + upgrade + "\r\n")
	head := w.head()
	if !strings.HasPrefix(head, "HTTP/1.1 101 ") || !strings.Contains(head, "\r\nUpgrade: websocket\r\n") ||
		!strings.Contains(head, "\r\nConnection: Upgrade\r\n") || !strings.Contains(head, "\r\nSec-WebSocket-Accept: x\r\n") {
		g.t.Fatalf("got %q", head)
	}
	return w
}

func TestATunnelIsByteExactAndItsHalvesEndOneByOne(t *testing.T) {
	g := newGrid(t, nil)
	up, down := make([]byte, 3<<20), make([]byte, 2<<20)
	random := rand.NewChaCha8([32]byte{1})
	_, _ = random.Read(up)
	_, _ = random.Read(down)
	gotUp := make(chan []byte, 1)
	g.one(tunnelDeck(t, func(c *rawClient) {
		_, _ = c.Write(down[:1000])
		got, _ := io.ReadAll(c.in) // to the end of what the client sends
		gotUp <- got
		_, _ = c.Write(down[1000:])
	}).addr)
	w := g.open()
	testkit.Eventually(t, "the tunnel is counted", func() bool { return g.router.tunnels.of("acme") == 1 && g.router.tunnels.count() == 1 })
	for rest := up; len(rest) > 0; {
		n := min(1+rand.IntN(100_000), len(rest))
		w.send(string(rest[:n]))
		rest = rest[n:]
	}
	if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got := <-gotUp; !bytes.Equal(got, up) {
		t.Errorf("the deck got %d bytes, other than the %d sent", len(got), len(up))
	}
	got, err := io.ReadAll(w.in)
	if err != nil || !bytes.Equal(got, down) {
		t.Errorf("the client got %d bytes (%v), other than the %d sent", len(got), err, len(down))
	}
	testkit.Eventually(t, "the tunnel is counted no longer", func() bool { return g.router.tunnels.count() == 0 })
	testkit.Eventually(t, "nothing is in flight", func() bool { return g.router.counters.inFlight() == 0 })
}

func TestWhatComesRightBehindTheUpgradeIsPartOfTheTunnel(t *testing.T) {
	g := newGrid(t, nil)
	g.one(tunnelDeck(t, func(c *rawClient) {
		b := make([]byte, 5)
		_, _ = io.ReadFull(c.in, b)
		_, _ = c.Write(b)
	}).addr)
	w := g.dial()
	w.send("GET /chat HTTP/1.1\r\nHost: acme.test\r\n" + upgrade + "\r\nhello")
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 101 ") {
		t.Fatal(head)
	}
	if rest, err := io.ReadAll(w.in); err != nil || string(rest) != "hello" {
		t.Errorf("%q %v", rest, err)
	}
}

func TestOnlyForeignProtocolsAreUpgradedTo(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	f := func(fields, want string) {
		t.Helper()
		wantStatus(t, g.ask("GET / HTTP/1.1\r\nHost: acme.test\r\n"+fields+"\r\n"), 200, "") // the deck does not switch
		head := <-heads
		got := ""
		for _, line := range lines(head) {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "upgrade") {
				got = value
			}
		}
		if got != want || strings.Contains(head, "\r\nConnection:") != (want != "") {
			t.Errorf("%q: the deck got %q, want an upgrade to %q", fields, head, want)
		}
	}
	f(upgrade, "websocket")
	f("connection: keep-alive, UPGRADE\r\nupgrade: foo/2\r\n", "foo/2")
	f("Upgrade: websocket\r\n", "")
	f("Connection: upgrade\r\n", "")
	f("Connection: upgrade\r\nUpgrade: websocket, foo\r\n", "")
	f("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: foo\r\n", "")
	f("Connection: upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n", "")
	f("Connection: upgrade\r\nUpgrade: H2C\r\n", "")
	f("Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", "")
	f("Connection: upgrade\r\nUpgrade: TLS/1.2\r\n", "")
	f("Connection: upgrade\r\nUpgrade: a b\r\n", "")
	f(upgrade+"Content-Length: 0\r\n", "websocket")
}

func TestA101ThatNobodyAskedForIsABadAnswer(t *testing.T) {
	g := newGrid(t, nil)
	f := func(request, answer string) {
		t.Helper()
		g.one(answering(t, answer).addr)
		r := g.ask(request)
		wantStatus(t, r, 502, "bad_deck_answer")
	}
	asked := "GET / HTTP/1.1\r\nHost: acme.test\r\n" + upgrade + "\r\n"
	f(get("/"), switched)
	f(asked, strings.ReplaceAll(switched, "websocket", "other"))
	f(asked, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n")
	f(asked, "HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n")
	f(asked, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nUpgrade: websocket\r\n\r\n")
	f(asked, "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello")
}

func TestASilentTunnelEndsAndOneInUseDoesNot(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.ClientTimeouts.Tunnel = 500 * time.Millisecond })
	g.one(tunnelDeck(t, func(c *rawClient) { _, _ = io.Copy(c.Conn, c.in) }).addr)
	g.router.clock.Stop()
	w := g.open()
	for i := range 10 { // each within the time that it may be silent, and all together beyond it
		w.send("x")
		if _, err := io.ReadFull(w.in, make([]byte, 1)); err != nil {
			t.Fatalf("a tunnel in use ended after %d rounds: %v", i, err)
		}
		g.router.clock.Advance(400 * time.Millisecond)
		g.watchOnce()
	}
	g.router.clock.Advance(400 * time.Millisecond)
	w.expectEnd()
	testkit.Eventually(t, "the tunnel is counted no longer", func() bool { return g.router.tunnels.count() == 0 })
}

func TestATunnelThatBreaksBreaksOnBothSides(t *testing.T) {
	g := newGrid(t, nil)
	broke := make(chan error, 1)
	begun := make(chan struct{}, 1)
	g.one(tunnelDeck(t, func(c *rawClient) {
		begun <- struct{}{}
		if _, err := c.in.ReadByte(); err != nil {
			broke <- err
			return
		}
		_ = c.Conn.(*net.TCPConn).SetLinger(0) // its end is a reset
	}).addr)
	w := g.open()
	<-begun
	_ = w.Conn.(*net.TCPConn).SetLinger(0)
	_ = w.Close()
	if err := <-broke; err == nil {
		t.Error("the deck saw no end")
	}
	w = g.open()
	<-begun
	w.send("x")
	if rest, err := io.ReadAll(w.in); err == nil {
		t.Errorf("the client saw a proper end after %q, and the deck had reset the connection", rest)
	}
}

func TestClosingTheRouterEndsTunnels(t *testing.T) {
	g := newGrid(t, nil)
	g.one(tunnelDeck(t, func(c *rawClient) { _, _ = io.Copy(io.Discard, c.in) }).addr)
	w := g.open()
	g.router.Close()
	if _, err := io.ReadAll(w.in); err == nil {
		t.Log("it ended with an orderly close")
	}
	if n := g.router.tunnels.count(); n != 0 {
		t.Errorf("%d tunnels are left", n)
	}
}

func TestAConnectionThatCannotBeMadeIsTriedElsewhere(t *testing.T) {
	g := newGrid(t, nil)
	good := goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v", r.Method, body, err)
	})
	g.one(good, testkit.FreeAddr(t))
	for range 30 {
		r := g.ask("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\n\r\nhello")
		if r.StatusCode != http.StatusOK || r.body != `POST "hello" <nil>` {
			t.Fatalf("got %d %q", r.StatusCode, r.body)
		}
		g.over() // else the good address looks busy, or the bad one
	}
	if n := g.counts().Retries; n == 0 {
		t.Error("nothing was tried again")
	}
	if n := g.counts().Retrying; n != 0 {
		t.Errorf("%d are still counted as being tried again", n)
	}
}

// TestAStaleConnectionIsTriedAgainOnlyWhereItDoesNoHarm has a deck that takes a second
// request on a connection and closes it without a byte.
func TestAStaleConnectionIsTriedAgainOnlyWhereItDoesNoHarm(t *testing.T) {
	f := func(request string, answer string, status int, asked int) {
		t.Helper()
		g := newGrid(t, nil)
		heads := make(chan string, 10)
		g.one(newRawDeck(t, func(c *rawClient) {
			if head := c.head(); head == "" {
				return
			} else if !strings.Contains(head, "/first") {
				heads <- head
			}
			_, _ = io.WriteString(c.Conn, fine)
			if head := c.head(); head != "" {
				heads <- head
				_, _ = io.WriteString(c.Conn, answer)
			}
		}).addr)
		wantStatus(t, g.ask(get("/first")), 200, "")
		r := g.ask(request)
		if r.StatusCode != status || len(heads) != asked {
			t.Errorf("%.40q: got %d, asked %d times, want %d and %d", request, r.StatusCode, len(heads), status, asked)
		}
	}
	f(get("/"), "", 200, 2)
	f("PUT / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\n\r\nhello", "", 200, 2)
	f("DELETE / HTTP/1.1\r\nHost: acme.test\r\n\r\n", "", 200, 2)
	f("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 0\r\n\r\n", "", 502, 1)
	f("PATCH / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\n\r\nhello", "", 502, 1)
	f(get("/"), "H", 502, 1)
	f(get("/"), "HTTP/1.1 200 OK\r\n", 502, 1)
}

func TestRetriesHaveABudget(t *testing.T) {
	g := newGrid(t, nil)
	g.one(testkit.FreeAddr(t), testkit.FreeAddr(t))
	live := g.live()
	for range 3 { // so many are being tried again already
		live.BeginRetries()
	}
	wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	if refused, made := live.Counts().RetriesRefused, live.Counts().Retries; refused != 1 || made != 0 {
		t.Errorf("%d refused, %d made", refused, made)
	}
	for range 3 {
		live.EndRetries()
	}
	wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	if refused, made := live.Counts().RetriesRefused, live.Counts().Retries; refused != 1 || made != 1 {
		t.Errorf("%d refused, %d made", refused, made)
	}
}
