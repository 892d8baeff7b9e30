package router

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

func TestRequestBodiesArriveUnchanged(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %d %v %s", r.ContentLength, r.TransferEncoding, len(body), err, body[:min(len(body), 20)])
	}))
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MiB
	f := func(framing, body, want string) {
		t.Helper()
		w := g.dial()
		for range 2 { // the connection is fit for another request
			w.send("POST / HTTP/1.1\r\nHost: acme.test\r\n" + framing + "\r\n\r\n" + body)
			if r := w.reply("POST"); r.body != want {
				t.Fatalf("%s: got %q, want %q", framing, r.body, want)
			}
		}
	}
	f("Content-Length: 5", "hello", "5 [] 5 <nil> hello")
	f("Content-Length: 0", "", "0 [] 0 <nil> ")
	f("X-None: 1", "", "0 [] 0 <nil> ")
	f("Content-Length: 1048576", big, "1048576 [] 1048576 <nil> 0123456789abcdef0123")
	f("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", "-1 [chunked] 5 <nil> hello")
	f("Transfer-Encoding: chunked", "2;ext=1\r\nhe\r\n3\r\nllo\r\n0\r\nX-Trailer: 1\r\n\r\n", "-1 [chunked] 5 <nil> hello")
	f("transfer-encoding: Chunked", "0\r\n\r\n", "-1 [chunked] 0 <nil> ")
	f("Transfer-Encoding: chunked", "100000\r\n"+big+"\r\n0\r\n\r\n", "-1 [chunked] 1048576 <nil> 0123456789abcdef0123")
}

func TestAnyMethodMayHaveABody(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %q %v", r.Method, body, err)
	}))
	for _, method := range []string{"GET", "DELETE", "OPTIONS", "PROPFIND"} {
		for _, body := range []string{"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"} {
			if r := g.ask(method + " / HTTP/1.1\r\nHost: acme.test\r\n" + body); r.body != method+` "hello" <nil>` {
				t.Fatalf("%s: got %q", method, r.body)
			}
		}
	}
}

func TestATrailerCannotBecomeAField(t *testing.T) {
	g := newGrid(t, nil)
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Rules = []routing.Rule{{Name: "users", Key: &routing.KeySource{Header: "x-user-id"}, Split: map[string]int{"d1": 1}}}
	g.put(deckAt("d1", answering(t, fine).addr), tenant)
	r := g.ask("POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\n\r\n0\r\nX-User-Id: 5\r\n\r\n")
	wantStatus(t, r, 400, "key_missing")
}

// TestATruncatedRequestIsNeverPresentedAsWhole cuts bodies where a careless proxy would
// not notice: a deck must see that something is missing.
func TestATruncatedRequestIsNeverPresentedAsWhole(t *testing.T) {
	g := newGrid(t, nil)
	got := make(chan error, 1)
	g.one(goDeck(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		got <- err
	}))
	f := func(request string) {
		t.Helper()
		before := faultCount(g, "client_gone")
		w := g.dial()
		w.send("POST / HTTP/1.1\r\nHost: acme.test\r\n" + request)
		_ = w.Conn.(*net.TCPConn).CloseWrite()
		if rest, _ := io.ReadAll(w.in); len(rest) > 0 && !bytes.Contains(rest, []byte("400 Bad Request")) {
			t.Fatalf("%q was answered: %q", request, rest)
		}
		select {
		case err := <-got:
			if err == nil {
				t.Fatalf("%q looked whole to the deck", request)
			}
		case <-time.After(patience):
			t.Fatalf("%q never ended for the deck", request)
		}
		testkit.Eventually(t, "it is counted", func() bool { return faultCount(g, "client_gone")+faultCount(g, "bad_request") > before })
	}
	f("Content-Length: 10\r\n\r\nhello")
	f("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	f("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n")
	f("Transfer-Encoding: chunked\r\n\r\n5\r\nhel")
	f("Transfer-Encoding: chunked\r\n\r\n5")
}

func TestMalformedChunksAreRefused(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }))
	w := g.dial()
	w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n")
	wantStatus(t, w.reply("POST"), 400, "bad_request")
	w.expectEnd()
}

