package router

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"

	"gridrouter.io/router/admission"
)

// identity is who asks, and by which names the request is followed through the system.
type identity struct {
	// client is the client's address as far as it is believed.
	client netip.Addr
	// requestID is what X-Request-Id says, here and everywhere.
	requestID []byte
	// keepsRequestID and keepsTrace say that the field came from a trusted peer and goes
	// on as it came.
	keepsRequestID, keepsTrace bool
	forwarding

	idBuf    [32]byte
	traceBuf [55]byte
}

const (
	maxRequestIDBytes = 128
	traceParentBytes  = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
)

var plainHTTP, overTLS = []byte("http"), []byte("https")

// read makes the identity of a request. Only a trusted peer is believed.
func (id *identity) read(head *admission.Head, c *client) {
	id.client, id.proto, id.host, id.port = c.peer, plainHTTP, nil, nil
	id.chain, id.keepsForwarded = admission.Plain, false
	if c.Secure {
		id.proto = overTLS
	}
	id.keepsRequestID, id.keepsTrace = false, false
	if c.trusted {
		id.client = id.forwarding.read(head, c.peer, c.router.trusts)
		if value, lines := head.First(admission.RequestID); lines == 1 && isRequestID(value) {
			id.requestID, id.keepsRequestID = value, true
		}
		value, lines := head.First(admission.TraceParent)
		id.keepsTrace = lines == 1 && isTraceParent(value)
	}
	if !id.keepsRequestID {
		id.newRequestID()
	}
}

// newRequestID makes an ID that is unlikely ever to have been made before. It is a name,
// no secret.
func (id *identity) newRequestID() {
	var random [16]byte
	fillRandom(random[:])
	hex.Encode(id.idBuf[:], random[:])
	id.requestID = id.idBuf[:]
}

// newTraceParent makes a trace of its own that nobody records yet (W3C Trace Context 3.2).
func (id *identity) newTraceParent() []byte {
	var random [24]byte
	fillRandom(random[:])
	random[0] |= 1 // neither the trace nor the parent may be all zeros
	random[16] |= 1
	b := id.traceBuf[:]
	copy(b, "00-")
	hex.Encode(b[3:], random[:16])
	b[35] = '-'
	hex.Encode(b[36:], random[16:])
	copy(b[52:], "-00")
	return b
}

func fillRandom(b []byte) {
	for len(b) >= 8 {
		n := rand.Uint64() // names, no secrets
		for i := range 8 {
			b[i] = byte(n >> (8 * i))
		}
		b = b[8:]
	}
}

func isRequestID(value []byte) bool {
	for _, b := range value {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return len(value) > 0 && len(value) <= maxRequestIDBytes
}

// isTraceParent says whether value is a traceparent of version 00.
func isTraceParent(value []byte) bool {
	if len(value) != traceParentBytes || string(value[:3]) != "00-" || value[35] != '-' || value[52] != '-' {
		return false
	}
	return isLowerHex(value[3:35]) && isLowerHex(value[36:52]) && isLowerHex(value[53:]) &&
		!allZero(value[3:35]) && !allZero(value[36:52])
}

func isLowerHex(b []byte) bool {
	for _, c := range b {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != '0' {
			return false
		}
	}
	return true
}

// maxNodeBytes is more than any address with its port takes.
const maxNodeBytes = 64

// parseNode reads an address with or without a port; an IPv6 address with a port stands
// in brackets.
func parseNode(node []byte) (netip.Addr, bool) {
	if len(node) == 0 || len(node) > maxNodeBytes {
		return netip.Addr{}, false
	}
	text := string(node)
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if n := len(text); text[0] == '[' && text[n-1] == ']' {
		address, err := netip.ParseAddr(text[1 : n-1])
		return address.Unmap().WithZone(""), err == nil
	}
	both, err := netip.ParseAddrPort(text)
	return both.Addr().Unmap().WithZone(""), err == nil
}
