package router

import (
	"bytes"
	"time"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/forwarding"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// exchange is one request, from its head to the end of its answer. One goroutine at a
// time works on it; a body on its way to the deck has a second one, see upload.go.
type exchange struct {
	router *Router
	client *client
	lane   *lane

	// The head as it came. It is part of the client's buffer.
	line          admission.RequestLine
	fields        []byte
	firstOfClient bool // the connection's first request

	// Of the attempts to ask the deck.
	prepared   bool // out holds the head of the request, and of the body what came with it
	replayable bool // out holds the whole request
	heard      bool // something of an answer has come in this attempt
	retrying   bool // this is not the first attempt

	// What was made of it.
	head     admission.Head
	hops     int // routers that the request passed before this one
	identity forwarding.Identity
	now      *published // the table and the decks of this request
	decision routing.Decision
	view     *deckView
	endpoint *upstream.Endpoint
	conn     *upstream.Conn
	failure  upstream.Failure // of the deck in this attempt; told by tellFailure

	answer      http1.Answer
	upload      upload
	expectation *expectation // a client that waits for 100 (Continue); nil: it does not

	in     []byte // what is read from the deck
	have   int    // how much of a head of an answer is in it
	headBy int64  // until when that head must be whole
	out    []byte // heads, on their way out

	deadline int64 // of the whole, as waits are bounded; noWait: none
	started  time.Time
	asked    time.Time // when the deck was asked; zero: it was not
	answered time.Time // when its answer's head was there

	status int  // that the client got
	begun  bool // something of the answer has been sent
	closes bool // the client's connection ends with this request
	reason string
	sent   int64  // bytes of the answer's body
	log    []byte // room for the line of the access log
}

// serve is the life of a request. Each step may end it with a fault; finish is where
// every one of them ends.
func (x *exchange) serve() {
	fault := x.admit()
	if fault == faults.None {
		fault = x.decide()
	}
	if fault == faults.None {
		fault = x.address()
	}
	if fault == faults.None {
		fault = x.relay()
	}
	x.finish(fault)
}

// admit lets in what can be read in one way only, and finds out who is asking.
func (x *exchange) admit() routing.Fault {
	refusal := x.head.Check(x.line, x.fields)
	x.reason = refusal.Reason
	x.identity.Read(&x.head, forwarding.Peer{Address: x.client.peer, Trusted: x.client.trusted, TLS: x.client.Secure}, x.router.proxies)
	x.head.Request.ClientIP = x.identity.Client
	if refusal.Fault != faults.None {
		x.closes = true
		return refusal.Fault
	}
	x.closes = x.closes || x.head.Close
	if x.hops = readHops(&x.head); x.hops >= maxHops {
		return faults.LoopDetected
	}
	if x.router.drain.refuses() && !x.firstOfClient {
		return faults.Draining
	}
	return faults.None
}

// maxHops is how many routers a request may have passed before this one. A grid may be a deck of
// another grid, and once more; a deck whose address leads back to the routers costs each request
// that is sent there so many places, and no more.
const maxHops = 4

// readHops returns how many routers the request has passed, whoever sends it: between two
// routers there may be balancers that nobody trusts. What a client makes up makes its own
// request a loop at most, since each router writes the field anew. What is no number is
// nothing that a router wrote.
func readHops(head *admission.Head) (hops int) {
	for i := range head.Lines {
		if line := &head.Lines[i]; line.Class == admission.GridHops {
			if n, ok := http1.ParseLength(line.Value); ok {
				hops = max(hops, int(min(n, maxHops)))
			}
		}
	}
	return hops
}

// decide asks the table of this moment which deck owns the request. From here on this is
// the request's table, whatever is published meanwhile.
func (x *exchange) decide() routing.Fault {
	x.now = x.router.published.Load()
	if x.now == nil {
		return routing.FaultNoTable
	}
	x.decision = x.now.table.Decide(&x.head.Request)
	if policy := x.decision.Policy; policy != nil && policy.Total > 0 {
		x.deadline = x.router.clock.After(policy.Total)
	}
	if x.decision.PinWanted {
		x.decidePinned()
	}
	x.reason = x.decision.Reason
	if x.misdirected() {
		return faults.Misdirected
	}
	return x.decision.Fault
}

// misdirected says whether the client made the connection for another tenant's host than
// it asks for (RFC 9110 15.5.20). A name that nobody owns says nothing.
func (x *exchange) misdirected() bool {
	named := x.client.serverName
	if len(named) == 0 || x.decision.Tenant == "" || bytes.Equal(named, x.head.Authority.Host) {
		return false
	}
	tenant, owned := x.now.table.OwnerOf(named)
	return owned && tenant != x.decision.Tenant
}

// address chooses where the deck is reached.
func (x *exchange) address() routing.Fault {
	x.view = x.now.decks[x.decision.Deck.ID]
	x.endpoint = upstream.Pick(x.view.endpoints)
	if x.endpoint == nil {
		x.deckFailed(upstream.FailedUnresolved, x.view.names())
		return faults.DeckUnresolved
	}
	x.endpoint.Begin()
	return faults.None
}

func newExchange(r *Router) *exchange {
	x := &exchange{router: r, in: make([]byte, firstReadBytes), out: make([]byte, 0, firstReadBytes)}
	x.upload.init()
	return x
}

// begin takes an exchange for a client's request.
func (r *Router) begin(c *client) *exchange {
	x, _ := r.exchanges.Get().(*exchange)
	x.client, x.lane = c, c.lane
	x.started = time.Now()
	x.identity.Client = c.peer
	x.lane.inFlight.Add(1)
	return x
}

// release lets go of an exchange that is over.
func (r *Router) release(x *exchange) {
	x.hangUp()
	x.lane.inFlight.Add(-1)
	x.forget()
	r.exchanges.Put(x)
}

// hangUp lets go of what a request still holds.
func (x *exchange) hangUp() {
	x.abandon(upstream.ClosedBadAnswer)
	if x.retrying {
		x.view.live.EndRetries()
		x.retrying = false
	}
	if x.endpoint != nil {
		x.endpoint.End()
		x.endpoint = nil
	}
}

// forget clears the request, and keeps the buffers for another.
func (x *exchange) forget() {
	x.client, x.lane, x.line, x.fields = nil, nil, admission.RequestLine{}, nil
	x.firstOfClient, x.prepared, x.replayable, x.heard, x.retrying = false, false, false, false, false
	x.identity.Forget()
	x.now, x.decision, x.view = nil, routing.Decision{}, nil
	x.answer = http1.Answer{}
	x.upload.whole = false
	x.upload.bytes.Store(0)
	x.head.Reset()
	x.deadline, x.started, x.asked, x.answered = wire.NoWait, time.Time{}, time.Time{}, time.Time{}
	x.status, x.sent, x.reason, x.failure = 0, 0, "", upstream.Failure{}
	x.begun, x.closes = false, false
	if cap(x.in) > keptReadBytes {
		x.in = make([]byte, firstReadBytes)
	}
	if cap(x.out) > keptReadBytes {
		x.out = make([]byte, 0, firstReadBytes)
	}
}

// late says whether the request's own deadline is over.
func (x *exchange) late() bool {
	return x.deadline != wire.NoWait && x.router.clock.Now() >= x.deadline
}

// untilDeadline is a time, but not beyond the request's own deadline.
func (x *exchange) untilDeadline(d time.Duration) time.Duration {
	if x.deadline != wire.NoWait {
		return min(d, time.Duration(x.deadline-x.router.clock.Now()))
	}
	return d
}

// orDeadline is a moment, but not beyond the request's own deadline.
func (x *exchange) orDeadline(by int64) int64 {
	if x.deadline != wire.NoWait {
		return min(by, x.deadline)
	}
	return by
}
