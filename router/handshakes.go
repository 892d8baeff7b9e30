package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"net"

	"gridrouter.io/router/proxyproto"
	"gridrouter.io/router/wire"
)

// clientWait is which wait for a client was too long.
type clientWait uint8

const (
	waitedIdle   clientWait = iota // for a request
	waitedHead                     // for the rest of a head
	waitedBody                     // for a body to go on
	waitedAnswer                   // for the client to take its answer
	waitedTunnel                   // for anything to come through a tunnel
	clientWaits                    // how many there are
)

// String returns the wait as the metric's label has it.
func (i clientWait) String() string {
	return [...]string{"idle", "head", "body", "answer", "tunnel"}[i]
}

// countTimeout counts a client that was given up because it took too long.
func (r *Router) countTimeout(by clientWait) { r.clientTimeouts[by].Add(1) }

// handshakes does what comes before the first request: the PROXY header, then the handshake of
// TLS. It says whether requests may follow. Both take of the time for the first head.
func (c *client) handshakes() bool {
	r, by := c.router, c.headBy
	if r.cfg.ProxyProtocol {
		if !c.trusted {
			return c.refuse(refusedUntrusted, nil)
		}
		if err := c.readProxyHeader(by); err != nil {
			return c.refuse(proxyHeaderRefusal(err, c.end), err)
		}
		if !c.takesShare() { // of the client that the header names
			return false
		}
	}
	if c.listener != nil && c.listener.secure != nil {
		if err := c.handshake(by); err != nil {
			return c.refuse(handshakeRefusal(err), err)
		}
	}
	return true
}

// readProxyHeader reads the header by which a balancer says who its client is. From then on
// the client is the connection's peer, and trusted only if it is a trusted proxy itself.
// However long a header is, no more is held than a buffer for the head of a request: what
// follows the addresses is passed over as it comes.
func (c *client) readProxyHeader(by int64) error {
	var header proxyproto.Header
	for header.Length == 0 {
		var err error
		if header, err = proxyproto.Parse(c.unread()); err != nil {
			return err
		}
		if header.Length == 0 {
			if err := c.receiveMore(by); err != nil {
				return err
			}
		}
	}
	c.start += header.Length
	for header.Skip > 0 {
		if c.start == c.end {
			c.start, c.end = 0, 0
			if err := c.receiveMore(by); err != nil {
				return err
			}
		}
		n := min(header.Skip, c.end-c.start)
		c.start, header.Skip = c.start+n, header.Skip-n
	}
	if header.Source.IsValid() {
		c.peer = header.Source
		c.trusted = c.router.proxies.Contain(c.peer)
	}
	return nil
}

// handshake puts TLS on the connection.
func (c *client) handshake(by int64) error {
	conn := tls.Server(&prefixedConn{TCPConn: c.TCP, before: bytes.Clone(c.unread())}, c.listener.secure)
	c.dropBuffer()
	c.ReadBy.Store(by)
	c.WriteBy.Store(by)
	err := conn.HandshakeContext(context.Background())
	late := c.ReadBy.Swap(wire.NoWait) == wire.Expired
	if c.WriteBy.Swap(wire.NoWait) == wire.Expired || late {
		return wire.ErrOverdue
	}
	if err != nil {
		return err
	}
	c.Conn, c.Secure = conn, true
	c.serverName = bytes.ToLower(bytes.TrimSuffix([]byte(conn.ConnectionState().ServerName), []byte(".")))
	return nil
}

// prefixedConn is a connection of which something has been read already.
type prefixedConn struct {
	*net.TCPConn
	before []byte
}

// Read implements [net.Conn].
func (c *prefixedConn) Read(p []byte) (int, error) {
	if len(c.before) == 0 {
		return c.TCPConn.Read(p)
	}
	n := copy(p, c.before)
	c.before = c.before[n:]
	return n, nil
}
