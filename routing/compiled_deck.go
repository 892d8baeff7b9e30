package routing

import (
	"fmt"
	"net/netip"
	"time"
)

// Endpoint is one place where a deck is reached: an address, or a name that is resolved
// in the background.
type Endpoint struct {
	// Address is the literal address; the zero Addr if Name is to be resolved.
	Address netip.Addr
	// Name is the absolute host name to resolve; empty if Address is given.
	Name string
	// Port is the TCP port.
	Port uint16
}

// String returns the endpoint as documents write it.
func (e Endpoint) String() string {
	if e.Name != "" {
		return fmt.Sprintf("%s:%d", e.Name, e.Port)
	}
	return netip.AddrPortFrom(e.Address, e.Port).String()
}

// Defaults of a deck's document.
const (
	DefaultConnectTimeout   = time.Second
	DefaultFirstByteTimeout = 30 * time.Second
	DefaultIdleTimeout      = time.Minute
	DefaultMeshPort         = 80
)

// CompiledDeck is the compiled form of a deck: its document with all defaults applied.
// It must not be changed. Two tables that share a *CompiledDeck share the deck's form.
type CompiledDeck struct {
	Deck
	// ID is small, dense, and the same for the deck's name as long as the compiler lives.
	ID int
	// Missing says that documents refer to the deck, but it has none of its own that ever
	// was good. It counts as down.
	Missing bool
	// State and HostHeader are the document's, with the defaults applied.
	State      DeckState
	HostHeader HostHeader
	// Connect, FirstByte and Idle are the document's timeouts, with the defaults applied.
	Connect, FirstByte, Idle time.Duration
	// Endpoints are where the deck is reached: one for each address of a direct deck, for a
	// deck on the mesh its domain and port.
	Endpoints []Endpoint

	standby int32 // -1: none
}

// CompileDeck returns the compiled form of a valid document. id is the deck's, standby that of its
// standby; -1: it has none.
func CompileDeck(d *Deck, id, standby int32) *CompiledDeck {
	out := &CompiledDeck{
		Deck: *d, ID: int(id), State: d.State, HostHeader: d.HostHeader, standby: standby,
		Connect: DefaultConnectTimeout, FirstByte: DefaultFirstByteTimeout, Idle: DefaultIdleTimeout,
	}
	if out.State == "" {
		out.State = DeckActive
	}
	if out.HostHeader == "" {
		out.HostHeader = HostHeaderDeck
	}
	if t := d.Timeouts; t != nil {
		if t.Connect > 0 {
			out.Connect = t.Connect.Std()
		}
		if t.FirstByte > 0 {
			out.FirstByte = t.FirstByte.Std()
		}
		if t.Idle > 0 {
			out.Idle = t.Idle.Std()
		}
	}
	if d.Attach == AttachMesh {
		port := d.Port
		if port == 0 {
			port = DefaultMeshPort
		}
		out.Port = port
		out.Endpoints = []Endpoint{{Name: d.Domain, Port: uint16(port)}} // validated: 1 to 65535
		return out
	}
	for _, address := range d.Addresses {
		if endpoint, err := ParseEndpoint(address); err == nil { // validated
			out.Endpoints = append(out.Endpoints, endpoint)
		}
	}
	return out
}

// MissingDeck returns what stands for a deck that documents refer to, and that does not exist.
func MissingDeck(name string, id int32) *CompiledDeck {
	return &CompiledDeck{Deck: Deck{Kind: KindDeck, Name: name}, ID: int(id), Missing: true, State: DeckDown, standby: -1}
}
