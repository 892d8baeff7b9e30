package router

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/http1"
	"gridrouter.io/routing"
)

func TestARequestReachesItsDeckAndComesBack(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	w := g.dial()
	for range 3 {
		w.send(get("/"))
		if r := w.reply("GET"); r.StatusCode != http.StatusOK || r.body != "ok" {
			t.Fatalf("got %d %q", r.StatusCode, r.body)
		}
	}
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	w := g.dial()
	var all strings.Builder
	for i := range 20 {
		all.WriteString(get("/" + strconv.Itoa(i)))
	}
	w.send(all.String())
	for i := range 20 {
		if r := w.reply("GET"); r.body != "/"+strconv.Itoa(i) {
			t.Fatalf("answer %d is %q", i, r.body)
		}
	}
}

func TestTheAnswersFieldsPassByteForByteButForHopByHopAndGridOnes(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, "HTTP/1.1 299 Odd  Reason \x80\r\nX-a:1\r\nSet-Cookie: a=1\r\nset-COOKIE:  b=2; Path=/ \r\nConnection: close, X-Once\r\nX-Once: 1\r\n"+
		"Keep-Alive: x\r\nProxy-Connection: x\r\nProxy-Authenticate: x\r\nTE: x\r\nTrailer: x\r\nUpgrade: h2c\r\nX-Grid-Fault: internal\r\nx-grid-tenant: evil\r\n"+
		"Date: yesterday\r\nServer: s\r\nX-Request-Id: decks\r\nContent-Length: 0\r\n\r\n").addr)
	w := g.dial()
	w.send(get("/"))
	head := w.head()
	const want = "HTTP/1.1 299 Odd  Reason \x80\r\nX-a:1\r\nSet-Cookie: a=1\r\nset-COOKIE:  b=2; Path=/ \r\n" +
		"Date: yesterday\r\nServer: s\r\nX-Request-Id: decks\r\nContent-Length: 0\r\n\r\n"
	if head != want {
		t.Fatalf("got  %q\nwant %q", head, want)
	}
}

func TestAnAnswerWithoutADateGetsOne(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").addr)
	r := g.ask(get("/"))
	if at, err := http.ParseTime(r.Header.Get("Date")); err != nil || time.Since(at) > time.Minute {
		t.Fatalf("Date is %q", r.Header.Get("Date"))
	}
}

