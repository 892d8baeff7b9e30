package ingress_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// startWith runs an ingress with one deck, one.example, that answers by a handler.
func startWith(t *testing.T, handle http.HandlerFunc) (address string, deck *httptest.Server) {
	t.Helper()
	deck = httptest.NewServer(handle)
	t.Cleanup(deck.Close)
	return start(t, map[string]string{"one.example": deck.Listener.Addr().String()}), deck
}

// connect returns a connection that ends with the test.
func connect(t *testing.T, address string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

// exchange sends a raw request and reads the whole answer.
func exchange(t *testing.T, conn net.Conn, reader *bufio.Reader, raw string) (*http.Response, string) {
	t.Helper()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(raw, " ")
	response, err := http.ReadResponse(reader, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(body)
}

// TestIngressPassesBodiesBothWays sends requests one after the other over one connection, so that the
// end of each body must be found.
func TestIngressPassesBodiesBothWays(t *testing.T) {
	address, _ := startWith(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("%s: %v", r.Method, err)
		}
		switch r.URL.Path {
		case "/304":
			w.WriteHeader(http.StatusNotModified)
		case "/chunked":
			w.(http.Flusher).Flush()
			fallthrough
		default:
			fmt.Fprintf(w, "%s %v %s", r.Method, r.TransferEncoding, body)
		}
	})
	conn, reader := connect(t, address)
	f := func(request, want string, wantLength int64) {
		t.Helper()
		response, body := exchange(t, conn, reader, request)
		if body != want || response.ContentLength != wantLength || response.Header.Get("X-Ingress") != "mesh-1" {
			t.Errorf("%.40q: %q of length %d, not %q of %d", request, body, response.ContentLength, want, wantLength)
		}
	}
	const host = " HTTP/1.1\r\nHost: one.example\r\n"
	f("GET /"+host+"\r\n", "GET [] ", 7)
	f("POST /"+host+"Content-Length: 3\r\n\r\nabc", "POST [] abc", 11)
	f("POST /"+host+"Content-Length: 0\r\n\r\n", "POST [] ", 8)
	f("PUT /chunked"+host+"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", "PUT [chunked] abc", -1)
	f("HEAD /"+host+"\r\n", "", 8)
	f("HEAD /chunked"+host+"\r\n", "", -1)
	f("GET /304"+host+"\r\n", "", 0)
	f("GET /chunked"+host+"\r\n", "GET [] ", -1)
}

// TestAPieceOfAnAnswerPassesAtOnce asks a deck that waits between two pieces until the first has arrived.
func TestAPieceOfAnAnswerPassesAtOnce(t *testing.T) {
	goOn := make(chan struct{})
	address, _ := startWith(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		<-goOn
		_, _ = io.WriteString(w, "two\n")
	})
	conn, reader := connect(t, address)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	lines := bufio.NewReader(response.Body)
	if line, err := lines.ReadString('\n'); err != nil || line != "one\n" {
		t.Errorf("%q, %v", line, err)
	}
	close(goOn)
	if rest, err := io.ReadAll(lines); err != nil || string(rest) != "two\n" {
		t.Errorf("%q, %v", rest, err)
	}
}

// TestAnAnswerThatIsCutOffIsCutOff lets a deck end its connection between two chunks.
func TestAnAnswerThatIsCutOffIsCutOff(t *testing.T) {
	address, _ := startWith(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "one\n")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	})
	conn, reader := connect(t, address)
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: one.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("%q, and no error", body)
	}
}

// TestARequestThatIsCutOffIsCutOff lets a client end its connection between two chunks.
func TestARequestThatIsCutOffIsCutOff(t *testing.T) {
	read := make(chan error, 1)
	address, _ := startWith(t, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
	})
	conn, _ := connect(t, address)
	if _, err := io.WriteString(conn, "POST / HTTP/1.1\r\nHost: one.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := <-read; err == nil {
		t.Error("the deck took the body for whole")
	}
}

// TestAConnectionThatADeckHasEndedIsNotUsed ends all connections of a deck between two requests, whose
// second cannot be sent twice.
func TestAConnectionThatADeckHasEndedIsNotUsed(t *testing.T) {
	address, deck := startWith(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) })
	conn, reader := connect(t, address)
	for range 3 {
		response, body := exchange(t, conn, reader, "POST / HTTP/1.1\r\nHost: one.example\r\nContent-Length: 3\r\n\r\nabc")
		if response.StatusCode != http.StatusOK || body != "abc" {
			t.Errorf("%d, %q", response.StatusCode, body)
		}
		deck.CloseClientConnections()
	}
}

// TestFieldsOfOneConnectionEndAtTheIngress looks at what arrives at the deck and at the client.
func TestFieldsOfOneConnectionEndAtTheIngress(t *testing.T) {
	address, _ := startWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close, X-Deck-Hop")
		w.Header().Set("X-Deck-Hop", "1")
		w.Header().Set("Keep-Alive", "timeout=1")
		w.Header().Set("X-Stays", "1")
		for _, name := range []string{"X-Hop", "Te", "Upgrade", "Keep-Alive"} {
			if value := r.Header.Get(name); value != "" {
				t.Errorf("the deck got %s: %s", name, value)
			}
		}
		_, _ = io.WriteString(w, r.Header.Get("X-Stays")+r.UserAgent()+r.Header.Get("Content-Type"))
	})
	conn, reader := connect(t, address)
	for range 2 {
		response, body := exchange(t, conn, reader,
			"GET / HTTP/1.1\r\nHost: one.example\r\nConnection: X-Hop, upgrade\r\nX-Hop: 1\r\nTE: trailers\r\nUpgrade: websocket\r\nKeep-Alive: 1\r\nX-Stays: yes\r\n\r\n")
		if body != "yes" {
			t.Errorf("the deck got %q", body)
		}
		for _, name := range []string{"X-Deck-Hop", "Keep-Alive"} {
			if value := response.Header.Get(name); value != "" || response.Header.Get("X-Stays") != "1" {
				t.Errorf("the client got %s: %s", name, value)
			}
		}
	}
}
