package load

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// start starts a real server and returns its address.
func start(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

func names(t *testing.T, pattern string, count int) Names {
	t.Helper()
	n, err := Pattern(pattern, count)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// must runs a load of which every request must succeed.
func must(t *testing.T, config Config) *Result {
	t.Helper()
	result, err := Run(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	if result.Failed() != 0 || result.Requests == 0 {
		t.Fatalf("%d right answers, errors %v %v", result.Requests, result.Errors, result.Examples)
	}
	return result
}

func TestClosedLoopCountsEachAnswerOnce(t *testing.T) {
	var served atomic.Int64
	addr := start(t, func(w http.ResponseWriter, _ *http.Request) {
		served.Add(1)
		_, _ = io.WriteString(w, "hello")
	})
	result := must(t, Config{Addr: addr, Connections: 4, Requests: 500, Hosts: names(t, "a.example", 1),
		Expect: Expect{Body: true, BodyBytes: 5, BodySum: Sum([]byte("hello"))}})
	if result.Requests != 500 || served.Load() != 500 {
		t.Errorf("%d answers counted, %d given, want 500", result.Requests, served.Load())
	}
	if result.Bytes != 5*result.Requests || result.Latency.P50 <= 0 || result.Latency.P50 > result.Latency.Max {
		t.Errorf("%+v", result)
	}
}

func TestWrongAnswersAreErrorsOfTheirKind(t *testing.T) {
	hosts := names(t, "h{}.example", 6)
	for want, handler := range map[string]http.HandlerFunc{
		"wrong status": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
		"wrong header": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Deck", "d9") },
		"wrong body": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Deck", deckFor(r.Host))
			_, _ = w.Write([]byte("hellO"))
		},
		"wrong receipt": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Deck", deckFor(r.Host))
			w.Header().Set("X-Received", "1-0")
			_, _ = w.Write([]byte("hello"))
		},
		"closed": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(want, func(t *testing.T) {
			config := Config{Addr: start(t, handler), Connections: 2, Requests: 20, Hosts: hosts, Expect: Expect{
				Header: "X-Deck", Values: []string{"d0", "d1", "d2"}, Body: true, BodyBytes: 5, BodySum: Sum([]byte("hello"))}}
			if want == "wrong receipt" {
				config.Expect.ReceivedHeader = "x-received"
			}
			result, err := Run(t.Context(), config)
			if err != nil {
				t.Fatal(err)
			}
			if result.Requests != 0 || result.Errors[want] < 20 || len(result.Errors) != 1 || len(result.Doubts) == 0 {
				t.Errorf("%d right answers, errors %v %v, doubts %v", result.Requests, result.Errors, result.Examples, result.Doubts)
			}
		})
	}
}

// deckFor is the deck of the host hN.example: d(N modulo 3).
func deckFor(host string) string {
	var n int
	_, _ = fmt.Sscanf(host, "h%d.", &n)
	return fmt.Sprint("d", n%3)
}

func TestEachHostMustBeAnsweredByItsOwnDeck(t *testing.T) {
	addr := start(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Deck", deckFor(r.Host)) })
	must(t, Config{Addr: addr, Connections: 3, Requests: 300, Hosts: names(t, "h{}.example", 6),
		Expect: Expect{Header: "x-deck", Values: []string{"d0", "d1", "d2"}}})
}

func TestAStallIsSeenByAllRequestsThatWereDueMeanwhile(t *testing.T) {
	var first atomic.Bool
	addr := start(t, func(http.ResponseWriter, *http.Request) {
		if first.CompareAndSwap(false, true) {
			time.Sleep(500 * time.Millisecond)
		}
	})
	result := must(t, Config{Addr: addr, Connections: 1, Rate: 200, Duration: time.Second, Hosts: names(t, "a.example", 1)})
	// A hundred of the 200 requests were due during the stall. A closed loop would
	// have seen one slow request.
	if result.Requests != 200 || result.Latency.P50 < 1000 && result.Latency.P90 < 300_000 {
		t.Errorf("%d requests, latency %+v: the stall is not in it", result.Requests, result.Latency)
	}
}

func TestPoissonArrivalsKeepTheRate(t *testing.T) {
	for _, arrivals := range []Arrivals{Constant, Poisson} {
		s := newSchedule(&Config{Rate: 1000, Arrivals: arrivals, Seed: 1})
		var last time.Duration
		equal := true
		for i := range 100_000 {
			at := s.next()
			if at < last {
				t.Fatalf("%s: request %d is due at %s, before the one at %s", arrivals, i, at, last)
			}
			equal = equal && (i == 0 || at-last == time.Millisecond)
			last = at
		}
		if last < 98*time.Second || last > 102*time.Second || equal != (arrivals == Constant) {
			t.Errorf("%s: the last of 100,000 is due at %s, pauses all equal: %v", arrivals, last, equal)
		}
	}
}

func TestANewConnectionForEachRequest(t *testing.T) {
	var conns, closing atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Close {
			closing.Add(1)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	result := must(t, Config{Addr: server.Listener.Addr().String(), Connections: 2, PerConnection: 1, Requests: 50, Hosts: names(t, "a.example", 1)})
	if conns.Load() < result.Requests || closing.Load() < result.Requests {
		t.Errorf("%d connections and %d words of closing for %d requests", conns.Load(), closing.Load(), result.Requests)
	}
}

func TestBodiesArriveAsTheyWereSent(t *testing.T) {
	for _, size := range []int64{1, piece, piece + 1, 3<<20 + 7} {
		for _, chunked := range []bool{false, true} {
			addr := start(t, func(w http.ResponseWriter, r *http.Request) {
				if chunked != (r.ContentLength < 0) {
					w.WriteHeader(http.StatusBadRequest)
				}
				body, err := io.ReadAll(r.Body)
				if err != nil {
					w.WriteHeader(http.StatusBadRequest)
				}
				w.Header().Set("X-Received", Received(int64(len(body)), Sum(body)))
			})
			must(t, Config{Addr: addr, Connections: 1, Requests: 3, BodyBytes: size, Chunked: chunked, Hosts: names(t, "a.example", 1),
				Expect: Expect{ReceivedHeader: "X-Received"}})
		}
	}
}

func TestLargeAnswersInBothFramings(t *testing.T) {
	body := Body(1 << 20)
	for _, chunked := range []bool{false, true} {
		addr := start(t, func(w http.ResponseWriter, _ *http.Request) {
			if !chunked {
				w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			}
			_, _ = w.Write(body)
		})
		must(t, Config{Addr: addr, Connections: 2, Requests: 6, Hosts: names(t, "a.example", 1),
			Expect: Expect{Body: true, BodyBytes: int64(len(body)), BodySum: Sum(body)}})
	}
}

func TestSlowClientsReadNoFasterThanTold(t *testing.T) {
	body := Body(20_000)
	addr := start(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) })
	began := time.Now()
	must(t, Config{Addr: addr, Connections: 1, Requests: 1, ReadRate: 100_000, Hosts: names(t, "a.example", 1),
		Expect: Expect{Body: true, BodyBytes: 20_000, BodySum: Sum(body)}})
	if took := time.Since(began); took < 180*time.Millisecond {
		t.Errorf("20,000 bytes at 100,000 a second took %s", took)
	}
}

func TestTLSAsksForTheHost(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Name", r.TLS.ServerName)
	}))
	server.StartTLS()
	t.Cleanup(server.Close)
	must(t, Config{Addr: server.Listener.Addr().String(), Connections: 2, Requests: 20, Hosts: names(t, "h{}.example:443", 1),
		TLS: &tls.Config{InsecureSkipVerify: true}, Expect: Expect{Header: "X-Name", Values: []string{"h0.example"}}})
}

