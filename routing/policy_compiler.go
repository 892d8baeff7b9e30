package routing

import (
	"bytes"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// PolicyCompiler compiles the policies of one table after the other. Those that split keys alike
// share one map of slots, which it remembers within bounds. One goroutine at a time.
type PolicyCompiler struct {
	// CachePins says that pins of rules with "pins: cached" are read on demand. Otherwise they are
	// held by the table, as resident ones are.
	CachePins bool

	deckID func(name string) int32
	splits map[string]*compiledSplit
	costs  map[string][]uint64 // of a deck's slots
	race   race
}

// NewPolicyCompiler returns a compiler of policies. deckID returns the ID of a deck by its name: an
// index of [Parts].Decks. It is called for every deck that a policy names, also for one that does
// not exist.
func NewPolicyCompiler(deckID func(name string) int32) *PolicyCompiler {
	return &PolicyCompiler{deckID: deckID, splits: map[string]*compiledSplit{}, costs: map[string][]uint64{}}
}

// ForgetCosts gives back the memory of what splits were computed from.
func (c *PolicyCompiler) ForgetCosts() { clear(c.costs) }

// Compile turns what tenants share of a valid document into its compiled form, which keeps the
// document: it must not change any more.
func (c *PolicyCompiler) Compile(t *Tenant) *Policy {
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
	t.EachDeck(func(deck string) {
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

func (c *PolicyCompiler) compileRule(r *Rule) compiledRule {
	out := compiledRule{
		name: r.Name, match: compileMatch(r.Match), deck: -1, key: compileKey(r.Key),
		pins: r.Pins == PinsResident || r.Pins == PinsCached && !c.CachePins, asks: r.Pins == PinsCached && c.CachePins,
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
func (c *PolicyCompiler) split(weights map[string]int) *compiledSplit {
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
func (c *PolicyCompiler) slotCosts(deck string) []uint64 {
	if costs, ok := c.costs[deck]; ok {
		return costs
	}
	if len(c.costs) >= maxRememberedCosts {
		clear(c.costs)
	}
	c.costs[deck] = slotCosts(deck)
	return c.costs[deck]
}
