package router

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/forwarding"
	"gridrouter.io/router/history"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// Resolver keeps names resolved in the background and answers from memory.
type Resolver interface {
	// Track replaces the set of names to keep resolved.
	Track(names []string)
	// Lookup returns the addresses of a name as they are in memory, and whether a
	// resolution of it has ended yet, well or not. The slice is not written to.
	Lookup(name string) (addrs []netip.Addr, tried bool)
	// Notify registers f, which is called after the addresses of a name changed or its
	// first resolution ended. f must not block.
	Notify(f func(name string))
}

// Config says how a Router works. The zero value of each field means what it says there.
type Config struct {
	// ID names this router; decks see it in X-Grid-Router. Required.
	ID string
	// TrustedProxies are the peers that may speak for clients: whose X-Forwarded-*,
	// Forwarded, X-Request-Id and traceparent are believed. None: nobody.
	TrustedProxies []netip.Prefix
	// GSLB resolves the domains of decks on the mesh; nil: such decks stay unresolved.
	GSLB Resolver
	// Names resolves the names among addresses of direct decks; nil: those stay unresolved.
	Names Resolver
	// Pins finds pins that tables do not hold; nil: those stay unread.
	Pins Pins
	// AccessLog takes a line for each request, best with [AccessLogLanes]; nil: none is written.
	AccessLog *accesslog.Log
	// Patience bounds how long a client may take.
	Patience Patience
	// ProxyProtocol says that each connection begins with a PROXY header, version 1 or 2,
	// from one of TrustedProxies. Connections from other peers are closed.
	ProxyProtocol bool
	// HalfClose says what becomes of a request whose client ends its direction of the connection
	// while it is answered. Default [HalfCloseDeparts].
	HalfClose HalfClose
	// MaxClients is how many connections from clients are open at most; those beyond wait in
	// the system's queue, unless the client of one is waited for: the longest waiting then
	// makes room. 0: three quarters of the descriptors that the process may have, so
	// that decks get theirs.
	MaxClients int
	// MaxClientsPerAddress is how many of these one address may have, of IPv6 a network of 64
	// bits; trusted peers may have all. 0: half of MaxClients.
	MaxClientsPerAddress int
	// Logger takes what happens to decks, documents and listeners; nil: nothing is logged.
	Logger *zap.Logger
}

// HalfClose is what a client means that sends no more and does not close its connection, which
// looks the same as one that closed it (a FIN), until something is sent to it.
type HalfClose uint8

const (
	// HalfCloseDeparts takes such a client for gone once its deck has been silent for half a
	// second: the deck's work is cancelled. What comes without such a silence it is given.
	HalfCloseDeparts HalfClose = iota
	// HalfCloseServed serves such a client to the end. One that is gone is noticed when its
	// connection breaks, which is when something is sent to it.
	HalfCloseServed
)

// Patience bounds how long a client may take. A zero value takes the default that is
// named at its field.
type Patience struct {
	// Head is for the head of a request to arrive. Default 10s.
	Head time.Duration
	// Idle is between two requests on a connection. Default 75s.
	Idle time.Duration
	// Body is for a body that was announced to stand still; each KiB that comes gives back a
	// second of it. Default 30s.
	Body time.Duration
	// Write is for a piece of the answer, at most 64 KiB, to be taken. Default 1m.
	Write time.Duration
	// Continue is how long a client that waits for 100 (Continue) waits for its deck to say it,
	// before the router does. Default 1s.
	Continue time.Duration
	// Tunnel is for a byte to come through a tunnel, in either direction. Default 1h.
	Tunnel time.Duration
}

func (p Patience) withDefaults() Patience {
	return Patience{
		Head: cmp.Or(p.Head, 10*time.Second), Idle: cmp.Or(p.Idle, 75*time.Second),
		Body: cmp.Or(p.Body, 30*time.Second), Write: cmp.Or(p.Write, time.Minute), Tunnel: cmp.Or(p.Tunnel, time.Hour),
		Continue: cmp.Or(p.Continue, time.Second),
	}
}

// Router relays requests to decks. Make one with [New]; all methods may be called at
// once from any goroutine, where they do not say otherwise.
type Router struct {
	cfg    Config
	log    *zap.Logger
	faults faults.Index
	// proxies are Config.TrustedProxies.
	proxies forwarding.Proxies

	published atomic.Pointer[published] // nil: nothing has been published yet
	began     atomic.Bool               // all that is needed to begin has been there
	publisher publisher
	history   history.Tables

	counters     counters
	acceptErrors atomic.Uint64
	acceptPauses atomic.Uint64
	turned       turnedAway
	timeouts     [impatiences]atomic.Uint64
	tunnels      tunnelSet
	clients      clientSet
	fresh        atomic.Int64 // connections whose first request has not begun
	lingering    atomic.Int64 // connections whose last answer is being read
	exchanges    sync.Pool
	heads        wire.Buffers // for the heads of requests
	records      wire.Buffers // for bodies under TLS
	bodies       wire.Buffers
	clock        wire.Clock
	date         atomic.Pointer[[]byte]

	drain drainState
	run   sync.WaitGroup // the goroutines of Serve, and the janitor
	stop  chan struct{}  // closed by Close
	once  sync.Once

	mu        sync.Mutex
	listeners []*listener
}

