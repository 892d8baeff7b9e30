package router

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// drainLater drains in the background and returns a channel that tells how many were cut.
func drainLater(g *grid, delay, timeout time.Duration) chan int64 {
	done := make(chan int64, 1)
	go func() { done <- g.router.Drain(context.Background(), delay, timeout) }()
	return done
}

func TestWhileTheDelayLastsEverythingIsServedAndConnectionsEnd(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	before := g.dial()
	before.send(get("/"))
	if r := before.reply("GET"); r.Close {
		t.Fatal("the connection ends before draining has begun")
	}
	ctx, endDelay := context.WithCancel(t.Context())
	done := make(chan int64, 1)
	go func() { done <- g.router.Drain(ctx, time.Hour, patience) }()
	<-g.router.DrainBegun()
	if err := g.router.Ready(); err == nil || !strings.Contains(err.Error(), "draining") {
		t.Fatalf("readiness says %v", err)
	}
	for _, w := range []*rawClient{before, g.dial()} {
		w.send(get("/"))
		r := w.reply("GET")
		wantStatus(t, r, 200, "")
		if !r.Close {
			t.Fatal("no Connection: close")
		}
		w.expectEnd()
	}
	testkit.Eventually(t, "the requests are over", func() bool { return g.router.InFlight() == 0 })
	endDelay()
	if cut := <-done; cut != 0 {
		t.Fatalf("%d requests were cut", cut)
	}
}

func TestTheListenersCloseWhenTheDelayIsOver(t *testing.T) {
	const delay = 50 * time.Millisecond
	g := newGrid(t, nil)
	begun := time.Now()
	if cut := g.router.Drain(t.Context(), delay, patience); cut != 0 {
		t.Fatalf("%d requests were cut", cut)
	}
	if took := time.Since(begun); took < delay {
		t.Errorf("the delay was over after %v", took)
	}
	if conn, err := net.Dial("tcp", g.addr); err == nil {
		_ = conn.Close()
		t.Fatal("the listener is still open")
	}
}

func TestRequestsInFlightFinishAndNewOnesOnOpenConnectionsAreRefused(t *testing.T) {
	g := newGrid(t, nil)
	block := make(chan struct{})
	deck := newRawDeck(t, func(c *rawClient) {
		for head := c.head(); head != ""; head = c.head() {
			if strings.Contains(head, "/wait") {
				<-block
			}
			_, _ = io.WriteString(c.Conn, fine)
		}
	})
	g.one(deck.addr)
	open := g.dial()
	open.send(get("/"))
	wantStatus(t, open.reply("GET"), 200, "")
	slow := g.dial()
	slow.send(get("/wait"))
	testkit.Eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	done := drainLater(g, 0, patience)
	testkit.Eventually(t, "requests are refused", g.router.drain.refuses)
	open.send(get("/"))
	r := open.reply("GET")
	wantStatus(t, r, 503, "draining")
	if !r.Close {
		t.Fatal("the connection stays open")
	}
	select {
	case <-done:
		t.Fatal("draining ended with a request in flight")
	default:
	}
	close(block)
	wantStatus(t, slow.reply("GET"), 200, "")
	if cut := <-done; cut != 0 {
		t.Fatalf("%d requests were cut", cut)
	}
}

func TestRequestsThatTakeTooLongAreCut(t *testing.T) {
	g := newGrid(t, nil)
	deck := newRawDeck(t, func(c *rawClient) { _ = c.head(); _, _ = io.ReadAll(c.in) })
	g.one(deck.addr)
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "a request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	if cut := <-drainLater(g, 0, 50*time.Millisecond); cut != 1 {
		t.Fatalf("%d requests were cut, want 1", cut)
	}
	g.router.Close()
	if _, err := w.tryReply("GET"); err == nil {
		t.Fatal("it was answered")
	}
}

func TestAnEndedContextEndsDrainingEarly(t *testing.T) {
	g := newGrid(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	begun := time.Now()
	g.router.Drain(ctx, time.Hour, time.Hour)
	if took := time.Since(begun); took > time.Minute {
		t.Fatalf("it took %v", took)
	}
}

// TestWhoeverHasConnectedIsServed connects many clients while the listeners close: those
// whose connection was taken into the queue get their answer.
func TestWhoeverHasConnectedIsServed(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	var clients []*rawClient
	for range 100 {
		clients = append(clients, g.dial())
	}
	done := drainLater(g, 0, patience)
	var wg sync.WaitGroup
	for _, w := range clients {
		wg.Go(func() {
			_, _ = io.WriteString(w.Conn, get("/"))
			r, err := w.tryReply("GET")
			if err != nil || r.StatusCode != http.StatusOK {
				t.Errorf("a client that had connected was not served: %v", err)
			}
		})
	}
	wg.Wait()
	if cut := <-done; cut != 0 {
		t.Fatalf("%d requests were cut", cut)
	}
}

func TestDrainingBeginsOnce(t *testing.T) {
	g := newGrid(t, nil)
	if !g.router.BeginDrain() || g.router.BeginDrain() {
		t.Fatal("it does not begin exactly once")
	}
}

func TestAListenerOutlivesAnEndOfDescriptors(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	limit := shrinkDescriptors(t)
	waiting, err := net.Dial("tcp", g.addr)
	if err != nil { // the last descriptor was gone already: the router's side is what matters
		t.Skipf("this process has no descriptor left to connect with: %v", err)
	}
	defer waiting.Close()
	testkit.Eventually(t, "accepting fails", func() bool { return g.router.acceptErrors.Load() > 0 })
	limit.restore()
	w := wireOn(t, waiting)
	_ = w.SetDeadline(time.Now().Add(patience))
	w.send(get("/"))
	wantStatus(t, w.reply("GET"), 200, "")
	if g.logs.FilterMessageSnippet("cannot accept").Len() != 1 || g.logs.FilterMessageSnippet("accepting connections again").Len() != 1 {
		t.Fatalf("logs: %v", g.logs.All())
	}
}

func TestWhoeverHasConnectedIsServedWhateverItExpects(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, req *http.Request) { _, _ = io.Copy(w, req.Body) }))
	w := g.dial()
	testkit.Eventually(t, "the connection is accepted", func() bool { return g.router.fresh.Load() == 1 })
	done := drainLater(g, 0, patience)
	testkit.Eventually(t, "requests on open connections are refused", g.router.drain.refuses)
	w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	w.interimHead()
	w.send("hello")
	if r := w.reply("POST"); r.StatusCode != http.StatusOK || r.body != "hello" {
		t.Fatalf("got %d %q", r.StatusCode, r.body)
	}
	if cut := <-done; cut != 0 {
		t.Fatalf("%d requests were cut", cut)
	}
}

func TestClosingEndsRequestsWhoseDeckIsSilent(t *testing.T) {
	for name, ask := range map[string]string{
		"waiting for an answer":      get("/"),
		"in the middle of an answer": get("/half"),
		"in the middle of a body":    "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 100\r\n\r\nabc",
	} {
		g := newGrid(t, nil)
		g.one(newRawDeck(t, func(c *rawClient) {
			if strings.Contains(c.head(), "/half") {
				c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
			}
			_ = c.head() // it says no more
		}).addr)
		w := g.dial()
		w.send(ask)
		testkit.Eventually(t, "the request is under way: "+name, func() bool { return g.router.InFlight() == 1 })
		g.router.Close()
		if open, _ := g.router.clients.count(); open != 0 || g.router.InFlight() != 0 {
			t.Errorf("%s: %d connections and %d requests outlive the router", name, open, g.router.InFlight())
		}
	}
}
