// Package ingress is the sample mesh ingress: it sends each request to the deck whose
// domain is the request's Host, and leaves its name on requests and answers, so that a
// person sees that the way led through it. It is a plain reverse proxy by fasthttp, one to
// compare the router with: it does not notice a client that leaves before the answer, it
// passes on no upgrades and no trailers, and field names arrive in canonical spelling.
package ingress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/bench/lab/httpserver"
)

// Header is the field that the ingress adds to requests and answers.
const Header = "X-Ingress"

const (
	connectTimeout = time.Second
	writeTimeout   = time.Hour   // for a request to be written
	idleTimeout    = time.Minute // of a connection to a deck
	maxHeadBytes   = 96 << 10    // of a deck's answer
	maxConnections = 1 << 16     // to one deck
)

// Config describes an ingress.
type Config struct {
	// Name is what Header says.
	Name string
	// Routes map a host, in lower case and without port, to a deck's address (host:port).
	Routes map[string]string
	// Logger receives faults. Nil: no log.
	Logger *zap.Logger
}

// Serve answers requests on the listener until ctx ends; then it waits for the
// requests in flight, for grace at most. It closes the listener.
func Serve(ctx context.Context, listener net.Listener, grace time.Duration, config Config) error {
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	p := &proxy{Config: config, decks: map[string]*fasthttp.HostClient{}}
	for host, address := range config.Routes {
		p.decks[host] = newClient(address)
		defer p.decks[host].CloseIdleConnections()
	}
	if err := httpserver.Serve(ctx, listener, grace, p.serve, config.Logger); err != nil {
		return fmt.Errorf("ingress %s: %w", config.Name, err)
	}
	return nil
}

// newClient returns the client for one deck.
func newClient(address string) *fasthttp.HostClient {
	return &fasthttp.HostClient{
		Addr: address, MaxConns: maxConnections, MaxIdleConnDuration: idleTimeout, WriteTimeout: writeTimeout,
		ReadBufferSize: maxHeadBytes, MaxIdemponentCallAttempts: 1,
		NoDefaultUserAgentHeader: true, DisablePathNormalizing: true,
		DialTimeout: func(address string, _ time.Duration) (net.Conn, error) {
			conn, err := net.DialTimeout("tcp", address, connectTimeout)
			if err != nil {
				return nil, err
			}
			return &deckConn{httpserver.Conn{Conn: conn}}, nil
		},
	}
}

// errEndedIdle says that a deck ended a connection between two requests. Nothing was sent on it.
var errEndedIdle = errors.New("the deck has ended this connection")

// deckConn is a connection to a deck.
type deckConn struct{ httpserver.Conn }

// SetWriteDeadline implements [net.Conn]. fasthttp calls it before it writes a request, which is the
// moment to see whether the deck has ended the connection since the last one.
func (c *deckConn) SetWriteDeadline(t time.Time) error {
	if c.Left() {
		return errEndedIdle
	}
	return c.Conn.SetWriteDeadline(t)
}

// Read implements [net.Conn]. It tells the end of the connection as an unexpected one: fasthttp takes an
// end between two chunks for the end of the body.
func (c *deckConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

type proxy struct {
	Config
	decks map[string]*fasthttp.HostClient // by host
}

// serve passes a request on as it is, but for Header and for fields that concern one connection.
func (p *proxy) serve(ctx *fasthttp.RequestCtx) {
	host := hostOf(ctx)
	deck, ok := p.decks[host]
	if !ok {
		p.fail(ctx, fasthttp.StatusNotFound, "the ingress knows no deck with the domain "+host)
		return
	}
	request, answer := p.request(ctx), &fasthttp.Response{StreamBody: true}
	answer.Header.SetNoDefaultContentType(true)
	err := deck.Do(request, answer)
	for errors.Is(err, errEndedIdle) { // each such connection is closed and gone, so this ends at a new one
		err = deck.Do(request, answer)
	}
	if err != nil {
		p.Logger.Warn("deck cannot be reached", zap.String("host", host), zap.Error(err))
		p.fail(ctx, fasthttp.StatusBadGateway, "the ingress cannot reach the deck")
		return
	}
	p.answer(ctx, answer)
}

// request returns what the deck is sent.
func (p *proxy) request(ctx *fasthttp.RequestCtx) *fasthttp.Request {
	request := &fasthttp.Request{UseHostHeader: true}
	ctx.Request.Header.CopyTo(&request.Header)
	request.Header.SetNoDefaultContentType(true)
	removeHopByHop(&request.Header)
	request.Header.ResetConnectionClose()
	request.Header.Add(Header, p.Name)
	if length := ctx.Request.Header.ContentLength(); length > 0 || length == inChunks {
		request.SetBodyStream(httpserver.Body(ctx), length)
	}
	return request
}

// answer passes on what the deck answers; its body as it arrives.
func (p *proxy) answer(ctx *fasthttp.RequestCtx, answer *fasthttp.Response) {
	answer.Header.CopyTo(&ctx.Response.Header)
	removeHopByHop(&ctx.Response.Header)
	ctx.Response.Header.ResetConnectionClose()
	ctx.Response.Header.Add(Header, p.Name)
	if ctx.IsHead() {
		ctx.Response.SkipBody = true
	}
	if answer.BodyStream() != nil {
		length := answer.Header.ContentLength()
		ctx.Response.SetBodyStream(&deckBody{answer, length == untilClose}, max(length, inChunks))
	}
}

// Lengths that fasthttp gives bodies whose length is not known when they begin.
const (
	inChunks   = -1
	untilClose = -2
)

// deckBody is the body of a deck's answer. When it is closed its connection is free again.
type deckBody struct {
	answer     *fasthttp.Response
	untilClose bool // the end of the connection is the end of the body
}

// Read implements [io.Reader].
func (b *deckBody) Read(p []byte) (int, error) {
	n, err := b.answer.BodyStream().Read(p)
	if b.untilClose && errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	return n, err
}

// Close implements [io.Closer].
func (b *deckBody) Close() error { return b.answer.CloseBodyStream() }

// fail answers in place of a deck.
func (p *proxy) fail(ctx *fasthttp.RequestCtx, status int, text string) {
	ctx.SetStatusCode(status)
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set(Header, p.Name)
	ctx.SetBodyString(text + "\n")
}

// removeHopByHop removes the fields that concern one connection (RFC 9110 7.6.1), but for those that
// fasthttp itself writes anew.
func removeHopByHop(header interface {
	Peek(name string) []byte
	Del(name string)
}) {
	for name := range strings.SplitSeq(string(header.Peek("Connection")), ",") {
		header.Del(strings.TrimSpace(name))
	}
	for _, name := range []string{"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Upgrade"} {
		header.Del(name)
	}
}

// hostOf returns the request's host in lower case, without port.
func hostOf(ctx *fasthttp.RequestCtx) string {
	host := string(ctx.Request.Header.Host())
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}