// TestAnswersInEveryFraming goes through the ways in which decks end a body.
func TestAnswersInEveryFraming(t *testing.T) {
	g := newGrid(t, nil)
	f := func(method, answer string, status int, body string, chunked bool) {
		t.Helper()
		deck := newRawDeck(t, func(c *rawClient) {
			if c.head() != "" {
				_, _ = io.WriteString(c.Conn, answer)
			}
		})
		g.one(deck.addr)
		r := g.ask(method + " / HTTP/1.1\r\nHost: acme.test\r\n\r\n")
		if r.StatusCode != status || r.body != body || r.err != nil || r.fault() != "" {
			t.Fatalf("%q: got %d %q %v %s", answer, r.StatusCode, r.body, r.err, r.fault())
		}
		if got := len(r.TransferEncoding) > 0; got != chunked {
			t.Fatalf("%q: chunked is %v", answer, got)
		}
	}
	f("GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false)
	f("GET", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false)
	f("GET", "HTTP/1.1 200 \r\ncontent-length:5\r\n\r\nhello", 200, "hello", false)
	f("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, "hello", true)
	f("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n03\r\nllo\r\n000\r\nX-Trailer: 1\r\n\r\n", 200, "hello", true)
	f("GET", "HTTP/1.1 200 OK\r\n\r\nuntil the end", 200, "until the end", true)
	f("GET", "HTTP/1.0 200 OK\r\n\r\nold", 200, "old", true)
	f("GET", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", 200, "old", false)
	f("GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, "", false)
	f("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, "", false)
	f("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 200, "", false)
	f("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, "", false)
	f("GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, "x", false)
	f("GET", "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", 404, "x", false)
}

func TestAnHTTP10ClientGetsChunksAsABodyThatEndsWithTheConnection(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n").addr)
	w := g.dial()
	w.send("GET / HTTP/1.0\r\nHost: acme.test\r\nConnection: keep-alive\r\n\r\n")
	all, err := io.ReadAll(w.in)
	if err != nil || !bytes.HasSuffix(all, []byte("Connection: close\r\n\r\nhello")) || bytes.Contains(all, []byte("chunked")) {
		t.Fatalf("got %q %v", all, err)
	}
}

func TestBadAnswersAreNeverPassedOn(t *testing.T) {
	g := newGrid(t, nil)
	f := func(answer string) {
		t.Helper()
		deck := newRawDeck(t, func(c *rawClient) {
			if c.head() != "" {
				_, _ = io.WriteString(c.Conn, answer)
			}
		})
		g.one(deck.addr)
		r := g.ask(get("/"))
		wantStatus(t, r, 502, "bad_deck_answer")
		if strings.Contains(r.body, "secret") {
			t.Fatalf("the deck's bytes reached the client: %q", r.body)
		}
		testkit.Eventually(t, "the deck's connection closes", func() bool { return openConnections(g) == 0 })
	}
	f("")
	f("secret\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nX-Secret: secret")
	f("HTTP/1.1 200 OK\nContent-Length: 0\n\n")
	f("HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 099 Low\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 600 High\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 2000 Long\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx")
	f("HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\nx")
	f("HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\nx")
	f("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")
	f("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nX: folded\r\n over\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nX : 1\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nsecret")
	f("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", http1.MaxAnswerHead) + "\r\nContent-Length: 0\r\n\r\n")
	f("HTTP/1.1 200 OK\r\n" + strings.Repeat("X: y\r\n", http1.MaxAnswerFields+1) + "Content-Length: 0\r\n\r\n")
	f(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", maxInterim+1) + fine)
}

func TestALargeHeadOfAnAnswerPasses(t *testing.T) {
	g := newGrid(t, nil)
	value := strings.Repeat("v", 50<<10)
	g.one(answering(t, "HTTP/1.1 200 OK\r\nX-Large: "+value+"\r\nContent-Length: 2\r\n\r\nok").addr)
	w := g.dial()
	for range 2 {
		w.send(get("/"))
		if r := w.reply("GET"); r.Header.Get("X-Large") != value || r.body != "ok" {
			t.Fatalf("got %d %d bytes", r.StatusCode, len(r.Header.Get("X-Large")))
		}
	}
}

// TestATruncatedAnswerIsNeverPresentedAsWhole cuts answers where a careless proxy would
// not notice.
func TestATruncatedAnswerIsNeverPresentedAsWhole(t *testing.T) {
	g := newGrid(t, nil)
	f := func(answer, version string) {
		t.Helper()
		deck := newRawDeck(t, func(c *rawClient) {
			if c.head() != "" {
				_, _ = io.WriteString(c.Conn, answer)
			}
		})
		g.one(deck.addr)
		w := g.dial()
		w.send("GET / " + version + "\r\nHost: acme.test\r\n\r\n")
		all, err := io.ReadAll(w.in)
		r, parseErr := http.ReadResponse(newReader(all), &http.Request{Method: http.MethodGet})
		if parseErr == nil {
			_, parseErr = io.ReadAll(r.Body)
		}
		if err == nil && parseErr == nil {
			t.Fatalf("%q to %s looks whole: %q", answer, version, all)
		}
	}
	long := strings.Repeat("x", 200<<10)
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n"+long, "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n32000\r\n"+long+"\r\nzz\r\n", "HTTP/1.1")
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "HTTP/1.0")
	f("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello", "HTTP/1.0")
}

func TestAnAnswerThatEndsWithAResetConnectionIsNotWhole(t *testing.T) {
	g := newGrid(t, nil)
	arrived := make(chan struct{})
	deck := newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\n\r\nhello")
			<-arrived // a reset may overtake it
			_ = c.Conn.(*net.TCPConn).SetLinger(0)
		}
	})
	g.one(deck.addr)
	w := g.dial()
	w.send(get("/"))
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, len("hello"))); err != nil {
		t.Fatal(err)
	}
	close(arrived)
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Fatalf("it looks whole, behind hello comes %q", rest)
	}
}

func TestBodiesFlowAsTheyCome(t *testing.T) {
	g := newGrid(t, nil)
	f := func(head, piece string) {
		t.Helper()
		seen := make(chan struct{})
		deck := newRawDeck(t, func(c *rawClient) {
			if c.head() == "" {
				return
			}
			_, _ = io.WriteString(c.Conn, head)
			for range 3 {
				_, _ = io.WriteString(c.Conn, piece)
				<-seen // the client has it before more is sent
			}
		})
		g.one(deck.addr)
		w := g.dial()
		w.send(get("/"))
		resp, err := http.ReadResponse(w.in, nil)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			got := make([]byte, 5)
			if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != "event" {
				t.Fatalf("got %q %v", got, err)
			}
			seen <- struct{}{}
		}
		_ = resp.Body.Close()
	}
	f("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "5\r\nevent\r\n")
	f("HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n", "event")
	f("HTTP/1.1 200 OK\r\n\r\n", "event")
}

func TestLargeBodiesArriveUnchanged(t *testing.T) {
	g := newGrid(t, nil)
	body := bytes.Repeat([]byte("0123456789abcdef"), 200<<10) // 3.2 MiB
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		}
		_, _ = w.Write(body)
	}))
	for _, path := range []string{"/length", "/chunks"} {
		if r := g.ask(get(path)); r.body != string(body) || r.err != nil {
			t.Fatalf("%s: %d bytes, %v", path, len(r.body), r.err)
		}
	}
}

