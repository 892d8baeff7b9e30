package router

import (
	"crypto/tls"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fasthttp"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/admin"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/lograte"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// failsAs has a deck at addr fail, and looks for the cause where people look: the metric, /decks, the
// log and the access log, each with words that tell what it was. The client is told nothing of them.
// meanwhile, if not nil, is called once the deck is being asked.
func failsAs(t *testing.T, cause upstream.Cause, fault string, addr string, doc *routing.DeckTLS, words string, meanwhile func(*grid)) {
	t.Helper()
	log := &lockedBuffer{}
	access, err := accesslog.Open(accesslog.Config{Output: log, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer access.Close()
	g := newGrid(t, func(cfg *Config) { cfg.AccessLog = access })
	deck := deckAt("d1", addr)
	deck.TLS = doc
	deck.Timeouts = &routing.DeckTimeouts{Connect: routing.Duration(patience), FirstByte: routing.Duration(patience)}
	switch cause {
	case upstream.FailedConnectTime:
		deck.Timeouts.Connect = routing.Duration(300 * time.Millisecond)
	case upstream.FailedFirstByte:
		deck.Timeouts.FirstByte = routing.Duration(300 * time.Millisecond)
	default:
	}
	tenant := tenantOn("acme", "d1", "acme.test")
	tenant.Retry = &routing.Retry{Attempts: 1}
	g.put(deck, tenant)
	w := g.dial()
	w.send(get("/"))
	if meanwhile != nil {
		meanwhile(g)
	}
	r, err := w.tryReply("GET")
	if fault == "" && err == nil && r.err == nil {
		t.Errorf("%s: the answer looks whole", cause)
	}
	if fault != "" && (err != nil || r.fault() != fault || strings.Contains(r.body, cause.Words())) {
		t.Errorf("%s: got %+v %v, want %s", cause, r, err, fault)
	}
	checkTold(t, g, cause, words)
	testkit.Eventually(t, "it stands in the access log", func() bool { return log.line(words) != "" })
}

// TestEachWayThatConnectingFailsIsTold tries every cause for which there is no connection to a deck.
func TestEachWayThatConnectingFailsIsTold(t *testing.T) {
	ca, stranger := testkit.NewAuthority(t, "authority"), testkit.NewAuthority(t, "authority")
	pair := ca.Issue("d1.deck.test").TLS
	expired := ca.IssueForm(testkit.Form{Hosts: []string{"d1.deck.test"}, From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)}).TLS
	nameless := ca.IssueForm(testkit.Form{Name: "d1.deck.test"}).TLS
	trusting := &routing.DeckTLS{CAFile: ca.File}
	over := func(config *tls.Config) *rawDeck { return tlsDeck(t, config, always(fine)) }
	with := func(pair tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, ClientCAs: ca.Pool()}
	}
	wantsCertificate := func(version uint16) *tls.Config {
		config := with(pair)
		config.ClientAuth, config.MaxVersion = tls.RequireAndVerifyClientCert, version
		return config
	}
	f := func(cause upstream.Cause, fault string, addr string, doc *routing.DeckTLS, words string) {
		t.Helper()
		failsAs(t, cause, fault, addr, doc, words, nil)
	}
	silent := newRawDeck(t, func(c *rawClient) { _, _ = io.ReadAll(c.in) })
	old := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11} // as decks are that are not kept up

	f(upstream.FailedUnresolved, "deck_unresolved", "nowhere.test:80", nil, "nowhere.test")
	f(upstream.FailedRefused, "connect_failed", testkit.FreeAddr(t), nil, "nobody listens")
	f(upstream.FailedConnectTime, "connect_failed", silent.addr, trusting, "in time")
	f(upstream.FailedTLSFiles, "connect_failed", silent.addr, &routing.DeckTLS{CAFile: "/nonexistent/ca.pem"}, "caFile")
	f(upstream.FailedTLSName, "connect_failed", over(with(pair)).addr, &routing.DeckTLS{CAFile: ca.File, ServerName: "another.test"}, "another.test")
	f(upstream.FailedTLSName, "connect_failed", over(with(nameless)).addr, trusting, "its certificate is for another name")
	f(upstream.FailedTLSIssuer, "connect_failed", over(with(pair)).addr, &routing.DeckTLS{CAFile: stranger.File}, "caFile")
	f(upstream.FailedTLSIssuer, "connect_failed", over(with(pair)).addr, &routing.DeckTLS{}, "caFile")
	f(upstream.FailedTLSExpired, "connect_failed", over(with(expired)).addr, trusting, "expired")
	f(upstream.FailedTLSPlain, "connect_failed", answeringAtOnce(t, "HTTP/1.1 400 Bad Request\r\n\r\n"), trusting, "does not speak TLS")
	f(upstream.FailedTLSRefused, "connect_failed", over(wantsCertificate(tls.VersionTLS12)).addr, trusting, "certFile")
	f(upstream.FailedTLSRefused, "bad_deck_answer", over(wantsCertificate(tls.VersionTLS13)).addr, trusting, "certFile")
	f(upstream.FailedTLSRefused, "connect_failed", answeringAtOnce(t, ""), trusting, "ended the TLS handshake")
	f(upstream.FailedTLS, "connect_failed", over(old).addr, trusting, "protocol version not supported")
}

