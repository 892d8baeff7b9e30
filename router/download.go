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

// passOn sends the answer to the client. rest is what has been read of its body.
func (x *exchange) passOn(rest []byte) routing.Fault {
	from, to := x.framings()
	if !x.upload.received() {
		x.closes = true // the rest of the request may stay unread
	}
	x.closes = x.closes || to == http1.FramedByClose || x.router.drain.closing()
	x.out = x.appendAnswerHead(x.out[:0], to)
	body := bodyFlow{body: http1.NewBody(from, x.answer.Length), to: to}
	return body.run(x, rest)
}

// framings says how the deck ends the body, and how the client is told.
func (x *exchange) framings() (from, to http1.Framing) {
	a := &x.answer
	switch {
	case a.Bodyless(string(x.line.Method) == http.MethodHead), a.Length == 0:
		return http1.FramedNot, http1.FramedNot
	case a.Length > 0:
		return http1.FramedByLength, http1.FramedByLength
	case a.Chunked:
		from = http1.FramedByChunks
	default:
		from = http1.FramedByClose
	}
	if x.head.HTTP10 {
		return from, http1.FramedByClose
	}
	return from, http1.FramedByChunks
}

// appendAnswerHead appends the head that the client receives: the deck's fields byte for
// byte, and what frames the answer on this connection.
func (x *exchange) appendAnswerHead(dst []byte, to http1.Framing) []byte {
	a := &x.answer
	x.status = a.Status
	dst = append(append(dst, http1.Version(x.head.HTTP10)...), ' ')
	dst = append(strconv.AppendInt(dst, int64(a.Status), 10), ' ')
	dst = append(append(dst, a.Reason...), "\r\n"...)
	dst = a.AppendUpgrade(a.AppendFields(dst))
	if !a.Dated {
		dst = append(append(append(dst, "Date: "...), *x.router.date.Load()...), "\r\n"...)
	}
	if to == http1.FramedByChunks {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = http1.AppendConnection(dst, x.closes, x.head.HTTP10)
	return append(dst, "\r\n"...)
}

// bodyFlow is the body of an answer on its way.
type bodyFlow struct {
	body    http1.Body    // as the deck sends it
	to      http1.Framing // towards the client
	surplus bool          // the deck sent more than the answer
}

var errClientWrite = errors.New("the client takes no more")

// run sends the head that waits in x.out and the body: first what has been read of it,
// then what comes, piece by piece as it comes.
func (b *bodyFlow) run(x *exchange, rest []byte) routing.Fault {
	n, err := b.take(rest)
	if err != nil {
		return b.faultOf(x, err)
	}
	if b.to == http1.FramedByChunks {
		x.out = http1.AppendChunk(x.out, rest[:n], b.body.Ended())
	} else {
		x.out = append(x.out, rest[:n]...)
	}
	if b.body.Ended() {
		x.endAnswer(b)
	}
	if err := x.answerBytes(x.out, n); err != nil {
		return b.faultOf(x, err)
	}
	if b.body.Ended() {
		return faults.None
	}
	for !b.body.Ended() {
		if err := b.step(x); err != nil {
			return b.faultOf(x, err)
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
	buffer, n, err := x.conn.Receive(pool, wire.BodyBytes, x.withinDeadline(wire.Forever))
	if left := x.client.deckWaitEnds(); left && err == nil {
		pool.Put(buffer)
		return errClientGone
	}
	if errors.Is(err, io.EOF) && b.body.End() {
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
	if b.to == http1.FramedByChunks {
		piece = http1.Chunk(buffer.Whole, wire.BufferFront, data, b.body.Ended())
	}
	if b.body.Ended() {
		x.endAnswer(b)
	}
	if len(piece) == 0 {
		return nil
	}
	return x.answerBytes(piece, data)
}

// endClosed passes on the end of a body that ended with the deck's connection.
func (b *bodyFlow) endClosed(x *exchange) error {
	x.endAnswer(b)
	if b.to != http1.FramedByChunks {
		return nil
	}
	x.out = http1.AppendChunk(x.out[:0], nil, true)
	return x.answerBytes(x.out, 0)
}

// take takes the deck's framing off what was read, in place. It returns how many bytes of the
// body there are, and notes whether anything follows it.
func (b *bodyFlow) take(p []byte) (data int, err error) {
	data, used, err := b.body.Take(p)
	b.surplus = used < len(p)
	return data, err
}

// answerBytes sends bytes of the answer, of which body are the body's.
func (x *exchange) answerBytes(p []byte, body int) error {
	x.begun = true
	n, err := x.client.send(p, x.deadline)
	x.bodySent += int64(max(0, n-(len(p)-body))) // framing goes first, but for a few bytes
	if err != nil {
		return errClientWrite
	}
	return nil
}

// faultOf says which fault it is that an answer could not be passed on whole. What the
// client has of it cannot be taken back, so its connection is cut.
func (b *bodyFlow) faultOf(x *exchange, err error) routing.Fault {
	switch {
	case errors.Is(err, errClientWrite):
		if x.deadlinePassed() {
			x.reason = upstream.FailedTotal.Words()
			return faults.DeckTimeout
		}
		return faults.ClientGone
	case errors.Is(err, http1.ErrChunk):
		x.deckFailed(upstream.FailedChunks, "")
	case errors.Is(err, errClientGone), errors.Is(err, errUpload), errors.Is(err, wire.ErrOverdue):
		return x.waitFault(err)
	default:
		x.deckFailed(upstream.FailedCut, cutDetail(b, x.bodySent))
	}
	return faults.BadDeckAnswer
}

// endAnswer decides what becomes of both connections once the answer is there whole. It
// comes before the last of it is sent on, so that the deck's connection is free for the
// request that the client may send next.
func (x *exchange) endAnswer(b *bodyFlow) {
	x.upload.end(x)
	conn := x.detach()
	switch {
	case !x.upload.whole:
		conn.Close(upstream.ClosedEarly)
		x.closes = x.closes || !x.upload.received()
	case b.surplus:
		conn.Close(upstream.ClosedUnsolicited)
	case x.client.departed.Load(): // the watch may have ended its reading
		conn.Close(upstream.ClosedByClient)
	case x.answer.Closes || b.body.Framing() == http1.FramedByClose:
		conn.Close(upstream.ClosedByAnswer)
	default:
		conn.Release(x.lane.index)
	}
	if x.closes && (!x.head.Close || !x.upload.whole) { // the client may have sent more already, or still be sending
		x.client.startLingering()
	}
}
