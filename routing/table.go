package routing

import (
	"slices"
	"strings"

	"gridrouter.io/routing/store"
)

// Table is the compiled form of all documents at one revision. It is immutable: a
// Compiler of package compile makes a new one for each change, and a request that holds one sees
// nothing newer. All methods may be called at once from any goroutine.
type Table struct{ parts Parts }

// Parts are what a [Table] is made of. They must not be changed once a table has them. Package
// routing/compile makes them of documents.
type Parts struct {
	Revision int64
	// Hash and EffectiveHash are what the methods of [Table] return.
	Hash, EffectiveHash string
	// Maps hold hosts, tenants, delegates and pins. All are there.
	Maps store.Maps
	// Wildcards says that somebody claims a wildcard, so that hosts are looked up by their ends too.
	Wildcards bool
	// Policies are by the IDs that records of Maps have. ID 0 is an empty one, for tenants whose
	// document never was good.
	Policies store.List[Policy]
	// Decks are by the IDs that policies and pins have.
	Decks []*CompiledDeck
	// DeckIDs has the ID of each name in Decks.
	DeckIDs map[string]int32
	// Refused holds by tenant the hosts that it claims and does not hold.
	Refused  map[string][]string
	Problems []Problem
	Rewound  map[string]uint64
	GivenUp  map[string]uint64
	Guard    *GuardState
	// Partial is what [Table.Partial] returns.
	Partial bool
	Counts  Counts
	Weight  int
}

// NewTable returns the table that parts make.
func NewTable(parts Parts) *Table { return &Table{parts} }

// Parts returns what the table is made of: what a compiler goes on from.
func (t *Table) Parts() Parts { return t.parts }

// Counts says how much a table holds.
type Counts struct {
	Tenants  int `json:"tenants"`
	Hosts    int `json:"hosts"`
	Decks    int `json:"decks"`
	Pins     int `json:"pins"`
	Problems int `json:"problems"`
}

// Revision returns the newest revision under docs/ that the table reflects.
func (t *Table) Revision() int64 { return t.parts.Revision }

// Hash returns 32 hexadecimal digits that cover the stored pairs of key and value, good
// and bad alike: equal documents give equal hashes on every router.
func (t *Table) Hash() string { return t.parts.Hash }

// EffectiveHash returns 32 hexadecimal digits that cover what is in force: the last good
// forms, and who owns which host.
func (t *Table) EffectiveHash() string { return t.parts.EffectiveHash }

// Counts returns how much the table holds.
func (t *Table) Counts() Counts { return t.parts.Counts }

// Problems returns what is wrong with the documents, sorted by key. The slice must not be changed.
func (t *Table) Problems() []Problem { return t.parts.Problems }

// Decks returns the decks by ID. A name that was ever mentioned keeps its ID: where no deck
// bears it, the entry is Missing. The slice must not be changed.
func (t *Table) Decks() []*CompiledDeck { return t.parts.Decks }

// Rewound returns the tenants whose stored epoch is lower than one that was seen, by name, with the
// highest one that was: what a restore of the source from a backup leaves. It must not be changed.
func (t *Table) Rewound() map[string]uint64 { return t.parts.Rewound }

// GivenUp returns the tenants whose deletion a guard held and somebody accepted last, by name, with the epochs that they
// had. Where a restore of the source has lost them, it does not know those epochs, above which a tenant that is made
// again must begin. It must not be changed.
func (t *Table) GivenUp() map[string]uint64 { return t.parts.GivenUp }

// WithProblem returns a table that decides as this one does and lists one more problem.
func (t *Table) WithProblem(p Problem) *Table {
	copied := *t
	copied.parts.Problems = append(slices.Clip(t.parts.Problems), p)
	slices.SortStableFunc(copied.parts.Problems, func(a, b Problem) int { return strings.Compare(a.Key, b.Key) })
	copied.parts.Counts.Problems = len(copied.parts.Problems)
	return &copied
}

