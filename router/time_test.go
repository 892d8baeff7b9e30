package router

import (
	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/wire"
)

// Tests of what happens after a time stop the router's clock and move it themselves, once the wait
// that is tested has begun: then it makes no difference how long anything takes.

// over waits until all requests are over and counted. A client has its answer before: until then its
// request is in flight, and holds its places.
func (g *grid) over() {
	g.t.Helper()
	testkit.Eventually(g.t, "the requests are over", func() bool { return g.router.counters.inFlight() == 0 })
}

// watchOnce takes a turn of the watch: whatever it would do at the clock's moment it has done then.
func (g *grid) watchOnce() {
	g.router.clients.each(func(c *client) { c.watch(g.router.clock.Tick(), true) })
}

// someClient waits until something holds of one of the clients.
func (g *grid) someClient(what string, holds func(c *client) bool) {
	g.t.Helper()
	testkit.Eventually(g.t, what, func() (found bool) {
		g.router.clients.each(func(c *client) { found = found || holds(c) })
		return found
	})
}

// received waits until the router has read so many bytes of all clients.
func (g *grid) received(total int) {
	g.t.Helper()
	testkit.Eventually(g.t, "what was sent is read", func() bool { return receivedFromClients(g) >= uint64(total) })
}

// isRead says that somebody waits for what the client sends.
func isRead(c *client) bool { return c.ReadBy.Load() > 0 }

// deckIsRead says that somebody waits for what the client's deck sends.
func deckIsRead(c *client) bool { return c.deckReadBy() > 0 }

// deckIsSilent says that somebody waits for what the client's deck sends, and has read all that it sent.
func deckIsSilent(c *client) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deck != nil && c.deck.LookAt() == wire.Quiet && c.silentSince.Load() != wire.NoWait
}

// deckReadBy returns until when the client's deck is waited for; 0 or less: it is not.
func (c *client) deckReadBy() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.deck == nil {
		return wire.NoWait
	}
	return c.deck.ReadBy.Load()
}

// deckReadBy returns until when a deck is waited for, where one is.
func (g *grid) deckReadBy() (by int64) {
	g.router.clients.each(func(c *client) { by = max(by, c.deckReadBy()) })
	return by
}
