package router

import (
	"errors"
	"io"
	"runtime/debug"

	"go.uber.org/zap"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

const (
	// maxLineBytes bounds the first line of a request: a target, and room for the rest.
	maxLineBytes = admission.MaxTargetBytes + 256
	// maxReceived bounds what is held of a request that has no whole head yet.
	maxReceived = maxLineBytes + admission.MaxHeadBytes + 1
)

var continueAnswer = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// serve reads request after request and takes each through its life.
func (c *client) serve() {
	defer c.close()
	if !c.handshakes() {
		return
	}
	more := true
	for more {
		more = c.serveOne()
	}
}

// serveOne reads one request and takes it through its life. It says whether another may follow.
func (c *client) serveOne() (more bool) {
	if !c.beginsWaiting() {
		return false
	}
	head, wrong := c.awaitHead()
	if !c.endsWaiting() || wrong == errNoRequest { //nolint:errorlint // awaitHead returns this error unwrapped
		return false
	}
	r := c.router
	x := r.acquireExchange(c)
	defer r.releaseExchange(x)
	x.firstOfClient = c.countRequest()
	if wrong != nil {
		refusal := headRefusal(wrong)
		x.line, x.closes, x.reason = admission.RequestLine{}, true, refusal.Reason
		x.identity.NewRequestID()
		x.finish(refusal.Fault)
		return false
	}
	x.line, x.fields = admission.SplitHead(head, c.frame.Line())
	r.serveRecovering(x)
	return !x.closes
}

// serveRecovering runs the life of a request and, should it panic, ends that request alone.
func (r *Router) serveRecovering(x *exchange) {
	defer func() {
		if cause := recover(); cause != nil {
			r.logPanic(cause)
			x.releaseDeck()
			x.closes = true
			x.finish(faults.Internal)
		}
	}()
	x.serve()
}

func (r *Router) logPanic(cause any) {
	r.log.Error("a request made the router panic; this is a mistake in the router, please report it",
		zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
}

var (
	// errNobodyAsked: the connection ended, or its time did, before a request began.
	errNoRequest  = errors.New("nobody asked anything")
	errNoMethod   = errors.New("the request does not begin with a method")
	errEmptyLines = errors.New("more than 8 empty lines come before the request")
)

// maxEmptyLines is how many empty lines may come before a request: some clients send one behind
// a body. Who sends more sends something else than requests.
const maxEmptyLines = 8

// awaitHead reads until a whole head is there, and returns it. It is part of the client's
// buffer, and valid until the next call. Empty lines before it are passed over (RFC 9112 2.2):
// they begin no request, and prolong no wait.
func (c *client) awaitHead() (head []byte, err error) {
	c.compactBuffer()
	c.frame.Restart()
	emptyLines := 0
	begun, err := c.beginHead(&emptyLines)
	if err != nil {
		return nil, err
	}
	patience := &c.router.cfg.ClientTimeouts
	by := c.headBy
	switch {
	case c.requests == 0:
	case begun:
		by = c.router.clock.After(patience.Head)
	default:
		by = c.router.clock.After(patience.Idle)
	}
	for {
		if begun {
			received := c.buf.Data()[:c.end]
			end, err := c.frame.Find(received)
			if err != nil {
				return nil, err
			}
			if end > 0 {
				c.start = end
				return received[:end], nil
			}
		}
		if err := c.receiveMore(by); err != nil {
			return nil, c.headError(err, !begun)
		}
		if begun {
			continue
		}
		if begun, err = c.beginHead(&emptyLines); err != nil {
			return nil, err
		}
		if begun && c.requests > 0 {
			by = c.router.clock.After(patience.Head)
		}
	}
}

// beginHead takes empty lines off what was received. It says whether a head has begun.
func (c *client) beginHead(emptyLines *int) (begun bool, err error) {
	if c.end == 0 {
		return false, nil
	}
	received := c.buf.Data()[:c.end]
	for len(received) > 1 && received[0] == '\r' && received[1] == '\n' {
		if *emptyLines++; *emptyLines > maxEmptyLines {
			return false, errEmptyLines
		}
		received = received[2:]
	}
	switch n := len(received); {
	case n == 0:
		c.dropBuffer() // who waits holds no buffer
		return false, nil
	case n < c.end:
		c.end = copy(c.buf.Data(), received)
	}
	if c.end == 1 && c.buf.Data()[0] == '\r' { // the LF is still to come
		return false, nil
	}
	if !http1.IsToken(c.buf.Data()[:1]) {
		return false, errNoMethod
	}
	return true, nil
}

// headError says why there is no head. nothing says that no byte of one had come.
func (c *client) headError(err error, nothing bool) error {
	overdue := errors.Is(err, wire.ErrOverdue)
	switch {
	case nothing && overdue && c.requests > 0:
		c.router.countTimeout(waitedIdle)
	case overdue:
		c.router.countTimeout(waitedHead)
	}
	if nothing {
		return errNoRequest
	}
	return err
}

// compactBuffer moves what was received and not used to the front, or lets the buffer go.
func (c *client) compactBuffer() {
	unread := c.unread()
	if len(unread)+len(c.more) == 0 {
		c.dropBuffer()
		return
	}
	if c.buf == nil || len(unread)+len(c.more) > len(c.buf.Data()) {
		c.replaceBuffer(wire.NewBuffer(len(unread) + len(c.more)))
	} else {
		copy(c.buf.Data(), unread)
		c.start, c.end = 0, len(unread)
	}
	c.end += copy(c.buf.Data()[c.end:], c.more)
	c.more = nil
}

// unread is what the buffer holds behind what was used.
func (c *client) unread() []byte {
	if c.buf == nil {
		return nil
	}
	return c.buf.Data()[c.start:c.end]
}

// replaceBuffer makes another buffer the client's, and moves there what was not used.
func (c *client) replaceBuffer(b *wire.Buffer) {
	n := copy(b.Data(), c.unread())
	if c.buf != nil {
		c.router.heads.Put(c.buf)
	}
	c.buf, c.start, c.end = b, 0, n
}

// receiveMore reads once, behind what is there.
func (c *client) receiveMore(by int64) error {
	if c.buf == nil {
		b, n, err := c.Receive(&c.router.heads, wire.HeadBytes, by)
		if err != nil {
			return err
		}
		c.buf, c.end = b, n
		c.lane.receivedBytes.Add(uint64(n))
		return nil
	}
	if c.end == len(c.buf.Data()) {
		c.replaceBuffer(wire.NewBuffer(min(2*c.end, maxReceived)))
	}
	n, err := c.ReadUntil(c.buf.Data()[c.end:], by)
	c.end += n
	c.lane.receivedBytes.Add(uint64(n))
	if n > 0 {
		return nil // an error comes again
	}
	return err
}

// headRefusal says which fault it is that no whole head could be had.
func headRefusal(err error) admission.Refusal {
	switch {
	case errors.Is(err, http1.ErrLineTooLong):
		return admission.Refusal{Fault: admission.URITooLong, Reason: "the first line is longer than 8 KiB"}
	case errors.Is(err, http1.ErrHeadTooLarge):
		return admission.Refusal{Fault: admission.HeadTooLarge, Reason: "the header is larger than 64 KiB"}
	case errors.Is(err, http1.ErrBareLF), errors.Is(err, http1.ErrBareCR), errors.Is(err, errNoMethod), errors.Is(err, errEmptyLines):
		return admission.Refusal{Fault: routing.FaultBadRequest, Reason: err.Error()}
	case errors.Is(err, wire.ErrOverdue):
		return admission.Refusal{Fault: faults.RequestTimeout}
	case errors.Is(err, io.EOF):
	}
	return admission.Refusal{Fault: faults.ClientGone}
}
