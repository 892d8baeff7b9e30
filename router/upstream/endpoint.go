package upstream

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

// Endpoint is one address of one deck: its connections, its load and its health. Decks that share
// an address share none of these. All methods may be called at once from any goroutine.
type Endpoint struct {
	deck  *Deck
	clock *wire.Clock
	addr  netip.AddrPort
	text  string    // the address, for people
	tls   *tlsFiles // nil: plain
	pool  pool

	inFlight    atomic.Int64 // requests
	connections atomic.Int64 // open ones, idle and busy
	retired     atomic.Bool

	lastFailure atomic.Pointer[Failure] // nil: none

	failures atomic.Int32 // in a row
	// ejectedUntil is when an ejected address may be tried again, a moment of the router's
	// clock; 0: it is in use.
	ejectedUntil atomic.Int64
	backoff      atomic.Int64 // nanoseconds
	onTrial      atomic.Bool  // the one request that an ejected address got is on its way
}

func newEndpoint(deck *Deck, at netip.AddrPort) *Endpoint {
	return &Endpoint{deck: deck, clock: deck.clock, addr: at, text: at.String()}
}

// Address returns the address and port, for people.
func (e *Endpoint) Address() string { return e.text }

// Begin counts a request that goes to the address, until [Endpoint.End].
func (e *Endpoint) Begin() {
	e.inFlight.Add(1)
	e.deck.inFlight.Add(1)
}

// End counts a request that is over.
func (e *Endpoint) End() {
	e.inFlight.Add(-1)
	e.deck.inFlight.Add(-1)
}

// Pick chooses where a request goes: of two addresses at random the less loaded one,
// passing over those that are ejected; if all are, as if none were. An ejected address
// whose time is over gets one request as a trial. nil: there is no address.
func Pick(from []*Endpoint) *Endpoint {
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

// Elsewhere moves a request that has begun at an address to another one of from that is in use, if
// there is one, and returns where it is now.
func Elsewhere(from []*Endpoint, before *Endpoint) *Endpoint {
	for i, start := 0, rand.IntN(len(from)); i < len(from); i++ { // a choice is no secret
		if e := from[(start+i)%len(from)]; e != before && !e.ejected() {
			before.inFlight.Add(-1)
			e.inFlight.Add(1)
			return e
		}
	}
	return before
}

func lessLoaded(a, b *Endpoint) *Endpoint {
	if b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// ejected says whether the address is out of use at the moment.
func (e *Endpoint) ejected() bool { return e.ejectedUntil.Load() != 0 }

// try says whether a request may go to an ejected address as a trial. It says so once
// when the address's time is over, and then not again until a trial's own time is over.
func (e *Endpoint) try() bool {
	until, now := e.ejectedUntil.Load(), e.clock.Now()
	if until == 0 || now < until || !e.ejectedUntil.CompareAndSwap(until, now+e.backoff.Load()) {
		return false
	}
	e.onTrial.Store(true)
	return true
}

// Failed counts a failure to connect, or to get a first byte in time. Some in a row take the address
// out of use for a while.
func (e *Endpoint) Failed(cause Cause) {
	now := e.clock.Now()
	failures := e.failures.Add(1)
	until := e.ejectedUntil.Load()
	switch {
	case until == 0 && failures >= ejectAfter:
		e.backoff.Store(int64(backoffLow))
		if !e.ejectedUntil.CompareAndSwap(0, now+int64(backoffLow)) {
			return
		}
		e.deck.counters.ejections.Add(1)
		e.deck.log.Warn("an address of a deck is taken out of use for a while",
			zap.String("deck", e.deck.name), zap.String("address", e.text), zap.String("cause", cause.Words()),
			zap.Int32("failures", failures), zap.Duration("for", backoffLow))
	case until != 0 && e.onTrial.CompareAndSwap(true, false):
		backoff := min(2*e.backoff.Load(), int64(backoffHigh))
		if e.ejectedUntil.CompareAndSwap(until, now+backoff) {
			e.backoff.Store(backoff)
		}
	}
}

// Succeeded notes that the address gave an answer, which brings it back into use.
func (e *Endpoint) Succeeded() {
	if e.failures.Load() != 0 {
		e.failures.Store(0)
	}
	if e.ejectedUntil.Load() != 0 && e.ejectedUntil.Swap(0) != 0 {
		e.deck.log.Info("an address of a deck is in use again",
			zap.String("deck", e.deck.name), zap.String("address", e.text))
	}
}

// Sweep closes the idle connections that were unused for longer than idle at a moment of the clock,
// and those that the deck has closed or spoken on. It also has the files of the deck's TLS looked at,
// now and then.
func (e *Endpoint) Sweep(now int64, idle time.Duration) {
	e.pool.sweep(now, idle)
	if e.tls != nil {
		e.tls.refresh(now)
	}
}

// EachIdle calls f with each idle connection. None is used meanwhile, so f must not block.
func (e *Endpoint) EachIdle(f func(*Conn)) {
	e.pool.filter(func(c *Conn) bool {
		f(c)
		return true
	})
}

// retire takes the address out of use for good: idle connections close now, busy ones
// when their request ends.
func (e *Endpoint) retire() {
	e.retired.Store(true)
	e.pool.closeAll(ClosedRetired)
}

// Reuse takes an idle connection that is fit for use, the last one put back first; nil: there is
// none. idle is for how long it may have been unused, and lane the caller's, see [metrics.Lanes].
func (e *Endpoint) Reuse(lane int, idle time.Duration) *Conn {
	now := e.clock.After(0) // not earlier than it is
	for {
		c := e.pool.get(lane)
		switch {
		case c == nil:
			return nil
		case now-c.idleSince > int64(idle):
			c.Close(ClosedIdle)
			continue
		}
		switch c.idling() {
		case wire.Quiet:
			c.reused = true
			e.deck.counters.reused.Add(1)
			return c
		case wire.Shut:
			c.Close(ClosedByDeck)
		case wire.Speaks:
			c.Close(ClosedUnsolicited)
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

// Dial makes a new connection, TLS handshake included, within a time. [ConnectCause] says what an
// error is.
func (e *Endpoint) Dial(timeout time.Duration) (*Conn, error) {
	c, err := e.dial(timeout)
	if err != nil {
		e.deck.counters.connectFailures.Add(1)
		return nil, err
	}
	e.connections.Add(1)
	e.deck.counters.opened.Add(1)
	return c, nil
}

func (e *Endpoint) dial(timeout time.Duration) (*Conn, error) {
	end := time.Now().Add(timeout)
	dialer := net.Dialer{
		Deadline:        end,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: probeAfter, Interval: probeEvery, Count: probes},
	}
	conn, err := dialer.DialTCP(context.Background(), "tcp", netip.AddrPort{}, e.addr)
	if err != nil {
		return nil, err
	}
	c := &Conn{endpoint: e}
	err = c.Open(conn)
	if err == nil && e.tls != nil {
		err = c.secureBy(e.tls, end)
	}
	if err != nil {
		_ = conn.Close() // it is of no use
		return nil, err
	}
	return c, nil
}
