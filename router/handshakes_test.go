package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/routing"
)

func proxied(t testing.TB, trusted ...string) (*grid, chan string) {
	t.Helper()
	g := newGrid(t, func(c *Config) { c.ProxyProtocol, c.TrustedProxies = true, prefixes(trusted...) })
	addr, heads := recording(t)
	g.one(addr)
	return g, heads
}

func TestTheProxyHeaderSaysWhoTheClientIs(t *testing.T) {
	g, heads := proxied(t, "127.0.0.1/32", "10.0.0.0/8")
	header2 := func(command proxyproto.ProtocolVersionAndCommand, source string) string {
		h := proxyproto.Header{Version: 2, Command: command, TransportProtocol: proxyproto.TCPv4,
			SourceAddr: &net.TCPAddr{IP: net.ParseIP(source), Port: 1}, DestinationAddr: &net.TCPAddr{IP: net.ParseIP("192.0.2.9"), Port: 80}}
		if strings.Contains(source, ":") {
			h.TransportProtocol, h.DestinationAddr = proxyproto.TCPv6, &net.TCPAddr{IP: net.ParseIP("2001:db8::9"), Port: 80}
		}
		text, err := h.Format()
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	f := func(header, want string) {
		t.Helper()
		for _, step := range []int{len(header) + 1000, 1} {
			w := g.dial()
			for rest := header + get("/", "X-Forwarded-For: 192.0.2.200"); len(rest) > 0; {
				n := min(step, len(rest))
				w.send(rest[:n])
				rest = rest[n:]
			}
			wantStatus(t, w.reply("GET"), 200, "")
			if head := <-heads; !strings.Contains(head, "\r\nX-Forwarded-For: "+want+"\r\n") {
				t.Errorf("%q: the deck got %q, want %s", header, head, want)
			}
			_ = w.Close()
		}
	}
	f("PROXY TCP4 203.0.113.7 192.0.2.9 1234 80\r\n", "203.0.113.7")
	f("PROXY TCP6 2001:db8::7 2001:db8::9 1234 80\r\n", "2001:db8::7")
	f("PROXY UNKNOWN\r\n", "192.0.2.200, 127.0.0.1")
	f("PROXY TCP4 10.1.2.3 192.0.2.9 1234 80\r\n", "192.0.2.200, 10.1.2.3") // who is trusted in turn
	f(header2(proxyproto.PROXY, "203.0.113.8"), "203.0.113.8")
	f(header2(proxyproto.PROXY, "2001:db8::8"), "2001:db8::8")
	f(header2(proxyproto.LOCAL, "203.0.113.8"), "192.0.2.200, 127.0.0.1")
}

func TestTheProxyProtocolIsForTrustedPeersOnly(t *testing.T) {
	stranger, _ := proxied(t, "10.0.0.0/8")
	w := stranger.dial()
	w.send("PROXY TCP4 10.0.0.1 192.0.2.9 1234 80\r\n" + get("/"))
	if rest, _ := io.ReadAll(w.in); len(rest) > 0 {
		t.Errorf("a stranger got %q", rest)
	}
	testkit.Eventually(t, "the stranger is counted", func() bool { return stranger.router.refused.total[refusedUntrusted].Load() == 1 })
	g, _ := proxied(t, "127.0.0.1/32")
	for i, bad := range []string{
		get("/"), "PROXY \n", "PROXY TCP4 x y 1 2\r\n", "PROXY TCP4 1.1.1.1 2.2.2.2 1 99999\r\n", "PROXY " + strings.Repeat("x", 200),
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0b" + strings.Repeat("x", 11), "\r\n\r\n\x00\r\nQUIT\n\x55\x11\x00\x0c" + strings.Repeat("x", 12), "\r\n\r\n\x01",
	} {
		w := g.dial()
		w.send(bad)
		if rest, _ := io.ReadAll(w.in); len(rest) > 0 {
			t.Errorf("%q got %q", bad, rest)
		}
		testkit.Eventually(t, "it is counted", func() bool { return g.router.refused.total[refusedProxyHeader].Load() == uint64(i+1) })
	}
}

func TestAProxyHeaderThatDoesNotComeEndsTheConnection(t *testing.T) {
	g := newGrid(t, func(c *Config) {
		c.ProxyProtocol, c.TrustedProxies, c.ClientTimeouts.Head = true, prefixes("127.0.0.1/32"), 100*time.Millisecond
	})
	w := g.dial()
	w.send("PROXY TCP4 ")
	w.expectEnd()
}

// secureGrid is a grid that also listens for TLS.
func secureGrid(t testing.TB, adjust func(*Config)) (g *grid, addr string, trust *x509.CertPool) {
	t.Helper()
	g = newGrid(t, adjust)
	ca := testkit.NewAuthority(t, "authority")
	pair := ca.Issue("acme.test", "other.test", "nobody.test").TLS
	bound, err := g.router.ListenTLS(context.Background(), "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	return g, bound.String(), ca.Pool()
}

func dialTLS(t testing.TB, addr, name string, trust *x509.CertPool) *rawClient {
	t.Helper()
	conn, err := tls.Dial("tcp", addr, &tls.Config{ServerName: name, RootCAs: trust, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return wireOn(t, conn)
}

func TestANameInTLSAndAHostOfDifferentTenantsAreMisdirected(t *testing.T) {
	g, addr, trust := secureGrid(t, nil)
	deck, heads := recording(t)
	g.put(deckAt("d1", deck), tenantOn("acme", "d1", "acme.test", "also.acme.test"), tenantOn("other", "d1", "other.test"))
	f := func(name, host string, status int, fault string) {
		t.Helper()
		w := dialTLS(t, addr, name, trust)
		w.send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		wantStatus(t, w.reply("GET"), status, fault)
		if status == 200 {
			if head := <-heads; !strings.Contains(head, "\r\nX-Forwarded-Proto: https\r\n") {
				t.Errorf("the deck got %q", head)
			}
		}
	}
	f("acme.test", "acme.test", 200, "")
	f("acme.test", "also.acme.test", 200, "") // of the same tenant
	f("acme.test", "other.test", 421, "misdirected")
	f("other.test", "acme.test", 421, "misdirected")
	f("nobody.test", "acme.test", 200, "") // a name that nobody owns
	f("acme.test", "nobody.test", 404, "no_tenant")
}

func TestEverythingWorksUnderTLS(t *testing.T) {
	g, addr, trust := secureGrid(t, func(c *Config) { c.ProxyProtocol, c.TrustedProxies = true, prefixes("127.0.0.0/8") })
	g.one(goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_, _ = w.Write(body)
	}))
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "PROXY TCP4 203.0.113.7 192.0.2.9 1234 443\r\n")
	secure := tls.Client(conn, &tls.Config{ServerName: "acme.test", RootCAs: trust, MinVersion: tls.VersionTLS13})
	w := wireOn(t, secure)
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	big := strings.Repeat("0123456789", 300_000)
	for range 3 {
		w.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: acme.test\r\nContent-Length: %d\r\n\r\n", len(big)))
		go func() { _, _ = io.WriteString(secure, big) }() // the answer may come meanwhile
		if r := w.reply("POST"); r.StatusCode != http.StatusOK || r.body != big {
			t.Fatalf("got %d with %d bytes %v", r.StatusCode, len(r.body), r.err)
		}
	}
}

func TestAnAnswerCutShortLooksCutUnderTLS(t *testing.T) {
	g, addr, trust := secureGrid(t, nil)
	g.one(newRawDeck(t, func(c *rawClient) {
		if c.head() != "" {
			_, _ = io.WriteString(c.Conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 100\r\n\r\nhalf")
		}
	}).addr)
	w := dialTLS(t, addr, "acme.test", trust)
	w.send("GET / HTTP/1.0\r\nHost: acme.test\r\n\r\n")
	if r, err := w.tryReply("GET"); err == nil && r.err == nil {
		t.Fatalf("it looked whole: %q", r.body)
	}
}

// tlsDeck is a deck that speaks TLS.
func tlsDeck(t testing.TB, config *tls.Config, serve func(c *rawClient)) *rawDeck {
	return newRawDeck(t, func(c *rawClient) {
		secure := tls.Server(c.Conn, config)
		if secure.Handshake() == nil {
			serve(wireOn(t, secure))
		}
		_ = secure.Close()
	})
}

func always(answer string) func(c *rawClient) {
	return func(c *rawClient) {
		for c.head() != "" {
			if _, err := io.WriteString(c.Conn, answer); err != nil {
				return
			}
		}
	}
}

func TestADeckIsHeldToItsNameAndItsCA(t *testing.T) {
	ca, stranger := testkit.NewAuthority(t, "authority"), testkit.NewAuthority(t, "authority") // names tell nobody apart
	pair := ca.Issue("d1.deck.test", "ingress.test").TLS
	own, strange := ca.Issue("router.test"), stranger.Issue("router.test")
	config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: ca.Pool(), MinVersion: tls.VersionTLS12}
	f := func(doc routing.DeckTLS, auth tls.ClientAuthType, status int, fault string) {
		t.Helper()
		server := config.Clone()
		server.ClientAuth = auth
		g := newGrid(t, nil)
		deck := deckAt("d1", tlsDeck(t, server, always(fine)).addr)
		deck.TLS = &doc
		g.put(deck, tenantOn("acme", "d1", "acme.test"))
		for range 3 {
			wantStatus(t, g.ask(get("/")), status, fault)
		}
	}
	f(routing.DeckTLS{CAFile: ca.File}, tls.NoClientCert, 200, "")
	f(routing.DeckTLS{CAFile: ca.File, ServerName: "ingress.test"}, tls.NoClientCert, 200, "")
	f(routing.DeckTLS{CAFile: ca.File, ServerName: "another.test"}, tls.NoClientCert, 502, "connect_failed")
	f(routing.DeckTLS{CAFile: stranger.File}, tls.NoClientCert, 502, "connect_failed")
	f(routing.DeckTLS{}, tls.NoClientCert, 502, "connect_failed") // the system knows no such authority
	f(routing.DeckTLS{CAFile: ca.File, CertFile: own.CertFile, KeyFile: own.KeyFile}, tls.RequireAndVerifyClientCert, 200, "")
	config.MaxVersion = tls.VersionTLS12 // later versions tell of a refused client only after the handshake
	f(routing.DeckTLS{CAFile: ca.File}, tls.RequireAndVerifyClientCert, 502, "connect_failed")
	f(routing.DeckTLS{CAFile: ca.File, CertFile: strange.CertFile, KeyFile: strange.KeyFile}, tls.RequireAndVerifyClientCert, 502, "connect_failed")
}

func TestADeckWhoseTLSFilesAreBadIsNotReached(t *testing.T) {
	g := newGrid(t, nil)
	plain := answering(t, fine)
	deck := deckAt("d1", plain.addr)
	bad := filepath.Join(t.TempDir(), "ca.pem")
	deck.TLS = &routing.DeckTLS{CAFile: bad}
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	for range 3 {
		wantStatus(t, g.ask(get("/")), 502, "connect_failed")
	}
	if n := g.logs.FilterMessageSnippet("files of a deck's tls cannot be used").Len(); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// TestUnsolicitedBytesUnderTLSAreNobodysAnswer has a deck that sends two answers where one
// was asked for, in records of their own: the second lies in what the router has received
// already, behind the socket.
func TestUnsolicitedBytesUnderTLSAreNobodysAnswer(t *testing.T) {
	ca := testkit.NewAuthority(t, "authority")
	pair := ca.Issue("d1.deck.test").TLS
	g := newGrid(t, nil)
	deck := deckAt("d1", newRawDeck(t, func(c *rawClient) {
		gather := &gathering{Conn: c.Conn}
		secure := tls.Server(gather, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
		if secure.Handshake() != nil {
			return
		}
		for w := wireOn(t, secure); w.head() != ""; {
			gather.hold = true
			_, _ = io.WriteString(secure, fine)
			_, _ = io.WriteString(secure, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
			if gather.release() != nil {
				return
			}
		}
	}).addr)
	deck.TLS = &routing.DeckTLS{CAFile: ca.File}
	g.put(deck, tenantOn("acme", "d1", "acme.test"))
	for range 5 {
		if r := g.ask(get("/")); r.body != "ok" {
			t.Fatalf("got %q", r.body)
		}
	}
}

// gathering sends what was written while it held back in one piece.
type gathering struct {
	net.Conn
	hold bool
	held bytes.Buffer
}

func (g *gathering) Write(p []byte) (int, error) {
	if g.hold {
		return g.held.Write(p)
	}
	return g.Conn.Write(p)
}

func (g *gathering) release() error {
	g.hold = false
	_, err := g.held.WriteTo(g.Conn)
	return err
}
