package router

import (
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gridrouter.io/routing"
)

// recording returns a deck that answers 200 and hands out the heads it received.
func recording(t testing.TB) (addr string, heads chan string) {
	heads = make(chan string, 16)
	deck := newRawDeck(t, func(c *rawClient) {
		for head := c.head(); head != ""; head = c.head() {
			heads <- head
			_, _ = io.WriteString(c.Conn, fine)
		}
	})
	return deck.addr, heads
}

func TestADeckReceivesTheClientsLinesByteForByteInOrder(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	g.ask("GET /a%2Fb/../c?x=1&y=%20 HTTP/1.1\r\nhOsT: ACME.test.\r\nX-b:2\r\nx-A:   spaced\tvalue \r\nCookie: a=1; b=2\r\n" +
		"Cookie: c=3\r\nX-Empty:\r\nuser-agent: curl\r\nAccept: caf\xc3\xa9\r\n\r\n")
	got := lines(<-heads)
	want := []string{
		"GET /a%2Fb/../c?x=1&y=%20 HTTP/1.1", "Host: d1.deck.test",
		"X-b:2", "x-A:   spaced\tvalue ", "Cookie: a=1; b=2; c=3", "X-Empty:", "user-agent: curl", "Accept: caf\xc3\xa9",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Proto: http", "X-Forwarded-Host: acme.test", "X-Forwarded-Port: 80",
	}
	if !slices.Equal(got[:len(want)], want) {
		t.Fatalf("got  %q\nwant %q", got, want)
	}
	rest := strings.Join(got[len(want):], "\n")
	if !regexp.MustCompile(`^X-Request-Id: [0-9a-f]{32}\ntraceparent: 00-[0-9a-f]{32}-[0-9a-f]{16}-00\nX-Grid-Tenant: acme\n` +
		`X-Grid-Deck: d1\nX-Grid-Epoch: 7\nX-Grid-Revision: 1\nX-Grid-Router: router-under-test\nX-Grid-Hops: 1$`).MatchString(rest) {
		t.Fatalf("the router's own lines are %q", rest)
	}
}

