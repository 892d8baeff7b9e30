package upstream

import (
	"net/netip"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/lograte"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// Deck is what lives of a deck for longer than a table: counters, and addresses with their
// connections. It is kept by the deck's name. All methods but [Deck.Endpoint] may be called at once
// from any goroutine.
type Deck struct {
	name  string
	clock *wire.Clock
	log   *zap.Logger

	counters counters
	inFlight atomic.Int64
	retrying atomic.Int64 // requests that are being tried again

	lastFailure atomic.Pointer[Failure] // the last that belongs to no address; nil: none
	failureLog  lograte.Limit

	endpoints map[place]*Endpoint    // those in use; whoever owns the Decks guards them
	tls       map[identity]*tlsFiles // how it is spoken to
	turns     chan struct{}          // see newTLSFiles
}

// place is where a deck is reached, and as who.
type place struct {
	at netip.AddrPort
	as identity
}

// Endpoint returns what lives at one address of the deck, whose document says as whom a router
// comes there. It makes it where there is none. Calls need the lock of [Decks].
func (d *Deck) Endpoint(document *routing.CompiledDeck, at netip.AddrPort) *Endpoint {
	where := place{at, identityOf(document)}
	e := d.endpoints[where]
	if e == nil {
		e = newEndpoint(d, at)
		e.tls = d.tlsFor(where.as)
		d.endpoints[where] = e
	}
	return e
}

// tlsFor returns how the deck is spoken to under an identity; nil: in plain text.
func (d *Deck) tlsFor(id identity) *tlsFiles {
	if !id.given {
		return nil
	}
	if d.tls[id] == nil {
		clear(d.tls) // those before it live on in the endpoints that use them
		d.tls[id] = newTLSFiles(id, d.turns, d.log.With(zap.String("deck", d.name)), d.clock.Now())
	}
	return d.tls[id]
}

// InFlight returns how many requests are under way to the deck.
func (d *Deck) InFlight() int64 { return d.inFlight.Load() }

// Finished counts a request to the deck that ended with a status, in one of [metrics.Lanes]; 0: the
// client was sent none.
func (d *Deck) Finished(lane, status int) { d.counters.lanes[lane].classes.Count(status) }

// Answered counts the time from choosing an address to the head of an answer, in one of
// [metrics.Lanes].
func (d *Deck) Answered(lane int, took time.Duration) { d.counters.lanes[lane].Observe(took) }

// retryFloor is how many requests of a deck may be tried again at the same time whatever
// its load; beyond, one for each retryShare that are in flight. So a deck that fails gets a fifth
// more requests than it would have, and not a multiple.
const (
	retryFloor = 3
	retryShare = 5
)

// BeginRetries says whether a request may be tried again, and counts it as such until
// [Deck.EndRetries]. It may not where too many others are.
func (d *Deck) BeginRetries() bool {
	if d.retrying.Add(1) > retryFloor+d.inFlight.Load()/retryShare {
		d.retrying.Add(-1)
		d.counters.retriesRefused.Add(1)
		return false
	}
	return true
}

// EndRetries counts a request that was tried again as over.
func (d *Deck) EndRetries() { d.retrying.Add(-1) }

// CountRetry counts that a request is sent once more.
func (d *Deck) CountRetry() { d.counters.retries.Add(1) }

// Failed counts what went wrong, shows it at its address, or at the deck where at is nil, and logs
// it within bounds, with the request's tenant and ID.
func (d *Deck) Failed(at *Endpoint, f Failure, tenant string, requestID []byte) {
	d.counters.failures[f.Cause].Add(1)
	address := ""
	if at != nil {
		at.lastFailure.Store(&f)
		address = at.text
	} else {
		d.lastFailure.Store(&f)
	}
	if ok, left := d.failureLog.Allow(f.At); ok {
		d.log.Warn("a deck failed a request", zap.String("deck", d.name), zap.String("address", address),
			zap.String("cause", f.Cause.String()), zap.String("what", f.What), zap.String("tenant", tenant),
			zap.ByteString("requestId", requestID), zap.Int("notLogged", left))
	}
}
