package router

import (
	"io"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/wire"
)

// residentBytes is what the process has in memory at the moment, all its sockets aside.
func residentBytes(t testing.TB) int64 {
	t.Helper()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// dialMany opens connections that the test ends.
func dialMany(t testing.TB, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		conns[i] = conn
	}
	return conns
}

// TestClientsThatDeclareMuchAndSendLittleCostLittle has clients that declare 4 GiB and send
// one byte. Each has a connection to the deck and its goroutine here too: all that counts.
func TestClientsThatDeclareMuchAndSendLittleCostLittle(t *testing.T) {
	clients := 2000
	if raceEnabled {
		clients = 200 // the detector has its own memory
	}
	g := newGrid(t, func(c *Config) { c.MaxClients = 4000 })
	g.one(newRawDeck(t, func(c *rawClient) { _, _ = io.Copy(io.Discard, c.Conn) }).addr)
	before := residentBytes(t)
	for _, conn := range dialMany(t, g.addr, clients) {
		if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 4294967296\r\n\r\nx"); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "all are under way", func() bool { return g.live().InFlight() == int64(clients) })
	each := (residentBytes(t) - before) / int64(clients)
	t.Logf("%d bytes each, deck and test included", each)
	if each > 64<<10 && !raceEnabled {
		t.Errorf("%d bytes each, at most 64 KiB are allowed", each)
	}
}

func TestSlowReadersCostLittle(t *testing.T) {
	clients := 200
	if raceEnabled {
		clients = 20
	}
	g := newGrid(t, nil)
	g.one(goDeck(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(1<<30))
		piece := make([]byte, 64<<10)
		for range 1 << 14 {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	}))
	before := residentBytes(t)
	for _, conn := range dialMany(t, g.addr, clients) {
		if _, err := io.WriteString(conn, get("/")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1<<10)); err != nil {
			t.Fatal(err)
		}
	}
	stuck := func() (n int) {
		g.router.clients.each(func(c *client) {
			if c.WriteBy.Load() > 0 {
				n++
			}
		})
		return n
	}
	testkit.Eventually(t, "all wait for their clients", func() bool { return stuck() == clients })
	each := (residentBytes(t) - before) / int64(clients)
	t.Logf("%d bytes each, deck and test included", each)
	if each > 256<<10 && !raceEnabled {
		t.Errorf("%d bytes each, at most 256 KiB are allowed", each)
	}
}

func TestIdleConnectionsHoldNoBuffer(t *testing.T) {
	clients := 1000
	if raceEnabled {
		clients = 100
	}
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	before := residentBytes(t)
	for _, conn := range dialMany(t, g.addr, clients) {
		w := wireOn(t, conn)
		w.send(get("/"))
		wantStatus(t, w.reply("GET"), 200, "")
		w.in.Reset(strings.NewReader(""))
	}
	held := 0
	testkit.Eventually(t, "all are idle", func() bool {
		idle := 0
		held = 0
		g.router.clients.each(func(c *client) {
			if c.ReadBy.Load() > 0 {
				idle++
			}
		})
		return idle == clients
	})
	each := (residentBytes(t) - before) / int64(clients)
	t.Logf("%d bytes each, %d buffers held, the test's own 4 KiB reader included", each, held)
	if each > 16<<10 && !raceEnabled {
		t.Errorf("%d bytes each", each)
	}
}

