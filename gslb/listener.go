package gslb

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Bounds of DNS over TCP.
const (
	maxConns          = 1024            // open connections
	maxConnsPerSource = 64              // of them, from one address
	tcpReadTimeout    = 2 * time.Second // for the first query
	tcpIdleTimeout    = 5 * time.Second // for each further one
	tcpWriteTimeout   = 2 * time.Second
	maxTCPQueries     = 128 // in one connection
	acceptPause       = 10 * time.Millisecond
)

// listen binds UDP and TCP to the same address. With port 0 the system chooses one, which may take several tries to be free for both.
func listen(addr string) (*net.UDPConn, net.Listener, error) {
	for try := 1; ; try++ {
		packets, err := net.ListenPacket("udp", addr)
		if err != nil {
			return nil, nil, err
		}
		udp, ok := packets.(*net.UDPConn)
		if !ok {
			_ = packets.Close() // never used
			return nil, nil, fmt.Errorf("%s is not a UDP address; write IP:port", addr)
		}
		_, port, _ := net.SplitHostPort(addr)
		bound := addr
		if port == "0" {
			bound = udp.LocalAddr().String()
		}
		tcp, err := net.Listen("tcp", bound)
		if err == nil {
			return udp, tcp, nil
		}
		_ = udp.Close() // never used
		if port != "0" || try == 20 {
			return nil, nil, err
		}
	}
}

// boundedListener closes connections that are over the limits at once, so that a few idle ones cannot keep others waiting.
type boundedListener struct {
	net.Listener
	refused prometheus.Counter

	mu    sync.Mutex
	open  map[netip.Addr]int
	total int
}

// Accept returns the next connection within the limits. An error that may pass, such as having no file descriptors left, is held back for
// a moment: whoever calls in a loop should not spin.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				time.Sleep(acceptPause)
			}
			return nil, err
		}
		source := addrOf(conn.RemoteAddr())
		if l.enter(source) {
			return &boundedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(source) })}, nil
		}
		l.refused.Inc()
		_ = conn.Close() // never used
	}
}

func (l *boundedListener) enter(source netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= maxConns || l.open[source] >= maxConnsPerSource {
		return false
	}
	l.total++
	l.open[source]++
	return true
}

func (l *boundedListener) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.open[source]--; l.open[source] == 0 {
		delete(l.open, source)
	}
}

// boundedConn gives every write a deadline, which miekg/dns does not: a client that never reads would hold its goroutine for ever.
type boundedConn struct {
	net.Conn
	leave func()
}

// Write writes p within tcpWriteTimeout.
func (c *boundedConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(tcpWriteTimeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// Close closes the connection and gives back its place.
func (c *boundedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// addrOf returns the IP address of a socket address.
func addrOf(a net.Addr) netip.Addr {
	switch a := a.(type) {
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap()
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}
