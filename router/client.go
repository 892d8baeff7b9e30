package router

import (
	"bytes"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"gridrouter.io/routing"
)

const (
	// lingerTime and lingerBytes bound the wait for a client to read its last answer.
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// client is one connection from a client. The server that frames requests reads through
// it and closes it, but writes nothing: what it writes is dropped, for the router sends
// every answer itself, by send.
type client struct {
	net.Conn
	raw     syscall.RawConn
	router  *Router
	peer    netip.Addr
	trusted bool // what the peer says of the client is believed
	lane    *lane

	requests  int  // that were read whole
	heard     bool // something was ever received
	heardLine bool // a line end was received since the last request
	ended     bool // the client closed its side

	lingers atomic.Bool // wait for the client to read before closing
	fresh   atomic.Bool // no request has begun yet

	peek      func(fd uintptr)
	peekCount int
	peekErr   error
}

// newClient takes over an accepted connection.
func (r *Router) newClient(conn *net.TCPConn) (*client, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &client{Conn: conn, raw: raw, router: r, lane: r.counters.nextLane()}
	if address, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		c.peer = address.AddrPort().Addr().Unmap().WithZone("")
	}
	c.trusted = r.trusts(c.peer)
	c.peek = c.peekOnce
	c.fresh.Store(true)
	r.fresh.Add(1)
	r.clients.add(c)
	return c, nil
}

// begin notes that a request has been read. first says that it is the connection's first.
func (c *client) begin() (first bool) {
	c.requests++
	c.heardLine = false
	if c.fresh.CompareAndSwap(true, false) {
		c.router.fresh.Add(-1)
	}
	return c.requests == 1
}

// Read implements [net.Conn] for the framing of requests.
func (c *client) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard = true
		c.heardLine = c.heardLine || bytes.IndexByte(p[:n], '\n') >= 0
		c.lane.received.Add(uint64(n))
	}
	if err == io.EOF { //nolint:errorlint // net.Conn returns it bare
		c.ended = true
	}
	return n, err
}

// Write drops what the framing server writes.
func (c *client) Write(p []byte) (int, error) { return len(p), nil }

// send writes to the client, as long as it takes some in the time that Patience
// grants, and not beyond the deadline unless that is zero.
func (c *client) send(p []byte, deadline time.Time) error {
	until := time.Now().Add(c.router.cfg.Patience.Write)
	if !deadline.IsZero() && deadline.Before(until) {
		until = deadline
	}
	if err := c.SetWriteDeadline(until); err != nil {
		return err
	}
	n, err := c.Conn.Write(p)
	c.lane.sent.Add(uint64(n))
	return err
}

// gone says whether the client has left: it closed its side, or the connection broke.
// It looks without taking anything, and may run while another goroutine reads.
func (c *client) gone() bool {
	if err := c.raw.Control(c.peek); err != nil {
		return true
	}
	return c.peekErr == nil && c.peekCount == 0 || c.peekErr != nil && !wouldBlock(c.peekErr)
}

func (c *client) peekOnce(fd uintptr) { c.peekCount, c.peekErr = peekSocket(fd) }

// abort makes the client see that its answer is not whole: the connection is reset.
func (c *client) abort() {
	c.hurry()
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // the connection is being closed either way
	}
}

// stay makes Close wait for the client to read what was sent.
func (c *client) stay() {
	if c.lingers.CompareAndSwap(false, true) {
		c.router.lingering.Add(1)
	}
}

// hurry takes stay back.
func (c *client) hurry() {
	if c.lingers.CompareAndSwap(true, false) {
		c.router.lingering.Add(-1)
	}
}

// Close implements [net.Conn]. Where the client may still be sending, closing at once
// would reset the connection and lose the answer on its way; so it is first told that
// nothing more will come, and what it sends is read for a little while (RFC 9112 9.6).
func (c *client) Close() error {
	if c.lingers.Load() {
		c.linger()
		c.hurry()
	}
	if c.fresh.CompareAndSwap(true, false) {
		c.router.fresh.Add(-1)
	}
	c.router.clients.remove(c)
	return c.Conn.Close()
}

func (c *client) linger() {
	tcp, ok := c.Conn.(*net.TCPConn)
	if !ok || tcp.CloseWrite() != nil || tcp.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	var waste [4096]byte
	for total := 0; total < lingerBytes; {
		n, err := tcp.Read(waste[:])
		if total += n; err != nil {
			return
		}
	}
}

// trusts says whether a peer may speak for clients.
func (r *Router) trusts(peer netip.Addr) bool {
	for _, prefix := range r.cfg.TrustedProxies {
		if prefix.Contains(peer) {
			return true
		}
	}
	return false
}

// peekSocket looks whether a socket has something to read, without taking it or waiting.
func peekSocket(fd uintptr) (int, error) {
	var one [1]byte
	for {
		n, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		if err != syscall.EINTR {
			return n, err
		}
	}
}

func wouldBlock(err error) bool {
	return err == syscall.EAGAIN || err == syscall.EWOULDBLOCK //nolint:errorlint // the system's own number
}

// noFault is short for the absence of a fault.
const noFault = routing.FaultNone
