package routing

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// compiledRule is a rule with its names resolved.
type compiledRule struct {
	name        string
	match       *compiledMatch
	deck        int32 // -1: the rule goes by a key
	key         compiledKey
	pins        bool            // its tenant's pins are held
	asks        bool            // its tenant's pins are read on demand
	ranges      []compiledRange // sorted
	split       *compiledSplit
	missing     string // MissingReject, MissingNext or empty: missingDeck
	missingDeck int32
}

type compiledRange struct {
	from, to int64
	deck     int32
}

// compiledSplit is shared by all rules with the same weights.
type compiledSplit struct {
	decks  []int32
	owners []byte // by slot, indexes of decks, as many to a byte as fit: see packOwners
	width  uint8  // bits of an index, as a power of two: 0 to 4
}

// owner returns the index of the deck that owns a slot.
func (s *compiledSplit) owner(slot int) int {
	if s.width == 4 {
		return int(s.owners[2*slot]) | int(s.owners[2*slot+1])<<8
	}
	bits := 1 << s.width
	at := slot << s.width
	return int(s.owners[at>>3]>>(at&7)) & (1<<bits - 1)
}

// packOwners packs indexes of so many decks in as few bits as hold them: 1, 2, 4, 8 or 16.
func packOwners(owners []uint16, decks int) (packed []byte, width uint8) {
	for width < 4 && decks > 1<<(1<<width) {
		width++
	}
	packed = make([]byte, len(owners)<<width/8)
	for slot, owner := range owners {
		if width == 4 {
			packed[2*slot], packed[2*slot+1] = byte(owner), byte(owner>>8)
			continue
		}
		at := slot << width
		packed[at>>3] |= byte(owner) << (at & 7)
	}
	return packed, width
}

type keyKind uint8

const (
	keyNone keyKind = iota
	keyHeader
	keyCookie
	keyQuery
	keyPath
	keyClaim
	keyClientIP
	keyHost
)

type compiledKey struct {
	kind    keyKind
	name    string
	segment int
	label   string // for people: "header x-user-id"
}

type compiledMatch struct {
	path    string
	methods []string
	headers []condition // lower-case names
	cookies []condition
	query   []condition

	pathUnmet, methodsUnmet string // for people
}

type condition struct {
	name, value string
	unmet       string // for people
}

func compileKey(k *KeySource) compiledKey {
	switch {
	case k == nil:
		return compiledKey{}
	case k.Header != "":
		return compiledKey{kind: keyHeader, name: k.Header, label: "header " + k.Header}
	case k.Cookie != "":
		return compiledKey{kind: keyCookie, name: k.Cookie, label: "cookie " + k.Cookie}
	case k.Query != "":
		return compiledKey{kind: keyQuery, name: k.Query, label: "query " + k.Query}
	case k.Claim != "":
		return compiledKey{kind: keyClaim, name: k.Claim, label: "claim " + k.Claim}
	case k.Path > 0:
		return compiledKey{kind: keyPath, segment: k.Path, label: "path segment " + strconv.Itoa(k.Path)}
	case k.ClientIP:
		return compiledKey{kind: keyClientIP, label: "client IP"}
	case k.Host:
		return compiledKey{kind: keyHost, label: "host"}
	}
	panic("a key source that nobody compiles: add it here") // validation lets in one that is set
}

func compileMatch(m *Match) *compiledMatch {
	if m == nil {
		return nil
	}
	return &compiledMatch{
		path:    m.Path,
		methods: m.Methods,
		headers: conditions("header", m.Headers),
		cookies: conditions("cookie", m.Cookies),
		query:   conditions("query parameter", m.Query),

		pathUnmet:    "the path is not under " + m.Path,
		methodsUnmet: "the method is not " + strings.Join(m.Methods, " or "),
	}
}

func conditions(what string, want map[string]string) []condition {
	list := make([]condition, 0, len(want))
	for _, name := range slices.Sorted(maps.Keys(want)) {
		list = append(list, condition{name, want[name], fmt.Sprintf("the %s %s is not %q", what, name, want[name])})
	}
	return list
}

