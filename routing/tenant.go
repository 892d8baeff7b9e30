package routing

import (
	"maps"
	"slices"
)

// Tenant is the document that describes who owns a set of hosts and by which rules
// its requests are mapped to decks. The zero value is not valid: see
// [Tenant.Validate]. A Tenant that is part of a [Table] must not be changed.
type Tenant struct {
	// Kind is "Tenant".
	Kind string `json:"kind"`
	// Name is unique among tenants: 1 to 63 of a-z, 0-9 and "-", no "-" at either end.
	Name string `json:"name"`
	// Hosts are the host names that the tenant owns, in canonical form (lower case, no
	// trailing dot, no port, A-labels). "*." in front stands for one or more labels; [CatchAll]
	// for every host that no tenant owns.
	Hosts []string `json:"hosts"`
	// Delegates are hosts under the tenant's own wildcards that another tenant may claim.
	Delegates []string `json:"delegates,omitempty"`
	// Epoch is the tenant's fence: raised at each move of a key between decks. At least 1;
	// absent means 1.
	Epoch uint64 `json:"epoch,omitempty"`
	// Rules are tried in order; the first that matches and yields a deck wins.
	Rules []Rule `json:"rules"`
	// EncodedSlash says what becomes of paths with an encoded slash (%2F), where rules or keys
	// read paths. Default [EncodedSlashRefuse].
	EncodedSlash EncodedSlash `json:"encodedSlash,omitempty"`
	// Limits bound the tenant's use of a router. Not supported yet.
	Limits *TenantLimits `json:"limits,omitempty"`
	// Timeouts bound the tenant's requests as a whole.
	Timeouts *TenantTimeouts `json:"timeouts,omitempty"`
	// Retry says how often a request may be tried. Absent: [DefaultAttempts].
	Retry *Retry `json:"retry,omitempty"`
}

// Rule maps some of a tenant's requests to decks: either all to one deck (Deck), or
// by a key (Key with Pins, Ranges and Split, tried in this order).
type Rule struct {
	// Name is unique in the tenant: 1 to 63 of a-z, 0-9 and "-". It is part of the seed of
	// the rule's slots, so that a rename moves keys.
	Name string `json:"name"`
	// Match says which requests the rule is for. Absent: all.
	Match *Match `json:"match,omitempty"`
	// Deck sends every matching request to one deck. It stands alone.
	Deck string `json:"deck,omitempty"`
	// Key is the part of the request that decides.
	Key *KeySource `json:"key,omitempty"`
	// Pins says whether the tenant's pins are looked at first.
	Pins PinMode `json:"pins,omitempty"`
	// Ranges map decimal keys. They do not overlap.
	Ranges []Range `json:"ranges,omitempty"`
	// Split maps every key by its slot, in proportion to whole weights of 0 to 1000, not all 0.
	Split map[string]int `json:"split,omitempty"`
	// Missing says what happens when the key is absent or empty: "reject" (the default),
	// "next", or the name of a deck.
	Missing string `json:"missing,omitempty"`
}

// Values of a rule's "missing" that are not the name of a deck. No deck may bear them.
const (
	MissingReject = "reject"
	MissingNext   = "next"
)

// Match says which requests a rule is for; everything that is given must hold.
type Match struct {
	// Path is a prefix that ends on a segment boundary: /admin is for /admin and /admin/x,
	// not for /administer.
	Path string `json:"path,omitempty"`
	// Methods are the request methods, any of which will do; they are case-sensitive.
	Methods []string `json:"methods,omitempty"`
	// Headers are fields (lower-case names) and the values they must equal.
	Headers map[string]string `json:"headers,omitempty"`
	// Cookies are cookies and the values they must equal.
	Cookies map[string]string `json:"cookies,omitempty"`
	// Query are query parameters and the values they must equal, once percent-decoded.
	Query map[string]string `json:"query,omitempty"`
}

