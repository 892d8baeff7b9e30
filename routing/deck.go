package routing

// Kinds of document that this package knows, as their field "kind" says.
const (
	KindDeck   = "Deck"
	KindTenant = "Tenant"
	KindPin    = "Pin"
)

// Attach says how a deck is reached.
type Attach string

// Ways to reach a deck.
const (
	// AttachDirect: at the deck's own addresses.
	AttachDirect Attach = "direct"
	// AttachMesh: through the VIPs that GSLB answers for the deck's domain, which lead
	// into the mesh ingress.
	AttachMesh Attach = "mesh"
)

// DeckState is what an operator declared of a deck.
type DeckState string

// States of a deck.
const (
	// DeckActive: serves what is mapped to it, and more may be mapped to it.
	DeckActive DeckState = "active"
	// DeckDraining: goes on serving what is mapped to it; nothing new may be mapped to it.
	DeckDraining DeckState = "draining"
	// DeckDown: serves nothing. Its standby serves instead, or requests get deck_down.
	DeckDown DeckState = "down"
)

// HostHeader says which Host a deck receives.
type HostHeader string

// Values of a deck's hostHeader.
const (
	// HostHeaderDeck: the deck's domain (the default).
	HostHeaderDeck HostHeader = "deck"
	// HostHeaderOriginal: the host that the client asked for.
	HostHeaderOriginal HostHeader = "original"
)

// Deck is the document that describes one deck. The zero value is not valid: see
// [Deck.Validate]. A Deck that is part of a [Table] must not be changed.
type Deck struct {
	// Kind is "Deck".
	Kind string `json:"kind"`
	// Name is unique among decks: 1 to 63 of a-z, 0-9 and "-", no "-" at either end.
	Name string `json:"name"`
	// Domain is the deck's host name in canonical form. It is the Host that the deck
	// receives, and, on the mesh, the name that GSLB resolves.
	Domain string `json:"domain"`
	// Attach says how the deck is reached.
	Attach Attach `json:"attach"`
	// Addresses are where a direct deck listens: ip:port, [v6]:port or name:port.
	Addresses []string `json:"addresses,omitempty"`
	// Port is the VIP's port of a mesh deck, 1 to 65535. Default 80.
	Port int `json:"port,omitempty"`
	// State is what the operator declared. Default active.
	State DeckState `json:"state,omitempty"`
	// Standby names the deck that serves while this one is down. One hop: the standby's
	// own standby is never asked. Empty: nobody, for decks hold state.
	Standby string `json:"standby,omitempty"`
	// HostHeader says which Host the deck receives. Default deck.
	HostHeader HostHeader `json:"hostHeader,omitempty"`
	// Zone is a free label of where the deck runs, at most 63 bytes.
	Zone string `json:"zone,omitempty"`
	// TLS asks for TLS towards the deck. Absent: plain HTTP.
	TLS *DeckTLS `json:"tls,omitempty"`
	// Health asks for active probes. Absent: passive only. Not supported yet.
	Health *DeckHealth `json:"health,omitempty"`
	// Limits bound what a router sends to the deck. Not supported yet.
	Limits *DeckLimits `json:"limits,omitempty"`
	// Timeouts bound how long a router waits for the deck.
	Timeouts *DeckTimeouts `json:"timeouts,omitempty"`
}

// DeckTLS says how a router speaks TLS to a deck or its ingress. Its files are on the
// router's machine, in PEM, and are read again when they change.
type DeckTLS struct {
	// ServerName is what the deck's certificate must bear. Empty: the deck's domain.
	ServerName string `json:"serverName,omitempty"`
	// CAFile holds the certificates that the deck's is held to. Empty: the system's.
	CAFile string `json:"caFile,omitempty"`
	// CertFile and KeyFile are the router's own certificate and key, for decks that ask for
	// them. Both or neither.
	CertFile string `json:"certFile,omitempty"`
	KeyFile  string `json:"keyFile,omitempty"`
}

// DeckHealth describes active probes of a deck's addresses.
type DeckHealth struct {
	Path     string   `json:"path,omitempty"`
	Interval Duration `json:"interval,omitempty"`
	Timeout  Duration `json:"timeout,omitempty"`
	Fall     int      `json:"fall,omitempty"`
	Rise     int      `json:"rise,omitempty"`
}

// DeckLimits bound what one router sends to a deck.
type DeckLimits struct {
	// Connections is the greatest number of connections to the deck.
	Connections int `json:"connections,omitempty"`
	// Concurrent is the greatest number of requests in flight to the deck.
	Concurrent int `json:"concurrent,omitempty"`
}

// DeckTimeouts bound how long a router waits for a deck. A zero value takes the
// default named at its field.
type DeckTimeouts struct {
	// Connect bounds the making of a connection. Default 1s, at most 1m.
	Connect Duration `json:"connect,omitempty"`
	// FirstByte bounds the wait for the first byte of the answer, from the moment the
	// request is sent. Default 30s, at most 1h.
	FirstByte Duration `json:"firstByte,omitempty"`
	// Idle is how long an unused connection to the deck is kept. Default 60s, at most 1h.
	Idle Duration `json:"idle,omitempty"`
}
