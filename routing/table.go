package routing

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"gridrouter.io/routing/store"
)

// Table is the compiled form of all documents at one revision. It is immutable: a
// [Compiler] makes a new one for each change, and a request that holds one sees
// nothing newer. All methods may be called at once from any goroutine.
type Table struct {
	revision  int64
	hash      digest
	effective digest
	maps      store.Maps
	wildcards bool // somebody has claimed a wildcard
	policies  store.List[Policy]
	decks     []*CompiledDeck
	refused   map[string][]string // tenant -> hosts that it claims and does not hold
	problems  []Problem
	rewound   map[string]uint64
	guard     *GuardState
	counts    Counts
	weight    int
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
	// ProblemEpochLeapt: the tenant's epoch is so far above the one seen before that no change made it.
	ProblemEpochLeapt = "epoch_leapt"
	// ProblemHostConflict: the host belongs to another tenant, whose claim is older.
	ProblemHostConflict = "host_conflict"
	// ProblemNotDelegated: the host lies under another tenant's older wildcard and is not delegated.
	ProblemNotDelegated = "host_not_delegated"
	// ProblemWildcardContested: a host under the tenant's wildcard belongs to an older claim of another tenant.
	ProblemWildcardContested = "wildcard_contested"
	// ProblemHeld: the change came with so many others that it is held until somebody says
	// that it is meant. The form in force is the one before it.
	ProblemHeld = "held_by_guard"
	// ProblemUpdateFailed: an update could not be compiled, and no document could be told to
	// be the cause. All that is in force is from before it.
	ProblemUpdateFailed = "update_failed"
	// ProblemUnreadable: the source could not read something.
	ProblemUnreadable = "unreadable"
)

// Policy is the compiled form of what a tenant's document says of its requests. Tenants
// whose documents say the same share one.
type Policy struct {
	// Total bounds a request as a whole; 0: no bound.
	Total time.Duration
	// Attempts is how often a request may be sent to its deck at most, the first time
	// included: 1 to [MaxAttempts].
	Attempts int

	document   *Tenant // without what is the tenant's own; nil: never good
	decks      []int32 // that it names, each once
	rules      []compiledRule
	usesPaths  bool
	cachesPins bool
	// passesSlashes says that an encoded slash is a part of its segment.
	passesSlashes bool
	headers       []decidingHeader // those with a mark in their name that the rules read
}

// decidingHeader is a header that rules read.
type decidingHeader struct {
	name   string // lower-case
	marked string // the name with "-" for every mark
}

// Shadows says whether a field name, which is a token, is that of a header that decides the
// deck but for other marks. Servers that read marks alike, as CGI and its heirs do with "_" and
// "-", and some with every mark, would go by another value than the router did. It allocates
// nothing.
func (p *Policy) Shadows(name []byte) bool {
	shadows := false
	for i := range p.headers {
		header := &p.headers[i]
		if len(header.name) != len(name) {
			continue
		}
		if equalFold(name, header.name) {
			return false
		}
		shadows = shadows || equalMarked(name, header.marked)
	}
	return shadows
}

// equalMarked says whether a token is marked, without regard to case and to which mark stands where.
func equalMarked(token []byte, marked string) bool {
	for i, b := range token {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		if markAsDash(b) != marked[i] {
			return false
		}
	}
	return true
}

// markAsDash returns "-" for every octet that is no letter or digit.
func markAsDash(b byte) byte {
	if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' {
		return b
	}
	return '-'
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

// Rewound returns the tenants whose stored epoch is lower than one that was seen, by name, with the
// highest one that was: what a restore of the source from a backup leaves. It must not be changed.
func (t *Table) Rewound() map[string]uint64 { return t.rewound }

