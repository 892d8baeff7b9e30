package router

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
)

// steadyDeck is a deck that allocates nothing, so that what is measured is the router's.
func steadyDeck(t testing.TB) *rawDeck {
	answer := []byte(fine)
	end := []byte("\r\n\r\n")
	return newRawDeck(t, func(c *rawClient) {
		buf := make([]byte, 16<<10)
		have := 0
		_ = c.SetDeadline(time.Time{})
		for {
			n, err := c.Read(buf[have:])
			if err != nil {
				return
			}
			if have += n; bytes.HasSuffix(buf[:have], end) {
				have = 0
				if _, err := c.Write(answer); err != nil {
					return
				}
			}
		}
	})
}

// BenchmarkRequest sends small requests through a router to a deck, both on loopback, one
// after the other on one connection. It measures client, router and deck together.
func BenchmarkRequest(b *testing.B) {
	g := newGrid(b, nil)
	g.one(steadyDeck(b).addr)
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	request := []byte(get("/orders/1?x=y", "User-Agent: bench", "Accept: */*", "X-User-Id: 10086"))
	answer := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := conn.Write(request); err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Read(answer); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParallel does so on many connections at once.
func BenchmarkParallel(b *testing.B) {
	g := newGrid(b, nil)
	g.one(steadyDeck(b).addr)
	request := []byte(get("/orders/1?x=y", "User-Agent: bench", "Accept: */*", "X-User-Id: 10086"))
	b.SetParallelism(16)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", g.addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answer := make([]byte, 4096)
		for pb.Next() {
			if _, err := conn.Write(request); err != nil {
				b.Error(err)
				return
			}
			if _, err := conn.Read(answer); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkLargeAnswer measures the flow of bodies.
func BenchmarkLargeAnswer(b *testing.B) {
	g := newGrid(b, nil)
	const size = 1 << 20
	body := make([]byte, size)
	deck := newRawDeck(b, func(c *rawClient) {
		for c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
			_, _ = c.Write(body)
		}
	})
	g.one(deck.addr)
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 256<<10)
	request := []byte(get("/"))
	b.SetBytes(size)
	for b.Loop() {
		if _, err = conn.Write(request); err != nil {
			b.Fatal(err)
		}
		for line := "x"; line != "\r\n"; {
			if line, err = in.ReadString('\n'); err != nil {
				b.Fatal(err)
			}
		}
		if _, err = in.Discard(size); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTheWholePathAllocatesNothing counts what the process allocates while requests go
// through it over real sockets.
func TestTheWholePathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget on purpose")
	}
	g := newGrid(t, nil)
	g.one(steadyDeck(t).addr)
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answer := make([]byte, 4096)
	for _, request := range []string{
		get("/orders/1?x=y", "User-Agent: bench", "X-User-Id: 10086"),
		"POST /orders HTTP/1.1\r\nHost: acme.test\r\nX-User-Id: 1\r\nContent-Length: 4\r\n\r\n\r\n\r\n", // what the deck knows the end by
		"POST /orders HTTP/1.1\r\nHost: acme.test\r\nX-User-Id: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	} {
		raw := []byte(request)
		if n := testing.AllocsPerRun(2000, func() {
			if _, err := conn.Write(raw); err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Read(answer); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%.20q: %v allocations a request", request, n)
		}
	}
}

// BenchmarkRequestWithoutSockets measures the code of an ordinary request alone.
func BenchmarkRequestWithoutSockets(b *testing.B) {
	request := requestWithoutSockets(b)
	b.ReportAllocs()
	for b.Loop() {
		request()
	}
}

func TestAnOrdinaryRequestAllocatesNothingOfOurs(t *testing.T) {
	if n := testing.AllocsPerRun(100, requestWithoutSockets(t)); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

// requestWithoutSockets returns a function that runs a request's life but for the sockets.
func requestWithoutSockets(t testing.TB) func() {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	x := newExchange(g.router)
	x.client = &client{router: g.router, peer: netip.MustParseAddr("192.0.2.1"), lane: &g.router.counters.lanes[0]}
	x.lane = x.client.lane
	fields := []byte("Host: acme.test\r\nUser-Agent: x\r\nCookie: a=b\r\nX-User-Id: 10086\r\n\r\n")
	answerHead := []byte(fine)
	line := requestLine("GET", "/x?y", "HTTP/1.1")
	return func() {
		x.line, x.fields, x.started = line, fields, time.Now()
		if fault := x.admit(); fault != faults.None {
			t.Fatal(fault)
		}
		if fault := x.decide(); fault != faults.None {
			t.Fatal(fault)
		}
		if fault := x.address(); fault != faults.None {
			t.Fatal(fault)
		}
		x.out = x.appendDeckHead(x.out[:0])
		end, _, err := http1.AnswerEnd(answerHead, 0)
		if err != nil || x.answer.Parse(answerHead[:end]) != nil {
			t.Fatal("the answer is bad")
		}
		_, to := x.framings()
		x.out = x.appendAnswerHead(x.out[:0], to)
		entry := x.logEntry(faults.None, time.Millisecond)
		x.log = entry.Append(x.log[:0])
		x.lane.Observe(time.Millisecond)
	}
}
