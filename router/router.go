package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/forwarding"
	"gridrouter.io/router/history"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

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

	counters       counters
	acceptErrors   atomic.Uint64
	acceptPauses   atomic.Uint64
	refused        refusals
	clientTimeouts [clientWaits]atomic.Uint64
	tunnels        tunnelSet
	clients        clientSet
	fresh          atomic.Int64 // connections whose first request has not begun
	lingering      atomic.Int64 // connections whose last answer is being read
	exchanges      sync.Pool
	heads          wire.Buffers // for the heads of requests
	records        wire.Buffers // for bodies under TLS
	bodies         wire.Buffers
	clock          wire.Clock
	date           atomic.Pointer[[]byte]

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
	if err := checkID(cfg.ID); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	r := &Router{cfg: cfg, log: cfg.Logger, faults: faults.NewIndex(), proxies: cfg.TrustedProxies, stop: make(chan struct{})}
	r.clock.Init()
	r.counters.init(len(r.faults.Kinds()))
	r.publisher.init(r)
	r.drain.begun = make(chan struct{})
	r.exchanges.New = func() any { return newExchange(r) }
	r.heads.Init(wire.HeadBytes)
	r.records.Init(wire.RecordBytes)
	r.bodies.Init(wire.BodyBytes)
	r.updateDate(time.Now())
	r.run.Go(r.janitor)
	r.run.Go(r.watch)
	return r, nil
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
			r.updateDate(now)
			r.publisher.sweep(r.clock.Now())
		}
	}
}

func (r *Router) updateDate(now time.Time) {
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
