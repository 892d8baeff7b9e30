package router

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")) // of the admin listeners; it never ends
}

const patience = 10 * time.Second

// grid is a router on a real socket and the documents that it follows.
type grid struct {
	t        testing.TB
	router   *Router
	addr     string
	logs     *observer.ObservedLogs
	compiler *compile.Compiler
	revision int64
	docs     map[string][]byte
}

// newGrid starts a router. adjust, if not nil, changes its configuration first.
func newGrid(t testing.TB, adjust func(*Config)) *grid {
	t.Helper()
	core, logs := observer.New(zapcore.InfoLevel)
	cfg := Config{ID: "router-under-test", Logger: zap.New(core)}
	if adjust != nil {
		adjust(&cfg)
	}
	r, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	addr, err := r.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return &grid{t: t, router: r, addr: addr.String(), logs: logs, compiler: compile.NewCompiler(decodeJSON), docs: map[string][]byte{}}
}

func decodeJSON(key string, value []byte) (any, error) {
	var doc any
	switch kind, _, _ := strings.Cut(key, "/"); kind {
	case "decks":
		doc = &routing.Deck{}
	case "tenants":
		doc = &routing.Tenant{}
	case "pins":
		doc = &routing.Pin{}
	default:
		return nil, errors.New("unknown kind")
	}
	if err := json.Unmarshal(value, doc); err != nil {
		return nil, err
	}
	if v, ok := doc.(interface{ Validate() error }); ok {
		return doc, v.Validate()
	}
	return doc, nil
}

// put adds or replaces documents and publishes the table.
func (g *grid) put(docs ...any) {
	g.t.Helper()
	for _, doc := range docs {
		key := ""
		switch d := doc.(type) {
		case *routing.Deck:
			d.Kind, key = routing.KindDeck, "decks/"+d.Name
		case *routing.Tenant:
			d.Kind, key = routing.KindTenant, "tenants/"+d.Name
		case *routing.Pin:
			d.Kind, key = routing.KindPin, "pins/"+d.Tenant+"/"+routing.EscapeKey(d.Key)
		default:
			g.t.Fatalf("no document: %T", doc)
		}
		value, err := json.Marshal(doc)
		if err != nil {
			g.t.Fatal(err)
		}
		g.docs[key] = value
	}
	g.publish()
}

func (g *grid) drop(keys ...string) {
	for _, key := range keys {
		delete(g.docs, key)
	}
	g.publish()
}

func (g *grid) publish() {
	g.t.Helper()
	g.revision++
	update := compile.Update{Whole: true, Revision: g.revision}
	for key, value := range g.docs {
		update.Changes = append(update.Changes, compile.Change{Key: key, Value: value, Revision: g.revision})
	}
	table := routingtest.Compile(g.t, g.compiler, update)
	g.router.Publish(table)
}

// one puts one tenant, acme with the host acme.test, on one deck at the addresses.
func (g *grid) one(addresses ...string) {
	g.t.Helper()
	g.put(deckAt("d1", addresses...), tenantOn("acme", "d1", "acme.test"))
	if problems := g.router.Table().Problems(); len(problems) > 0 {
		g.t.Fatalf("problems: %+v", problems)
	}
}

func deckAt(name string, addresses ...string) *routing.Deck {
	return &routing.Deck{Name: name, Domain: name + ".deck.test", Attach: routing.AttachDirect, Addresses: addresses,
		Timeouts: &routing.DeckTimeouts{FirstByte: routing.Duration(patience)}}
}

func tenantOn(name, deck string, hosts ...string) *routing.Tenant {
	return &routing.Tenant{Name: name, Hosts: hosts, Epoch: 7, Rules: []routing.Rule{{Name: "all", Deck: deck}}}
}

// dial connects to the router as a client.
func (g *grid) dial() *rawClient {
	g.t.Helper()
	return dialRaw(g.t, g.addr)
}

// ask sends one request of raw bytes and returns the one answer to it.
func (g *grid) ask(request string) *reply {
	g.t.Helper()
	w := g.dial()
	defer w.Close()
	w.send(request)
	return w.reply(methodOf(request))
}

func methodOf(request string) string {
	method, _, _ := strings.Cut(request, " ")
	return method
}

// rawClient is a connection that speaks bytes.
type rawClient struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	return &rawClient{Conn: conn, t: t, in: bufio.NewReader(conn)}
}

