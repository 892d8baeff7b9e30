package router

import "gridrouter.io/router/wire"

// deckConn is one connection to one address of one deck. It carries one request at a
// time, and after an answer that ended cleanly it may carry another.
type deckConn struct {
	wire.Socket
	endpoint  *endpoint
	idleSince int64 // a moment of the router's clock, never later than it was
	reused    bool
}

// closeReason says why a connection to a deck was closed.
type closeReason uint8

const (
	closedIdle        closeReason = iota // unused for longer than the deck's idle timeout
	closedByDeck                         // the deck closed it while it was idle
	closedUnsolicited                    // the deck sent what nobody asked for
	closedByAnswer                       // the answer said so, or ended with the connection
	closedBadAnswer                      // the answer was bad, or broke off
	closedTimeout                        // the deck took too long
	closedEarly                          // the answer came before the request had been sent whole
	closedByClient                       // the client left, or its request broke off
	closedSurplus                        // enough are idle
	closedRetired                        // the address is out of use
	closedTunnel                         // it had become a tunnel, which is over
	closeReasons                         // how many there are
)

// String returns the reason as the metric's label has it.
func (c closeReason) String() string {
	return [...]string{"idle", "closed_by_deck", "unsolicited_bytes", "answer_said_so", "bad_answer", "timeout",
		"early_answer", "client", "surplus", "address_removed", "tunnel_ended"}[c]
}

func (c *deckConn) close(why closeReason) {
	c.endpoint.connections.Add(-1)
	c.endpoint.deck.counters.closed[why].Add(1)
	_ = c.TCP.Close() // nothing is waited for any more
}

// release gives the connection back for another request.
func (c *deckConn) release(lane int) {
	c.idleSince = c.endpoint.router.clock.Coarse()
	c.endpoint.pool.put(c, lane)
}
