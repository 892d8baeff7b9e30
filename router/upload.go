package router

import (
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

const (
	// minBodyRate is how much of a body a client must deliver, in bytes a second, once it
	// has used up the time that ClientTimeouts.Body grants for nothing.
	minBodyRate = 1 << 10
	// settleTime is how long the end of an answer waits for the deck to take the last bytes of the
	// request, when they are just being written.
	settleTime = 5 * time.Millisecond
)

// The buffers have room for what frames a chunk.
const _ = uint(wire.BufferFront - http1.ChunkRoom)

// upload sends the body of a request to the deck. What came with the head goes with the
// head. For what is still to come there is a goroutine of its own, so that the answer can
// come meanwhile: a deck may answer before it has read everything.
type upload struct {
	active bool // of the exchange's goroutine: started and not yet joined
	whole  bool // of the exchange's goroutine: the deck was sent everything
	// expected says that the client waits to be told to go on. It is set before the start.
	expected bool
	done     chan bool   // whether everything was sent; one value for each start
	stop     atomic.Bool // it shall end now
	last     atomic.Bool // the last bytes are being written
	fault    atomic.Pointer[routing.Fault]
	bytes    atomic.Int64 // of the body, received

	awaited bool // the head of the answer has not come; the client's mutex guards it
	// firstBy is until when the deck's answer must begin: set once the deck was sent everything.
	firstBy atomic.Int64
}

func (u *upload) init() { u.done = make(chan bool, 1) }

// prepare begins the body: what came of it with the head is appended to out.
func (u *upload) prepare(x *exchange, out []byte) ([]byte, routing.Fault) {
	u.stop.Store(false)
	u.last.Store(false)
	u.fault.Store(nil)
	u.bytes.Store(0)
	u.active, u.whole = false, false
	c := x.client
	c.body = x.head.Body()
	if c.body.Ended() {
		return out, faults.None
	}
	here := c.unread()
	data, used, err := c.body.Take(here)
	c.start += used
	if err != nil {
		return out, routing.FaultBadRequest
	}
	u.bytes.Store(int64(data))
	if x.head.Chunked {
		return http1.AppendChunk(out, here[:data], c.body.Ended()), faults.None
	}
	return append(out, here[:data]...), faults.None
}

// start sends the rest of the body in a goroutine of its own.
func (u *upload) start(x *exchange) {
	u.active, u.expected = true, x.expectation != nil
	go u.run(x)
}

func (u *upload) run(x *exchange) {
	whole := false
	defer func() {
		if cause := recover(); cause != nil {
			x.router.log.Error("a request's body made the router panic; this is a mistake in the router, please report it",
				zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			u.fail(x, faults.Internal)
		}
		u.done <- whole
	}()
	if whole = u.copy(x); whole {
		u.markSent(x)
	}
}

// markSent notes that the deck has been sent everything: its time for the first byte begins.
func (u *upload) markSent(x *exchange) {
	c := x.client
	c.mu.Lock()
	defer c.mu.Unlock()
	limit := x.firstByteBy()
	u.firstBy.Store(limit)
	c.requestSent.Store(true)
	if !u.awaited {
		return
	}
	if by := x.conn.ReadBy.Load(); by > limit {
		x.conn.ReadBy.CompareAndSwap(by, limit) // else nobody waits any more
	}
}

// copy sends the body piece by piece. It says whether the deck was sent all of it.
func (u *upload) copy(x *exchange) (whole bool) {
	c, r := x.client, x.router
	pool := &r.bodies
	if c.Secure {
		pool = &r.records
	}
	by := r.clock.After(r.cfg.ClientTimeouts.Body)
	if u.expected { // the client rightly sends nothing until it is told to
		by = r.clock.After(r.cfg.ClientTimeouts.Body + r.cfg.ClientTimeouts.Continue)
	}
	for !c.body.Ended() {
		c.bodySince.Store(r.clock.Coarse())
		b, n, err := c.Receive(pool, c.body.AtMost(wire.BodyBytes), x.withinDeadline(by))
		c.bodySince.Store(wire.NoWait) // who made room finds the connection closed
		if err != nil || u.stop.Load() {
			if b != nil {
				pool.Put(b)
			}
			u.receiveFailed(x, err)
			return false
		}
		c.lane.receivedBytes.Add(uint64(n))
		by = min(by+int64(n)*int64(time.Second)/minBodyRate, r.clock.After(r.cfg.ClientTimeouts.Body))
		ok := u.pass(x, b, n)
		pool.Put(b)
		if !ok {
			return false
		}
	}
	return true
}

// pass sends one piece that was received.
func (u *upload) pass(x *exchange, b *wire.Buffer, n int) bool {
	c := x.client
	received := b.Data()[:n]
	data, used, err := c.body.Take(received)
	if err != nil {
		u.fail(x, routing.FaultBadRequest)
		return false
	}
	if used < n {
		c.more = append(c.more, received[used:]...) // of the next request
	}
	u.bytes.Add(int64(data))
	u.last.Store(c.body.Ended())
	piece := received[:data]
	if x.head.Chunked {
		piece = http1.Chunk(b.Whole, wire.BufferFront, data, c.body.Ended())
	}
	return len(piece) == 0 || u.write(x, piece)
}

// receiveFailed says why no more of the body could be had.
func (u *upload) receiveFailed(x *exchange, err error) {
	switch {
	case u.stop.Load():
	case errors.Is(err, wire.ErrOverdue) && x.deadlinePassed():
		u.fail(x, faults.DeckTimeout)
	case errors.Is(err, wire.ErrOverdue):
		x.router.countTimeout(waitedBody)
		u.fail(x, faults.RequestTimeout)
	default:
		u.fail(x, faults.ClientGone)
	}
}

// write sends a piece to the deck. A deck that takes nothing more may still answer, so
// that a failure here is no fault yet; a deck that takes nothing in time is one.
func (u *upload) write(x *exchange, p []byte) bool {
	if u.stop.Load() {
		return false
	}
	_, err := x.conn.WriteUntil(p, x.withinDeadline(x.router.clock.After(x.view.compiled.FirstByte)))
	if err != nil && !u.stop.Load() && errors.Is(err, wire.ErrOverdue) {
		u.fail(x, faults.DeckTimeout)
	}
	return err == nil
}

// fail leaves a fault for the goroutine that waits for the answer, and wakes it.
func (u *upload) fail(x *exchange, fault routing.Fault) {
	u.fault.Store(&fault)
	x.conn.WakeReader() // it finds the fault when it looks next, at the latest
}

// faultSoFar returns the fault that the upload ended in so far.
func (u *upload) faultSoFar() routing.Fault {
	if fault := u.fault.Load(); fault != nil {
		return *fault
	}
	return faults.None
}

// received says whether all of the request has been received, so that its client may send another.
func (u *upload) received() bool { return u.whole || u.last.Load() }

// end stops the upload if it still goes on, and waits for its goroutine. Stopping leaves both
// connections with a deadline in the past: neither may be used for another request, even if the last
// bytes were written meanwhile. So an upload that was stopped is not whole, unless there was nothing
// left but to write them.
func (u *upload) end(x *exchange) {
	if !u.active {
		return
	}
	u.active = false
	select {
	case u.whole = <-u.done:
		return
	default:
	}
	if u.last.Load() {
		u.endWriting(x)
		return
	}
	u.stop.Store(true)
	x.client.WakeReader()
	x.conn.WakeWriter()
	<-u.done
	u.whole = false
}

// endWriting waits until the last bytes are written, for a moment. Whether the deck takes no more by
// then, or has taken them and the goroutine is not let run, their writing tells once it is woken.
func (u *upload) endWriting(x *exchange) {
	wait := time.NewTimer(settleTime)
	defer wait.Stop()
	select {
	case u.whole = <-u.done:
		return
	case <-wait.C:
	}
	x.conn.WakeWriter()
	u.whole = <-u.done && x.conn.LetWrite() == nil
}