// echo answers WebSocket frames, changed by change.
func echo(t *testing.T, change func([]byte)) string {
	return start(t, func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n", AcceptKey(r.Header.Get("Sec-WebSocket-Key")))
		_, _ = conn.Write([]byte{0x89, 2, 'h', 'i'}) // a ping first
		for {
			payload, opcode, err := readFrame(buffered.Reader)
			if err != nil {
				return
			}
			if opcode == opPong {
				continue
			}
			change(payload)
			frame := []byte{finBinary}
			if n := len(payload); n < 126 {
				frame = append(frame, byte(n))
			} else {
				frame = append(frame, 126, byte(n>>8), byte(n))
			}
			_, _ = conn.Write(append(frame, payload...))
		}
	})
}

func readFrame(r *bufio.Reader) (payload []byte, opcode byte, err error) {
	head := make([]byte, 2)
	if _, err = io.ReadFull(r, head); err != nil {
		return nil, 0, err
	}
	n := int(head[1] & 0x7f)
	if n == 126 {
		long := make([]byte, 2)
		if _, err = io.ReadFull(r, long); err != nil {
			return nil, 0, err
		}
		n = int(long[0])<<8 | int(long[1])
	}
	masked := make([]byte, 4+n)
	if _, err = io.ReadFull(r, masked); err != nil {
		return nil, 0, err
	}
	payload = masked[4:]
	for i := range payload {
		payload[i] ^= masked[i&3]
	}
	return payload, head[0] & 0xf, nil
}

