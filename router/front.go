package router

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"

	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// headBytes is the greatest size of a request's head, its first line included. It is
// also what an open connection holds for reading.
const headBytes = 16 << 10

var continueAnswer = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// newFront makes the server that frames requests: it reads heads and bodies, and keeps
// connections. It decides nothing and its answers are dropped; see client.Write.
func (r *Router) newFront() *fasthttp.Server {
	return &fasthttp.Server{
		Handler:        r.handle,
		ErrorHandler:   r.unreadable,
		ExpectHandler:  r.expect,
		HeaderReceived: markExpectation,
		Logger:         silentLogger{},

		ReadTimeout:     r.cfg.Patience.Head,
		IdleTimeout:     r.cfg.Patience.Idle,
		ReadBufferSize:  headBytes,
		WriteBufferSize: 512, // its answers go nowhere

		// With streaming on, this is no limit, but how much of a body is read before the
		// handler runs; a byte is the least it takes.
		StreamRequestBody:  true,
		MaxRequestBodySize: 1,

		DisablePreParseMultipartForm:  true,
		DisableHeaderNamesNormalizing: true,
		NoDefaultServerHeader:         true,
		NoDefaultDate:                 true,
		NoDefaultContentType:          true,
		LazyRequestTime:               true,
	}
}

// handle takes one request from the framing server through its life.
func (r *Router) handle(ctx *fasthttp.RequestCtx) {
	x := r.begin(ctx)
	defer r.release(x)
	x.firstOfClient = x.client.begin()
	x.body = ctx.RequestBodyStream()
	r.guarded(x)
	if x.closes {
		ctx.SetConnectionClose()
	}
}

// guarded runs the life of a request and, should it panic, ends that request alone.
func (r *Router) guarded(x *exchange) {
	defer func() {
		if cause := recover(); cause != nil {
			r.tellPanic(cause)
			x.hangUp()
			x.finish(faultInternal)
		}
	}()
	x.serve()
}

func (r *Router) tellPanic(cause any) {
	r.log.Error("a request made the router panic; this is a mistake in the router, please report it",
		zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
}

// expect answers "Expect: 100-continue" once it is certain that a deck is there for the
// request. A status other than 100 ends the connection; the answer has been sent then.
func (r *Router) expect(ctx *fasthttp.RequestCtx) int {
	x := r.begin(ctx)
	defer r.release(x)
	x.firstOfClient = x.client.requests == 0
	fault := x.foresee()
	if fault == noFault {
		if !x.head.Continue {
			return fasthttp.StatusContinue
		}
		err := x.client.send(continueAnswer, time.Time{})
		if err == nil {
			return fasthttp.StatusContinue
		}
		fault = faultClientGone
	}
	x.client.begin()
	x.finish(fault)
	return fasthttp.StatusExpectationFailed
}

// foresee says which fault the request would end in before a deck is asked.
func (x *exchange) foresee() (fault routing.Fault) {
	defer func() {
		if cause := recover(); cause != nil {
			x.router.tellPanic(cause)
			fault = faultInternal
		}
	}()
	if fault = x.admit(); fault == noFault {
		fault = x.decide()
	}
	return fault
}

// markExpectation makes the framing server notice an expectation in any spelling of the
// field's name. It does not touch the raw header.
func markExpectation(header *fasthttp.RequestHeader) fasthttp.RequestConfig {
	if n := header.ContentLength(); n == 0 || n == -2 {
		return fasthttp.RequestConfig{}
	}
	for rest := header.RawHeaders(); len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		if colon := bytes.IndexByte(line, ':'); colon >= 0 && admission.EqualFold(line[:colon], "expect") &&
			admission.EqualFold(admission.TrimSpace(bytes.TrimSuffix(line[colon+1:], []byte("\r"))), "100-continue") {
			header.Set(fasthttp.HeaderExpect, "100-continue")
		}
	}
	return fasthttp.RequestConfig{}
}

// unreadable answers what could not be read as a request at all.
func (r *Router) unreadable(ctx *fasthttp.RequestCtx, err error) {
	c, ok := ctx.Conn().(*client)
	if !ok || c.requests == 0 && !c.heard {
		return // nobody asked anything
	}
	x := r.begin(ctx)
	defer r.release(x)
	fault, reason := unreadableFault(err, c.heardLine)
	x.line, x.reason, x.closes = admission.RequestLine{}, reason, true
	c.begin()
	x.finish(fault)
}

// unreadableFault says which fault an error of the framing server is.
func unreadableFault(err error, lineRead bool) (fault routing.Fault, reason string) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small) && lineRead:
		return admission.HeadTooLarge, "the head is larger than 16 KiB"
	case errors.As(err, &small):
		return admission.URITooLong, "the first line is longer than 16 KiB"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return faultRequestTimeout, ""
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return faultClientGone, ""
	}
	cause := err
	for inner := errors.Unwrap(cause); inner != nil; inner = errors.Unwrap(cause) {
		cause = inner
	}
	if strings.HasPrefix(cause.Error(), "unsupported transfer-encoding: ") {
		return admission.NotImplemented, "the transfer coding is not chunked"
	}
	return routing.FaultBadRequest, "the head of the request cannot be read"
}

// silentLogger takes the framing server's messages, which quote what clients sent, and
// forgets them. What matters is in the access log and the metrics.
type silentLogger struct{}

// Printf implements [fasthttp.Logger].
func (silentLogger) Printf(string, ...any) {}
