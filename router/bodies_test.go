package router

import (
	"bufio"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// leg is how one side of the router is spoken to: in plain text, or with one version of TLS.
type leg struct {
	name    string
	version uint16 // 0: plain
}

func legs() []leg {
	return []leg{{"plain", 0}, {"TLS 1.2", tls.VersionTLS12}, {"TLS 1.3", tls.VersionTLS13}}
}

// bodySizes are around a record of TLS, the router's buffers, and several of each.
var bodySizes = [...]int{1, wire.RecordBytes - 1, wire.RecordBytes, wire.RecordBytes + 1, wire.BodyBytes + 3, 300_007}

// bodyOf returns n bytes that differ from those of any other n.
func bodyOf(n int) []byte {
	body := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(body)
	return body
}

func digest(body []byte) string { return fmt.Sprintf("%x", sha256.Sum256(body)) }

// bodiesDeck answers with bodies of any size and framing, and with digests of what it got.
func bodiesDeck(t testing.TB, config *tls.Config) *rawDeck {
	return newRawDeck(t, func(c *rawClient) {
		conn := c.Conn
		if config != nil {
			conn = tls.Server(c.Conn, config)
		}
		defer conn.Close()
		in := bufio.NewReader(conn)
		for {
			request, err := http.ReadRequest(in)
			if err != nil || !answerBodies(conn, in, request) {
				return
			}
		}
	})
}

// answerBodies answers a request as its path says, /HOW/SIZE. It says whether to go on.
func answerBodies(conn net.Conn, in *bufio.Reader, request *http.Request) bool {
	var how string
	var size int
	if _, err := fmt.Sscanf(strings.ReplaceAll(request.URL.Path, "/", " "), "%s %d", &how, &size); err != nil {
		return false
	}
	body := bodyOf(size)
	switch how {
	case "close": // the body and the end go out at once
		_, _ = conn.Write(append([]byte("HTTP/1.1 200 OK\r\n\r\n"), body...))
		return false
	case "lengthclose":
		_, _ = conn.Write(append([]byte("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"), body...))
		return false
	case "length":
		_, err := conn.Write(append([]byte("HTTP/1.1 200 OK\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"), body...))
		return err == nil
	case "chunked", "chunkedclose":
		out := []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		if how == "chunkedclose" {
			out = []byte("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n")
		}
		for rest := body; len(rest) > 0; {
			n := min(len(rest), 20_000)
			out = http1.AppendChunk(out, rest[:n], n == len(rest))
			rest = rest[n:]
		}
		_, err := conn.Write(out)
		return err == nil && how == "chunked"
	case "upload":
		got, err := io.ReadAll(request.Body)
		text := digest(got)
		if err != nil {
			text = err.Error()
		}
		_, err = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
		return err == nil
	case "tunnel": // reads to the end, then sends, then ends
		_, _ = io.WriteString(conn, switched)
		got, err := io.ReadAll(in)
		_, _ = fmt.Fprintf(conn, "%s %v\n", digest(got), err)
		_, _ = conn.Write(body)
		return false
	case "tunnelfirst": // sends, ends its half, then reads to the end
		_, _ = conn.Write(append([]byte(switched), body...))
		if half, ok := conn.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, in)
		return false
	}
	return false
}

// bodiesGrid is a router between two legs.
type bodiesGrid struct {
	*grid
	addr  string
	trust *tls.Config // of clients; nil: plain
}

func newBodiesGrid(t *testing.T, client, deck leg) *bodiesGrid {
	g := &bodiesGrid{grid: newGrid(t, nil)}
	ca := testkit.NewAuthority(t, "authority")
	pair := ca.Issue("d1.deck.test", "acme.test").TLS
	doc := deckAt("d1")
	doc.Timeouts = &routing.DeckTimeouts{Connect: routing.Duration(patience)} // a handshake is slow on a busy machine
	var config *tls.Config
	if deck.version != 0 {
		config = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: deck.version, MaxVersion: deck.version}
		doc.TLS = &routing.DeckTLS{CAFile: ca.File}
	}
	doc.Addresses = []string{bodiesDeck(t, config).addr}
	g.put(doc, tenantOn("acme", "d1", "acme.test"))
	g.addr = g.grid.addr
	if client.version != 0 {
		bound, err := g.router.ListenTLS(context.Background(), "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		if err != nil {
			t.Fatal(err)
		}
		g.addr = bound.String()
		g.trust = &tls.Config{ServerName: "acme.test", RootCAs: ca.Pool(), MinVersion: client.version, MaxVersion: client.version}
	}
	return g
}