// TestEachWayThatADeckFailsIsTold tries every cause for which there is no whole answer.
func TestEachWayThatADeckFailsIsTold(t *testing.T) {
	f := func(cause upstream.Cause, fault string, addr string, words string) {
		t.Helper()
		failsAs(t, cause, fault, addr, nil, words, nil)
	}
	raw := func(answer string) string {
		return newRawDeck(t, func(c *rawClient) { _ = c.head(); _, _ = io.WriteString(c.Conn, answer) }).addr
	}
	silent := newRawDeck(t, func(c *rawClient) { _, _ = io.ReadAll(c.in) })
	// Byte by byte, or at once; and then nothing more. It begins when it is told to.
	begin := make(chan struct{}, 1)
	stalling := func(answer string, every time.Duration) string {
		return newRawDeck(t, func(c *rawClient) {
			_ = c.head()
			<-begin
			for every > 0 && len(answer) > 0 {
				if _, err := io.WriteString(c.Conn, answer[:1]); err != nil {
					return
				}
				answer = answer[1:]
				time.Sleep(every)
			}
			_, _ = io.WriteString(c.Conn, answer)
			_, _ = io.ReadAll(c.in)
		}).addr
	}

	f(upstream.FailedClosed, "bad_deck_answer", raw(""), "without an answer")
	f(upstream.FailedFirstByte, "deck_timeout", silent.addr, "no first byte in time")
	f(upstream.FailedHead, "bad_deck_answer", raw("nonsense\r\n\r\n"), `line 1, \"nonsense`)
	f(upstream.FailedHead, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nA: 1\r\nB : 2\r\n\r\n"), `line 3, \"B \"`)
	f(upstream.FailedHead, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n"), `line 2, \"A\"`)
	f(upstream.FailedHead, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nSet-Cookie: secret=\x01\r\n\r\n"), `line 2, \"Set-Cookie\"`)
	f(upstream.FailedCut, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nA: 1"), "within its head")
	f(upstream.FailedClosed, "bad_deck_answer", raw("HTTP/1.1 103 x\r\n\r\n"), "without an answer")
	begin <- struct{}{}
	f(upstream.FailedFirstByte, "deck_timeout", stalling("HTTP/1.1 103 x\r\n\r\n", 0), "no first byte in time")
	for _, addr := range []string{
		stalling("HTTP/1.1 200 OK\r\nA: 1", 0),
		stalling("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("1", 1000), 50*time.Millisecond),
	} {
		failsAs(t, upstream.FailedHeadTime, "deck_timeout", addr, nil, "not come whole in time", func(g *grid) {
			g.router.clock.Stop()
			g.someClient("the first byte is waited for", deckIsRead)
			before := g.deckReadBy()
			g.router.clock.Advance(time.Second) // so that the time for the rest ends later
			begin <- struct{}{}
			testkit.Eventually(t, "the rest of the head is waited for", func() bool { return g.deckReadBy() > before })
			g.router.clock.Advance(2 * patience)
		})
	}
	f(upstream.FailedHead, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nA: "+strings.Repeat("x", http1.MaxAnswerHead)), "too large")
	f(upstream.FailedHead, "bad_deck_answer", raw(switched), "nobody asked for")
	f(upstream.FailedHead, "bad_deck_answer", raw(strings.Repeat("HTTP/1.1 103 x\r\n\r\n", maxInterim+1)), "interim")
	f(upstream.FailedHead, "bad_deck_answer", answeringAtOnce(t, "\x15\x03\x01\x00\x02\x02\x46"), "speaks TLS")
	f(upstream.FailedHead, "bad_deck_answer", answeringAtOnce(t, "\x15\x03\x01\x00\x02\x02\x0a\n\n"), "speaks TLS")
	f(upstream.FailedFraming, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), `line 2, \"Content-Length\"`)
	f(upstream.FailedChunks, "bad_deck_answer", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n"+strings.Repeat("z", 9)), "chunks")
	f(upstream.FailedCut, "", raw("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"), "7 bytes")
	f(upstream.FailedCut, "", raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), "3 bytes")
}

// answeringAtOnce is a deck that speaks first, whatever it is asked.
func answeringAtOnce(t *testing.T, text string) string {
	return newRawDeck(t, func(c *rawClient) {
		_, _ = c.in.Peek(1)
		_, _ = io.WriteString(c.Conn, text)
	}).addr
}

// checkTold looks for a cause in the metric, in /decks and in the log.
func checkTold(t *testing.T, g *grid, cause upstream.Cause, words string) {
	t.Helper()
	words = strings.ReplaceAll(words, `\"`, `"`)
	testkit.Eventually(t, "the failure is counted", func() bool { return g.counts().Failures[cause] == 1 })
	for other := upstream.NoFailure + 1; other < upstream.Causes; other++ {
		if n := g.counts().Failures[other]; other != cause && n > 0 {
			t.Errorf("%s: %s is counted too", cause, other)
		}
	}
	var ctx fasthttp.RequestCtx
	ctx.Request.SetRequestURI("/decks")
	admin.New(g.router, admin.Config{Gatherer: prometheus.NewRegistry()})(&ctx)
	var decks []upstream.DeckStatus
	if err := json.Unmarshal(ctx.Response.Body(), &decks); err != nil {
		t.Fatal(err)
	}
	last := decks[0].LastFailure
	for _, address := range decks[0].Addresses {
		last = address.LastFailure
	}
	if last == nil || last.Cause != cause.String() || !strings.Contains(last.What, words) || last.SecondsAgo < 0 {
		t.Errorf("%s: /decks shows %+v, want %q", cause, last, words)
	}
	entries := g.logs.FilterMessage("a deck failed a request").All()
	if len(entries) != 1 || entries[0].ContextMap()["cause"] != cause.String() || !strings.Contains(entries[0].ContextMap()["what"].(string), words) {
		t.Errorf("%s: logged %+v", cause, entries)
	}
}

// TestAFailureThatWasTriedAgainIsCountedWhereItHappened has one of two addresses refuse.
func TestAFailureThatWasTriedAgainIsCountedWhereItHappened(t *testing.T) {
	g := newGrid(t, nil)
	dead := testkit.FreeAddr(t)
	g.one(answering(t, fine).addr, dead)
	testkit.Eventually(t, "the dead address was tried", func() bool {
		wantStatus(t, g.ask(get("/")), 200, "")
		return g.counts().Failures[upstream.FailedRefused] > 0
	})
	for _, e := range g.router.published.Load().decks[0].endpoints {
		if last := e.Status().LastFailure; (last != nil) != (e.Address() == dead) {
			t.Errorf("%s: %+v", e.Address(), last)
		}
	}
}

// TestAnIdleConnectionThatADeckClosedIsNoFailure has requests that are tried again on a fresh one.
func TestAnIdleConnectionThatADeckClosedIsNoFailure(t *testing.T) {
	g := newGrid(t, nil)
	g.one(newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, fine)
			_ = c.head() // and closes at the second request
		}
	}).addr)
	w := g.dial()
	for range 5 {
		w.send(get("/"))
		wantStatus(t, w.reply("GET"), 200, "")
	}
	for cause := range upstream.Causes {
		if n := g.counts().Failures[cause]; n > 0 {
			t.Errorf("%s is counted %d times", cause, n)
		}
	}
}

// TestManyFailuresAreLoggedWithinBounds counts lines, and those left out.
func TestManyFailuresAreLoggedWithinBounds(t *testing.T) {
	g := newGrid(t, nil)
	g.one(testkit.FreeAddr(t))
	begun := time.Now()
	for range 100 {
		g.ask(get("/"))
	}
	most := lograte.Lines * (2 + int(time.Since(begun)/lograte.Every))
	if n := g.logs.FilterMessage("a deck failed a request").Len(); n == 0 || n > most {
		t.Errorf("%d lines, at most %d", n, most)
	}
}