// Guard returns what the guard holds back; nil if it holds nothing. It must not be changed.
func (t *Table) Guard() *GuardState { return t.parts.Guard }

// Partial says that a part of the source, such as a file, has never been read, so that nobody knows
// which hosts are in it: a host that no tenant owns here may be a tenant's there.
func (t *Table) Partial() bool { return t.parts.Partial }

// Weight returns how many bytes the table does not share with the one before it, nearly.
func (t *Table) Weight() int { return t.parts.Weight }

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
	packed, ok := t.parts.Maps.Tenants.GetString(name)
	if !ok {
		return view, false
	}
	record := store.UnpackTenant(packed)
	if record.Policy != 0 {
		view.Document, view.Epoch = t.documentOf(name, &record), record.Epoch
	}
	t.parts.Maps.Pins.Each(func(key, _ string) bool {
		if len(key) > len(name) && key[len(name)] == '/' && key[:len(name)] == name {
			view.Pins++
		}
		return true
	})
	return view, true
}

// documentOf makes a tenant's document of its record. There is a good one.
func (t *Table) documentOf(name string, record *store.TenantRecord) *Tenant {
	document := *t.parts.Policies.At(record.Policy).document
	document.Name, document.Epoch = name, record.Epoch
	document.Delegates = store.DelegatesOf(name, record.Delegates, t.parts.Maps.Delegates.EachIn)
	document.Hosts = append(t.held(name, record), t.parts.Refused[name]...)
	slices.Sort(document.Hosts)
	return &document
}

// Hosts returns the hosts that the tenant holds in this table, sorted: those of its
// document but for the ones that belong to others.
func (t *Table) Hosts(tenant string) []string {
	packed, ok := t.parts.Maps.Tenants.GetString(tenant)
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
	t.parts.Maps.Hosts.EachIn(record.Hosts, func(key, packed string) {
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
	packed, ok := t.parts.Maps.Tenants.GetString(tenant)
	if !ok {
		return false
	}
	return slices.ContainsFunc(t.parts.Policies.At(store.UnpackTenant(packed).Policy).rules, func(rule compiledRule) bool { return rule.asks })
}

// owner returns the packed owner of a canonical host: exact beats wildcard, longer beats
// shorter, and whoever catches all has what is left. In a partial table nobody knows what is left, nor
// whether another tenant has what an owner of a wildcard delegates.
func (t *Table) owner(host []byte) (packed string, ok bool) {
	packed, ok = t.namedOwner(host)
	if t.parts.Partial {
		return packed, ok && !t.mayBeAnothers(host, packed)
	}
	if ok || t.parts.Maps.Hosts == nil {
		return packed, ok
	}
	return t.parts.Maps.Hosts.GetString(CatchAll)
}

// mayBeAnothers says whether the owner of a host has it by a wildcard, and delegates it.
func (t *Table) mayBeAnothers(host []byte, packed string) bool {
	if _, exact := t.parts.Maps.Hosts.Get(host); exact {
		return false
	}
	_, _, tenant := store.UnpackHost(packed)
	delegates := func(host string) bool {
		_, ok := t.parts.Maps.Delegates.GetString(store.DelegateKey(tenant, host))
		return ok
	}
	return delegates(string(host)) || slices.ContainsFunc(WildcardsAbove(string(host)), delegates)
}

// namedOwner is owner without the one that catches all.
func (t *Table) namedOwner(host []byte) (packed string, ok bool) {
	if len(host) == 0 || host[0] == '.' || t.parts.Maps.Hosts == nil { // the keys of wildcards begin with a dot
		return "", false
	}
	if packed, ok = t.parts.Maps.Hosts.Get(host); ok || !t.parts.Wildcards {
		return packed, ok
	}
	for i, b := range host {
		if b != '.' {
			continue
		}
		if packed, ok = t.parts.Maps.Hosts.Get(host[i:]); ok {
			return packed, true
		}
	}
	return "", false
}
