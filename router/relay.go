package router

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"gridrouter.io/routing"
)

const (
	// firstReadBytes is what the first read from a deck has room for: most answers whole.
	firstReadBytes = 8 << 10
	// keptReadBytes is how much of a buffer that a large head needed is kept for others.
	keptReadBytes = 16 << 10
	// lookEvery is how often, while a deck is silent, the client is looked at.
	lookEvery = time.Second
)

var (
	errOverdue    = errors.New("the time is over")
	errClientGone = errors.New("the client left")
	errUpload     = errors.New("the request could not be sent whole")
)

// relay sends the request to the deck and the answer back. Both flow at the same time,
// each through one buffer, at the pace of whoever is slower.
func (x *exchange) relay() routing.Fault {
	if fault := x.connect(); fault != noFault {
		return fault
	}
	if fault := x.ask(); fault != noFault {
		return fault
	}
	rest, fault := x.awaitAnswer()
	if fault != noFault {
		return fault
	}
	return x.passOn(rest)
}

// connect takes an idle connection to the address, or makes one.
func (x *exchange) connect() routing.Fault {
	deck := x.view.compiled
	x.asked = x.started
	if x.conn = x.endpoint.reuse(x.lane.index, deck.Idle, x.started); x.conn != nil {
		x.conn.reused = true
		x.view.live.counters.reused.Add(1)
		return noFault
	}
	conn, err := x.endpoint.dial(deck.Connect, x.deadline)
	if err != nil {
		x.view.live.counters.connectFailures.Add(1)
		if now := time.Now(); !x.deadline.IsZero() && !now.Before(x.deadline) {
			return faultDeckTimeout
		}
		if ranOut(err) {
			return faultOverloaded
		}
		x.endpoint.failed("it does not accept connections", time.Now().UnixNano())
		return faultConnectFailed
	}
	x.conn = conn
	return noFault
}

// ranOut says whether a connection failed for want of something of this machine's, which
// is no fault of the address and must not take it out of use. An address family that this
// machine has no address of is not among these: it is only this address that cannot be reached.
func ranOut(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

// ask sends the head of the request, and begins to send its body.
func (x *exchange) ask() routing.Fault {
	x.out = x.appendDeckHead(x.out[:0])
	if err := x.conn.SetWriteDeadline(x.within(x.view.compiled.FirstByte)); err != nil {
		return faultBadDeckAnswer
	}
	if _, err := x.conn.Write(x.out); err != nil {
		if isTimeout(err) {
			return faultDeckTimeout
		}
		return faultBadDeckAnswer
	}
	x.upload.begin(x)
	return noFault
}

// awaitAnswer reads until the head of the answer is whole; interim answers are passed
// over. It returns what has been read of the body.
func (x *exchange) awaitAnswer() (rest []byte, fault routing.Fault) {
	have, searched, interim := 0, 0, 0
	for {
		end, next, err := answerEnd(x.in[:have], searched)
		switch searched = next; {
		case err != nil:
			return nil, faultBadDeckAnswer
		case end == 0:
			n, err := x.readMore(have)
			if have += n; err != nil {
				return nil, x.waitFault(err)
			}
			continue
		}
		if err := x.answer.parse(x.in[:end]); err != nil {
			return nil, faultBadDeckAnswer
		}
		if x.answer.status >= 200 {
			x.answered = time.Now()
			x.endpoint.succeeded()
			return x.in[end:have], noFault
		}
		if interim++; interim > maxInterim || x.answer.status == 101 { // 101 answers an Upgrade, and none was asked
			return nil, faultBadDeckAnswer
		}
		have, searched = copy(x.in, x.in[end:have]), 0
	}
}

// readMore reads behind the first have bytes of the buffer, which grows as it must.
func (x *exchange) readMore(have int) (int, error) {
	if have == len(x.in) {
		grown := make([]byte, min(2*len(x.in), maxAnswerHead))
		copy(grown, x.in)
		x.in = grown
	}
	return x.readDeck(x.in[have:])
}

// readDeck reads from the deck. It waits as long as the deck may take, and looks now and
// then whether the client is still there.
func (x *exchange) readDeck(p []byte) (int, error) {
	for {
		now := time.Now()
		until := now.Add(x.lookAfter())
		if limit := x.limit(); !limit.IsZero() {
			if !now.Before(limit) {
				return 0, errOverdue
			}
			if limit.Before(until) {
				until = limit
			}
		}
		if err := x.conn.SetReadDeadline(until); err != nil {
			return 0, err
		}
		if x.upload.failed() != noFault {
			return 0, errUpload
		}
		n, err := x.conn.Read(p)
		switch {
		case n > 0:
			return n, nil // an error comes again
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return 0, err
		case x.upload.failed() != noFault:
			return 0, errUpload
		case x.upload.sentAt.Load() != 0 && x.client.gone():
			return 0, errClientGone
		}
	}
}

// lookAfter is how long one read may wait. While a body is being sent, the time for the
// first byte has not begun; so that it is not missed when it begins, reads are no longer than it.
func (x *exchange) lookAfter() time.Duration {
	if x.upload.active && x.answered.IsZero() {
		return min(lookEvery, x.view.compiled.FirstByte)
	}
	return lookEvery
}

// limit returns when the deck's time is over: for the first byte, counted from when it
// was sent the whole request; and for everything. Zero: there is no limit.
func (x *exchange) limit() time.Time {
	limit := x.deadline
	if sent := x.upload.sentAt.Load(); sent != 0 && x.answered.IsZero() {
		if first := time.Unix(0, sent).Add(x.view.compiled.FirstByte); limit.IsZero() || first.Before(limit) {
			limit = first
		}
	}
	return limit
}

// waitFault says which fault it is that no answer came.
func (x *exchange) waitFault(err error) routing.Fault {
	switch {
	case errors.Is(err, errUpload):
		return x.upload.failed()
	case errors.Is(err, errClientGone):
		return faultClientGone
	case errors.Is(err, errOverdue):
		now := time.Now()
		if x.deadline.IsZero() || now.Before(x.deadline) {
			x.endpoint.failed("it gives no first byte in time", now.UnixNano())
		}
		return faultDeckTimeout
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return faultBadDeckAnswer
	}
	return faultBadDeckAnswer
}