// connect connects as a client of the leg.
func (g *bodiesGrid) connect() *rawClient {
	w := dialRaw(g.t, g.addr)
	if g.trust != nil {
		w.Conn = tls.Client(w.Conn, g.trust)
		w.in = bufio.NewReader(w.Conn)
	}
	return w
}

// TestConformanceBodiesArriveWholeOverEveryPairOfLegs compares bodies of every framing and of sizes around
// each buffer by their digests, for each version of TLS and none on both sides.
func TestConformanceBodiesArriveWholeOverEveryPairOfLegs(t *testing.T) {
	checked := 0
	for _, client := range legs() {
		for _, deck := range legs() {
			g := newBodiesGrid(t, client, deck)
			for _, size := range bodySizes {
				for _, how := range []string{"close", "lengthclose", "length", "chunked", "chunkedclose"} {
					for range 2 { // the end and the last bytes come together by chance
						checked++
						checkDownload(t, g, client, deck, how, size)
					}
				}
				for _, framing := range []string{"length", "chunked"} {
					checked++
					checkUpload(t, g, client, deck, framing, size)
				}
				checked += 2
				checkTunnel(t, g, client, deck, size)
				checkTunnelThatTheDeckEndsFirst(t, g, client, deck, size)
			}
		}
	}
	report("bodies over plain, TLS 1.2 and TLS 1.3 on both sides: %d compared by SHA-256", checked)
}

func checkDownload(t *testing.T, g *bodiesGrid, client, deck leg, how string, size int) {
	t.Helper()
	w := g.connect()
	defer w.Close()
	w.send(get(fmt.Sprintf("/%s/%d", how, size)))
	r, err := w.tryReply("GET")
	if err != nil {
		t.Errorf("client %s, deck %s, %s of %d: %v", client.name, deck.name, how, size, err)
		return
	}
	if r.err != nil || r.StatusCode != http.StatusOK || digest([]byte(r.body)) != digest(bodyOf(size)) {
		t.Errorf("client %s, deck %s, %s of %d: got %d, %d bytes, %v", client.name, deck.name, how, size, r.StatusCode, len(r.body), r.err)
	}
}

func checkUpload(t *testing.T, g *bodiesGrid, client, deck leg, framing string, size int) {
	t.Helper()
	w := g.connect()
	defer w.Close()
	body := bodyOf(size)
	head := fmt.Sprintf("POST /upload/%d HTTP/1.1\r\nHost: acme.test\r\n", size)
	if framing == "length" {
		w.send(head + "Content-Length: " + strconv.Itoa(size) + "\r\n\r\n" + string(body))
	} else {
		w.send(head + "Transfer-Encoding: chunked\r\n\r\n" + string(http1.AppendChunk(nil, body, true)))
	}
	if r := w.reply("POST"); r.body != digest(body) {
		t.Errorf("client %s, deck %s, upload by %s of %d: got %d %q", client.name, deck.name, framing, size, r.StatusCode, r.body)
	}
}

// checkTunnel sends up through a tunnel, ends that half, and then receives.
func checkTunnel(t *testing.T, g *bodiesGrid, client, deck leg, size int) {
	t.Helper()
	w := g.connect()
	defer w.Close()
	body := bodyOf(size)
	w.send(get(fmt.Sprintf("/tunnel/%d", size), strings.Split(strings.TrimSuffix(upgrade, "\r\n"), "\r\n")...))
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Errorf("no tunnel: %q", head)
		return
	}
	w.send(string(body))
	if half, ok := w.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		t.Error("cannot end this half")
	}
	line, _ := w.in.ReadString('\n')
	rest, err := io.ReadAll(w.in)
	if line != digest(body)+" <nil>\n" || err != nil || digest(rest) != digest(body) {
		t.Errorf("client %s, deck %s, tunnel of %d: the deck got %q, the client %d bytes, %v", client.name, deck.name, size, line, len(rest), err)
	}
}

