package router

import (
	"errors"
	"net/http"
	"time"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

const (
	// firstReadBytes is what the first read from a deck has room for: most answers whole.
	firstReadBytes = 8 << 10
	// maxInterim is how many answers 1xx may come before the one that counts.
	maxInterim = 16
	// keptReadBytes is how much of a buffer that a large head needed is kept for others.
	keptReadBytes = 16 << 10
)

var (
	errClientGone = errors.New("the client left")
	errUpload     = errors.New("the request could not be sent whole")
)

// relay sends the request to the deck and the answer back. Both flow at the same time,
// each through one buffer, at the pace of whoever is slower.
func (x *exchange) relay() routing.Fault {
	for tries := 1; ; tries++ {
		rest, fault := x.attempt()
		switch {
		case fault == faults.None && x.answer.Status == http.StatusSwitchingProtocols:
			return x.tunnel(rest)
		case fault == faults.None:
			return x.passOn(rest)
		}
		stale := x.conn != nil && x.conn.Reused() && !x.answerBegun // which is what becomes of idle connections
		if !stale {
			x.reportFailure()
		}
		if !x.tryAgain(fault, tries) {
			return fault
		}
		x.failure, x.reason = upstream.Failure{}, ""
	}
}

// attempt asks the deck once, up to the head of its answer. It returns what has been read
// of the answer's body.
func (x *exchange) attempt() (rest []byte, fault routing.Fault) {
	x.answerBegun, x.have = false, 0
	if fault := x.prepare(); fault != faults.None {
		return nil, fault
	}
	if fault := x.connect(); fault != faults.None {
		return nil, fault
	}
	have, fault := x.ask()
	if fault != faults.None {
		return nil, fault
	}
	return x.awaitAnswer(have)
}

// connect takes an idle connection to the address, or makes one.
func (x *exchange) connect() routing.Fault {
	deck := x.view.compiled
	if x.asked.IsZero() {
		x.asked = x.started
	}
	var conn *upstream.Conn
	if !x.retrying { // what became of one idle connection may have become of all
		conn = x.endpoint.Reuse(x.lane.index, deck.Idle)
	}
	if conn == nil {
		var err error
		if conn, err = x.endpoint.Dial(x.timeWithinDeadline(deck.Connect)); err != nil {
			return x.connectFault(err)
		}
	}
	x.conn = conn
	x.client.attach(conn)
	return faults.None
}

// connectFault says which fault it is that no connection could be made.
func (x *exchange) connectFault(err error) routing.Fault {
	switch {
	case x.deadlinePassed():
		x.deckFailed(upstream.FailedTotal, "")
		return faults.DeckTimeout
	case upstream.RanOut(err):
		x.reason = "this machine ran out of what a connection needs: " + err.Error()
		return faults.Overloaded
	}
	cause := upstream.ConnectCause(err)
	x.deckFailed(cause, err.Error())
	x.endpoint.Failed(cause)
	return faults.ConnectFailed
}

// ask sends the head of the request with what is there of its body, and begins to send
// the rest. Where there is no rest it also reads the first bytes of the answer; it returns
// how many.
func (x *exchange) ask() (have int, fault routing.Fault) {
	c := x.client
	c.requestSent.Store(false)
	c.departed.Store(false)
	x.upload.firstBy.Store(wire.NoWait)
	if c.body.Ended() {
		x.upload.whole = true
		by := x.firstByteBy()
		x.upload.firstBy.Store(by)
		c.requestSent.Store(true)
		c.deckWaitBegins()
		n, err := x.conn.Converse(x.out, x.in, by)
		if left := c.deckWaitEnds(); n == 0 || left {
			return 0, x.waitFault(x.waitError(err))
		}
		x.answerBegun = true
		x.headBy = x.firstByteBy()
		return n, faults.None // an error comes again
	}
	c.mu.Lock()
	x.upload.awaited = true
	c.mu.Unlock()
	if _, err := x.conn.WriteUntil(x.out, x.firstByteBy()); err != nil {
		if errors.Is(err, wire.ErrOverdue) {
			x.deckStalled()
			return 0, faults.DeckTimeout
		}
		x.deckFailed(upstream.FailedWrite, err.Error())
		return 0, faults.BadDeckAnswer
	}
	if x.head.Continue && x.upload.bytes.Load() == 0 {
		x.expect()
	}
	x.upload.start(x)
	return 0, faults.None
}

// prepare makes what is sent first. It comes before a connection is taken, so that a body
// that is malformed from its beginning costs none.
func (x *exchange) prepare() routing.Fault {
	if x.prepared { // and not sent, or not with success
		return faults.None
	}
	var fault routing.Fault
	x.out = x.appendDeckHead(x.out[:0])
	if x.out, fault = x.upload.prepare(x, x.out); fault != faults.None {
		x.reason = badChunks
		return fault
	}
	x.prepared, x.replayable = true, x.client.body.Ended()
	return faults.None
}

// badChunks is what is wrong with a body of a client that cannot be read.
const badChunks = "the chunks of the body are malformed"

// deckStalled notes that the deck took nothing more of the request, or that the time for the
// whole request was over before it did.
func (x *exchange) deckStalled() {
	if x.deadlinePassed() {
		x.deckFailed(upstream.FailedTotal, "")
		return
	}
	x.deckFailed(upstream.FailedWrite, "it took nothing more in time")
}

// awaitAnswer reads until the head of the answer is whole; interim answers are passed
// on. have is how much was read before. It returns what has been read of the body.
func (x *exchange) awaitAnswer(have int) (rest []byte, fault routing.Fault) {
	searched, interim := 0, 0
	for {
		x.have = have
		end, next, err := http1.AnswerEnd(x.in[:have], searched)
		switch searched = next; {
		case err != nil:
			x.deckFailed(upstream.FailedHead, badHead(err, x.in[:have]))
			return nil, faults.BadDeckAnswer
		case end == 0:
			n, err := x.readMore(have)
			if have += n; err != nil {
				return nil, x.waitFault(err)
			}
			continue
		}
		if err := x.answer.Parse(x.in[:end]); err != nil {
			x.deckFailed(answerCause(err), badHead(err, x.in[:end]))
			return nil, faults.BadDeckAnswer
		}
		if x.answer.Status >= 200 || x.answer.Status == http.StatusSwitchingProtocols && x.switches() {
			x.headCame()
			return x.in[end:have], faults.None
		}
		if x.answer.Status == http.StatusSwitchingProtocols {
			x.deckFailed(upstream.FailedHead, "it switches to a protocol that nobody asked for")
			return nil, faults.BadDeckAnswer
		}
		if interim++; interim > maxInterim {
			x.deckFailed(upstream.FailedHead, "more than 16 interim answers came before the one that counts")
			return nil, faults.BadDeckAnswer
		}
		if fault := x.passInterim(); fault != faults.None {
			return nil, fault
		}
		have, searched = copy(x.in, x.in[end:have]), 0
		if x.headBy = x.firstByteBy(); x.upload.firstBy.Load() != wire.NoWait {
			x.upload.firstBy.Store(x.headBy) // of the answer that it announced
		}
	}
}

// readMore reads behind the first have bytes of the buffer, which grows as it must.
func (x *exchange) readMore(have int) (int, error) {
	if have == len(x.in) {
		grown := make([]byte, min(2*len(x.in), http1.MaxAnswerHead))
		copy(grown, x.in)
		x.in = grown
	}
	by := x.headBy
	if have == 0 {
		by = x.answerBy()
	}
	x.client.deckWaitBegins()
	n, err := x.conn.ReadUntil(x.in[have:], by)
	if left := x.client.deckWaitEnds(); n > 0 && !left {
		x.answerBegun = true
		if have == 0 {
			x.headBy = x.firstByteBy()
		}
		return n, nil // an error comes again
	}
	return 0, x.waitError(err)
}

// waitError says why a wait for the deck ended, if it was not for the deck's sake.
func (x *exchange) waitError(err error) error {
	switch {
	case x.client.departed.Load():
		return errClientGone
	case err == nil:
	case x.upload.faultSoFar() != faults.None:
		return errUpload
	}
	return err
}

// answerBy returns until when the first byte of the answer is waited for. While a body is being
// sent, the time for it has not begun: the upload sets it when it does. From the first byte of a
// head the deck has as long again for the rest of it (headBy), however it comes.
func (x *exchange) answerBy() int64 {
	if by := x.upload.firstBy.Load(); by != wire.NoWait {
		return by
	}
	return x.withinDeadline(wire.Forever)
}

// firstByteBy is when the deck's time for its first byte is over, counted from now.
func (x *exchange) firstByteBy() int64 {
	return x.withinDeadline(x.router.clock.After(x.view.compiled.FirstByte))
}

// headCame ends the time for the first byte.
func (x *exchange) headCame() {
	x.endExpectation()
	if c := x.client; x.upload.active {
		c.mu.Lock()
		x.upload.awaited = false
		c.mu.Unlock()
	}
	x.answered = time.Now()
	x.endpoint.Succeeded()
}

// waitFault says which fault it is that no answer came.
func (x *exchange) waitFault(err error) routing.Fault {
	switch {
	case errors.Is(err, errUpload):
		fault := x.upload.faultSoFar()
		switch fault { //nolint:exhaustive // every other fault needs no further word
		case faults.DeckTimeout:
			x.deckStalled()
		case routing.FaultBadRequest:
			x.reason = badChunks
		}
		return fault
	case errors.Is(err, errClientGone):
		return faults.ClientGone
	case errors.Is(err, wire.ErrOverdue):
		if x.deadlinePassed() {
			x.deckFailed(upstream.FailedTotal, "")
			return faults.DeckTimeout
		}
		cause := upstream.FailedFirstByte
		if x.have > 0 {
			cause = upstream.FailedHeadTime
		}
		x.deckFailed(cause, "")
		x.endpoint.Failed(cause)
		return faults.DeckTimeout
	}
	cause, detail := waitCause(err, x.in[:x.have])
	x.deckFailed(cause, detail)
	return faults.BadDeckAnswer
}
