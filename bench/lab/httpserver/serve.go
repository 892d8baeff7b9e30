// Package httpserver serves HTTP by fasthttp for the sample servers of the lab, and adds what they
// need and fasthttp does not do: it ends within a time, it tells when a client has left, and it tells
// a body that was cut off from one that is whole.
package httpserver

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/zap"
)

const (
	headTimeout  = 10 * time.Second // for a head to arrive
	bodyTimeout  = time.Hour        // for a body to arrive
	idleTimeout  = 2 * time.Minute  // between two requests
	acceptPause  = 50 * time.Millisecond
	maxHeadBytes = 96 << 10 // more than a router lets through
)

// Serve answers requests on the listener until ctx ends; then it waits for the requests in flight, for
// grace at most, and closes all connections. It closes the listener. Bodies of requests are streams:
// [Body] returns them.
func Serve(ctx context.Context, listener net.Listener, grace time.Duration, handle fasthttp.RequestHandler, log *zap.Logger) error {
	server := &fasthttp.Server{
		Handler:     handle,
		ReadTimeout: headTimeout, IdleTimeout: idleTimeout,
		HeaderReceived: func(*fasthttp.RequestHeader) fasthttp.RequestConfig {
			return fasthttp.RequestConfig{ReadTimeout: bodyTimeout}
		},
		ReadBufferSize: maxHeadBytes, StreamRequestBody: true,
		DisablePreParseMultipartForm: true, NoDefaultServerHeader: true, NoDefaultContentType: true,
		Logger: zap.NewStdLog(log),
	}
	open := &connections{Listener: listener, all: map[*Conn]struct{}{}}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
		defer cancel()
		_ = listener.Close() // here too, since fasthttp may not know of it yet
		err := server.ShutdownWithContext(drain)
		if errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded) {
			err = nil
		}
		open.closeAll()
		stopped <- err
	})
	defer stop()
	if err := server.Serve(open); err != nil {
		return err
	}
	return <-stopped
}

// connections is a listener that knows the open connections that it has accepted.
type connections struct {
	net.Listener
	mu  sync.Mutex
	all map[*Conn]struct{}
}

// Accept implements [net.Listener]. Where descriptors have run out it waits and goes on; fasthttp's loop
// would end.
func (c *connections) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	for errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
		time.Sleep(acceptPause)
		conn, err = c.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	accepted := &Conn{Conn: conn}
	accepted.closed = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.all, accepted)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[accepted] = struct{}{}
	return accepted, nil
}

func (c *connections) closeAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.all {
		_ = conn.Conn.Close()
	}
}

// Conn is a TCP connection that remembers whether the other side has ended it.
type Conn struct {
	net.Conn
	ended  bool   // an end was read
	closed func() // nil: nobody wants to know
}

// Read implements [net.Conn].
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.ended = c.ended || errors.Is(err, io.EOF)
	return n, err
}

// Close implements [net.Conn].
func (c *Conn) Close() error {
	if c.closed != nil {
		c.closed()
	}
	return c.Conn.Close()
}

// Left says whether the other side has ended the connection, or it is closed. It waits for nothing,
// reads nothing, and may be called while others use the connection.
func (c *Conn) Left() bool {
	socket, ok := c.Conn.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return true
	}
	left := false
	err = raw.Control(func(descriptor uintptr) {
		n, _, err := syscall.Recvfrom(int(descriptor), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		switch {
		case err == nil:
			left = n == 0
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
			left = true
		}
	})
	return left || err != nil
}

// Body returns the body of a request, empty if it has none. It fails where the connection ends before
// the body does: fasthttp takes an end between two chunks for the end of the body.
func Body(ctx *fasthttp.RequestCtx) io.Reader {
	body := ctx.RequestBodyStream()
	if body == nil {
		return bytes.NewReader(nil)
	}
	return &requestBody{body, ConnOf(ctx)}
}

// ConnOf returns the connection that a request arrived on.
func ConnOf(ctx *fasthttp.RequestCtx) *Conn {
	return ctx.Conn().(*Conn) //nolint:forcetypeassert // Serve accepts no others
}

type requestBody struct {
	io.Reader
	conn *Conn
}

// Read implements [io.Reader].
func (b *requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) && b.conn.ended {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Wait waits, and says whether the client of a connection is still there; it returns when it leaves.
func (c *Conn) Wait(d time.Duration) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-over.C:
			return true
		case <-look.C:
			if c.Left() {
				return false
			}
		}
	}
}

// lookEvery is how often Wait looks whether a client has left: fasthttp reads nothing while a handler
// runs, so nobody else would notice.
const lookEvery = 20 * time.Millisecond
