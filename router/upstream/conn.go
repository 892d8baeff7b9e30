package upstream

import "gridrouter.io/router/wire"

// Conn is one connection to one address of one deck, with TLS on it or not. It carries one request
// at a time, and after an answer that ended cleanly it may carry another. It is used as its
// [wire.Socket] is; who has it ends it by [Conn.Close] or [Conn.Release], once, and does not
// touch it afterwards.
type Conn struct {
	wire.Socket
	endpoint  *Endpoint
	idleSince int64 // a moment of the router's clock, never later than it was
	reused    bool
}

// Reused says whether the connection has carried a request before.
func (c *Conn) Reused() bool { return c.reused }

// CloseReason says why a connection to a deck was closed. Each is a label in metrics.
type CloseReason uint8

// Why connections are closed.
const (
	ClosedIdle        CloseReason = iota // unused for longer than the deck's idle timeout
	ClosedByDeck                         // the deck closed it while it was idle
	ClosedUnsolicited                    // the deck sent what nobody asked for
	ClosedByAnswer                       // the answer said so, or ended with the connection
	ClosedBadAnswer                      // the answer was bad, or broke off
	ClosedTimeout                        // the deck took too long
	ClosedEarly                          // the answer came before the request had been sent whole
	ClosedByClient                       // the client left, or its request broke off
	ClosedSurplus                        // enough are idle
	ClosedRetired                        // the address is out of use
	ClosedTunnel                         // it had become a tunnel, which is over
	CloseReasons                         // how many there are
)

// String returns the reason as the metric's label has it.
func (c CloseReason) String() string {
	return [...]string{"idle", "closed_by_deck", "unsolicited_bytes", "answer_said_so", "bad_answer", "timeout",
		"early_answer", "client", "surplus", "address_removed", "tunnel_ended"}[c]
}

// Close ends the connection and counts why.
func (c *Conn) Close(why CloseReason) {
	c.endpoint.connections.Add(-1)
	c.endpoint.deck.counters.closed[why].Add(1)
	_ = c.TCP.Close() // nothing is waited for any more
}

// Release gives the connection back for another request; lane is the caller's, see
// [metrics.Lanes]. Where its address is out of use for good, or enough are idle, it is closed.
func (c *Conn) Release(lane int) {
	if c.endpoint.retired.Load() {
		c.Close(ClosedRetired)
		return
	}
	c.idleSince = c.endpoint.clock.Coarse()
	c.endpoint.pool.put(c, lane)
}
