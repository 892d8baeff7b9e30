package routing

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Table is the compiled form of all documents at one revision. It is immutable: a
// [Compiler] makes a new one for each change, and a request that holds one sees
// nothing newer. All methods may be called at once from any goroutine.
type Table struct {
	revision  int64
	hash      digest
	effective digest
	exact     map[string]int32 // host -> index into policies
	wildcard  map[string]int32 // what follows "*." -> index into policies
	policies  []*Policy        // nil: the index is free
	names     map[string]int32 // tenant -> index into policies
	decks     []*CompiledDeck
	problems  []Problem
	counts    Counts
}

// Counts says how much a table holds.
type Counts struct {
	Tenants  int `json:"tenants"`
	Hosts    int `json:"hosts"`
	Decks    int `json:"decks"`
	Pins     int `json:"pins"`
	Problems int `json:"problems"`
}

// Problem is one thing that is wrong with a stored document, or with what could not be
// read. The document's last good form stays in force, if it ever had one.
type Problem struct {
	// Key is the document's key, such as "tenants/acme"; empty if there is none.
	Key string `json:"key"`
	// Origin is where a person finds the document: "etcd", "tenants.yaml:12".
	Origin string `json:"origin,omitempty"`
	// Code is one of the Problem constants.
	Code string `json:"code"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Revision is that of the document's last modification; 0 if unknown.
	Revision int64 `json:"revision,omitempty"`
}

// Codes of problems.
const (
	// ProblemBadDocument: the value is no valid document.
	ProblemBadDocument = "bad_document"
	// ProblemBadKey: the key is not in the one spelling that documents have.
	ProblemBadKey = "bad_key"
	// ProblemUnknownDeck: the document names a deck that does not exist. If the form in force
	// does not name it, that form stays; else what is mapped to it gets deck_down.
	ProblemUnknownDeck = "unknown_deck"
	// ProblemUnknownTenant: a pin of a tenant that does not exist.
	ProblemUnknownTenant = "unknown_tenant"
	// ProblemEpochRewound: the tenant's epoch is lower than one that was seen before.
	ProblemEpochRewound = "epoch_rewound"
	// ProblemHostConflict: the host belongs to another tenant, whose claim is older.
	ProblemHostConflict = "host_conflict"
	// ProblemNotDelegated: the host lies under another tenant's older wildcard and is not delegated.
	ProblemNotDelegated = "host_not_delegated"
	// ProblemWildcardContested: a host under the tenant's wildcard belongs to an older claim of another tenant.
	ProblemWildcardContested = "wildcard_contested"
	// ProblemUnreadable: the source could not read something.
	ProblemUnreadable = "unreadable"
)

// Policy is the compiled form of a tenant.
type Policy struct {
	// Name is the tenant's name.
	Name string
	// Epoch is the tenant's epoch, at least 1.
	Epoch uint64
	// Document is the form in force; nil if the tenant never had a good one. It must not be changed.
	Document *Tenant
	// Total bounds a request as a whole; 0: no bound.
	Total time.Duration

	rules     []compiledRule
	usesPaths bool
	headers   []string         // those with a "-" that the rules read
	pins      map[string]int32 // key -> deck, or pinUnreadable
}

// pinUnreadable stands for a pin whose value never could be read.
const pinUnreadable = -1

// Pins returns how many pins the tenant has.
func (p *Policy) Pins() int { return len(p.pins) }

// Shadows says whether a field name, which is a token, is that of a header that decides the
// deck, but for "_" in place of "-". Servers that read the two alike, as CGI and its heirs
// do, would go by another value than the router did. It allocates nothing.
func (p *Policy) Shadows(name []byte) bool {
	if len(p.headers) == 0 || bytes.IndexByte(name, '_') < 0 {
		return false
	}
	return slices.ContainsFunc(p.headers, func(header string) bool {
		if len(header) != len(name) {
			return false
		}
		for i := range name {
			b := name[i]
			switch {
			case b == '_':
				b = '-'
			case b >= 'A' && b <= 'Z':
				b += 'a' - 'A'
			}
			if b != header[i] {
				return false
			}
		}
		return true
	})
}

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

// Revision returns the newest revision under docs/ that the table reflects.
func (t *Table) Revision() int64 { return t.revision }

// Hash returns 32 hexadecimal digits that cover the stored pairs of key and value, good
// and bad alike: equal documents give equal hashes on every router.
func (t *Table) Hash() string { return t.hash.String() }

// EffectiveHash returns 32 hexadecimal digits that cover what is in force: the last good
// forms, and who owns which host.
func (t *Table) EffectiveHash() string { return t.effective.String() }

// Counts returns how much the table holds.
func (t *Table) Counts() Counts { return t.counts }

// Problems returns what is wrong with the documents, sorted by key. The slice must not be changed.
func (t *Table) Problems() []Problem { return t.problems }

// Decks returns the decks by ID. A name that was ever mentioned keeps its ID: where no deck
// bears it, the entry is Missing. The slice must not be changed.
func (t *Table) Decks() []*CompiledDeck { return t.decks }

// Policy returns the compiled form of a tenant, or nil.
func (t *Table) Policy(tenant string) *Policy {
	if id, ok := t.names[tenant]; ok {
		return t.policies[id]
	}
	return nil
}

// Hosts returns the hosts that the tenant holds in this table, sorted: those of its
// document but for the ones that belong to others.
func (t *Table) Hosts(tenant string) []string {
	p := t.Policy(tenant)
	if p == nil || p.Document == nil {
		return nil
	}
	held := make([]string, 0, len(p.Document.Hosts))
	for _, host := range p.Document.Hosts {
		index, name := t.exact, host
		if rest, ok := strings.CutPrefix(host, "*."); ok {
			index, name = t.wildcard, rest
		}
		if id, ok := index[name]; ok && t.policies[id] == p {
			held = append(held, host)
		}
	}
	slices.Sort(held)
	return held
}

// owner returns the tenant that owns a canonical host: exact beats wildcard, longer
// beats shorter.
func (t *Table) owner(host []byte) *Policy {
	if id, ok := t.exact[string(host)]; ok {
		return t.policies[id]
	}
	if len(t.wildcard) == 0 {
		return nil
	}
	for i, b := range host {
		if b != '.' {
			continue
		}
		if id, ok := t.wildcard[string(host[i+1:])]; ok && i > 0 {
			return t.policies[id]
		}
	}
	return nil
}
