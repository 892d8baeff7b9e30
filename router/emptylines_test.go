package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/routing"
)

// TestEmptyLinesBeforeARequestArePassedOver tries where they may come, how many, and in which
// pieces. The deck sees each request once, as if there were none.
func TestEmptyLinesBeforeARequestArePassedOver(t *testing.T) {
	g := newGrid(t, nil)
	deck := newWitness(t)
	g.one(deck.addr)
	post := "POST /p HTTP/1.1\r\nHost: acme.test\r\nContent-Length: 2\r\n\r\nab"
	chunked := "POST /p HTTP/1.1\r\nHost: acme.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n"
	for _, lines := range []int{1, 2, maxEmptyLines} {
		empty := strings.Repeat("\r\n", lines)
		for _, before := range []string{"", get("/g"), post, chunked} {
			for name, pieces := range map[string][]string{
				"at once":                  {before + empty + post},
				"by themselves":            {before, empty, post},
				"with what is before":      {before + empty, post},
				"with what comes":          {before, empty + post},
				"between CR and LF":        {before + empty[:len(empty)-1], "\n" + post},
				"behind the CR of the one": {before, "\r", "\n" + empty[2:] + post},
				"byte by byte":             strings.Split(before+empty+post, ""),
			} {
				w := g.dial()
				_ = w.Conn.(*net.TCPConn).SetNoDelay(true)
				deck.take()
				for _, piece := range pieces {
					w.send(piece)
					time.Sleep(time.Millisecond) // so that it arrives by itself: nothing depends on it
				}
				want := 1
				if before != "" {
					want++
					wantStatus(t, w.reply(methodOf(before)), 200, "")
				}
				if r := w.reply("POST"); r.StatusCode != http.StatusOK || r.body != digest([]byte("ab")) {
					t.Errorf("%d lines behind %.12q, %s: got %d %q", lines, before, name, r.StatusCode, r.body)
				}
				if _, whole := deck.take(); len(whole) != want {
					t.Errorf("%d lines behind %.12q, %s: the deck saw %d requests, want %d", lines, before, name, len(whole), want)
				}
				_ = w.Close()
			}
		}
	}
}

// TestWhatIsNoEmptyLineIsRefused holds what only resembles one, and too many of them.
func TestWhatIsNoEmptyLineIsRefused(t *testing.T) {
	g := newGrid(t, nil)
	deck := newWitness(t)
	g.one(deck.addr)
	for _, bad := range []string{"\n", "\r", "\r\r\n", "\n\r", "\r\n\n", "\r\n\r", " \r\n", "\r\n ", "\r\n\x00", "\t\r\n", strings.Repeat("\r\n", maxEmptyLines+1)} {
		for _, before := range []string{"", get("/g")} {
			w := g.dial()
			w.send(before + bad + get("/evil"))
			if before != "" {
				wantStatus(t, w.reply("GET"), 200, "")
			}
			wantStatus(t, w.reply("GET"), 400, "bad_request")
			w.expectEnd()
		}
	}
	if _, whole := deck.take(); len(whole) > 0 {
		for _, one := range whole {
			if strings.Contains(one.head, "evil") {
				t.Errorf("a deck saw %q", one.head)
			}
		}
	}
}

// TestEmptyLinesAloneAreNoRequest has clients that send nothing else and leave, or stay: nobody
// is answered, nothing is counted as a request, and no wait becomes longer.
func TestEmptyLinesAloneAreNoRequest(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	for _, before := range []string{"", get("/")} {
		for _, alone := range []string{"\r\n", "\r", "\r\n\r\n\r"} {
			w := g.dial()
			w.send(before + alone)
			if before != "" {
				wantStatus(t, w.reply("GET"), 200, "")
			}
			_ = w.Conn.(*net.TCPConn).CloseWrite()
			if rest, err := io.ReadAll(w.in); len(rest) > 0 || err != nil {
				t.Errorf("%q behind %.5q: got %q %v", alone, before, rest, err)
			}
		}
	}
	for _, fault := range []routing.Fault{"bad_request", "client_gone"} {
		if n := faultCount(g, fault); n > 0 {
			t.Errorf("%s is counted %d times", fault, n)
		}
	}
	g.router.clock.Stop()
	w := g.dial()
	w.send(get("/"))
	wantStatus(t, w.reply("GET"), 200, "")
	for i := range 5 { // each within the idle time, and all together beyond it
		w.send("\r\n")
		testkit.Eventually(t, fmt.Sprint("line ", i, " is taken"), func() bool { return receivedFromClients(g) == uint64(len(get("/")))*4+2+1+5+2+1+5+uint64(2*(i+1)) })
		g.router.clock.Advance(20 * time.Second)
	}
	w.expectEnd()
}

func receivedFromClients(g *grid) (total uint64) {
	for i := range g.router.counters.lanes {
		total += g.router.counters.lanes[i].receivedBytes.Load()
	}
	return total
}
