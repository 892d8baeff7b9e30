package router

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// expecting asks with an expectation, and returns the connection before the body is sent.
func (g *grid) expecting(name, value string, length int) *rawClient {
	w := g.dial()
	w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: %d\r\n%s: %s\r\n\r\n", length, name, value))
	return w
}

// interimHead reads the head of an interim answer.
func (w *rawClient) interimHead() string {
	w.t.Helper()
	head := w.head()
	if !strings.HasPrefix(head, "HTTP/1.1 1") {
		w.t.Fatalf("got %q, want an interim answer", head)
	}
	return head
}

// TestADeckIsAskedBeforeAClientSendsItsBody forwards the expectation and hands on what the deck
// says: 100, a final answer, or both.
func TestADeckIsAskedBeforeAClientSendsItsBody(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Continue = time.Hour })
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength > 100 {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		body, _ := io.ReadAll(r.Body) // net/http says 100 when the body is read
		fmt.Fprintf(w, "%q %s", r.Header.Get("Expect"), body)
	}))
	for _, name := range []string{"Expect", "expect", "EXPECT"} {
		w := g.expecting(name, "100-Continue", 5)
		for range 2 { // the connection is fit for another request
			if head := w.interimHead(); head != "HTTP/1.1 100 Continue\r\n\r\n" {
				t.Fatalf("%s: got %q", name, head)
			}
			w.send("hello")
			if r := w.reply("POST"); r.body != `"100-Continue" hello` || r.Close {
				t.Fatalf("%s: got %q, closes %v", name, r.body, r.Close)
			}
			w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\nExpect: 100-Continue\r\n\r\n")
		}
	}
	w := g.expecting("Expect", "100-continue", 50<<20)
	r := w.reply("POST") // not a byte of the body was sent
	if r.StatusCode != http.StatusRequestEntityTooLarge || !r.Close {
		t.Fatalf("got %d, closes %v", r.StatusCode, r.Close)
	}
	// A body that comes with its head waits for nothing.
	for _, body := range []string{"hello", "he"} {
		w := g.dial()
		w.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n" + body)
		w.send("hello"[len(body):])
		if r := w.reply("POST"); !strings.HasSuffix(r.body, " hello") {
			t.Fatalf("got %q", r.body)
		}
	}
}

// TestASilentDeckLetsTheRouterSay100 has decks that read bodies without a word.
func TestASilentDeckLetsTheRouterSay100(t *testing.T) {
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Continue = 20 * time.Millisecond })
	g.one(newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			body := make([]byte, 5)
			if _, err := io.ReadFull(c.in, body); err != nil {
				return
			}
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 100 Continue\r\n\r\n"+fine) // too late: the client has been told
		}
	}).addr)
	for range 3 {
		w := g.expecting("Expect", "100-continue", 5)
		if head := w.interimHead(); head != "HTTP/1.1 100 Continue\r\n\r\n" {
			t.Fatalf("got %q", head)
		}
		w.send("hello")
		wantStatus(t, w.reply("POST"), 200, "")
	}
}

// TestAnAnswerAndThe100OfTheRouterNeverMix has decks that give their final answer just when the
// router is about to say 100 itself: the client gets it before the answer, or not at all.
func TestAnAnswerAndThe100OfTheRouterNeverMix(t *testing.T) {
	const after = 10 * time.Millisecond
	g := newGrid(t, func(cfg *Config) { cfg.ClientTimeouts.Continue = after })
	g.one(newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			time.Sleep(after) // the race is what is tested
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
			_, _ = io.Copy(io.Discard, c.in)
		}
	}).addr)
	for range 50 {
		w := g.expecting("Expect", "100-continue", 5)
		head := w.interimHead()
		if head == "HTTP/1.1 100 Continue\r\n\r\n" {
			head = w.interimHead()
		}
		if head != "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" {
			t.Fatalf("got %q", head)
		}
		if r := w.reply("POST"); r.StatusCode != http.StatusRequestEntityTooLarge || r.body != "much" {
			t.Fatalf("got %d %q", r.StatusCode, r.body)
		}
		w.expectEnd()
	}
}

// TestInterimAnswersArePassedOn tries what a deck may send before its answer.
func TestInterimAnswersArePassedOn(t *testing.T) {
	f := func(request, interim, want string) {
		t.Helper()
		g := newGrid(t, nil)
		g.one(answering(t, interim+fine).addr)
		w := g.dial()
		w.send(request)
		got := ""
		for {
			head := w.head()
			if strings.HasPrefix(head, "HTTP/1.1 200 ") || strings.HasPrefix(head, "HTTP/1.0 200 ") {
				break
			}
			if got += head; head == "" {
				t.Fatalf("%q: no answer behind %q", interim, got)
			}
		}
		if got != want {
			t.Errorf("%q: the client got %q, want %q", interim, got, want)
		}
	}
	const hints = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"
	f(get("/"), hints, hints)
	f(get("/"), strings.Repeat(hints, maxInterim), strings.Repeat(hints, maxInterim))
	f(get("/"), "HTTP/1.1 102 Processing\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n")
	f(get("/"), "HTTP/1.1 199\r\n\r\n", "HTTP/1.1 199 \r\n\r\n")
	f(get("/"), "HTTP/1.0 103 Early\r\n\r\n", "HTTP/1.1 103 Early\r\n\r\n")
	// What is for the deck's connection, what frames, and what is the router's to say stays behind.
	f(get("/"), "HTTP/1.1 103 Early\r\nX-Grid-Fault: x\r\nConnection: close, X-A\r\nX-A: 1\r\nContent-Length: 5\r\nX-B: 2\r\n\r\n", "HTTP/1.1 103 Early\r\nX-B: 2\r\n\r\n")
	f(get("/"), "HTTP/1.1 103 Early\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\n\r\n", "HTTP/1.1 103 Early\r\n\r\n")
	f(get("/"), "HTTP/1.1 100 Continue\r\n\r\n", "") // nobody waits for it
	f("GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n", hints, "")
	f("HEAD / HTTP/1.1\r\nHost: acme.test\r\n\r\n", hints, hints)
	f("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 2\r\n\r\nab", hints, hints)
}

// TestAFaultBehindAnInterimAnswerIsStillTold has decks that break off after a hint.
func TestAFaultBehindAnInterimAnswerIsStillTold(t *testing.T) {
	const hints = "HTTP/1.1 103 Early Hints\r\n\r\n"
	for _, broken := range []string{"", "nonsense\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n", strings.Repeat(hints, maxInterim)} {
		g := newGrid(t, nil)
		deck := newRawDeck(t, func(c *rawClient) {
			if c.head() != "" {
				_, _ = io.WriteString(c.Conn, hints+broken)
			}
		})
		g.one(deck.addr)
		w := g.dial()
		w.send(get("/"))
		for range 1 + strings.Count(broken, "HTTP/1.1 103") - strings.Count(broken, hints)/maxInterim {
			w.interimHead()
		}
		wantStatus(t, w.reply("GET"), 502, "bad_deck_answer")
		if n := deck.connections(); n != 1 {
			t.Errorf("%q: asked %d times", broken, n)
		}
	}
}
