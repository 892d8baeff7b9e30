// Package proxyproto reads the PROXY header, by which a balancer says at the beginning of a
// connection who its client is. It knows both versions of the protocol. It is pure: bytes go in, a
// [Header] comes out.
package proxyproto

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
	maxVersion1  = 107 // bytes of the longest header of version 1, with its CR LF
	headVersion2 = 16  // bytes that a header of version 2 begins with; up to 65,535 follow
)

var (
	signature2  = []byte("\r\n\r\n\x00\r\nQUIT\n")
	errNoHeader = errors.New("no PROXY header")
	errVersion2 = errors.New("a PROXY header of version 2 that is malformed")
)

// Header is what the beginning of a connection says.
type Header struct {
	// Length is how many bytes of what was received it takes; 0: not enough was received.
	Length int
	// Skip is how many bytes follow that are part of the header and say nothing more.
	Skip int
	// Source is the client's address. Not valid: the proxy speaks for itself, or does not know it.
	Source netip.Addr
}

// Parse reads the header that begins with what was received. It keeps none of it.
func Parse(received []byte) (Header, error) {
	if have := min(len(received), len(signature2)); have > 0 && bytes.Equal(received[:have], signature2[:have]) {
		return parseVersion2(received)
	}
	return parseVersion1(received)
}

// parseVersion1 reads a header of version 1, which is a line of text.
func parseVersion1(received []byte) (Header, error) {
	const begin = "PROXY "
	if have := min(len(received), len(begin)); string(received[:have]) != begin[:have] {
		return Header{}, errNoHeader
	}
	end := bytes.IndexByte(received[:min(len(received), maxVersion1)], '\n')
	if end < 0 {
		if len(received) >= maxVersion1 {
			return Header{}, errNoHeader
		}
		return Header{}, nil
	}
	header, line := Header{Length: end + 1}, received[:end+1]
	text, whole := bytes.CutSuffix(line, []byte("\r\n"))
	if !whole {
		return Header{}, errNoHeader
	}
	if unknown, ok := bytes.CutPrefix(text, []byte("PROXY UNKNOWN")); ok && (len(unknown) == 0 || unknown[0] == ' ') {
		return header, nil // whatever follows
	}
	parsed, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(line)))
	if err != nil {
		return Header{}, err
	}
	source, ok := parsed.SourceAddr.(*net.TCPAddr)
	if !ok {
		return Header{}, errNoHeader
	}
	address, ok := netip.AddrFromSlice(source.IP)
	if !ok {
		return Header{}, errNoHeader
	}
	header.Source = address.Unmap()
	return header, nil
}

// parseVersion2 reads the beginning of a header of version 2, addresses included. What else
// there is of it remains.
func parseVersion2(received []byte) (Header, error) {
	if len(received) < headVersion2 {
		return Header{}, nil
	}
	length := int(binary.BigEndian.Uint16(received[14:]))
	switch received[12] {
	case 0x20: // LOCAL: the proxy speaks for itself, as when it looks whether somebody is here; whatever follows
		return Header{Length: headVersion2, Skip: length}, nil
	case 0x21: // PROXY
	default:
		return Header{}, errVersion2
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
		return Header{}, errVersion2
	}
	if length < takes {
		return Header{}, errVersion2
	}
	if address == 0 {
		return Header{Length: headVersion2, Skip: length}, nil
	}
	if len(received) < headVersion2+takes {
		return Header{}, nil
	}
	source, ok := netip.AddrFromSlice(received[headVersion2 : headVersion2+address])
	if !ok {
		return Header{}, errVersion2
	}
	return Header{Length: headVersion2 + takes, Skip: length - takes, Source: source.Unmap()}, nil
}