func (w *rawClient) send(text string) {
	w.t.Helper()
	if _, err := io.WriteString(w.Conn, text); err != nil {
		w.t.Fatalf("send: %v", err)
	}
}

// reply is an answer with its body read. err says that the body was not whole.
type reply struct {
	*http.Response
	body string
	err  error
}

func (r *reply) fault() string { return r.Header.Get("X-Grid-Fault") }

// reply reads one answer.
func (w *rawClient) reply(method string) *reply {
	w.t.Helper()
	r, err := w.tryReply(method)
	if err != nil {
		w.t.Fatalf("no answer: %v", err)
	}
	return r
}

func (w *rawClient) tryReply(method string) (*reply, error) {
	resp, err := http.ReadResponse(w.in, &http.Request{Method: method})
	for err == nil && resp.StatusCode < 200 && resp.StatusCode != http.StatusSwitchingProtocols { // interim
		resp, err = http.ReadResponse(w.in, &http.Request{Method: method})
	}
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return &reply{resp, string(body), err}, nil
}

// expectEnd waits for the other side to close.
func (w *rawClient) expectEnd() {
	w.t.Helper()
	rest, err := io.ReadAll(w.in)
	var timeout net.Error
	if len(rest) > 0 || errors.As(err, &timeout) && timeout.Timeout() {
		w.t.Fatalf("the connection did not end: %q %v", rest, err)
	}
}

// rawDeck is a deck that is written in bytes: serve is called with each connection.
type rawDeck struct {
	addr string
	ln   net.Listener
	wg   sync.WaitGroup
	mu   sync.Mutex
	all  []net.Conn
}

func newRawDeck(t testing.TB, serve func(c *rawClient)) *rawDeck {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &rawDeck{addr: ln.Addr().String(), ln: ln}
	d.wg.Go(func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // a test took all descriptors away
				time.Sleep(time.Millisecond)
				continue
			}
			d.mu.Lock()
			d.all = append(d.all, conn)
			d.mu.Unlock()
			d.wg.Go(func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(2 * patience))
				serve(&rawClient{Conn: conn, t: t, in: bufio.NewReader(conn)})
			})
		}
	})
	t.Cleanup(d.close)
	return d
}

func (d *rawDeck) close() {
	_ = d.ln.Close()
	d.mu.Lock()
	for _, c := range d.all {
		_ = c.Close()
	}
	d.mu.Unlock()
	d.wg.Wait()
}

func (d *rawDeck) connections() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.all)
}

// head reads the head of a request, byte for byte; empty: the connection ended.
func (w *rawClient) head() string {
	var head bytes.Buffer
	for {
		line, err := w.in.ReadString('\n')
		head.WriteString(line)
		if err != nil {
			return ""
		}
		if line == "\r\n" {
			return head.String()
		}
	}
}

// answering returns a deck that gives every request the same bytes, and reads no bodies.
func answering(t testing.TB, answer string) *rawDeck {
	return newRawDeck(t, func(c *rawClient) {
		for c.head() != "" {
			if _, err := io.WriteString(c.Conn, answer); err != nil {
				return
			}
		}
	})
}

const fine = "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Length: 2\r\n\r\nok"

// goDeck is a deck made of the standard library's server.
func goDeck(t testing.TB, handler http.HandlerFunc) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ln)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return ln.Addr().String()
}

func get(path string, headers ...string) string {
	lines := append([]string{"GET " + path + " HTTP/1.1", "Host: acme.test"}, headers...)
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

func wantStatus(t testing.TB, r *reply, status int, fault string) {
	t.Helper()
	if r.StatusCode != status || r.fault() != fault {
		t.Fatalf("got %d %q, want %d %q; body %q", r.StatusCode, r.fault(), status, fault, r.body)
	}
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func lines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\r\n\r\n"), "\r\n") }

func requestLine(method, target, version string) admission.RequestLine {
	return admission.RequestLine{Method: []byte(method), Target: []byte(target), Version: []byte(version)}
}

func listenAt(addr string) (net.Listener, error) { return net.Listen("tcp", addr) }

func wireOn(t testing.TB, conn net.Conn) *rawClient {
	return &rawClient{Conn: conn, t: t, in: bufio.NewReader(conn)}
}

// live is what lives of the first deck.
func (g *grid) live() *upstream.Deck { return g.router.published.Load().decks[0].live }

// counts is what the first deck has counted.
func (g *grid) counts() upstream.Counts { return g.live().Counts() }