// New makes a router and starts its janitor, which [Router.Close] ends. It listens to
// nothing yet, and answers no_table until something is published.
func New(cfg Config) (*Router, error) {
	if cfg.ID == "" {
		return nil, errors.New("a router needs an ID that tells it from others; give one")
	}
	if err := checkID(cfg.ID); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	cfg.Patience = cfg.Patience.withDefaults()
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultMaxClients()
	}
	if cfg.MaxClientsPerAddress <= 0 {
		cfg.MaxClientsPerAddress = (cfg.MaxClients + 1) / 2
	}
	r := &Router{cfg: cfg, log: cfg.Logger, faults: faults.NewIndex(), proxies: cfg.TrustedProxies, stop: make(chan struct{})}
	r.clock.Init()
	r.counters.init(len(r.faults.Kinds()))
	r.publisher.init(r)
	r.drain.begun = make(chan struct{})
	r.exchanges.New = func() any { return newExchange(r) }
	r.heads.Init(wire.HeadBytes)
	r.records.Init(wire.RecordBytes)
	r.bodies.Init(wire.BodyBytes)
	r.tellDate(time.Now())
	r.run.Go(r.janitor)
	r.run.Go(r.watch)
	return r, nil
}

// maxIDBytes bounds a router's ID, which every deck gets with every request.
const maxIDBytes = 128

func checkID(id string) error {
	if len(id) > maxIDBytes {
		return fmt.Errorf("the router's ID has %d bytes; at most %d", len(id), maxIDBytes)
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return fmt.Errorf("the router's ID %q holds something else than visible ASCII characters; choose a plain name", id)
		}
	}
	return nil
}

// ID returns the router's ID.
func (r *Router) ID() string { return r.cfg.ID }

// Listen opens a data listener on a TCP address host:port and serves clients that come
// to it until the router drains or closes. It returns the address in use.
func (r *Router) Listen(ctx context.Context, address string) (net.Addr, error) {
	return r.ListenTLS(ctx, address, nil)
}

// ListenTLS is [Router.Listen] for clients that speak TLS, as secure says; nil: plain.
// Requests for a host of another tenant than the name that the client gave with TLS (SNI)
// are misdirected.
func (r *Router) ListenTLS(ctx context.Context, address string, secure *tls.Config) (net.Addr, error) {
	ln, err := r.listen(ctx, address)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.stop:
		_ = ln.Close()
		return nil, errors.New("the router has been closed")
	default:
	}
	ln.secure = secure
	r.listeners = append(r.listeners, ln)
	r.run.Go(ln.serve)
	return ln.Addr(), nil
}

// Close ends at once: listeners and connections are closed, requests in flight are cut.
// It waits until all that the router started has ended. To end without harm, call
// [Router.Drain] first.
func (r *Router) Close() {
	r.once.Do(func() {
		r.mu.Lock()
		close(r.stop)
		for _, ln := range r.listeners {
			ln.end() // makes accept return
		}
		r.mu.Unlock()
		r.clients.closeAll()
		r.publisher.close()
	})
	r.run.Wait()
	r.awaitClients()
}

// awaitClients waits until every connection's goroutine has let go of it.
func (r *Router) awaitClients() {
	for deadline := time.Now().Add(closeTime); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if open, _ := r.clients.count(); open == 0 {
			return
		}
		r.clients.closeAll()
	}
}

const (
	closeTime    = 5 * time.Second // that connections may take to end once they are closed
	janitorEvery = time.Second
)

// janitor closes connections to decks that were unused for too long, or that decks
// closed, and keeps the date that answers bear.
func (r *Router) janitor() {
	tick := time.NewTicker(janitorEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case now := <-tick.C:
			r.tellDate(now)
			r.publisher.sweep(r.clock.Now())
		}
	}
}

func (r *Router) tellDate(now time.Time) {
	date := fasthttp.AppendHTTPDate(nil, now)
	r.date.Store(&date)
}

// Table returns the table in force; nil: none has been published.
func (r *Router) Table() *routing.Table {
	t, _ := r.InForce()
	return t
}

// InForce returns the table in force and when it was published; nil: none has been.
func (r *Router) InForce() (t *routing.Table, at time.Time) {
	if now := r.published.Load(); now != nil {
		return now.table, now.at
	}
	return nil, time.Time{}
}

// TableAt returns the table that was in force last at a revision; present says that it is in force
// now. The error says which revisions are kept. nil without an error: none has been published.
func (r *Router) TableAt(revision int64) (t *routing.Table, present bool, err error) {
	return r.history.At(revision)
}
