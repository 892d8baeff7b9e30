package router

import (
	"math"
	"time"

	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
)

// lookEvery is how often, while a deck is silent, its client is looked at, in watches.
const lookEvery = 2

// watch bounds all waits of the data path. One goroutine looks at every connection ten
// times a second: that costs some nanoseconds a connection, where timers of each
// connection's own would cost microseconds of every request. It also keeps the clock that
// the waits are counted by.
func (r *Router) watch() {
	tick := time.NewTicker(wire.WatchEvery)
	defer tick.Stop()
	for turn := 0; ; turn++ {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			now := r.clock.Tick()
			r.clients.each(func(c *client) { c.watch(now, turn%lookEvery == 0) })
		}
	}
}

// tunnelExpired stands in place of the moment by which a tunnel must be used, once it is given up.
const tunnelExpired int64 = math.MaxInt64

// watch ends the client's waits whose time is over, those for a deck included. looks says
// to find out whether the client has left while a deck works for it.
func (c *client) watch(now int64, looks bool) {
	c.Expire(now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deck == nil {
		return
	}
	c.deck.Expire(now)
	if by := c.idleBy.Load(); by != wire.NoWait {
		if now >= by && c.idleBy.CompareAndSwap(by, tunnelExpired) {
			c.router.countTimeout(waitedTunnel)
			c.WakeReader()
			c.deck.WakeReader()
		}
		return
	}
	if !looks || !c.requestSent.Load() || !c.silentFor(now) {
		return
	}
	if c.hasDeparted() {
		c.departed.Store(true)
		c.deck.WakeReader()
	}
}

// departAfter is how long a deck must be silent before its client's half-closing counts.
const departAfter = 500 * time.Millisecond

// silentFor says whether the deck has been silent for so long that a client may have left.
func (c *client) silentFor(now int64) bool {
	since := c.silentSince.Load()
	return since != wire.NoWait && now-since >= int64(departAfter)
}

// hasDeparted says whether the client counts as gone: its connection broke, or it sends no more
// and Config.HalfClose takes that for leaving.
func (c *client) hasDeparted() bool {
	switch c.EndedBy() {
	case wire.HalfClosed:
		return c.router.cfg.HalfClose == HalfCloseDeparts
	case wire.EndedForGood:
		return true
	case wire.BothOpen:
	}
	return false
}

// deckWaitBegins notes that a wait for the deck begins.
func (c *client) deckWaitBegins() { c.silentSince.Store(c.router.clock.Coarse()) }

// deckWaitEnds notes that a wait for the deck has ended, and says whether the client has left
// meanwhile. It is told the same way however the wait and the turns of the watch lie: a
// client that half-closed is given what comes without a long silence, and nothing that comes
// after one.
func (c *client) deckWaitEnds() (left bool) {
	if c.silentFor(c.router.clock.Coarse()) && c.requestSent.Load() {
		c.mu.Lock() // the watch may be doing the same
		if c.hasDeparted() {
			c.departed.Store(true)
		}
		c.mu.Unlock()
	}
	c.silentSince.Store(wire.NoWait)
	return c.departed.Load()
}

// attach makes the watch look at a connection to a deck, on behalf of the client.
func (c *client) attach(conn *upstream.Conn) {
	c.mu.Lock()
	c.deck = conn
	c.mu.Unlock()
}

// detach takes the connection from the watch: nothing wakes who uses it next.
func (c *client) detach() { c.attach(nil) }