func TestTheHostThatADeckReceivesIsChosenByItsDocument(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	deck := deckAt("d1", addr)
	deck.HostHeader = routing.HostHeaderOriginal
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	f := func(host, want string) {
		t.Helper()
		g.ask("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if got := lines(<-heads); got[1] != "Host: "+host || !slices.Contains(got, "X-Forwarded-Host: "+want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
	f("acme.test", "acme.test")
	f("ACME.Test", "acme.test")
	f("acme.test.:8080", "acme.test:8080")
	f("acme.test.", "acme.test")
	f("acme.test:", "acme.test")
	f("acme.test:08080", "acme.test:8080")
	deck.HostHeader = routing.HostHeaderDeck
	g.put(deck)
	g.ask("GET / HTTP/1.1\r\nHost: acme.test:8080\r\n\r\n")
	if got := lines(<-heads); got[1] != "Host: d1.deck.test" || !slices.Contains(got, "X-Forwarded-Host: acme.test:8080") {
		t.Fatalf("got %q", got)
	}
}

func TestHopByHopFieldsDoNotReachTheDeck(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	g.ask("GET / HTTP/1.1\r\nHost: acme.test\r\nConnection: keep-alive, X-Once , upgrade\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\n" +
		"TE: trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nProxy-Authorization: Basic eA==\r\nX-Once: 1\r\nx-ONCE: 2\r\nX-Stays: 3\r\n\r\n")
	head := <-heads
	for _, gone := range []string{"Connection", "Keep-Alive", "TE:", "Trailer", "Upgrade", "Proxy-Authorization", "X-Once", "x-ONCE"} {
		if strings.Contains(head, "\r\n"+gone) {
			t.Errorf("%s reached the deck: %q", gone, head)
		}
	}
	if !strings.Contains(head, "\r\nX-Stays: 3\r\n") {
		t.Errorf("X-Stays is gone: %q", head)
	}
}

func TestConnectionCannotNominateWhatRoutesFramesOrIdentifies(t *testing.T) {
	g := newGrid(t, nil)
	deckHead := make(chan string, 1)
	deck := newRawDeck(t, func(c *rawClient) {
		deckHead <- c.head()
		_, _ = io.ReadFull(c.in, make([]byte, 3))
		_, _ = io.WriteString(c.Conn, fine)
	})
	g.one(deck.addr)
	r := g.ask("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 3\r\n" +
		"Connection: Host, Content-Length, X-Forwarded-For, X-Grid-Tenant, X-Request-Id, traceparent\r\n\r\nabc")
	wantStatus(t, r, 200, "")
	head := <-deckHead
	for _, kept := range []string{"Host: d1.deck.test", "Content-Length: 3", "X-Forwarded-For: 127.0.0.1", "X-Grid-Tenant: acme"} {
		if !strings.Contains(head, "\r\n"+kept+"\r\n") {
			t.Errorf("%s is gone: %q", kept, head)
		}
	}
}

func TestNobodyButTheRouterWritesGridAndForwardingFields(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	g.ask(get("/", "X-Grid-Tenant: evil", "x-grid-epoch: 9", "X-GRID-Anything: 1", "X-Grid-Router: router-under-test",
		"X-Forwarded-For: 10.9.8.7", "X-Forwarded-Proto: https", "X-Forwarded-Host: evil.test", "X-Forwarded-Port: 1", "Forwarded: for=10.9.8.7",
		"X-Real-IP: 10.9.8.7", "X-Request-Id: mine", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate: a=b",
		"X_Forwarded_For: 10.9.8.7", "X_Grid_Tenant: evil", "x_request_id: mine", "X-Forwarded_For: 10.9.8.7", "Content_Length: 5", "Under_Score: stays"))
	head := <-heads
	for _, evil := range []string{"evil", "10.9.8.7", "mine", "X-GRID-Anything", "Port: 1\r", "0af7651916cd43dd8448eb211c80319c", "tracestate", "Content_Length", "https"} {
		if strings.Contains(head, evil) {
			t.Errorf("%s reached the deck: %q", evil, head)
		}
	}
	if !strings.Contains(head, "Under_Score: stays\r\n") || strings.Count(head, "X-Grid-") != 6 || strings.Count(head, "X-Forwarded-For:") != 1 {
		t.Errorf("got %q", head)
	}
}

func TestATrustedPeerSpeaksForTheClient(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.TrustedProxies = prefixes("127.0.0.0/8", "10.0.0.0/8") })
	addr, heads := recording(t)
	g.one(addr)
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	g.ask(get("/", "X-Forwarded-For: 192.0.2.1, 198.51.100.7", "x-forwarded-for: 10.1.1.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: www.test",
		"X-Request-Id: abc-1", "Traceparent: "+trace, "tracestate: a=b", "X-Forwarded-Port: 443", "Forwarded: for=192.0.2.1, for=198.51.100.7, for=10.1.1.1", "X-Grid-Tenant: evil"))
	head := <-heads
	for _, want := range []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.7, 10.1.1.1, 127.0.0.1", "X-Forwarded-Proto: https", "X-Forwarded-Host: www.test",
		"X-Request-Id: abc-1", "Traceparent: " + trace, "tracestate: a=b", "X-Forwarded-Port: 443", "Forwarded: for=192.0.2.1, for=198.51.100.7, for=10.1.1.1", "Forwarded: for=127.0.0.1;proto=http"} {
		if strings.Count(head, "\r\n"+want+"\r\n") != 1 {
			t.Errorf("want %q once in %q", want, head)
		}
	}
	for _, twice := range []string{"X-Request-Id:", "raceparent:", "-Forwarded-Proto:", "evil"} {
		if n := strings.Count(head, twice); n > 1 || twice == "evil" && n > 0 {
			t.Errorf("%q stands %d times in %q", twice, n, head)
		}
	}
}

func TestWhatATrustedPeerSaysBadlyIsReplaced(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.TrustedProxies = prefixes("127.0.0.0/8") })
	addr, heads := recording(t)
	g.one(addr)
	g.ask(get("/", "X-Request-Id: two words", "traceparent: 00-00000000000000000000000000000000-b7ad6b7169203331-01", "tracestate: a=b", "X-Forwarded-Proto: gopher"))
	head := <-heads
	for _, bad := range []string{"two words", "b7ad6b7169203331", "tracestate", "gopher"} {
		if strings.Contains(head, bad) {
			t.Errorf("%s reached the deck: %q", bad, head)
		}
	}
}