func TestABodyThatStandsStillIsCut(t *testing.T) {
	g := newGrid(t, func(c *Config) { c.ClientTimeouts.Body = 300 * time.Millisecond })
	seen := make(chan error, 2)
	g.one(newRawDeck(t, func(c *rawClient) {
		c.head()
		_, err := io.ReadAll(c.in)
		seen <- err
	}).addr)
	still := g.dial()
	still.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 100000\r\n\r\nx")
	wantStatus(t, still.reply("POST"), 408, "request_timeout")
	still.expectEnd()
	<-seen
	g.router.clock.Stop()
	slow := g.dial() // a byte at a time, far below a KiB a second
	slow.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 100000\r\n\r\n")
	g.someClient("the body is waited for", func(c *client) bool { return c.bodySince.Load() > 0 })
	const pace, most = 50 * time.Millisecond, 500 * time.Millisecond
	over := func() bool { return g.router.counters.inFlight() == 0 }
	for took := time.Duration(0); !over(); took += pace {
		if took > most {
			t.Fatalf("a trickle goes on for %v", took)
		}
		before := receivedFromClients(g)
		_, _ = io.WriteString(slow.Conn, "x")
		testkit.Eventually(t, "a byte is taken, or no more", func() bool { return over() || receivedFromClients(g) > before })
		g.router.clock.Advance(pace)
		g.watchOnce()
	}
	<-seen
}

// TestHeadsThatDoNotEndAreCutAtTheLimit sends heads without an end as fast as it can.
func TestHeadsThatDoNotEndAreCutAtTheLimit(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	f := func(begin, piece string, status int) {
		t.Helper()
		w := g.dial()
		w.send(begin)
		go func() {
			for range 1 << 20 {
				if _, err := io.WriteString(w.Conn, piece); err != nil {
					return
				}
			}
		}()
		if r := w.reply("GET"); r.StatusCode != status {
			t.Errorf("got %d, want %d", r.StatusCode, status)
		}
		_ = w.Close()
	}
	f("GET / HTTP/1.1\r\nHost: acme.test\r\n", "X-Bomb: 0123456789\r\n", 431)
	f("GET / HTTP/1.1\r\nHost: acme.test\r\nX-Bomb: ", "0123456789", 431)
	f("GET /", "0123456789", 414)
}

func TestClientsThatTakeTooLongAreCounted(t *testing.T) {
	const short = 150 * time.Millisecond
	g := newGrid(t, func(c *Config) {
		c.ClientTimeouts = ClientTimeouts{Head: short, Idle: short, Body: short, Write: short, Tunnel: short}
	})
	g.router.clock.Stop()
	tooLong := func() { g.router.clock.Advance(short + wire.WatchEvery) }
	counted := func(wait clientWait) {
		t.Helper()
		testkit.Eventually(t, wait.String()+" is counted", func() bool { return g.router.clientTimeouts[wait].Load() == 1 })
	}
	g.one(answering(t, fine).addr)
	idle := g.dial()
	idle.send(get("/"))
	wantStatus(t, idle.reply("GET"), 200, "")
	g.someClient("the next request is waited for", isRead)
	tooLong()
	idle.expectEnd()
	counted(waitedIdle)
	head := g.dial()
	head.send("GET / HTT")
	g.received(len(get("/")) + len("GET / HTT"))
	tooLong()
	wantStatus(t, head.reply("GET"), 408, "request_timeout")
	counted(waitedHead)
	g.one(newRawDeck(t, func(c *rawClient) { _, _ = io.ReadAll(c.in) }).addr)
	body := g.dial()
	body.send("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 9\r\n\r\nx")
	g.someClient("the body is waited for", func(c *client) bool { return c.bodySince.Load() > 0 && isRead(c) })
	tooLong()
	wantStatus(t, body.reply("POST"), 408, "request_timeout")
	counted(waitedBody)
	g.one(goDeck(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1 << 12 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	answer := g.dial()
	answer.send(get("/"))
	testkit.Eventually(t, "the answer has begun", func() bool { return sentToClients(g) > 1<<16 })
	testkit.Eventually(t, "the client takes no more in time", func() bool {
		tooLong() // a write that it does take, it takes at once
		return g.router.clientTimeouts[waitedAnswer].Load() > 0
	})
	counted(waitedAnswer)
	g.one(tunnelDeck(t, func(c *rawClient) { _, _ = io.ReadAll(c.in) }).addr)
	tunnel := g.open()
	tooLong()
	tunnel.expectEnd()
	counted(waitedTunnel)
}