func TestWebSocketMessagesComeBack(t *testing.T) {
	for _, size := range []int{1, 125, 126, 20_000} {
		result := must(t, Config{Addr: echo(t, func([]byte) {}), Connections: 2, Requests: 40, MessageBytes: size, Hosts: names(t, "a.example", 1)})
		if result.Requests < 40 {
			t.Errorf("%d messages of %d bytes", result.Requests, size)
		}
	}
	result, err := Run(t.Context(), Config{Addr: echo(t, func(b []byte) { b[0]++ }), Connections: 1, Requests: 3, MessageBytes: 128, Hosts: names(t, "a.example", 1)})
	if err != nil || result.Errors["wrong message"] == 0 || result.Requests > 0 {
		t.Errorf("changed messages: %v, %d taken for right, %v", err, result.Requests, result.Errors)
	}
}

func TestAServerThatIsNotThereIsAnErrorOfEachRequest(t *testing.T) {
	addr := testkit.FreeAddr(t) // nobody listens there
	result, err := Run(t.Context(), Config{Addr: addr, Connections: 2, Requests: 10, Hosts: names(t, "a.example", 1)})
	if err != nil || result.Errors["refused"] < 10 {
		t.Errorf("%v %v", err, result.Errors)
	}
}

func TestAClosedIdleConnectionIsMadeAnew(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Config.IdleTimeout = 20 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	result := must(t, Config{Addr: server.Listener.Addr().String(), Connections: 1, Rate: 10, Duration: 400 * time.Millisecond, Hosts: names(t, "a.example", 1)})
	if result.Requests != 4 {
		t.Errorf("%d requests, want 4", result.Requests)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	addr := start(t, func(http.ResponseWriter, *http.Request) {})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	result, err := Run(ctx, Config{Addr: addr, Connections: 2, Duration: time.Hour, Hosts: names(t, "a.example", 1)})
	if !errors.Is(err, context.DeadlineExceeded) || result == nil || result.Requests == 0 {
		t.Errorf("%v, %+v", err, result)
	}
}

func TestProgressIsToldEverySecond(t *testing.T) {
	addr := start(t, func(http.ResponseWriter, *http.Request) {})
	var told atomic.Int64
	begun := time.Now()
	must(t, Config{Addr: addr, Connections: 1, Rate: 100, Duration: 2500 * time.Millisecond, Hosts: names(t, "a.example", 1), Progress: func(p Progress) {
		if p.Requests > 0 && p.Rate > 0 && p.P99 > 0 {
			told.Add(1)
		}
	}})
	// A machine that does not let it run for a second has it tell once for two.
	if n, took := told.Load(), time.Since(begun); n < 1 || n > int64(took/time.Second) {
		t.Errorf("told %d times in %v", n, took)
	}
}

func TestTooHighARateIsDoubted(t *testing.T) {
	addr := start(t, func(http.ResponseWriter, *http.Request) { time.Sleep(20 * time.Millisecond) })
	result := must(t, Config{Addr: addr, Connections: 1, Rate: 1000, Duration: 300 * time.Millisecond, Timeout: 100 * time.Millisecond, Hosts: names(t, "a.example", 1)})
	if len(result.Doubts) == 0 {
		t.Errorf("50 requests a second are possible, 1000 were due, and there is no doubt: %d", result.Requests)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		pattern string
		number  int
		want    string
	}{{"a.example", 0, "a.example"}, {"h{}.example", 12, "h12.example"}, {"h{4}.example", 12, "h0012.example"}, {"{2}", 1234, "1234"}} {
		n := names(t, c.pattern, 10_000)
		if got := string(n.Append([]byte("> "), c.number)); got != "> "+c.want {
			t.Errorf("%q number %d: %q, want %q", c.pattern, c.number, got, "> "+c.want)
		}
	}
	for _, bad := range []string{"", "a{", "a{x}", "a{0}", "a\r\nb"} {
		if n, err := Pattern(bad, 5); err == nil {
			t.Errorf("%q is taken: %+v", bad, n)
		}
	}
	list, err := List(strings.NewReader("# hosts\na.example\n\n b.example \n"))
	if err != nil || list.Count() != 2 || string(list.Append(nil, 1)) != "b.example" {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := List(strings.NewReader("#\n")); err == nil {
		t.Error("an empty list is taken")
	}
}

func TestZipfPrefersTheFirstAndUniformNone(t *testing.T) {
	uniform := names(t, "h{}", 100)
	zipf, err := uniform.Zipf(1.2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := uniform.Zipf(1); err == nil {
		t.Error("an exponent of 1 is taken")
	}
	for what, n := range map[string]Names{"uniform": uniform, "zipf": zipf} {
		client := newClient(&Config{Connections: 1, Hosts: n, Seed: 7}, 0, nil, 0)
		var counts [100]int
		for range 100_000 {
			counts[client.hosts.next()]++
		}
		if skewed := counts[0] > 10*counts[50]; skewed != (what == "zipf") || counts[99] == 0 {
			t.Errorf("%s: the first came %d times, number 50 %d, the last %d", what, counts[0], counts[50], counts[99])
		}
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	good := Config{Addr: "a:1", Connections: 1, Requests: 1, Hosts: names(t, "a", 1)}
	for want, change := range map[string]func(*Config){
		"no address":     func(c *Config) { c.Addr = "" },
		"connections":    func(c *Config) { c.Connections = 0 },
		"rate":           func(c *Config) { c.Rate = -1 },
		"arrivals":       func(c *Config) { c.Arrivals = "never" },
		"would not end":  func(c *Config) { c.Requests = 0 },
		"negative":       func(c *Config) { c.PerConnection = -1 },
		"body":           func(c *Config) { c.BodyBytes = -1 },
		"message of":     func(c *Config) { c.MessageBytes = MostMessage + 1 },
		"has messages":   func(c *Config) { c.MessageBytes, c.BodyBytes = 1, 1 },
		"slash":          func(c *Config) { c.Path = "x" },
		"no keys":        func(c *Config) { c.KeyHeader = "x-user" },
		"no hosts":       func(c *Config) { c.Hosts = Names{} },
		"no header line": func(c *Config) { c.Headers = []string{"broken"} },
	} {
		config := good
		change(&config)
		if err := config.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}
