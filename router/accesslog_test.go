package router

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/accesslog"
)

// sheet takes lines.
type sheet struct {
	mu     sync.Mutex
	text   bytes.Buffer
	broken bool
}

func (s *sheet) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return 0, errors.New("no room")
	}
	return s.text.Write(p)
}

func (s *sheet) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.text.String(), "\n"), "\n")
}

func openLog(t *testing.T, cfg accesslog.Config) *accesslog.Log {
	t.Helper()
	l, err := accesslog.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

func TestTheAccessLogTellsOfEachRequest(t *testing.T) {
	out := &sheet{}
	l := openLog(t, accesslog.Config{Output: out, Rate: 1})
	g := newGrid(t, func(cfg *Config) { cfg.AccessLog = l; cfg.TrustedProxies = prefixes("127.0.0.1/32") })
	deck := answering(t, fine)
	g.one(deck.addr)
	g.ask(get("/p\"a?secret=1", "Cookie: secret=2", "X-Forwarded-For: 192.0.2.7", "X-Request-Id: id-1"))
	g.ask("POST /x HTTP/1.1\r\nHost: NOBODY.test\r\nContent-Length: 3\r\n\r\nabc")
	g.ask("nonsense\r\n\r\n")
	gone := g.dial()
	_ = gone.Close()
	testkit.Eventually(t, "the lines are written", func() bool { return len(out.lines()) == 3 })
	var got []map[string]any
	for _, text := range out.lines() {
		var fields map[string]any
		if err := json.Unmarshal([]byte(text), &fields); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got = append(got, fields)
	}
	byStatus := map[any]map[string]any{}
	for _, fields := range got {
		byStatus[fields["status"]] = fields
	}
	f := func(status float64, want map[string]any) {
		t.Helper()
		for name, value := range want {
			if byStatus[status][name] != value {
				t.Errorf("%v: %s is %v, want %v", status, name, byStatus[status][name], value)
			}
		}
		for _, name := range []string{"time", "requestId", "micros"} {
			if byStatus[status][name] == nil {
				t.Errorf("%v: no %s", status, name)
			}
		}
	}
	f(200, map[string]any{"requestId": "id-1", "client": "192.0.2.7", "method": "GET", "host": "acme.test", "path": "/p\"a", "tenant": "acme", "rule": "all",
		"deck": "d1", "address": deck.addr, "epoch": 7.0, "revision": 1.0, "fault": nil, "bytesIn": 0.0, "bytesOut": 2.0})
	f(404, map[string]any{"fault": "no_tenant", "host": "nobody.test", "deck": nil, "tenant": nil, "client": "127.0.0.1"})
	f(400, map[string]any{"fault": "bad_request", "host": nil, "path": nil})
	if byStatus[200.0]["deckMicros"] == nil || strings.Contains(strings.Join(out.lines(), ""), "secret") {
		t.Fatalf("lines %q", out.lines())
	}
}

func TestTheAccessLogNamesWhoLeft(t *testing.T) {
	out := &sheet{}
	l := openLog(t, accesslog.Config{Output: out, Rate: 1})
	g := newGrid(t, func(cfg *Config) { cfg.AccessLog = l })
	g.one(newRawDeck(t, func(c *rawClient) { _ = c.head(); _ = c.head() }).addr)
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "the request is under way", func() bool { return g.router.counters.inFlight() == 1 })
	_ = w.Close()
	testkit.Eventually(t, "the line is written", func() bool {
		return strings.Contains(strings.Join(out.lines(), ""), `"status":499,"fault":"client_gone"`)
	})
}

// TestBytesThatNobodyTookAreNotCountedAsSent has a client that takes nothing of a large answer.
func TestBytesThatNobodyTookAreNotCountedAsSent(t *testing.T) {
	log := &lockedBuffer{}
	access, err := accesslog.Open(accesslog.Config{Output: log, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(access.Close)
	g := newGrid(t, func(c *Config) { c.AccessLog = access })
	const size = 64 << 20
	g.one(goDeck(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for range size / 65536 {
			if _, err := w.Write(make([]byte, 65536)); err != nil {
				return
			}
		}
	}))
	w := g.dial()
	w.send(get("/"))
	testkit.Eventually(t, "some of it is sent", func() bool { return sentToClients(g) > 100_000 })
	_ = w.Conn.(*net.TCPConn).SetLinger(0)
	_ = w.Close()
	line := ""
	testkit.Eventually(t, "it is logged", func() bool { line = log.line(`"client_gone"`); return line != "" })
	var entry struct{ BytesOut uint64 }
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		t.Fatal(err)
	}
	if taken := sentToClients(g); entry.BytesOut == 0 || entry.BytesOut > taken || taken-entry.BytesOut > 1000 {
		t.Errorf("the log says %d bytes, the system took %d, head and all", entry.BytesOut, taken)
	}
}