// TestAnEarlyAnswerReachesAClientThatIsStillSending has a deck that answers after the
// head and reads nothing of a body that is larger than all buffers on the way.
func TestAnEarlyAnswerReachesAClientThatIsStillSending(t *testing.T) {
	g := newGrid(t, nil)
	deck := newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
			time.Sleep(100 * time.Millisecond) // it reads nothing, and does not close at once
		}
	})
	g.one(deck.addr)
	f := func(framing string, piece []byte) {
		t.Helper()
		w := g.dial()
		w.send("POST / HTTP/1.1\r\nHost: acme.test\r\n" + framing + "\r\n\r\n")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}()
		r := w.reply("POST")
		if r.StatusCode != http.StatusRequestEntityTooLarge || r.body != "much" || !r.Close {
			t.Fatalf("got %d %q close=%v", r.StatusCode, r.body, r.Close)
		}
		<-sent // the connection has ended
	}
	f("Content-Length: 10000000000", make([]byte, 64<<10))
	f("Transfer-Encoding: chunked", []byte("1000\r\n"+strings.Repeat("x", 0x1000)+"\r\n"))
}

func TestBothDirectionsFlowAtOnce(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		_ = control.EnableFullDuplex()
		w.WriteHeader(http.StatusOK)
		_ = control.Flush()
		buf := make([]byte, 4)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(bytes.ToUpper(buf[:n]))
			_ = control.Flush()
			if err != nil {
				return
			}
		}
	}))
	w := g.dial()
	w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n-\r\n")
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	for range 3 { // each piece is back before the next is sent
		w.send("4\r\nping\r\n")
		got := make([]byte, 4)
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "PING" {
			t.Fatalf("got %q %v", got, err)
		}
	}
	w.send("0\r\n\r\n")
	if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
		t.Fatalf("got %q %v", rest, err)
	}
}

// TestARefusedExpectationEndsTheConnection has the router refuse what a client asks before it
// sends its body.
func TestARefusedExpectationEndsTheConnection(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	f := func(request string, status int, fault string) {
		t.Helper()
		w := g.dial()
		w.send(request)
		r := w.reply("POST")
		wantStatus(t, r, status, fault)
		if !r.Close {
			t.Fatal("the connection stays open, though the body may follow")
		}
	}
	const expects = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"
	f("POST / HTTP/1.1\r\nHost: nobody.test\r\n"+expects, 404, "no_tenant")
	f("POST / HTTP/1.1\r\nHost: acme.test\r\nX : 1\r\n"+expects, 400, "bad_request")
	f("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\nExpect: miracles\r\n\r\nhello", 417, "expectation_failed")
}

func TestAHTTP10ExpectationIsIgnored(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
	r := g.ask("POST / HTTP/1.0\r\nHost: acme.test\r\nContent-Length: 5\r\nExpect: miracles\r\n\r\nhello")
	if r.StatusCode != http.StatusOK || r.body != "hello" {
		t.Fatalf("got %d %q", r.StatusCode, r.body)
	}
}

func TestARefusedRequestWithABodyEndsItsConnectionButNotItsAnswer(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	w := g.dial()
	// The body would be the next request, if somebody took it for that.
	smuggled := "GET /smuggled HTTP/1.1\r\nHost: acme.test\r\n\r\n"
	w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: nobody.test\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled))
	r := w.reply("POST")
	wantStatus(t, r, 404, "no_tenant")
	if !r.Close {
		t.Fatal("the connection is said to stay open")
	}
	w.expectEnd()
}

func TestAClientThatStopsSendingItsBodyTimesOut(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Body = 100 * time.Millisecond })
	g.one(goDeck(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.ReadAll(r.Body) }))
	for _, framing := range []string{"Content-Length: 10\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		w := g.dial()
		w.send("POST / HTTP/1.1\r\nHost: acme.test\r\n" + framing)
		wantStatus(t, w.reply("POST"), 408, "request_timeout")
	}
	testkit.Eventually(t, "the decks' connections close", func() bool { return openConnections(g) == 0 })
}

func TestAClientThatTakesNoneOfItsAnswerIsGivenUp(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Write = 100 * time.Millisecond })
	g.one(goDeck(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 10000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "it is given up", func() bool { return faultCount(g, "client_gone") == 1 && openConnections(g) == 0 })
}

