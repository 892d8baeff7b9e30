package router

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	proxy1Bytes     = 107 // the longest header of version 1, with its CR LF
	proxy2HeadBytes = 16  // what a header of version 2 begins with; up to 65,535 bytes follow
)

var (
	proxy2Signature = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errNoProxy      = errors.New("no PROXY header")
	errProxy2       = errors.New("a PROXY header of version 2 that is malformed")
)

// proxyHeader is what the beginning of a connection says.
type proxyHeader struct {
	used   int        // bytes that it takes of what was received; 0: not enough was received
	rest   int        // bytes that follow and are passed over
	source netip.Addr // not valid: the proxy speaks for itself, or does not know
}

// readProxyHeader reads the header by which a balancer says who its client is. From then on
// the client is the connection's peer, and trusted only if it is a trusted proxy itself.
// However long a header is, no more is held than a buffer for the head of a request: what
// follows the addresses is passed over as it comes.
func (c *client) readProxyHeader(by int64) error {
	var header proxyHeader
	for header.used == 0 {
		var err error
		if header, err = parseProxyHeader(c.unread()); err != nil {
			return err
		}
		if header.used == 0 {
			if err := c.receiveMore(by); err != nil {
				return err
			}
		}
	}
	c.start += header.used
	for header.rest > 0 {
		if c.start == c.end {
			c.start, c.end = 0, 0
			if err := c.receiveMore(by); err != nil {
				return err
			}
		}
		n := min(header.rest, c.end-c.start)
		c.start, header.rest = c.start+n, header.rest-n
	}
	if header.source.IsValid() {
		c.peer = header.source
		c.trusted = c.router.trusts(c.peer)
	}
	return nil
}

// parseProxyHeader reads the header that begins with what was received.
func parseProxyHeader(received []byte) (proxyHeader, error) {
	if have := min(len(received), len(proxy2Signature)); have > 0 && bytes.Equal(received[:have], proxy2Signature[:have]) {
		return parseProxy2(received)
	}
	return parseProxy1(received)
}

// parseProxy1 reads a header of version 1, which is a line of text.
func parseProxy1(received []byte) (proxyHeader, error) {
	const begin = "PROXY "
	if have := min(len(received), len(begin)); string(received[:have]) != begin[:have] {
		return proxyHeader{}, errNoProxy
	}
	end := bytes.IndexByte(received[:min(len(received), proxy1Bytes)], '\n')
	if end < 0 {
		if len(received) >= proxy1Bytes {
			return proxyHeader{}, errNoProxy
		}
		return proxyHeader{}, nil
	}
	header, line := proxyHeader{used: end + 1}, received[:end+1]
	text, whole := bytes.CutSuffix(line, []byte("\r\n"))
	if !whole {
		return proxyHeader{}, errNoProxy
	}
	if unknown, ok := bytes.CutPrefix(text, []byte("PROXY UNKNOWN")); ok && (len(unknown) == 0 || unknown[0] == ' ') {
		return header, nil // whatever follows
	}
	parsed, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(line)))
	if err != nil {
		return proxyHeader{}, err
	}
	source, ok := parsed.SourceAddr.(*net.TCPAddr)
	if !ok {
		return proxyHeader{}, errNoProxy
	}
	address, ok := netip.AddrFromSlice(source.IP)
	if !ok {
		return proxyHeader{}, errNoProxy
	}
	header.source = address.Unmap()
	return header, nil
}

// parseProxy2 reads the beginning of a header of version 2, addresses included. What else
// there is of it remains.
func parseProxy2(received []byte) (proxyHeader, error) {
	if len(received) < proxy2HeadBytes {
		return proxyHeader{}, nil
	}
	length := int(binary.BigEndian.Uint16(received[14:]))
	switch received[12] {
	case 0x20: // LOCAL: the proxy speaks for itself, as when it looks whether somebody is here; whatever follows
		return proxyHeader{used: proxy2HeadBytes, rest: length}, nil
	case 0x21: // PROXY
	default:
		return proxyHeader{}, errProxy2
	}
	// What the family and the transport are, and how many bytes the addresses take.
	var takes, address int
	switch received[13] {
	case 0x00: // not known
	case 0x11: // TCP over IPv4
		takes, address = 2*4+2*2, 4
	case 0x21: // TCP over IPv6
		takes, address = 2*16+2*2, 16
	case 0x12: // UDP: of no connection like this one
		takes = 2*4 + 2*2
	case 0x22:
		takes = 2*16 + 2*2
	case 0x31, 0x32: // sockets of one machine
		takes = 2 * 108
	default:
		return proxyHeader{}, errProxy2
	}
	if length < takes {
		return proxyHeader{}, errProxy2
	}
	if address == 0 {
		return proxyHeader{used: proxy2HeadBytes, rest: length}, nil
	}
	if len(received) < proxy2HeadBytes+takes {
		return proxyHeader{}, nil
	}
	source, ok := netip.AddrFromSlice(received[proxy2HeadBytes : proxy2HeadBytes+address])
	if !ok {
		return proxyHeader{}, errProxy2
	}
	return proxyHeader{used: proxy2HeadBytes + takes, rest: length - takes, source: source.Unmap()}, nil
}