func TestADeckThatIsSilentIsGivenUp(t *testing.T) {
	g := newGrid(t, nil)
	asked := make(chan struct{})
	silent := newRawDeck(t, func(c *rawClient) {
		_ = c.head()
		asked <- struct{}{}
		_, _ = io.ReadAll(c.in)
	})
	deck := deckAt("d1", silent.addr)
	deck.Timeouts.FirstByte = routing.Duration(time.Hour)
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	g.router.clock.Stop()
	for _, request := range []string{get("/"), "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 3\r\n\r\nabc"} {
		w := g.dial()
		w.send(request)
		<-asked
		g.someClient("the deck is waited for", deckIsRead)
		g.router.clock.Advance(time.Hour - time.Second)
		g.watchOnce()
		g.someClient("the deck is waited for as long as it may take", deckIsRead)
		g.router.clock.Advance(2 * time.Second)
		wantStatus(t, w.reply(methodOf(request)), 504, "deck_timeout")
		testkit.Eventually(t, "the connection closes", func() bool { return openConnections(g) == 0 })
	}
}

func TestADeckMayTakeItsTimeOnceItHasBegun(t *testing.T) {
	g := newGrid(t, nil)
	goOn := make(chan struct{})
	slow := newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
			<-goOn
			_, _ = io.WriteString(c.Conn, "k")
		}
	})
	deck := deckAt("d1", slow.addr)
	deck.Timeouts.FirstByte = routing.Duration(60 * time.Millisecond)
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	g.router.clock.Stop()
	w := g.dial()
	w.send(get("/"))
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", head)
	}
	g.someClient("the rest is waited for", deckIsRead)
	g.router.clock.Advance(time.Minute) // longer than firstByte: this is the point
	g.watchOnce()
	close(goOn)
	if body, err := io.ReadAll(io.LimitReader(w.in, 2)); string(body) != "ok" || err != nil {
		t.Fatalf("got %q %v", body, err)
	}
}

func TestATenantsTotalTimeoutBoundsEverything(t *testing.T) {
	g := newGrid(t, nil)
	step := make(chan struct{})
	defer close(step)
	deck := newRawDeck(t, func(c *rawClient) {
		if head := c.head(); strings.Contains(head, "/begun") {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
		}
		<-step
	})
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Timeouts = &routing.TenantTimeouts{Total: routing.Duration(100 * time.Millisecond)}
	g.put(deckAt("d1", deck.addr), tenant)
	g.router.clock.Stop()
	w := g.dial()
	w.send(get("/silent"))
	g.someClient("the deck is waited for", deckIsRead)
	g.router.clock.Advance(time.Second)
	wantStatus(t, w.reply("GET"), 504, "deck_timeout")
	w = g.dial()
	w.send(get("/begun"))
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("got %q", head)
	}
	g.router.clock.Advance(time.Second)
	if body, err := io.ReadAll(w.in); err == nil {
		t.Fatalf("got %q, want a cut answer", body)
	}
}

func TestAClientThatLeavesEndsTheDecksWork(t *testing.T) {
	g := newGrid(t, nil)
	ended := make(chan struct{})
	deck := newRawDeck(t, func(c *rawClient) {
		_ = c.head()
		_, _ = io.ReadAll(c.in)
		close(ended)
	})
	g.one(deck.addr)
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "the request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	_ = w.Close()
	select {
	case <-ended:
	case <-time.After(testkit.Patience):
		t.Fatal("the deck is still at work")
	}
	testkit.Eventually(t, "it is counted", func() bool { return faultCount(g, "client_gone") == 1 })
}

func TestTheClientsSlownessSlowsTheDeck(t *testing.T) {
	g := newGrid(t, nil)
	var written int64
	done := make(chan struct{})
	deck := newRawDeck(t, func(c *rawClient) {
		defer close(done)
		if c.head() == "" {
			return
		}
		_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		piece := make([]byte, 64<<10)
		_ = c.SetDeadline(time.Now().Add(500 * time.Millisecond))
		for {
			n, err := c.Write(piece)
			written += int64(n)
			if err != nil {
				return
			}
		}
	})
	g.one(deck.addr)
	w := g.dial()
	w.send(get("/"))
	<-done
	if written > 64<<20 { // the kernel's buffers on the way, and one of ours
		t.Fatalf("the deck could send %d bytes to a client that reads none", written)
	}
}

// openConnections counts the connections to all decks.
func openConnections(g *grid) (open int64) {
	for _, view := range g.router.published.Load().decks {
		if view != nil {
			for _, e := range view.endpoints {
				open += e.Status().Connections
			}
		}
	}
	return open
}

// faultCount reads how often a fault was counted.
func faultCount(g *grid, code routing.Fault) (n uint64) {
	_, place := g.router.faults.Of(code)
	for i := range g.router.counters.lanes {
		n += g.router.counters.lanes[i].faults[place].Load()
	}
	return n
}

func newReader(b []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(b)) }