// A client that says Connection: close, or speaks HTTP/1.0, may still be sending its body
// when the answer is there: closing at once would reset the connection.
func TestAnEarlyAnswerIsNotCutShortBecauseItIsTheLast(t *testing.T) {
	g := newGrid(t, nil)
	g.one(newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
			_, _ = io.Copy(io.Discard, c.in)
		}
	}).addr)
	f := func(head string) {
		t.Helper()
		w := g.dial()
		w.send(head + "\r\nHost: acme.test\r\nContent-Length: 1000000\r\n\r\nx")
		r := w.reply("POST")
		if r.StatusCode != http.StatusRequestEntityTooLarge || r.body != "much" || r.err != nil {
			t.Fatalf("got %d %q %v", r.StatusCode, r.body, r.err)
		}
		for range 20 { // what was on its way already
			if _, err := io.WriteString(w.Conn, strings.Repeat("x", 1000)); err != nil {
				t.Fatalf("the connection was reset while the client was sending: %v", err)
			}
			time.Sleep(time.Millisecond) // a reset would have time to come back
		}
		_ = w.Close()
		testkit.Eventually(t, "the connection is gone", func() bool { open, _ := g.router.clients.count(); return open == 0 })
	}
	f("POST / HTTP/1.1\r\nConnection: close")
	f("POST / HTTP/1.0")
}

// uploading is a request to the only address of a grid whose body run is sending, just before the end of
// its answer.
func uploading(t *testing.T, g *grid, run func(x *exchange)) (x *exchange, e *upstream.Endpoint) {
	t.Helper()
	view := g.router.published.Load().decks[0]
	e = view.endpoints[0]
	conn, err := e.Dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	c, err := g.router.newClient(tcpPair(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	x = g.router.acquireExchange(c)
	t.Cleanup(func() {
		g.router.releaseExchange(x)
		c.stopLingering()
		c.close()
	})
	x.view, x.conn = view, conn
	c.attach(conn)
	x.upload.active = true
	go run(x)
	return x, e
}

// TestAnUploadThatEndsWhileItIsStoppedLeavesNothingToUseAgain has the last bytes of a request
// written just after its answer made the router stop the upload: both connections have a
// deadline in the past by then.
func TestAnUploadThatEndsWhileItIsStoppedLeavesNothingToUseAgain(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	x, e := uploading(t, g, func(x *exchange) {
		for !x.upload.stop.Load() {
			time.Sleep(time.Millisecond)
		}
		x.upload.done <- true // all was written
	})
	x.endAnswer(&bodyFlow{body: http1.NewBody(http1.FramedByLength, 1)})
	if n := e.Status().Idle; n != 0 || !x.closes {
		t.Fatalf("%d connections to the deck are kept, the client's closes: %v", n, x.closes)
	}
}

// TestAnUploadOfWhichAllWasReceivedNeverCostsTheClientItsConnection has the last bytes of a request be
// written when its answer ends: they were, and the news of it is late; or the deck takes no more.
func TestAnUploadOfWhichAllWasReceivedNeverCostsTheClientItsConnection(t *testing.T) {
	block := make(chan struct{})
	deaf := newRawDeck(t, func(*rawClient) { <-block })
	defer close(block)
	for _, deck := range []*rawDeck{answering(t, fine), deaf} {
		g := newGrid(t, nil)
		g.one(deck.addr)
		begun := make(chan struct{})
		x, e := uploading(t, g, func(x *exchange) {
			x.upload.last.Store(true)
			close(begun)
			if deck == deaf {
				_, err := x.conn.WriteUntil(make([]byte, 64<<20), wire.Forever)
				x.upload.done <- err == nil
				return
			}
			time.Sleep(5 * settleTime) // it is not let run
			x.upload.done <- true
		})
		<-begun
		x.endAnswer(&bodyFlow{body: http1.NewBody(http1.FramedByLength, 1)})
		kept := int64(1)
		if deck == deaf {
			kept = 0
		}
		if n := e.Status().Idle; n != kept || x.closes {
			t.Errorf("deaf: %v: %d connections to the deck are kept, the client's closes: %v", deck == deaf, n, x.closes)
		}
		if conn := e.Reuse(0, time.Hour); deck != deaf {
			if conn == nil {
				t.Fatal("the deck's connection is kept, and cannot be used")
			}
			if _, err := conn.WriteUntil([]byte(get("/")), wire.Forever); err != nil {
				t.Errorf("nothing can be written to the deck's connection: %v", err)
			}
			conn.Close(upstream.ClosedByClient)
		}
	}
}

// tcpPair returns one end of a connection whose other end lives as long as the test.
func tcpPair(t testing.TB) *net.TCPConn {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dialRaw(t, ln.Addr().String())
	conn, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn)
}
