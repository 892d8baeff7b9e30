package router

import (
	"errors"
	"io"
	"net/http"
	"strconv"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// bodyEnd is how the end of a body is told.
type bodyEnd uint8

const (
	framedNot    bodyEnd = iota // there is no body
	framedLength                // by Content-Length
	framedChunks                // by chunks
	framedClose                 // by the end of the connection
)

// passOn sends the answer to the client. rest is what has been read of its body.
func (x *exchange) passOn(rest []byte) routing.Fault {
	from, to := x.framings()
	if !x.upload.settled() {
		x.closes = true // the rest of the request may stay unread
	}
	x.closes = x.closes || to == framedClose || x.router.drain.closing()
	x.out = x.appendAnswerHead(x.out[:0], to)
	body := bodyFlow{from: from, to: to, left: x.answer.Length}
	return body.run(x, rest)
}

// framings says how the deck ends the body, and how the client is told.
func (x *exchange) framings() (from, to bodyEnd) {
	a := &x.answer
	switch {
	case a.Bodyless(string(x.line.Method) == http.MethodHead), a.Length == 0:
		return framedNot, framedNot
	case a.Length > 0:
		return framedLength, framedLength
	case a.Chunked:
		from = framedChunks
	default:
		from = framedClose
	}
	if x.head.HTTP10 {
		return from, framedClose
	}
	return from, framedChunks
}

// appendAnswerHead appends the head that the client receives: the deck's fields byte for
// byte, and what frames the answer on this connection.
func (x *exchange) appendAnswerHead(dst []byte, to bodyEnd) []byte {
	a := &x.answer
	x.status = a.Status
	dst = append(append(dst, http1.Version(x.head.HTTP10)...), ' ')
	dst = append(strconv.AppendInt(dst, int64(a.Status), 10), ' ')
	dst = append(append(dst, a.Reason...), "\r\n"...)
	dst = a.AppendUpgrade(a.AppendFields(dst))
	if !a.Dated {
		dst = append(append(append(dst, "Date: "...), *x.router.date.Load()...), "\r\n"...)
	}
	if to == framedChunks {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = http1.AppendConnection(dst, x.closes, x.head.HTTP10)
	return append(dst, "\r\n"...)
}

// bodyFlow is the body of an answer on its way.
type bodyFlow struct {
	from, to bodyEnd
	left     int64 // of a body framed by length
	chunks   http1.Chunks
	over     bool // the deck's body is whole
	surplus  bool // the deck sent more than the answer
}

var errClientWrite = errors.New("the client takes no more")

// run sends the head that waits in x.out and the body: first what has been read of it,
// then what comes, piece by piece as it comes.
func (b *bodyFlow) run(x *exchange, rest []byte) routing.Fault {
	n, err := b.take(rest)
	if err != nil {
		return b.broken(x, err)
	}
	if b.to == framedChunks {
		x.out = http1.AppendChunk(x.out, rest[:n], b.over)
	} else {
		x.out = append(x.out, rest[:n]...)
	}
	if b.over {
		x.settle(b)
	}
	if err := x.answerBytes(x.out, n); err != nil {
		return b.broken(x, err)
	}
	if b.over {
		return faults.None
	}
	for !b.over {
		if err := b.step(x); err != nil {
			return b.broken(x, err)
		}
	}
	return faults.None
}

// step passes on one piece.
func (b *bodyFlow) step(x *exchange) error {
	pool := &x.router.bodies
	if x.conn.Secure {
		pool = &x.router.records
	}
	x.client.deckWaitBegins()
	buffer, n, err := x.conn.Receive(pool, wire.BodyBytes, x.orDeadline(wire.Forever))
	if left := x.client.deckWaitEnds(); left && err == nil {
		pool.Put(buffer)
		return errClientGone
	}
	if errors.Is(err, io.EOF) && b.from == framedClose {
		b.over = true
		return b.endClosed(x)
	}
	if err != nil {
		return x.waitError(err)
	}
	defer pool.Put(buffer)
	data, err := b.take(buffer.Data()[:n])
	if err != nil {
		return err
	}
	piece := buffer.Data()[:data]
	if b.to == framedChunks {
		piece = http1.Chunk(buffer.Whole, wire.BufferFront, data, b.over)
	}
	if b.over {
		x.settle(b)
	}
	if len(piece) == 0 {
		return nil
	}
	return x.answerBytes(piece, data)
}

// endClosed passes on the end of a body that ended with the deck's connection.
func (b *bodyFlow) endClosed(x *exchange) error {
	x.settle(b)
	if b.to != framedChunks {
		return nil
	}
	x.out = http1.AppendChunk(x.out[:0], nil, true)
	return x.answerBytes(x.out, 0)
}

// take takes the deck's framing off what was read, in place. It returns how many bytes
// of the body there are, and notes where the body ends and whether anything follows it.
func (b *bodyFlow) take(p []byte) (data int, err error) {
	used := len(p)
	switch b.from {
	case framedNot:
		used, b.over = 0, true
	case framedLength:
		used = int(min(b.left, int64(len(p))))
		data, b.left = used, b.left-int64(used)
		b.over = b.left == 0
	case framedChunks:
		data, used, err = b.chunks.Decode(p)
		b.over = b.chunks.Ended()
	case framedClose:
		data = used
	}
	b.surplus = used < len(p)
	return data, err
}

// answerBytes sends bytes of the answer, of which body are the body's.
func (x *exchange) answerBytes(p []byte, body int) error {
	x.begun = true
	n, err := x.client.send(p, x.deadline)
	x.sent += int64(max(0, n-(len(p)-body))) // framing goes first, but for a few bytes
	if err != nil {
		return errClientWrite
	}
	return nil
}

// broken says which fault it is that an answer could not be passed on whole. What the
// client has of it cannot be taken back, so its connection is cut.
func (b *bodyFlow) broken(x *exchange, err error) routing.Fault {
	switch {
	case errors.Is(err, errClientWrite):
		if x.late() {
			x.reason = upstream.FailedTotal.Words()
			return faults.DeckTimeout
		}
		return faults.ClientGone
	case errors.Is(err, http1.ErrChunk):
		x.deckFailed(upstream.FailedChunks, "")
	case errors.Is(err, errClientGone), errors.Is(err, errUpload), errors.Is(err, wire.ErrOverdue):
		return x.waitFault(err)
	default:
		x.deckFailed(upstream.FailedCut, cutDetail(b, x.sent))
	}
	return faults.BadDeckAnswer
}

// settle decides what becomes of both connections once the answer is there whole. It
// comes before the last of it is sent on, so that the deck's connection is free for the
// request that the client may send next.
func (x *exchange) settle(b *bodyFlow) {
	x.upload.end(x)
	conn := x.detach()
	switch {
	case !x.upload.whole:
		conn.Close(upstream.ClosedEarly)
		x.closes = true
	case b.surplus:
		conn.Close(upstream.ClosedUnsolicited)
	case x.client.left.Load(): // the watch may have ended its reading
		conn.Close(upstream.ClosedByClient)
	case x.answer.Closes || b.from == framedClose:
		conn.Close(upstream.ClosedByAnswer)
	default:
		conn.Release(x.lane.index)
	}
	if x.closes && (!x.head.Close || !x.upload.whole) { // the client may have sent more already, or still be sending
		x.client.stay()
	}
}
