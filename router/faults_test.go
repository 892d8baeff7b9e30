package router

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/routing"
)

func TestAFaultsAnswerIsWhatTheContractSays(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	w := g.dial()
	w.send("GET /x HTTP/1.1\r\nHost: nobody.test\r\n\r\n")
	r := w.reply("GET")
	wantStatus(t, r, 404, "no_tenant")
	var body struct{ Fault, Message, RequestID string }
	decoder := json.NewDecoder(strings.NewReader(r.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&body); err != nil || body.Fault != "no_tenant" || body.Message == "" || body.RequestID != r.Header.Get("X-Request-Id") || body.RequestID == "" {
		t.Fatalf("body %q, X-Request-Id %q, %v", r.body, r.Header.Get("X-Request-Id"), err)
	}
	if r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cache-Control") != "no-store" || r.Close {
		t.Fatalf("header %v close=%v", r.Header, r.Close)
	}
	w.send("HEAD /x HTTP/1.1\r\nHost: nobody.test\r\n\r\n") // the connection goes on
	if r := w.reply("HEAD"); r.StatusCode != http.StatusNotFound || r.ContentLength <= 0 {
		t.Fatalf("HEAD: got %d, length %d", r.StatusCode, r.ContentLength)
	}
	w.send(get("/"))
	wantStatus(t, w.reply("GET"), 200, "")
}

