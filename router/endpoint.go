package router

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/wire"
)

const (
	// ejectAfter is how many failures in a row, to connect or to get a first byte in time,
	// take an address out of use for a while.
	ejectAfter  = 3
	backoffLow  = time.Second
	backoffHigh = 30 * time.Second
)

// endpoint is one address of one deck: its connections, its load and its health. Decks
// that share an address share none of these.
type endpoint struct {
	router *Router
	deck   *liveDeck
	addr   netip.AddrPort
	text   string   // the address, for people
	tls    *deckTLS // nil: plain
	pool   pool

	inFlight    atomic.Int64 // requests
	connections atomic.Int64 // open ones, idle and busy
	retired     atomic.Bool

	lastFailure atomic.Pointer[failure] // nil: none

	failures atomic.Int32 // in a row
	// ejectedUntil is when an ejected address may be tried again, a moment of the router's
	// clock; 0: it is in use.
	ejectedUntil atomic.Int64
	backoff      atomic.Int64 // nanoseconds
	onTrial      atomic.Bool  // the one request that an ejected address got is on its way
}

func newEndpoint(r *Router, deck *liveDeck, at netip.AddrPort) *endpoint {
	return &endpoint{router: r, deck: deck, addr: at, text: at.String()}
}

// pick chooses where a request goes: of two addresses at random the less loaded one,
// passing over those that are ejected; if all are, as if none were. An ejected address
// whose time is over gets one request as a trial. nil: there is no address.
func pick(from []*endpoint) *endpoint {
	n := len(from)
	switch n {
	case 0:
		return nil
	case 1:
		return from[0]
	}
	i := rand.IntN(n)     // a choice is no secret
	j := rand.IntN(n - 1) // nor is this one
	if j >= i {
		j++
	}
	a, b := from[i], from[j]
	switch aOut, bOut := a.ejected(), b.ejected(); {
	case !aOut && !bOut:
		return lessLoaded(a, b)
	case aOut && a.try():
		return a
	case bOut && b.try():
		return b
	case !aOut:
		return a
	case !bOut:
		return b
	}
	for k := 1; k < n; k++ { // neither: any other will do
		if e := from[(i+k)%n]; !e.ejected() || e.try() {
			return e
		}
	}
	return lessLoaded(a, b)
}

func lessLoaded(a, b *endpoint) *endpoint {
	if b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// ejected says whether the address is out of use at the moment.
func (e *endpoint) ejected() bool { return e.ejectedUntil.Load() != 0 }

// try says whether a request may go to an ejected address as a trial. It says so once
// when the address's time is over, and then not again until a trial's own time is over.
func (e *endpoint) try() bool {
	until, now := e.ejectedUntil.Load(), e.router.clock.Now()
	if until == 0 || now < until || !e.ejectedUntil.CompareAndSwap(until, now+e.backoff.Load()) {
		return false
	}
	e.onTrial.Store(true)
	return true
}

// failed counts a failure to connect, or to get a first byte in time.
func (e *endpoint) failed(cause string) {
	now := e.router.clock.Now()
	failures := e.failures.Add(1)
	until := e.ejectedUntil.Load()
	switch {
	case until == 0 && failures >= ejectAfter:
		e.backoff.Store(int64(backoffLow))
		if !e.ejectedUntil.CompareAndSwap(0, now+int64(backoffLow)) {
			return
		}
		e.deck.counters.ejections.Add(1)
		e.router.log.Warn("an address of a deck is taken out of use for a while",
			zap.String("deck", e.deck.name), zap.String("address", e.text), zap.String("cause", cause),
			zap.Int32("failures", failures), zap.Duration("for", backoffLow))
	case until != 0 && e.onTrial.CompareAndSwap(true, false):
		backoff := min(2*e.backoff.Load(), int64(backoffHigh))
		if e.ejectedUntil.CompareAndSwap(until, now+backoff) {
			e.backoff.Store(backoff)
		}
	}
}

// succeeded notes that the address gave an answer.
func (e *endpoint) succeeded() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
	}
	if e.ejectedUntil.Load() != 0 && e.ejectedUntil.Swap(0) != 0 {
		e.router.log.Info("an address of a deck is in use again",
			zap.String("deck", e.deck.name), zap.String("address", e.text))
	}
}

// retire takes the address out of use for good: idle connections close now, busy ones
// when their request ends.
func (e *endpoint) retire() {
	e.retired.Store(true)
	e.pool.closeAll(closedRetired)
}

// reuse takes an idle connection that is fit for use, the last one put back first.
func (e *endpoint) reuse(lane int, idle time.Duration) *deckConn {
	now := e.router.clock.After(0) // not earlier than it is
	for {
		c := e.pool.get(lane)
		switch {
		case c == nil:
			return nil
		case now-c.idleSince > int64(idle):
			c.close(closedIdle)
			continue
		}
		switch c.idling() {
		case wire.Quiet:
			return c
		case wire.Shut:
			c.close(closedByDeck)
		case wire.Speaks:
			c.close(closedUnsolicited)
		}
	}
}

// A deck may take its time once its answer has begun, and so may its client. What tells a
// deck that thinks from one that vanished, without a word, are probes: within a minute.
const (
	probeAfter = 30 * time.Second
	probeEvery = 10 * time.Second
	probes     = 3
)

// dial makes a new connection, TLS handshake included, within a time.
func (e *endpoint) dial(timeout time.Duration) (*deckConn, error) {
	begun := time.Now()
	end := begun.Add(timeout)
	dialer := net.Dialer{
		Deadline:        end,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes},
	}
	conn, err := dialer.DialTCP(context.Background(), "tcp", netip.AddrPort{}, e.addr)
	if err != nil {
		return nil, err
	}
	c := &deckConn{endpoint: e}
	err = c.Open(conn)
	if err == nil && e.tls != nil {
		err = c.secureBy(e.tls, begun, end)
	}
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, err
	}
	e.connections.Add(1)
	e.deck.counters.opened.Add(1)
	return c, nil
}
