package router

import (
	"errors"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/routing"
)

const (
	bodyBytes = 64 << 10
	bodyFront = 16 // room for the line that begins a chunk
	bodyBack  = 16 // room for what ends a chunk, and the body
	// settleTime is how long an answer waits for the news that the last bytes of the request
	// have been written, when they are just being written.
	settleTime = 5 * time.Millisecond
)

// bodyBuffer is the one buffer of a body on its way in one direction, with room for the
// framing around what it holds.
type bodyBuffer struct {
	b [bodyFront + bodyBytes + bodyBack]byte
}

func (b *bodyBuffer) data() []byte { return b.b[bodyFront : bodyFront+bodyBytes] }

// chunk frames the first n bytes of data as one chunk, in place; last adds the end of the body.
func (b *bodyBuffer) chunk(n int, last bool) []byte {
	var line [bodyFront]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	start, end := bodyFront-len(size), bodyFront+n
	if n == 0 {
		start = bodyFront
	} else {
		copy(b.b[start:], size)
		end += copy(b.b[end:], "\r\n")
	}
	if last {
		end += copy(b.b[end:], "0\r\n\r\n")
	}
	return b.b[start:end]
}

// upload sends the body of a request to the deck, in a goroutine of its own, so that the
// answer can come meanwhile: a deck may answer before it has read everything.
type upload struct {
	active bool         // of the exchange's goroutine: started and not yet joined
	whole  bool         // of the exchange's goroutine: the deck was sent everything
	done   chan bool    // whether everything was sent; one value for each start
	stop   atomic.Bool  // it shall end now
	last   atomic.Bool  // the last bytes are being written
	sentAt atomic.Int64 // when everything was sent, Unix nanoseconds; 0: not yet
	fault  atomic.Pointer[routing.Fault]
	bytes  atomic.Int64 // of the body, received
}

func (u *upload) init() { u.done = make(chan bool, 1) }

// begin starts to send the body, if there is one.
func (u *upload) begin(x *exchange) {
	u.stop.Store(false)
	u.last.Store(false)
	u.fault.Store(nil)
	u.bytes.Store(0)
	u.sentAt.Store(0)
	if !x.head.HasBody() {
		u.active, u.whole = false, true
		u.sentAt.Store(time.Now().UnixNano())
		return
	}
	u.active, u.whole = true, false
	go u.run(x)
}

func (u *upload) run(x *exchange) {
	whole := false
	defer func() {
		if cause := recover(); cause != nil {
			x.router.log.Error("a request's body made the router panic; this is a mistake in the router, please report it",
				zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			u.fail(x, faultInternal)
		}
		u.done <- whole
	}()
	buffer, _ := x.router.buffers.Get().(*bodyBuffer)
	defer x.router.buffers.Put(buffer)
	if whole = u.copy(x, buffer); whole {
		u.sentAt.Store(time.Now().UnixNano())
	}
}

// copy sends the body piece by piece. It says whether the deck was sent all of it.
func (u *upload) copy(x *exchange, buffer *bodyBuffer) (whole bool) {
	for {
		n, end, ok := u.read(x, buffer.data())
		if !ok {
			return false
		}
		u.last.Store(end)
		piece := buffer.data()[:n]
		if x.head.Chunked {
			piece = buffer.chunk(n, end)
		}
		if len(piece) > 0 && !u.write(x, piece) {
			return false
		}
		if end {
			return true
		}
	}
}

// read takes the next piece of the body from the client. end says that it is the last.
func (u *upload) read(x *exchange, p []byte) (n int, end, ok bool) {
	if x.client.SetReadDeadline(x.within(x.router.cfg.Patience.Body)) != nil || u.stop.Load() {
		return 0, false, false
	}
	n, err := x.body.Read(p)
	total := u.bytes.Add(int64(n))
	switch {
	case err == nil:
		return n, false, true
	case errors.Is(err, io.EOF):
		// The framing server says the same of a body that is over and of one that was cut.
		if x.head.Chunked && !x.client.ended || !x.head.Chunked && total == x.head.Length {
			return n, true, true
		}
		u.fail(x, faultClientGone)
	case u.stop.Load():
	case errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		u.fail(x, faultRequestTimeout)
	case x.client.ended, x.client.gone():
		u.fail(x, faultClientGone)
	default:
		u.fail(x, routing.FaultBadRequest)
	}
	return 0, false, false
}

// write sends a piece to the deck. A deck that takes nothing more may still answer, so
// that a failure here is no fault yet; a deck that takes nothing in time is one.
func (u *upload) write(x *exchange, p []byte) bool {
	if x.conn.SetWriteDeadline(x.within(x.view.compiled.FirstByte)) != nil || u.stop.Load() {
		return false
	}
	_, err := x.conn.Write(p)
	if err != nil && !u.stop.Load() && isTimeout(err) {
		u.fail(x, faultDeckTimeout)
	}
	return err == nil
}

// fail leaves a fault for the goroutine that waits for the answer, and wakes it.
func (u *upload) fail(x *exchange, fault routing.Fault) {
	u.fault.Store(&fault)
	_ = x.conn.SetReadDeadline(longAgo) // it finds the fault when it looks next, at the latest
}

// failed returns the fault that the upload ended in so far.
func (u *upload) failed() routing.Fault {
	if fault := u.fault.Load(); fault != nil {
		return *fault
	}
	return noFault
}

// settled says whether the request has been sent whole. Where its last bytes are being
// written right now it waits a moment, so that an answer that is as quick as the news of
// the writing does not look early.
func (u *upload) settled() bool {
	if !u.active {
		return u.whole
	}
	select {
	case u.whole = <-u.done:
		u.active = false
		return u.whole
	default:
	}
	if !u.last.Load() {
		return false
	}
	wait := time.NewTimer(settleTime)
	defer wait.Stop()
	select {
	case u.whole = <-u.done:
		u.active = false
	case <-wait.C:
	}
	return u.whole
}

// end stops the upload if it still goes on, and waits for its goroutine.
func (u *upload) end(x *exchange) {
	if u.settled() || !u.active {
		return
	}
	u.stop.Store(true)
	_ = x.client.SetReadDeadline(longAgo) // a closed connection needs no waking
	_ = x.conn.SetWriteDeadline(longAgo)
	u.whole = <-u.done
	u.active = false
}

// longAgo as a deadline wakes whoever reads or writes.
var longAgo = time.Unix(1, 0)

// within returns the moment d from now, but not beyond the request's own deadline.
func (x *exchange) within(d time.Duration) time.Time {
	until := time.Now().Add(d)
	if !x.deadline.IsZero() && x.deadline.Before(until) {
		return x.deadline
	}
	return until
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}
