// Package forwarding reads what a request bears about its client and its trace (X-Forwarded-*,
// Forwarded, X-Request-Id, traceparent), as far as proxies before the router are trusted, and
// writes the same for the deck. docs/HEADERS.md tells it for people. It is pure, but for random
// numbers of which it makes IDs.
//
//   - identity.go: what is believed of a request
//   - chain.go: the chain of proxies, and what it says of the client
//   - elements.go: the grammar of the lists
//   - fields.go: the fields that the deck receives
package forwarding

import (
	"encoding/hex"
	"math/rand/v2"
	"net/netip"

	"gridrouter.io/router/admission"
)

// Proxies are the addresses of the proxies that may speak for clients.
type Proxies []netip.Prefix

// Contain says whether an address is that of a trusted proxy.
func (p Proxies) Contain(address netip.Addr) bool {
	for _, prefix := range p {
		if prefix.Contains(address) {
			return true
		}
	}
	return false
}

// Peer is the other end of the connection that a request came on.
type Peer struct {
	Address netip.Addr
	Trusted bool // it is a trusted proxy
	TLS     bool // the connection is encrypted
}

// Identity is who asks, and by which names the request is followed through the system. It belongs
// to one request at a time, and refers to its head until [Identity.Forget].
type Identity struct {
	// Client is the client's address as far as it is believed.
	Client netip.Addr
	// RequestID is what X-Request-Id says, here and everywhere.
	RequestID []byte

	peer Peer
	// keepsRequestID and keepsTrace say that the field came from a trusted peer and goes
	// on as it came.
	keepsRequestID, keepsTrace bool
	chain                      chain

	idBuf    [32]byte
	traceBuf [55]byte
}

const (
	maxRequestIDBytes = 128
	traceParentBytes  = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
)

var plainHTTP, overTLS = []byte("http"), []byte("https")

// Read makes the identity of a request. Only a trusted peer is believed.
func (id *Identity) Read(head *admission.Head, peer Peer, proxies Proxies) {
	id.peer, id.Client = peer, peer.Address
	c := &id.chain
	c.proto, c.host, c.port = plainHTTP, nil, nil
	c.field, c.keepsForwarded = admission.Plain, false
	if peer.TLS {
		c.proto = overTLS
	}
	id.keepsRequestID, id.keepsTrace = false, false
	if peer.Trusted {
		id.Client = c.read(head, peer.Address, proxies)
		if value, lines := head.First(admission.RequestID); lines == 1 && isRequestID(value) {
			id.RequestID, id.keepsRequestID = value, true
		}
		value, lines := head.First(admission.TraceParent)
		id.keepsTrace = lines == 1 && isTraceParent(value)
	}
	if !id.keepsRequestID {
		id.NewRequestID()
	}
}

// Forget lets go of what belongs to the request's head.
func (id *Identity) Forget() {
	id.RequestID = nil
	id.chain.forget()
}

// NewRequestID makes an ID that is unlikely ever to have been made before. It is a name,
// no secret.
func (id *Identity) NewRequestID() {
	var random [16]byte
	fillRandom(random[:])
	hex.Encode(id.idBuf[:], random[:])
	id.RequestID = id.idBuf[:]
}

// newTraceParent makes a trace of its own that nobody records yet (W3C Trace Context 3.2).
func (id *Identity) newTraceParent() []byte {
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
