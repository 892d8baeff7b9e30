package router

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// halfClosing is a client that ended its direction behind its request.
type halfClosing struct {
	*grid
	w     *rawClient
	asked chan struct{} // the deck has the request
	goOn  chan struct{} // and goes on
}

// askAndHalfClose sends a request and ends the client's direction, under TLS or not. Of the
// answer's body, size bytes, the deck sends so many at once, and the rest when it is told to.
func askAndHalfClose(t *testing.T, means HalfClose, secure bool, request string, size, atOnce int) *halfClosing {
	t.Helper()
	h := &halfClosing{asked: make(chan struct{}), goOn: make(chan struct{})}
	adjust := func(cfg *Config) { cfg.HalfClose = means }
	var addr string
	var trust *tls.Config
	if secure {
		g, bound, pool := secureGrid(t, adjust)
		h.grid, addr = g, bound
		trust = &tls.Config{ServerName: "acme.test", RootCAs: pool, MinVersion: tls.VersionTLS12}
	} else {
		h.grid = newGrid(t, adjust)
		addr = h.addr
	}
	body := bodyOf(size)
	deck := deckAt("d1", newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			head := "HTTP/1.1 200 OK\r\nContent-Length: " + strconv.Itoa(size) + "\r\n\r\n"
			if atOnce > 0 {
				_, _ = io.WriteString(c.Conn, head)
				_, _ = c.Write(body[:atOnce])
				head = ""
			}
			h.asked <- struct{}{}
			<-h.goOn
			_, _ = io.WriteString(c.Conn, head)
			_, _ = c.Write(body[atOnce:])
		}
	}).addr)
	deck.Timeouts.FirstByte = routing.Duration(time.Hour) // the clock will be moved by a minute
	h.put(deck, tenantOn("acme", "d1", "acme.test"))
	h.router.clock.Stop()
	h.w = dialRaw(t, addr)
	tcp := h.w.Conn.(*net.TCPConn)
	if secure {
		h.w.Conn = tls.Client(tcp, trust)
		h.w.in = bufio.NewReader(h.w.Conn)
	}
	h.w.send(request)
	if secure { // tells of the end under TLS first, as clients that leave do
		_ = h.w.Conn.(*tls.Conn).CloseWrite()
	}
	if err := tcp.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	<-h.asked
	testkit.Eventually(t, "the router could see the end", func() bool {
		ended := false
		h.router.clients.each(func(c *client) {
			c.mu.Lock()
			ended = c.EndedBy() == wire.HalfClosed
			c.mu.Unlock()
		})
		return ended
	})
	return h
}

// TestAClientThatHalfClosesMeansWhatTheConfigurationSays tries when a deck speaks, over plain
// connections and TLS, for small and large answers. What becomes of the request depends on the
// silence alone, not on when the watch looks.
func TestAClientThatHalfClosesMeansWhatTheConfigurationSays(t *testing.T) {
	const large = 3 << 20
	for _, secure := range []bool{false, true} {
		for _, means := range []HalfClose{HalfCloseDeparts, HalfCloseServed} {
			for _, silence := range []time.Duration{0, departAfter - time.Millisecond, departAfter, time.Minute} {
				for _, shape := range []struct{ size, atOnce int }{{2, 0}, {large, 0}, {large, 1}, {large, large / 2}} {
					if shape.atOnce > 0 && silence > 0 && silence < departAfter {
						continue // when the first part arrives is not the test's to say
					}
					h := askAndHalfClose(t, means, secure, get("/"), shape.size, shape.atOnce)
					if shape.atOnce > 0 {
						testkit.Eventually(t, "the first part is passed on", func() bool { return sentToClients(h.grid) > uint64(shape.atOnce) })
					}
					h.someClient("the deck is waited for", deckIsSilent)
					h.router.clock.Advance(silence)
					served := means == HalfCloseServed || silence < departAfter
					if served || silence == departAfter { // else the watch ends it by itself
						close(h.goOn)
					} else {
						t.Cleanup(func() { close(h.goOn) })
					}
					r, err := h.w.tryReply("GET")
					whole := err == nil && r.err == nil && digest([]byte(r.body)) == digest(bodyOf(shape.size))
					if whole != served {
						t.Errorf("secure %v, means %d, silent for %v, %+v: whole %v, want %v (%v)", secure, means, silence, shape, whole, served, err)
					}
					if !served {
						testkit.Eventually(t, "the fault is counted", func() bool { return faultCount(h.grid, "client_gone") == 1 })
						testkit.Eventually(t, "the deck's work is cancelled", func() bool { return openConnections(h.grid) == 0 })
					}
				}
			}
		}
	}
}

// TestPipelinedRequestsOfAClientThatHalfClosedAreAllServed sends requests and the end at once,
// as a script does with nc.
func TestPipelinedRequestsOfAClientThatHalfClosedAreAllServed(t *testing.T) {
	h := askAndHalfClose(t, HalfCloseDeparts, false, strings.Repeat(get("/"), 5), 2, 0)
	for i := range 5 {
		if i > 0 {
			<-h.asked
		}
		h.goOn <- struct{}{}
		if r, err := h.w.tryReply("GET"); err != nil || r.StatusCode != http.StatusOK {
			t.Fatalf("answer %d: %v", i, err)
		}
	}
	h.w.expectEnd()
}

// TestAClientWhoseConnectionBrokeHasLeftWhateverHalfClosingMeans resets connections.
func TestAClientWhoseConnectionBrokeHasLeftWhateverHalfClosingMeans(t *testing.T) {
	for _, means := range []HalfClose{HalfCloseDeparts, HalfCloseServed} {
		g := newGrid(t, func(cfg *Config) { cfg.HalfClose = means })
		asked := make(chan struct{}, 1)
		g.one(newRawDeck(t, func(c *rawClient) {
			_ = c.head()
			asked <- struct{}{}
			_, _ = io.ReadAll(c.in)
		}).addr)
		w := g.dial()
		w.send(get("/"))
		<-asked
		_ = w.Conn.(*net.TCPConn).SetLinger(0)
		_ = w.Close()
		testkit.Eventually(t, "it is noticed", func() bool { return faultCount(g, "client_gone") == 1 && openConnections(g) == 0 })
	}
}

func sentToClients(g *grid) (total uint64) {
	for i := range g.router.counters.lanes {
		total += g.router.counters.lanes[i].sentBytes.Load()
	}
	return total
}
