package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"github.com/pires/go-proxyproto"
)

// impatience is which wait for a client was too long.
type impatience uint8

const (
	waitedIdle   impatience = iota // for a request
	waitedHead                     // for the rest of a head
	waitedBody                     // for a body to go on
	waitedAnswer                   // for the client to take its answer
	waitedTunnel                   // for anything to come through a tunnel
	impatiences                    // how many there are
)

// String returns the wait as the metric's label has it.
func (i impatience) String() string {
	return [...]string{"idle", "head", "body", "answer", "tunnel"}[i]
}

// lost counts a client that was given up because it took too long.
func (r *Router) lost(by impatience) { r.timeouts[by].Add(1) }

// greet does what comes before the first request: the PROXY header, then the handshake of
// TLS. It says whether requests may follow. Both share the time for a head.
func (c *client) greet() bool {
	r := c.router
	by := r.after(r.cfg.Patience.Head)
	if r.cfg.ProxyProtocol {
		if !c.trusted {
			return c.turnAway(rudeStranger, nil)
		}
		if err := c.readProxyHeader(by); err != nil {
			return c.turnAway(beforeProxy(err, c.end), err)
		}
	}
	if c.door != nil && c.door.secure != nil {
		if err := c.handshake(by); err != nil {
			return c.turnAway(beforeTLS(err), err)
		}
	}
	return true
}

const (
	proxy1Bytes     = 107 // the longest header of version 1, with its CR LF
	proxy2HeadBytes = 16  // what a header of version 2 begins with
	proxy2Bytes     = 2 << 10
)

var (
	proxy2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errNoProxy      = errors.New("no PROXY header")
)

// readProxyHeader reads the header by which a balancer says who its client is. From then on
// the client is the connection's peer, and trusted only if it is a trusted proxy itself.
func (c *client) readProxyHeader(by int64) error {
	for {
		if c.end > 0 {
			received := c.buf.data()[:c.end]
			n, err := proxyHeaderBytes(received)
			if err != nil {
				return err
			}
			if n > 0 && n <= len(received) {
				c.start = n
				return c.heed(received[:n])
			}
		}
		if err := c.receiveMore(by); err != nil {
			return err
		}
	}
}

// proxyHeaderBytes returns the length of the header that begins with what was received; 0:
// not enough has been received to tell.
func proxyHeaderBytes(received []byte) (int, error) {
	if have := min(len(received), len(proxy2Signature)); bytes.Equal(received[:have], proxy2Signature[:have]) {
		if len(received) < proxy2HeadBytes {
			return 0, nil
		}
		n := proxy2HeadBytes + int(received[14])<<8 + int(received[15])
		if n > proxy2Bytes {
			return 0, errNoProxy
		}
		return n, nil
	}
	const begin = "PROXY "
	if have := min(len(received), len(begin)); string(received[:have]) != begin[:have] {
		return 0, errNoProxy
	}
	end := bytes.IndexByte(received[:min(len(received), proxy1Bytes)], '\n')
	if end < 0 && len(received) >= proxy1Bytes {
		return 0, errNoProxy
	}
	return end + 1, nil
}

// heed takes a whole header at its word.
func (c *client) heed(header []byte) error {
	parsed, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(header)))
	if err != nil {
		return err
	}
	if parsed.Command.IsLocal() {
		return nil // the proxy speaks for itself, as when it looks whether somebody is here
	}
	source, ok := parsed.SourceAddr.(*net.TCPAddr)
	if !ok {
		return nil // it does not know
	}
	address, ok := netip.AddrFromSlice(source.IP)
	if !ok {
		return errNoProxy
	}
	c.peer = address.Unmap()
	c.trusted = c.router.trusts(c.peer)
	return nil
}

// handshake puts TLS on the connection.
func (c *client) handshake(by int64) error {
	conn := tls.Server(&continued{TCPConn: c.tcp, before: bytes.Clone(c.unread())}, c.door.secure)
	c.drop()
	c.readBy.Store(by)
	c.writeBy.Store(by)
	err := conn.HandshakeContext(context.Background())
	late := c.readBy.Swap(noWait) == expired
	if c.writeBy.Swap(noWait) == expired || late {
		return errOverdue
	}
	if err != nil {
		return err
	}
	c.Conn, c.secure = conn, true
	c.serverName = bytes.ToLower(bytes.TrimSuffix([]byte(conn.ConnectionState().ServerName), []byte(".")))
	return nil
}

// continued is a connection of which something has been read already.
type continued struct {
	*net.TCPConn
	before []byte
}

// Read implements [net.Conn].
func (c *continued) Read(p []byte) (int, error) {
	if len(c.before) == 0 {
		return c.TCPConn.Read(p)
	}
	n := copy(p, c.before)
	c.before = c.before[n:]
	return n, nil
}

const (
	fewDescriptors = 64
	noLimit        = 1 << 20
)

// defaultMaxClients is three quarters of the descriptors that the process may have: what is
// left is for decks, and the rest.
func defaultMaxClients() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return noLimit
	}
	return int(max(min(limit.Cur, noLimit), fewDescriptors) * 3 / 4)
}
