package admin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"runtime/debug"
	"sync"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

const (
	readTimeout  = 10 * time.Second // for a request to arrive, and so for a head
	idleTimeout  = time.Minute      // between two requests
	maxHeadBytes = 32 << 10
	maxBodyBytes = 64 << 10 // of a request; no endpoint reads any
	acceptPause  = 50 * time.Millisecond
)

// Server serves a handler to few clients, who are trusted and may be slow: people, Prometheus, load
// balancers' checks. A request may take 10 seconds to arrive and have a head of 32 KiB and a body of
// 64 KiB, and a connection may be idle for a minute.
type Server struct {
	// Handler answers the requests. One that panics answers 500. Required.
	Handler fasthttp.RequestHandler
	// Write is how long an answer may take to be written; 0: as long as it likes.
	Write time.Duration
	// Logger takes what goes wrong; nil: nothing is logged.
	Logger *zap.Logger
}

// Serve serves a listener until ctx ends; then it closes the listener and all connections, cuts who
// still reads, and returns nil. Where connections cannot be accepted, as for want of descriptors, it
// waits and goes on.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	log := cmp.Or(s.Logger, zap.NewNop())
	server := &fasthttp.Server{
		Handler:     func(ctx *fasthttp.RequestCtx) { serveRecovering(ctx, s.Handler, log) },
		ReadTimeout: readTimeout, WriteTimeout: s.Write, IdleTimeout: idleTimeout,
		ReadBufferSize: maxHeadBytes, MaxRequestBodySize: maxBodyBytes,
		NoDefaultServerHeader: true, NoDefaultContentType: true, DisablePreParseMultipartForm: true,
		ErrorHandler: unreadable, Logger: quiet{log},
	}
	var open connections
	stop := context.AfterFunc(ctx, func() {
		_ = listener.Close()
		open.closeAll()
	})
	defer stop()
	// The loop is ours: fasthttp's ends when descriptors run out, and leaves connections open at the end.
	for failing := false; ; {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			failing = false
			open.add(conn)
			go func() {
				defer func() {
					open.remove(conn)
					if cause := recover(); cause != nil { // not in a handler: while reading or writing
						_ = conn.Close()
						logPanic(log, cause)
					}
				}()
				_ = server.ServeConn(conn) // what became of one connection is nobody else's matter
			}()
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		default:
			if !failing {
				log.Error("cannot accept connections: waiting, and trying again", zap.Stringer("listener", listener.Addr()), zap.Error(err))
			}
			failing = true
			time.Sleep(acceptPause)
		}
	}
}

// serveRecovering runs a handler and, should it panic, answers that request alone.
func serveRecovering(ctx *fasthttp.RequestCtx, handle fasthttp.RequestHandler, log *zap.Logger) {
	defer func() {
		if cause := recover(); cause != nil {
			logPanic(log, cause)
			ctx.Response.Reset()
			Fail(ctx, http.StatusInternalServerError, "this router failed to answer; its log says why")
			ctx.SetConnectionClose()
		}
	}()
	switch protocol := string(ctx.Request.Header.Protocol()); protocol {
	case "HTTP/1.1":
		handle(ctx)
	case "HTTP/1.0":
		handle(ctx)
		ctx.Response.Header.SetProtocol([]byte(protocol))
		if ctx.Response.IsBodyStream() { // which is sent in chunks, and they know of none
			ctx.Response.SetBody(bytes.Clone(ctx.Response.Body()))
		}
	default:
		ctx.SetConnectionClose()
		Fail(ctx, http.StatusHTTPVersionNotSupported, "only HTTP/1.0 and HTTP/1.1 are spoken here")
	}
}

func logPanic(log *zap.Logger, cause any) {
	log.Error("an admin endpoint panicked; this is a mistake in the router, please report it",
		zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
}

// unreadable answers a request that cannot be read.
func unreadable(ctx *fasthttp.RequestCtx, err error) {
	var small *fasthttp.ErrSmallBuffer
	var timeout net.Error
	switch {
	case errors.As(err, &small):
		Fail(ctx, http.StatusRequestHeaderFieldsTooLarge, "the header is too large")
	case errors.Is(err, fasthttp.ErrBodyTooLarge):
		Fail(ctx, http.StatusRequestEntityTooLarge, "the body is too large")
	case errors.As(err, &timeout) && timeout.Timeout():
		Fail(ctx, http.StatusRequestTimeout, "the request did not arrive in time")
	default:
		Fail(ctx, http.StatusBadRequest, "the request cannot be read")
	}
}

// connections are the open ones, to be closed at the end.
type connections struct {
	mu    sync.Mutex
	all   map[net.Conn]struct{}
	ended bool
}

func (c *connections) add(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		_ = conn.Close() // its goroutine finds out
		return
	}
	if c.all == nil {
		c.all = map[net.Conn]struct{}{}
	}
	c.all[conn] = struct{}{}
}

func (c *connections) remove(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.all, conn)
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
	for conn := range c.all {
		_ = conn.Close()
	}
}

// quiet takes what fasthttp would write to the standard error: what became of single connections.
type quiet struct{ log *zap.Logger }

// Printf implements [fasthttp.Logger].
func (q quiet) Printf(format string, args ...any) { q.log.Sugar().Debugf(format, args...) }