// KeySource says which part of a request is the key. Exactly one field is set.
type KeySource struct {
	// Header is a field name, lower case.
	Header string `json:"header,omitempty"`
	// Cookie is a cookie's name.
	Cookie string `json:"cookie,omitempty"`
	// Query is a query parameter's name; its value is percent-decoded once, "+" stays.
	Query string `json:"query,omitempty"`
	// Path is the number of a path segment, counted from 1, percent-decoded once.
	Path int `json:"path,omitempty"`
	// Claim is a member of the payload of the bearer token (a JWT, RFC 7519) that the
	// request carries. The token is not verified: it routes, it does not admit.
	Claim string `json:"claim,omitempty"`
	// ClientIP is the client's address in its canonical text form.
	ClientIP bool `json:"clientIP,omitempty"`
	// Host is the canonical host that the client asked for.
	Host bool `json:"host,omitempty"`
}

// Range maps the decimal keys From to To, both included, to Deck.
type Range struct {
	From int64  `json:"from"`
	To   int64  `json:"to"`
	Deck string `json:"deck"`
}

// TenantLimits bound a tenant's use of one router.
type TenantLimits struct {
	Concurrent        int   `json:"concurrent,omitempty"`
	RequestsPerSecond int   `json:"requestsPerSecond,omitempty"`
	Burst             int   `json:"burst,omitempty"`
	Connections       int   `json:"connections,omitempty"`
	BodyBytes         int64 `json:"bodyBytes,omitempty"`
}

// TenantTimeouts bound a tenant's requests as a whole.
type TenantTimeouts struct {
	// Total bounds a request from its head to the end of its answer. 0: no bound. At most 24h.
	Total Duration `json:"total,omitempty"`
}

// How often a request may be sent to its deck.
const (
	DefaultAttempts = 2
	MaxAttempts     = 5
)

// Retry says how often a request may be tried: again only where the deck cannot have begun
// to work on it, or where doing it twice does no harm, and never at another deck.
type Retry struct {
	// Attempts counts the first try; 1 turns retries off, at most [MaxAttempts]. 0 or absent:
	// [DefaultAttempts].
	Attempts int `json:"attempts,omitempty"`
}

// CatchAll among a tenant's hosts stands for every host that no tenant owns. It is claimed as
// hosts are, so that one tenant has it, or none.
const CatchAll = "*"

// EncodedSlash is what becomes of an encoded slash (%2F) in a path that rules or keys read.
type EncodedSlash string

const (
	// EncodedSlashRefuse refuses the request: a deck that decodes it before it looks at the path
	// would see another path than the rules did.
	EncodedSlashRefuse EncodedSlash = "refuse"
	// EncodedSlashPass takes it for a part of its segment, as the tenant's decks do.
	EncodedSlashPass EncodedSlash = "pass"
)

// PassesSlashesByRules says whether encoded slashes pass by rules that read paths, which is right
// only if each deck of the tenant takes them for parts of segments too.
func (t *Tenant) PassesSlashesByRules() bool {
	return t.EncodedSlash == EncodedSlashPass && slices.ContainsFunc(t.Rules, func(r Rule) bool { return r.readsPath() })
}

// readsPath says whether the rule reads a request's path.
func (r *Rule) readsPath() bool {
	return r.Match != nil && r.Match.Path != "" || r.Key != nil && r.Key.Path > 0
}

// EachDeck calls f with every deck that the tenant's rules name, as often as they name it.
func (t *Tenant) EachDeck(f func(deck string)) {
	for i := range t.Rules {
		r := &t.Rules[i]
		if r.Deck != "" {
			f(r.Deck)
		}
		for _, rng := range r.Ranges {
			f(rng.Deck)
		}
		for _, deck := range slices.Sorted(maps.Keys(r.Split)) {
			f(deck)
		}
		if r.Missing != "" && r.Missing != MissingReject && r.Missing != MissingNext {
			f(r.Missing)
		}
	}
}