// WithProblem returns a table that decides as this one does and lists one more problem.
func (t *Table) WithProblem(p Problem) *Table {
	copied := *t
	copied.problems = append(slices.Clip(t.problems), p)
	slices.SortStableFunc(copied.problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	copied.counts.Problems = len(copied.problems)
	return &copied
}

// Guard returns what the guard holds back; nil if it holds nothing. It must not be changed.
func (t *Table) Guard() *GuardState { return t.guard }

// Weight returns how many bytes the table does not share with the one before it, nearly.
func (t *Table) Weight() int { return t.weight }

// TenantView is what a table holds of a tenant.
type TenantView struct {
	// Document is the form in force, its hosts and delegates sorted; nil if there never was a good one.
	Document *Tenant
	// Epoch is the tenant's epoch; 0 without a document.
	Epoch uint64
	// Pins counts the tenant's pins that the table holds.
	Pins int
}

// Tenant returns what the table holds of a tenant. It is for people: it may look at every
// pin.
func (t *Table) Tenant(name string) (view TenantView, ok bool) {
	packed, ok := t.maps.Tenants.GetString(name)
	if !ok {
		return view, false
	}
	record := store.UnpackTenant(packed)
	if record.Policy != 0 {
		view.Document, view.Epoch = t.documentOf(name, &record), record.Epoch
	}
	t.maps.Pins.Each(func(key, _ string) bool {
		if len(key) > len(name) && key[len(name)] == '/' && key[:len(name)] == name {
			view.Pins++
		}
		return true
	})
	return view, true
}

// documentOf makes a tenant's document of its record. There is a good one.
func (t *Table) documentOf(name string, record *store.TenantRecord) *Tenant {
	document := *t.policies.At(record.Policy).document
	document.Name, document.Epoch = name, record.Epoch
	document.Delegates = store.DelegatesOf(name, record.Delegates, t.maps.Delegates.EachIn)
	document.Hosts = append(t.held(name, record), t.refused[name]...)
	slices.Sort(document.Hosts)
	return &document
}

// Hosts returns the hosts that the tenant holds in this table, sorted: those of its
// document but for the ones that belong to others.
func (t *Table) Hosts(tenant string) []string {
	packed, ok := t.maps.Tenants.GetString(tenant)
	if !ok {
		return nil
	}
	record := store.UnpackTenant(packed)
	if record.Policy == 0 {
		return nil
	}
	return t.held(tenant, &record)
}

func (t *Table) held(name string, record *store.TenantRecord) []string {
	held := make([]string, 0, len(record.Hosts)/2)
	t.maps.Hosts.EachIn(record.Hosts, func(key, packed string) {
		if _, _, tenant := store.UnpackHost(packed); tenant == name {
			held = append(held, strings.Clone(store.HostOfKey(key)))
		}
	})
	slices.Sort(held)
	return held
}

// OwnerOf returns the tenant that owns a canonical host, if one does. It allocates nothing.
func (t *Table) OwnerOf(host []byte) (tenant string, ok bool) {
	packed, ok := t.namedOwner(host)
	if !ok {
		return "", false
	}
	_, _, tenant = store.UnpackHost(packed)
	return tenant, true
}

// CachesPins says whether the pins of a tenant are read on demand.
func (t *Table) CachesPins(tenant string) bool {
	packed, ok := t.maps.Tenants.GetString(tenant)
	if !ok {
		return false
	}
	return slices.ContainsFunc(t.policies.At(store.UnpackTenant(packed).Policy).rules, func(rule compiledRule) bool { return rule.asks })
}

// owner returns the packed owner of a canonical host: exact beats wildcard, longer beats
// shorter, and whoever catches all has what is left.
func (t *Table) owner(host []byte) (packed string, ok bool) {
	if packed, ok = t.namedOwner(host); ok || t.maps.Hosts == nil {
		return packed, ok
	}
	return t.maps.Hosts.GetString(CatchAll)
}

// namedOwner is owner without the one that catches all.
func (t *Table) namedOwner(host []byte) (packed string, ok bool) {
	if len(host) == 0 || host[0] == '.' || t.maps.Hosts == nil { // the keys of wildcards begin with a dot
		return "", false
	}
	if packed, ok = t.maps.Hosts.Get(host); ok || !t.wildcards {
		return packed, ok
	}
	for i, b := range host {
		if b != '.' {
			continue
		}
		if packed, ok = t.maps.Hosts.Get(host[i:]); ok {
			return packed, true
		}
	}
	return "", false
}
