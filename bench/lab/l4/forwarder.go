// Package l4 is a TCP forwarder that stands in for LVS: it hands connections to real
// servers, follows their health, and knows nothing of what the connections carry.
package l4

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// Policies by which a forwarder picks a real server.
const (
	RoundRobin       = "round-robin"
	LeastConnections = "least-connections"
)

// dialTimeout bounds the making of a connection to a real server.
const dialTimeout = time.Second

// Config describes a forwarder.
type Config struct {
	// Name stands in the log and in the status.
	Name string
	// Reals are the real servers, one at least.
	Reals []Real
	// Policy is RoundRobin (also if empty) or LeastConnections.
	Policy string
	// Logger says what happens to real servers. Nil: no log.
	Logger *zap.Logger
}

// Forwarder hands connections to real servers. Make it with [New]; its methods may be
// called from any goroutine.
type Forwarder struct {
	config   Config
	reals    []*server
	turn     atomic.Uint64
	accepted atomic.Int64
	refused  atomic.Int64
	mu       sync.Mutex
	open     map[net.Conn]struct{} // client connections
	busy     sync.WaitGroup
}

// New makes a forwarder; [Forwarder.Serve] starts it.
func New(config Config) (*Forwarder, error) {
	switch {
	case len(config.Reals) == 0:
		return nil, fmt.Errorf("forwarder %s has no real server", config.Name)
	case config.Policy == "":
		config.Policy = RoundRobin
	case config.Policy != RoundRobin && config.Policy != LeastConnections:
		return nil, fmt.Errorf("forwarder %s: %q is not a policy; write %s or %s",
			config.Name, config.Policy, RoundRobin, LeastConnections)
	}
	if config.Logger == nil {
		config.Logger = zap.NewNop()
	}
	f := &Forwarder{config: config, open: map[net.Conn]struct{}{}}
	for _, r := range config.Reals {
		f.reals = append(f.reals, &server{Real: r})
	}
	return f, nil
}

// Serve hands on the listener's connections until ctx ends; then open connections may
// finish for grace, after which they are closed. It closes the listener, and returns
// when nothing of it runs any more. Call it once.
func (f *Forwarder) Serve(ctx context.Context, listener net.Listener, grace time.Duration) error {
	var watch sync.WaitGroup
	defer watch.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, r := range f.reals {
		watch.Go(func() { r.follow(ctx, f.config.Logger) })
	}
	stop := context.AfterFunc(ctx, func() { _ = listener.Close() })
	defer stop()
	err := f.accept(ctx, listener)
	f.drain(grace)
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// accept takes connections until the listener is closed. A shortage of descriptors
// is waited out.
func (f *Forwarder) accept(ctx context.Context, listener net.Listener) error {
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			f.config.Logger.Warn("cannot accept a connection", zap.Error(err))
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				return nil
			}
		}
		f.accepted.Add(1)
		f.mu.Lock()
		f.open[conn] = struct{}{}
		f.mu.Unlock()
		f.busy.Go(func() {
			f.forward(ctx, conn.(*net.TCPConn))
			f.mu.Lock()
			delete(f.open, conn)
			f.mu.Unlock()
		})
	}
}

// drain waits for open connections, for grace at most, and then closes what is left.
func (f *Forwarder) drain(grace time.Duration) {
	done := make(chan struct{})
	go func() {
		f.busy.Wait()
		close(done)
	}()
	select {
	case <-done:
		return
	case <-time.After(grace):
	}
	f.mu.Lock()
	for conn := range f.open {
		_ = conn.Close()
	}
	f.mu.Unlock()
	<-done
}

// forward connects the client to a real server and copies both ways until both ends
// are done. Half-close is kept.
func (f *Forwarder) forward(ctx context.Context, client *net.TCPConn) {
	server, r := f.connect(ctx)
	if server == nil {
		f.refused.Add(1)
		_ = client.SetLinger(0) // LVS without real servers resets, too
		_ = client.Close()
		return
	}
	defer r.open.Add(-1)
	var pair sync.WaitGroup
	pair.Go(func() { pipe(server, client) })
	pipe(client, server)
	pair.Wait()
	_ = server.Close()
	_ = client.Close()
}

// pipe copies from one end to the other. At the end of the stream it passes the end
// on; at a fault it resets both, so that nobody takes a part for the whole.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err == nil {
		if err = to.CloseWrite(); err == nil {
			return
		}
	}
	for _, conn := range []*net.TCPConn{to, from} {
		_ = conn.SetLinger(0)
		_ = conn.Close()
	}
}

// connect connects to the first real server that accepts, best one first; nil if none
// does.
func (f *Forwarder) connect(ctx context.Context) (*net.TCPConn, *server) {
	dialer := net.Dialer{Timeout: dialTimeout}
	for _, r := range f.order() {
		r.open.Add(1)
		conn, err := dialer.DialContext(ctx, "tcp", r.Address)
		if err == nil {
			r.total.Add(1)
			return conn.(*net.TCPConn), r
		}
		r.open.Add(-1)
		r.failures.Add(1)
		f.config.Logger.Warn("cannot connect to a real server", zap.String("real", r.Address), zap.Error(err))
	}
	return nil, nil
}

// order returns the real servers that are not down, in the order in which to try them.
func (f *Forwarder) order() []*server {
	start := int(f.turn.Add(1)-1) % len(f.reals)
	usable := make([]*server, 0, len(f.reals))
	for i := range f.reals {
		if r := f.reals[(start+i)%len(f.reals)]; !r.down.Load() {
			usable = append(usable, r)
		}
	}
	if f.config.Policy == LeastConnections {
		sortByOpen(usable)
	}
	return usable
}