func TestAbsoluteFormBecomesOriginForm(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	f := func(method, target, want string) {
		t.Helper()
		wantStatus(t, g.ask(method+" "+target+" HTTP/1.1\r\nHost: acme.test\r\n\r\n"), 200, "")
		if got := lines(<-heads)[0]; got != method+" "+want+" HTTP/1.1" {
			t.Errorf("%s: got %q, want %q", target, got, want)
		}
	}
	f("GET", "http://acme.test/a?b", "/a?b")
	f("GET", "HTTPS://ACME.TEST", "/")
	f("GET", "http://acme.test?q=1", "/?q=1")
	f("OPTIONS", "*", "*")
	f("OPTIONS", "http://acme.test", "*")
	f("GET", "//evil://x", "//evil://x")
}

func TestAnHTTP10RequestGoesOnAs11AndIsAnsweredAs10(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.one(addr)
	w := g.dial()
	w.send("GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n")
	if r := w.reply("GET"); r.Proto != "HTTP/1.0" || r.body != "ok" || !r.Close {
		t.Fatalf("got %s %q close=%v", r.Proto, r.body, r.Close)
	}
	w.expectEnd()
	if got := lines(<-heads)[0]; got != "GET / HTTP/1.1" {
		t.Fatalf("the deck got %q", got)
	}
	w = g.dial()
	for range 2 {
		w.send("GET / HTTP/1.0\r\nHost: acme.test\r\nConnection: Keep-Alive\r\n\r\n")
		if r := w.reply("GET"); r.body != "ok" || r.Header.Get("Connection") != "keep-alive" {
			t.Fatalf("got %q %v", r.body, r.Header)
		}
	}
}

// TestAFieldThatTheConnectionKeepsDecidesNothing: the deck does not get it, so it is not there.
func TestAFieldThatTheConnectionKeepsDecidesNothing(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.put(deckAt("d1", addr), &routing.Tenant{Name: "acme", Hosts: []string{"acme.test"}, Rules: []routing.Rule{
		{Name: "users", Key: &routing.KeySource{Header: "x-user-id"}, Split: map[string]int{"d1": 1}},
	}})
	wantStatus(t, g.ask(get("/", "Connection: X-User-Id", "X-User-Id: 1")), 400, "key_missing")
	wantStatus(t, g.ask(get("/", "X-User-Id: 1")), 200, "")
	if head := <-heads; !strings.Contains(head, "\r\nX-User-Id: 1\r\n") {
		t.Errorf("got %q", head)
	}
}

// A deck that reads "_", or any mark, like "-" would take the second value, and the router took the first.
func TestAFieldThatShadowsWhatDecidesTheDeckIsDropped(t *testing.T) {
	g := newGrid(t, nil)
	addr, heads := recording(t)
	g.put(deckAt("d1", addr), &routing.Tenant{Name: "acme", Hosts: []string{"acme.test"}, Rules: []routing.Rule{
		{Name: "canary", Match: &routing.Match{Headers: map[string]string{"x-release": "canary"}}, Deck: "d1"},
		{Name: "users", Key: &routing.KeySource{Header: "x-user-id"}, Split: map[string]int{"d1": 1}},
	}})
	shadows := []string{"X_User_Id", "x-user_id", "X_Release"}
	for _, mark := range "!#$%&'*+.^_`|~" {
		shadows = append(shadows, "X-User"+string(mark)+"Id", "x"+string(mark)+"release", "X"+string(mark)+"Real-Ip", "X-Forwarded"+string(mark)+"Ssl", "Content"+string(mark)+"Length")
	}
	fields := []string{"X-User-Id: 1", "X_User: 4", "X_User_Idle: 5"}
	for _, name := range shadows {
		fields = append(fields, name+": 2")
	}
	g.ask(get("/", fields...))
	got := strings.Join(lines(<-heads), "\n")
	for _, gone := range shadows {
		if strings.Contains(got, "\n"+gone+":") {
			t.Errorf("%s reached the deck:\n%s", gone, got)
		}
	}
	for _, stays := range []string{"X-User-Id: 1", "X_User: 4", "X_User_Idle: 5"} {
		if !strings.Contains(got, "\n"+stays+"\n") {
			t.Errorf("%q is gone:\n%s", stays, got)
		}
	}
}
