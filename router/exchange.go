package router

import (
	"time"

	"gridrouter.io/router/admission"
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
	prepared    bool // out holds the head of the request, and of the body what came with it
	replayable  bool // out holds the whole request
	answerBegun bool // something of an answer has come in this attempt
	retrying    bool // this is not the first attempt

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

	status   int  // that the client got
	begun    bool // something of the answer has been sent
	closes   bool // the client's connection ends with this request
	reason   string
	bodySent int64  // bytes of the answer's body
	log      []byte // room for the line of the access log
}

func newExchange(r *Router) *exchange {
	x := &exchange{router: r, in: make([]byte, firstReadBytes), out: make([]byte, 0, firstReadBytes)}
	x.upload.init()
	return x
}

// acquireExchange takes an exchange for a client's request.
func (r *Router) acquireExchange(c *client) *exchange {
	x, _ := r.exchanges.Get().(*exchange)
	x.client, x.lane = c, c.lane
	x.started = time.Now()
	x.identity.Client = c.peer
	x.lane.inFlight.Add(1)
	return x
}

// releaseExchange lets go of an exchange that is over.
func (r *Router) releaseExchange(x *exchange) {
	x.releaseDeck()
	x.lane.inFlight.Add(-1)
	x.reset()
	r.exchanges.Put(x)
}

// releaseDeck lets go of what a request still holds of its deck: the connection, the address, and
// its place among retries.
func (x *exchange) releaseDeck() {
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

// abandon closes the connection to the deck, if there still is one.
func (x *exchange) abandon(why upstream.CloseReason) {
	if x.conn == nil {
		return
	}
	x.upload.end(x)
	x.detach().Close(why)
}

// detach takes the connection out of the exchange's hands.
func (x *exchange) detach() *upstream.Conn {
	conn := x.conn
	x.conn = nil
	x.client.detach()
	return conn
}

// reset clears the request, and keeps the buffers for another.
func (x *exchange) reset() {
	x.client, x.lane, x.line, x.fields = nil, nil, admission.RequestLine{}, nil
	x.firstOfClient, x.prepared, x.replayable, x.answerBegun, x.retrying = false, false, false, false, false
	x.identity.Forget()
	x.now, x.decision, x.view = nil, routing.Decision{}, nil
	x.answer = http1.Answer{}
	x.upload.whole = false
	x.upload.bytes.Store(0)
	x.head.Reset()
	x.deadline, x.started, x.asked, x.answered = wire.NoWait, time.Time{}, time.Time{}, time.Time{}
	x.status, x.bodySent, x.reason, x.failure = 0, 0, "", upstream.Failure{}
	x.begun, x.closes = false, false
	if cap(x.in) > keptReadBytes {
		x.in = make([]byte, firstReadBytes)
	}
	if cap(x.out) > keptReadBytes {
		x.out = make([]byte, 0, firstReadBytes)
	}
}

// deadlinePassed says whether the request's own deadline is over.
func (x *exchange) deadlinePassed() bool {
	return x.deadline != wire.NoWait && x.router.clock.Now() >= x.deadline
}

// timeWithinDeadline shortens a time so that it does not go beyond the request's own deadline.
func (x *exchange) timeWithinDeadline(d time.Duration) time.Duration {
	if x.deadline != wire.NoWait {
		return min(d, time.Duration(x.deadline-x.router.clock.Now()))
	}
	return d
}

// withinDeadline returns a moment, or the request's own deadline if that is earlier.
func (x *exchange) withinDeadline(by int64) int64 {
	if x.deadline != wire.NoWait {
		return min(by, x.deadline)
	}
	return by
}