// compilePolicy turns what tenants share of a valid document into its compiled form.
func (c *Compiler) compilePolicy(t *Tenant) *Policy {
	p := &Policy{document: t, rules: make([]compiledRule, len(t.Rules))}
	if t.Timeouts != nil {
		p.Total = t.Timeouts.Total.Std()
	}
	p.passesSlashes = t.EncodedSlash == EncodedSlashPass
	p.Attempts = DefaultAttempts
	if t.Retry != nil && t.Retry.Attempts > 0 {
		p.Attempts = t.Retry.Attempts
	}
	for i := range t.Rules {
		rule := &t.Rules[i]
		p.rules[i] = c.compileRule(rule)
		p.headers = append(p.headers, markedHeaders(rule)...)
		p.usesPaths = p.usesPaths || rule.readsPath()
		p.cachesPins = p.cachesPins || rule.Pins == PinsCached
	}
	slices.SortFunc(p.headers, func(a, b decidingHeader) int { return strings.Compare(a.name, b.name) })
	p.headers = slices.Compact(p.headers)
	decksOf(t, func(deck string) {
		if id := c.deckID(deck); !slices.Contains(p.decks, id) {
			p.decks = append(p.decks, id)
		}
	})
	return p
}

// markedHeaders returns the headers that a rule reads and that have a mark in their name.
func markedHeaders(r *Rule) (headers []decidingHeader) {
	add := func(name string) {
		marked := []byte(name)
		for i, b := range marked {
			marked[i] = markAsDash(b)
		}
		if bytes.IndexByte(marked, '-') >= 0 {
			headers = append(headers, decidingHeader{name, string(marked)})
		}
	}
	if r.Match != nil {
		for name := range r.Match.Headers {
			add(name)
		}
	}
	if r.Key != nil {
		add(r.Key.Header)
	}
	return headers
}

func (c *Compiler) compileRule(r *Rule) compiledRule {
	out := compiledRule{
		name: r.Name, match: compileMatch(r.Match), deck: -1, key: compileKey(r.Key),
		pins: r.Pins == PinsResident || r.Pins == PinsCached && !c.cachePins, asks: r.Pins == PinsCached && c.cachePins,
		missing: MissingReject, missingDeck: -1,
	}
	if r.Deck != "" {
		out.deck = c.deckID(r.Deck)
	}
	for _, rng := range r.Ranges {
		out.ranges = append(out.ranges, compiledRange{rng.From, rng.To, c.deckID(rng.Deck)})
	}
	slices.SortFunc(out.ranges, func(a, b compiledRange) int {
		if a.from < b.from {
			return -1
		}
		return 1
	})
	if len(r.Split) > 0 {
		out.split = c.split(r.Split)
	}
	switch r.Missing {
	case "", MissingReject:
	case MissingNext:
		out.missing = MissingNext
	default:
		out.missing, out.missingDeck = "", c.deckID(r.Missing)
	}
	return out
}

// maxSharedSplits bounds how many splits are remembered for sharing.
const maxSharedSplits = 4096

// split returns the compiled form of a split, which all rules with the same weights share.
func (c *Compiler) split(weights map[string]int) *compiledSplit {
	var signature []byte
	for _, deck := range slices.Sorted(maps.Keys(weights)) {
		signature = strconv.AppendInt(append(append(signature, deck...), '='), int64(weights[deck]), 10)
		signature = append(signature, ' ')
	}
	if shared, ok := c.splits[string(signature)]; ok {
		return shared
	}
	names, owners := c.race.run(weights, c.slotCosts)
	made := new(compiledSplit)
	made.owners, made.width = packOwners(owners, len(names))
	for _, name := range names {
		made.decks = append(made.decks, c.deckID(name))
	}
	if len(c.splits) >= maxSharedSplits {
		clear(c.splits) // those in force stay where they are; only sharing starts anew
	}
	c.splits[string(signature)] = made
	return made
}

// maxRememberedCosts bounds for how many decks slot costs are remembered, at 128 KiB each.
const maxRememberedCosts = 256

// slotCosts returns the cost of every slot for a deck, which all splits over it share.
func (c *Compiler) slotCosts(deck string) []uint64 {
	if costs, ok := c.costs[deck]; ok {
		return costs
	}
	if len(c.costs) >= maxRememberedCosts {
		clear(c.costs)
	}
	c.costs[deck] = slotCosts(deck)
	return c.costs[deck]
}

// decksOf calls f with every deck that the tenant's rules name.
func decksOf(t *Tenant, f func(deck string)) {
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

func compileDeck(d *Deck, id int32, standby int32) *CompiledDeck {
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
