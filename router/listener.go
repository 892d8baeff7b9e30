package router

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/wire"
)

const (
	acceptPause = 50 * time.Millisecond // after a failure to accept, such as no free descriptors
	queuePause  = 20 * time.Millisecond // without a new connection: the queue is empty
	queueTime   = 2 * time.Second       // of emptying the queue, after which it ends at the first chance
)

// listener accepts clients. It outlives failures to accept: without free descriptors it
// waits and goes on. It ends without losing who has connected already.
type listener struct {
	*net.TCPListener
	router   *Router
	stopping atomic.Bool
	secure   *tls.Config // nil: plain
	failing  bool        // of the goroutine that accepts
	emptying queueClock  // of the goroutine that accepts
	ended    chan struct{}
	once     sync.Once
}

// listen opens a data listener. Keep-alive probes are off: idle limits do their work
// with four system calls less a connection.
func (r *Router) listen(ctx context.Context, address string) (*listener, error) {
	config := net.ListenConfig{KeepAlive: -1}
	ln, err := config.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		_ = ln.Close()
		return nil, errors.New("not a TCP address")
	}
	return &listener{TCPListener: tcp, router: r, ended: make(chan struct{})}, nil
}

// serve accepts clients, and starts a goroutine for each, until the listener stops.
func (l *listener) serve() {
	for {
		c := l.accept()
		if c == nil {
			return
		}
		go c.serve() // ends when its connection does; Close closes them all
	}
}

// accept waits for the next client. It returns nil once the listener has stopped.
func (l *listener) accept() *client {
	for {
		if l.stopping.Load() && !l.awaitsMore() {
			l.end()
			return nil
		}
		if clients := &l.router.clients; clients.full(l.router.cfg.MaxClients) && !clients.canMakeRoom() {
			l.router.acceptPauses.Add(1)
			time.Sleep(queuePause)
			continue
		}
		conn, err := l.AcceptTCP()
		switch {
		case err == nil:
			l.recovered()
			c, broken := l.router.newClient(conn, l)
			switch {
			case broken != nil:
				_ = conn.Close() // it broke as soon as it was there
			case !c.takesShare(): // first, so that who is refused costs nobody else a place
				l.router.clients.refuse()
				c.close()
			default:
				l.awaitPlace()
				l.router.clients.add(c)
				return c
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			if l.emptying.waited() && l.queueEmpty() {
				l.end()
				return nil
			}
		case errors.Is(err, net.ErrClosed):
			l.end()
			return nil
		default:
			l.failed(err)
		}
	}
}

// awaitsMore says whether a listener that stops takes one more client, for which it then waits queuePause.
// Where clients come faster than that the queue is never seen empty for so long: after queueTime any
// moment at which nobody waits is the end, and after twice as long any moment.
func (l *listener) awaitsMore() bool {
	now := time.Now()
	spent := l.emptying.turnAt(now)
	if spent > 2*queueTime || spent > queueTime && l.queueEmpty() {
		return false
	}
	return l.SetDeadline(now.Add(queuePause)) == nil
}

// queueClock counts the time that emptying the queue takes. A turn of the loop counts for no more than
// queuePause, as long as it waits: a goroutine that was not let run must not cost those in the queue.
type queueClock struct {
	turn  time.Time // when the last one began; zero: none has
	spent time.Duration
}

// waited says whether nobody came for queuePause, as far as the clock tells.
func (q *queueClock) waited() bool { return !q.turn.IsZero() && time.Since(q.turn) >= queuePause }

// turnAt notes that a turn begins, and returns the time that all turns before took.
func (q *queueClock) turnAt(now time.Time) time.Duration {
	if !q.turn.IsZero() {
		q.spent += min(now.Sub(q.turn), queuePause)
	}
	q.turn = now
	return q.spent
}

// queueEmpty says whether nobody waits to be accepted. That the time to accept is over does not say so:
// a goroutine that was not let run finds it over before it has looked into the queue.
func (l *listener) queueEmpty() bool {
	waiting := false
	raw, err := l.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { waiting = wire.RawReadable(fd) })
	}
	return err != nil || !waiting
}

// awaitPlace returns when there is a place for a connection that has been accepted. It makes room,
// or waits where those that could make it have sent their requests meanwhile.
func (l *listener) awaitPlace() {
	clients := &l.router.clients
	for clients.full(l.router.cfg.MaxClients) && !clients.makeRoom() && !l.stopping.Load() {
		l.router.acceptPauses.Add(1)
		time.Sleep(queuePause)
	}
}

// stop makes Accept take who is in the queue, close the listener, and end.
func (l *listener) stop() {
	l.stopping.Store(true)
	_ = l.SetDeadline(time.Now()) // wakes Accept; a closed listener needs no waking
}

func (l *listener) end() {
	l.once.Do(func() {
		_ = l.Close() // it is of no more use either way
		close(l.ended)
	})
}

// failed counts a failure to accept, tells of the first, and waits.
func (l *listener) failed(err error) {
	l.router.acceptErrors.Add(1)
	if !l.failing {
		l.failing = true
		l.router.log.Error("cannot accept connections: waiting, and trying again; if descriptors ran out, raise the limit on open files",
			zap.String("listener", l.Addr().String()), zap.Error(err))
	}
	time.Sleep(acceptPause)
}

func (l *listener) recovered() {
	if l.failing {
		l.failing = false
		l.router.log.Info("accepting connections again", zap.String("listener", l.Addr().String()))
	}
}