// TestFaultsOfRequests goes through the faults that admission ends in, over the wire.
func TestFaultsOfRequests(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	f := func(request string, status int, fault string) {
		t.Helper()
		w := g.dial()
		w.send(request)
		r := w.reply(methodOf(request))
		wantStatus(t, r, status, fault)
		if !r.Close {
			t.Fatalf("%q: the connection stays open", request)
		}
		w.expectEnd()
	}
	const host = "Host: acme.test\r\n"
	f("GET / HTTP/1.1\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.0\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"Host: acme.test\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\nHost: a.test, acme.test\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\nHost: user@acme.test\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\nHost: acme.test:99999\r\n\r\n", 400, "bad_request")
	f("GET http://evil.test/ HTTP/1.1\r\n"+host+"\r\n", 400, "bad_request")
	f("GET http://u@acme.test/ HTTP/1.1\r\n"+host+"\r\n", 400, "bad_request")
	f("GET ftp://acme.test/ HTTP/1.1\r\n"+host+"\r\n", 400, "bad_request")
	f("GET /#x HTTP/1.1\r\n"+host+"\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X: a\r\n b\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X : a\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X Y: a\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+": a\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X: a\x01b\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X: a\nY: b\r\n\r\n", 400, "bad_request")
	f("GET / HTTP/1.1\r\n"+host+"X: a\rb\r\n\r\n", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Content-Length: 1,1\r\n\r\nx", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Content-Length: -1\r\n\r\nx", 400, "bad_request")
	f("POST / HTTP/1.0\r\n"+host+"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, "bad_request")
	f("POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, "not_implemented")
	f("POST / HTTP/1.1\r\n"+host+"Transfer-Encoding: identity\r\n\r\n", 501, "not_implemented")
	f("TRACE / HTTP/1.1\r\n"+host+"\r\n", 405, "method_not_allowed")
	f("CONNECT acme.test:443 HTTP/1.1\r\nHost: acme.test:443\r\n\r\n", 405, "method_not_allowed")
	f("GET / HTTP/9.9\r\n"+host+"\r\n", 505, "version_not_supported")
	f("GET / HTTP/2.0\r\n"+host+"\r\n", 505, "version_not_supported")
	f("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "version_not_supported")
	f("GET / HTTP/1.1\r\n"+host+"Expect: x\r\n\r\n", 417, "expectation_failed")
	f("GET /"+strings.Repeat("a", 9<<10)+" HTTP/1.1\r\n"+host+"\r\n", 414, "uri_too_long")
	f("GET / HTTP/1.1\r\n"+host+strings.Repeat("X: y\r\n", 101)+"\r\n", 431, "head_too_large")
	f("nonsense\r\n\r\n", 400, "bad_request")
	f("G@T / HTTP/1.1\r\n"+host+"\r\n", 400, "bad_request")
}

func TestHeadsBeyondTheBufferAreRefusedByWhatIsTooLong(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	f := func(request string, status int, fault string) {
		t.Helper()
		w := g.dial()
		go func() { _, _ = io.WriteString(w.Conn, request) }() // it may not be taken whole
		wantStatus(t, w.reply("GET"), status, fault)
	}
	f("GET /"+strings.Repeat("a", 70<<10)+" HTTP/1.1\r\nHost: acme.test\r\n\r\n", 414, "uri_too_long")
	f("GET / HTTP/1.1\r\nHost: acme.test\r\nX: "+strings.Repeat("a", 70<<10)+"\r\n\r\n", 431, "head_too_large")
}

func TestFaultsOfDecisions(t *testing.T) {
	g := newGrid(t, nil)
	w := g.dial()
	w.send(get("/"))
	wantStatus(t, w.reply("GET"), 503, "no_table")

	byUser := tenantOn("acme", "d1", "acme.test")
	byUser.Rules = []routing.Rule{{Name: "users", Key: &routing.KeySource{Header: "x-user-id"}, Ranges: []routing.Range{{From: 1, To: 5, Deck: "d1"}}}}
	down := deckAt("d2", "127.0.0.1:1")
	down.State = routing.DeckDown
	g.put(deckAt("d1", answering(t, fine).addr), down, byUser, tenantOn("globex", "d2", "globex.test"))
	g.docs["tenants/bad"] = []byte(`{"kind":"Tenant","name":"bad","hosts":["bad.test"],"rules":[]}`)
	g.docs["pins/acme/7"] = []byte(`{"kind":"Pin","tenant":"acme","key":"7"}`)
	g.publish()
	f := func(host, header string, status int, fault string) {
		t.Helper()
		w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n" + header + "\r\n\r\n")
		wantStatus(t, w.reply("GET"), status, fault)
	}
	f("acme.test", "X-User-Id: 3", 200, "")
	f("acme.test", "X: y", 400, "key_missing")
	f("acme.test", "X-User-Id: 3\r\nx-user-id: 3", 400, "bad_request")
	f("acme.test", "X-User-Id: 9", 404, "no_rule")
	f("nobody.test", "X: y", 404, "no_tenant")
	f("globex.test", "X: y", 503, "deck_down")
	f("bad.test", "X: y", 503, "tenant_invalid")
	byUser.Rules[0].Pins = routing.PinsResident
	g.put(byUser)
	f("acme.test", "X-User-Id: 7", 503, "pin_unreadable")
}

func TestFaultsOfDecks(t *testing.T) {
	g := newGrid(t, nil)
	g.one(testkit.FreeAddr(t))
	wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	g.put(deckAt("d1", "nowhere.test:80"))
	wantStatus(t, g.ask(get("/")), 503, "deck_unresolved")
}

func TestAPanicEndsOneRequestAlone(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	good := g.router.published.Load()
	bad := *good
	bad.decks = nil // no table and its decks differ like this
	g.router.published.Store(&bad)
	r := g.ask(get("/"))
	wantStatus(t, r, 500, "internal")
	if strings.Contains(r.body, "index") || g.logs.FilterMessageSnippet("panic").Len() != 1 {
		t.Fatalf("body %q, logs %v", r.body, g.logs.All())
	}
	g.router.published.Store(&published{}) // nor is there one without a table
	r = g.ask("POST / HTTP/1.1\r\nHost: acme.test\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
	wantStatus(t, r, 500, "internal")
	g.router.published.Store(good)
	wantStatus(t, g.ask(get("/")), 200, "")
}

func TestASilentClientIsNotAnsweredAndASlowOneTimesOut(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Head = 100 * time.Millisecond })
	g.one(answering(t, fine).addr)
	w := g.dial()
	w.expectEnd()
	g.router.clock.Stop()
	w = g.dial()
	w.send("GET / HT")
	g.received(len("GET / HT"))
	g.router.clock.Advance(time.Second)
	wantStatus(t, w.reply("GET"), 408, "request_timeout")
}

func TestFaultsNeverShowWhatADeckSaid(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, "HTTP/1.1 secret secret\r\nX: secret\r\n\r\nsecret").addr)
	w := g.dial()
	w.send(get("/"))
	_ = w.SetReadDeadline(time.Now().Add(patience))
	_ = w.Conn.(*net.TCPConn).CloseWrite()
	all, _ := io.ReadAll(w.in)
	if !strings.Contains(string(all), "bad_deck_answer") || strings.Contains(string(all), "secret") || strings.Contains(string(all), "127.0.0.1") {
		t.Fatalf("got %q", all)
	}
}
