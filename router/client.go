package router

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
)

const (
	// lingerTime and lingerBytes bound the wait for a client to read its last answer.
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// client is one connection from a client. Its goroutine reads request after request and
// takes each through its life (life.go); between two requests it holds no buffer.
type client struct {
	wire.Socket
	router     *Router
	peer       netip.Addr
	trusted    bool // what the peer says of the client is believed
	listener   *listener
	serverName []byte // that the client named when TLS began (SNI), canonical; empty: none
	lane       *lane
	place      int // in the set of clients; the set's, as are the next three
	share      netip.Addr
	peerPlace  int
	wasEvicted bool // it was evicted
	// waitingSince is since when the client has had something to send before its next request can
	// be served; noWait: a request is under way; evicted: the connection was closed.
	waitingSince atomic.Int64
	// bodySince is the same while a part of a body is waited for.
	bodySince atomic.Int64
	// headBy is until when the head of the first request must be there, PROXY header and
	// handshake of TLS included.
	headBy int64

	requests int  // that were begun
	fresh    bool // no request has been begun, and the router counts the connection as fresh
	lingers  bool // wait for the client to read before closing

	// What was received: of buf the bytes from start to end are not used yet, and more
	// follows them.
	buf        *wire.Buffer
	start, end int
	more       []byte
	frame      http1.HeadFinder
	body       http1.Body // of the request

	mu          sync.Mutex     // guards deck, for the watch
	deck        *upstream.Conn // that works for the client
	requestSent atomic.Bool
	departed    atomic.Bool
	// silentSince is since when the deck is waited for, a moment of the clock; noWait: it is not.
	silentSince atomic.Int64
	idleBy      atomic.Int64 // of a tunnel: when it has been silent for too long; noWait: it is none
}

// newClient takes over an accepted connection, which has no place yet.
func (r *Router) newClient(conn *net.TCPConn, door *listener) (*client, error) {
	c := &client{router: r, listener: door, lane: r.counters.nextLane(), fresh: true}
	if err := c.Open(conn); err != nil {
		return nil, err
	}
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = address.AddrPort().Addr().Unmap().WithZone("")
	}
	c.trusted = r.proxies.Contain(c.peer)
	c.frame = http1.HeadFinder{MaxLine: maxLineBytes, MaxFields: admission.MaxHeadBytes}
	c.waitingSince.Store(r.clock.Coarse())
	c.headBy = r.clock.After(r.cfg.ClientTimeouts.Head)
	c.place = noPlace
	r.fresh.Add(1)
	return c, nil
}

// countRequest notes that a request begins. first says that it is the connection's first.
func (c *client) countRequest() (first bool) {
	c.requests++
	c.endFresh()
	return c.requests == 1
}

// endFresh notes that the connection is fresh no longer.
func (c *client) endFresh() {
	if c.fresh {
		c.fresh = false
		c.router.fresh.Add(-1)
	}
}

// send writes to the client, as long as it takes p within ClientTimeouts.Write, and not
// beyond the deadline unless that is noWait. It returns how many bytes the system took.
func (c *client) send(p []byte, deadline int64) (int, error) {
	by := c.router.clock.After(c.router.cfg.ClientTimeouts.Write)
	if deadline != wire.NoWait {
		by = min(by, deadline)
	}
	n, err := c.WriteUntil(p, by)
	c.lane.sentBytes.Add(uint64(n))
	if errors.Is(err, wire.ErrOverdue) && by != deadline { // else it is the time for the whole that is over
		c.router.countTimeout(waitedAnswer)
	}
	return n, err
}

// abort makes the client see that its answer is not whole: the connection is reset.
func (c *client) abort() {
	c.stopLingering()
	_ = c.TCP.SetLinger(0) // the connection is being closed either way
	_ = c.TCP.Close()      // under TLS, whose farewell would make the answer look whole
}

// startLingering makes close wait for the client to read what was sent.
func (c *client) startLingering() {
	if !c.lingers {
		c.lingers = true
		c.router.lingering.Add(1)
	}
}

// stopLingering takes [client.startLingering] back.
func (c *client) stopLingering() {
	if c.lingers {
		c.lingers = false
		c.router.lingering.Add(-1)
	}
}

// close ends the connection. Where the client may still be sending, closing at once would
// reset the connection and lose the answer on its way; so it is first told that nothing
// more will come, and what it sends is read for a little while (RFC 9112 9.6).
func (c *client) close() {
	if !c.lingers && c.requests > 0 && c.hasUnread() {
		c.startLingering() // what nobody has read, if only an empty line behind a body, would do the same
	}
	if c.lingers {
		c.waitingSince.CompareAndSwap(wire.NoWait, longWaiting) // it is the first to make room
		c.linger()
		c.stopLingering()
	}
	c.endFresh()
	c.dropBuffer()
	c.router.clients.remove(c)
	_ = c.Conn.Close() // nobody is told any more
}

// dropBuffer lets go of what was received.
func (c *client) dropBuffer() {
	if c.buf != nil {
		c.router.heads.Put(c.buf)
	}
	c.buf, c.start, c.end, c.more = nil, 0, 0, nil
}

func (c *client) linger() {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	if c.TCP.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var waste [4096]byte
	for total := 0; total < lingerBytes; {
		n, err := c.TCP.Read(waste[:]) // under TLS too: what comes is not looked at
		if total += n; err != nil {
			return
		}
	}
}
