package deck_test

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gridrouter.io/bench/lab/deck"
	"gridrouter.io/bench/testkit"
)

// start runs a deck until the test ends and returns its address.
func start(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- deck.Serve(ctx, listener, 5*time.Second, deck.Config{Name: "orders-1", Zone: "east"})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the deck ended with %v", err)
		}
	})
	return listener.Addr().String()
}

// client sends raw requests over one connection.
type client struct {
	t      *testing.T
	conn   net.Conn
	reader *bufio.Reader
}

func dial(t *testing.T, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) ask(raw string) (int, deck.Answer) {
	c.t.Helper()
	if _, err := io.WriteString(c.conn, raw); err != nil {
		c.t.Fatal(err)
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	var answer deck.Answer
	if err := json.Unmarshal(body, &answer); err != nil {
		c.t.Fatalf("the answer is no JSON: %v\n%s", err, body)
	}
	return response.StatusCode, answer
}

func TestDeckTellsWhatItReceivedInOrderAndSpelling(t *testing.T) {
	c := dial(t, start(t))
	_, got := c.ask("PATCH /a%2Fb?c=d HTTP/1.1\r\nX-b: 1\r\nhost: Orders.Example\r\nx-A:  two \r\nX-b: 3\r\ncontent-length: 5\r\n\r\nhello")
	digest := sha256.Sum256([]byte("hello"))
	want := deck.Answer{
		Deck: "orders-1", Zone: "east",
		Method: "PATCH", Target: "/a%2Fb?c=d", Protocol: "HTTP/1.1", Host: "Orders.Example",
		Peer:      c.conn.LocalAddr().String(),
		Headers:   []string{"X-b: 1", "host: Orders.Example", "x-A:  two ", "X-b: 3", "content-length: 5"},
		BodyBytes: 5, BodySHA256: hex.EncodeToString(digest[:]),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	if value, ok := got.Header("x-a"); !ok || value != "two" {
		t.Errorf("Header(x-a) is %q, %v", value, ok)
	}
	if _, ok := got.Header("x-c"); ok {
		t.Error("Header(x-c) is there")
	}
}

func TestDeckKeepsHeadsApartOnOneConnection(t *testing.T) {
	c := dial(t, start(t))
	for i := range 20 {
		body := strings.Repeat("GET / HTTP/1.1\r\n\r\n", i)
		_, got := c.ask(fmt.Sprintf("POST /%d HTTP/1.1\r\nHost: a\r\nX-N: %d\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
			i, i, max(len(body), 1), body+strings.Repeat("x", max(0, 1-len(body)))))
		if value, _ := got.Header("X-N"); value != fmt.Sprint(i) || got.Target != fmt.Sprintf("/%d", i) {
			t.Fatalf("request %d was told as %+v", i, got)
		}
	}
}

func TestSpecialPathsAreBounded(t *testing.T) {
	address := start(t)
	http.DefaultTransport.(*http.Transport).DisableKeepAlives = true
	f := func(target string, wantStatus, wantBytes int) {
		t.Helper()
		response, err := http.Get("http://" + address + target)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != wantStatus || wantBytes >= 0 && len(body) != wantBytes {
			t.Errorf("GET %s answers %d with %d bytes, not %d with %d", target, response.StatusCode, len(body), wantStatus, wantBytes)
		}
		if got := response.Header.Get("X-Deck"); got != "orders-1" {
			t.Errorf("GET %s: X-Deck is %q", target, got)
		}
	}
	f("/status/503", 503, -1)
	f("/status/99", 400, -1)
	f("/status/x", 400, -1)
	f("/bytes?n=0", 200, 0)
	f("/bytes?n=200000", 200, 200000)
	f("/bytes?n=-1", 400, -1)
	f(fmt.Sprintf("/bytes?n=%d", deck.MaxBytes+1), 400, -1)
	f("/slow?for=1ms", 200, -1)
	f("/slow?for=2m", 400, -1)
	f("/slow", 400, -1)
	f("/stream?n=3&every=1ms", 200, 3*len("orders-1 1 of 3\n"))
	f("/stream?n=0", 400, -1)
	f("/stream?every=1h", 400, -1)
}

// TestDeckAnswersHeadWithTheLengthAlone asks for the next request too, which a body would hide.
func TestDeckAnswersHeadWithTheLengthAlone(t *testing.T) {
	c := dial(t, start(t))
	if _, err := io.WriteString(c.conn, "HEAD /bytes?n=7 HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(c.reader, &http.Request{Method: http.MethodHead})
	if err != nil || response.ContentLength != 7 {
		t.Fatalf("%v, %v", response, err)
	}
	if status, got := c.ask("GET /after HTTP/1.1\r\nHost: a\r\n\r\n"); status != http.StatusOK || got.Target != "/after" {
		t.Errorf("%d, %+v", status, got)
	}
}

// TestDeckSays100BeforeItReadsABody keeps the body back until it is asked for.
func TestDeckSays100BeforeItReadsABody(t *testing.T) {
	c := dial(t, start(t))
	if _, err := io.WriteString(c.conn, "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := c.reader.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := c.reader.Discard(len("\r\n")); err != nil {
		t.Fatal(err)
	}
	if status, got := c.ask("hello"); status != http.StatusOK || got.BodyBytes != 5 {
		t.Errorf("%d, %+v", status, got)
	}
}

func TestStreamArrivesPieceByPiece(t *testing.T) {
	addr := start(t)
	testkit.Eventually(t, "the first piece comes before the second is due", func() bool {
		c := dial(t, addr)
		if _, err := io.WriteString(c.conn, "GET /stream?n=2&every=5s HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		response, err := http.ReadResponse(c.reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		line, err := bufio.NewReader(response.Body).ReadString('\n')
		if err != nil || line != "orders-1 1 of 2\n" {
			t.Fatalf("the first piece is %q (%v)", line, err)
		}
		return time.Since(began) < 4*time.Second
	})
}