// checkTunnelThatTheDeckEndsFirst receives through a tunnel to the end, and then sends.
func checkTunnelThatTheDeckEndsFirst(t *testing.T, g *bodiesGrid, client, deck leg, size int) {
	t.Helper()
	w := g.connect()
	defer w.Close()
	w.send(get(fmt.Sprintf("/tunnelfirst/%d", size), strings.Split(strings.TrimSuffix(upgrade, "\r\n"), "\r\n")...))
	if head := w.head(); !strings.HasPrefix(head, "HTTP/1.1 101") {
		t.Errorf("no tunnel: %q", head)
		return
	}
	got, err := io.ReadAll(w.in)
	if err != nil || digest(got) != digest(bodyOf(size)) {
		t.Errorf("client %s, deck %s, tunnel that the deck ends, of %d: %d bytes, %v", client.name, deck.name, size, len(got), err)
	}
	w.send("and still there") // the other half is open
}

// TestAnAnswerThatTLSDoesNotEndIsCut has a deck close without TLS's farewell, behind answers of
// each framing: where the end of the connection ends the answer, anybody on the way could do that.
func TestAnAnswerThatTLSDoesNotEndIsCut(t *testing.T) {
	ca := testkit.NewAuthority(t, "authority")
	pair := ca.Issue("d1.deck.test").TLS
	f := func(version uint16, answer string, farewell, whole bool) {
		t.Helper()
		g := newGrid(t, nil)
		deck := deckAt("d1", newRawDeck(t, func(c *rawClient) {
			conn := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: version, MaxVersion: version})
			_, _ = bufio.NewReader(conn).ReadString('\n')
			_, _ = io.WriteString(conn, answer)
			if farewell {
				_ = conn.Close()
			}
			_ = c.Conn.(*net.TCPConn).CloseWrite()
			_, _ = io.Copy(io.Discard, c.Conn)
		}).addr)
		deck.TLS = &routing.DeckTLS{CAFile: ca.File}
		g.put(deck, tenantOn("acme", "d1", "acme.test"))
		w := g.dial()
		w.send(get("/"))
		r, err := w.tryReply("GET")
		if got := err == nil && r.err == nil; got != whole {
			t.Errorf("%x, %.60q, farewell %v: whole is %v", version, answer, farewell, got)
		}
		if !whole {
			testkit.Eventually(t, "it is counted", func() bool { return g.counts().Failures[upstream.FailedCut] == 1 })
		}
	}
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, farewell := range []bool{true, false} {
			f(version, "HTTP/1.1 200 OK\r\n\r\nhalf of", farewell, farewell)
			f(version, "HTTP/1.0 200 OK\r\n\r\nhalf of", farewell, farewell)
			f(version, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhalf", farewell, true)
			f(version, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n\r\n", farewell, true)
			f(version, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", farewell, false)
			f(version, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", farewell, false)
		}
	}
}

// TestConformanceNoBodyBreaksUnderLoad has sixteen clients at once, each with its own legs, fetch bodies
// that end with the deck's connection, which is where an end can overtake the last bytes.
func TestConformanceNoBodyBreaksUnderLoad(t *testing.T) {
	each := 3
	if os.Getenv("GRIDROUTER_CONFORMANCE") != "" {
		each = 105 // 10,080 answers in all
	}
	const clients = 16
	for _, deck := range legs()[1:] {
		for _, client := range legs() {
			g := newBodiesGrid(t, client, deck)
			var all sync.WaitGroup
			begun := time.Now()
			for range clients {
				all.Go(func() {
					for i := range each {
						checkDownload(t, g, client, deck, []string{"close", "lengthclose", "chunkedclose"}[i%3], 128<<10)
					}
				})
			}
			all.Wait()
			report("client %s, deck %s: %d answers of 128 KiB whole, in %v", client.name, deck.name, clients*each, time.Since(begun).Round(time.Millisecond))
		}
	}
}
