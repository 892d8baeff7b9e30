package router

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// drainState is how far draining has come. It only ever goes forward.
type drainState struct {
	phase atomic.Int32
	begun chan struct{} // closed when draining begins
}

const (
	notDraining   int32 = iota
	drainClosing        // everything is served, and every answer ends its connection
	drainRefusing       // listeners have closed: no further requests on open connections
)

// closing says that answers end their connections.
func (d *drainState) closing() bool { return d.phase.Load() >= drainClosing }

// refuses says that no further requests are served.
func (d *drainState) refuses() bool { return d.phase.Load() >= drainRefusing }

const (
	freshTime = 500 * time.Millisecond // for who has connected to say what they want
	drainPoll = 5 * time.Millisecond
)

// BeginDrain makes the router not ready, for good. It returns at once, and says whether
// this call was the one that began it.
func (r *Router) BeginDrain() bool {
	if !r.drain.phase.CompareAndSwap(notDraining, drainClosing) {
		return false
	}
	close(r.drain.begun)
	return true
}

// InFlight returns the number of requests that have begun and not ended.
func (r *Router) InFlight() int64 { return r.counters.inFlight() }

// DrainBegun returns a channel that is closed when draining begins.
func (r *Router) DrainBegun() <-chan struct{} { return r.drain.begun }

// Drain ends the router without harm. It is not ready from now on; for delay everything
// is served as before, with Connection: close; then the listeners close, after who
// had connected by then has been accepted; requests in flight may take until timeout from
// then on, and new ones on open connections get the fault draining. Drain returns the
// number of requests that were cut because they took longer. ctx ends it early.
// Close must follow.
func (r *Router) Drain(ctx context.Context, delay, timeout time.Duration) (cut int64) {
	r.BeginDrain()
	r.log.Info("draining: not ready from now on, and everything is still served",
		zap.Duration("delay", delay), zap.Duration("timeout", timeout))
	wait := time.NewTimer(delay)
	defer wait.Stop()
	select {
	case <-ctx.Done():
	case <-wait.C:
	}
	r.mu.Lock()
	for _, ln := range r.listeners {
		ln.stop()
	}
	r.mu.Unlock()
	r.log.Info("draining: closing the listeners, and finishing what is in flight", zap.Int64("inFlight", r.counters.inFlight()))
	accepted := make(chan struct{})
	r.run.Go(func() { // ends with the listeners
		r.awaitListeners()
		close(accepted)
	})
	select {
	case <-ctx.Done():
	case <-accepted:
	}
	r.drain.phase.Store(drainRefusing)
	r.awaitRequests(ctx, timeout)
	return r.counters.inFlight()
}

// cut closes the connection under whoever uses it, and so the one to the deck that works for
// it: else a request would end no sooner than its deck.
func (c *client) cut() {
	_ = c.TCP.Close() // its user finds out
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deck != nil {
		_ = c.deck.TCP.Close() // the same
	}
}

// awaitListeners waits until all listeners have closed.
func (r *Router) awaitListeners() {
	r.mu.Lock()
	listeners := r.listeners
	r.mu.Unlock()
	for _, ln := range listeners {
		<-ln.ended
	}
}

// awaitRequests waits until nothing is in flight: no request, no connection whose first
// request may be on its way, and no last answer that a client is still reading.
func (r *Router) awaitRequests(ctx context.Context, timeout time.Duration) {
	begun := time.Now()
	tick := time.NewTicker(drainPoll)
	defer tick.Stop()
	for time.Since(begun) < timeout {
		fresh := r.fresh.Load() > 0 && time.Since(begun) < freshTime
		if !fresh && r.counters.inFlight() == 0 && r.lingering.Load() == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
