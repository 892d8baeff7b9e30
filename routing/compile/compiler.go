package compile

import (
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"unsafe"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// Compiler turns documents into tables, one update after the other. It remembers what
// outlives a single update: which pairs are stored, the last good form of each document,
// the highest epoch seen of each tenant, who claims which host, and the IDs of decks. One
// goroutine at a time.
type Compiler struct {
	read reader

	pairs   map[string]*storedPair // of decks and of what has no store of its own
	waiting map[string]*Change     // held back until a deck exists
	setBack setBackPins

	ledger   ledger
	problems problems

	decks  decks
	packed []byte // a record on its way into a store

	policies  policies
	maps      store.Editors
	pinCounts map[string]int    // by tenant
	seen      map[string]uint64 // the highest epoch seen of a tenant, where none as high is in force

	claims claims
	guard  guard
	// allRead says that there was a moment when the source could read all that it has.
	allRead bool
	last    *routing.Table
}

// storedPair is what the compiler remembers of one stored pair that is in no store.
type storedPair struct {
	Digest   uint64
	Created  int64
	Revision int64
	Value    []byte // of a deck
	Good     []byte // the value in force, if another
}

// NewCompiler returns a compiler without documents.
func NewCompiler(decode Decoder) *Compiler {
	c := &Compiler{
		pairs: map[string]*storedPair{}, waiting: map[string]*Change{}, setBack: setBackPins{},
		ledger: newLedger(), problems: newProblems(),
		decks:     newDecks(),
		maps:      store.NewEditors(),
		pinCounts: map[string]int{}, seen: map[string]uint64{}, guard: newGuard(),
	}
	c.claims = newClaims(&c.maps, &c.problems)
	c.policies = newPolicies(routing.NewPolicyCompiler(c.decks.id))
	c.read = reader{decode, &c.policies}
	return c
}

// CachePins tells the compiler, before its first update, that pins of tenants with "pins:
// cached" are read on demand. Without it they are held like resident ones.
func (c *Compiler) CachePins() { c.policies.compiler.CachePins = true }

// Compile applies an update and returns the table that is then in force. A document
// that does not compile never stops the others: it keeps its last good form, and the
// table lists a problem. An error is a fault of the compiler's own that the update has
// brought out, with the stack where it did. Nobody knows then what of the compiler's memory
// is true: only [Compiler.Last] and [Compiler.Rebuilt] are of use.
func (c *Compiler) Compile(u Update) (table *routing.Table, err error) {
	defer func() {
		if p := recover(); p != nil {
			table, err = nil, fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	return c.compile(u), nil
}

// compile is the course of an update.
func (c *Compiler) compile(u Update) *routing.Table {
	c.problems.takeFaults(&u)
	c.allRead = c.allRead || len(placesOf(u.Faults)) == 0
	setBack := c.takeSeenEpochs(u.Seen)
	b := c.sort(u)
	c.guardUpdate(&u, &b)
	c.dropUnlisted(b.unlisted, b.holds)
	c.decks.begin()
	for _, change := range b.decks {
		c.compileDeck(change)
	}
	if len(c.decks.flipped()) > 0 {
		c.retryWaiting(&b)
		c.setBack.retry(&b)
	}
	for _, change := range b.tenants {
		c.compileTenant(change, &b)
	}
	for _, name := range setBack {
		c.withdrawSetBack(name)
	}
	for _, change := range b.pins {
		if !c.setBack.take(c, change) {
			c.compilePin(change)
		}
	}
	for _, change := range b.others {
		c.checkOther(change)
	}
	c.claims.settle()
	c.reviewReferences(&b, c.decks.flipped())
	c.maps.Tenants.Expect(0)
	c.maps.Hosts.Expect(0)
	if u.Whole {
		c.policies.compiler.ForgetCosts() // many decks' at once, and seldom wanted again
	}
	return c.publish(u.Revision)
}

// Last returns the table of the last update, or of the restored snapshot; nil: there is none.
func (c *Compiler) Last() *routing.Table { return c.last }

// Moved returns how many stored pairs the last update changed.
func (c *Compiler) Moved() int { return c.ledger.moved }

// retryWaiting brings back what was held for want of a deck, now that the decks have changed.
func (c *Compiler) retryWaiting(b *batch) {
	for _, key := range slices.Sorted(maps.Keys(c.waiting)) {
		change := c.waiting[key]
		delete(c.waiting, key)
		b.add(change)
	}
}

// wait keeps a change until the deck that it names exists.
func (c *Compiler) wait(change *Change, deck string) {
	kept := *change
	kept.Value, kept.packed = slices.Clone(change.Value), ""
	c.waiting[change.Key] = &kept
	c.problems.add(change.Key, routing.ProblemUnknownDeck, "names the deck "+deck+", which does not exist; the last good form stays in force until it does", change.Revision)
}

// checkOther lists what is wrong with documents of other kinds, whose meaning is for others,
// and with keys that no document has.
func (c *Compiler) checkOther(change *Change) {
	if change.Deleted {
		c.ledger.forget(change)
		c.problems.clear(change.Key)
		delete(c.pairs, change.Key)
		return
	}
	c.problems.clear(change.Key)
	c.pairs[change.Key] = &storedPair{Digest: change.sum, Created: change.Created, Revision: change.Revision}
	if change.kind == keyMisspelled {
		c.problems.add(change.Key, routing.ProblemBadKey, whyMisspelled(change.Key), change.Revision)
		c.ledger.keep(change)
		return
	}
	if _, err := c.read.decode(change.Key, change.Value); err != nil {
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		c.ledger.keep(change)
		return
	}
	c.ledger.putInForce(change)
}

// publish makes the table of the present state.
func (c *Compiler) publish(revision int64) *routing.Table {
	before := routing.Parts{}
	if c.last != nil {
		before = c.last.Parts()
	}
	p := routing.Parts{
		Revision: revision, Hash: c.ledger.hash.String(), EffectiveHash: c.ledger.effective.plus(c.claims.effective).String(), Decks: c.decks.list, DeckIDs: c.decks.sealed(), Refused: c.claims.refused,
		Partial: !c.allRead, Wildcards: c.claims.wildcards > 0, Policies: c.policies.published.Seal(),
	}
	p.Maps, p.Weight = c.maps.Seal(before.Maps)
	p.Guard, p.GivenUp = c.guardState(), c.guard.given
	if c.problems.changed {
		p.Weight += len(c.problems.listed) * int(unsafe.Sizeof(routing.Problem{}))
	}
	if changed := c.problems.changed; changed || c.last == nil {
		p.Problems = c.listProblems()
		p.Rewound = c.rewound(p.Problems)
	} else {
		p.Problems, p.Rewound = c.problems.listed, before.Rewound
	}
	p.Counts = routing.Counts{
		Tenants: p.Maps.Tenants.Len(), Hosts: p.Maps.Hosts.Len(), Decks: c.decks.count,
		Pins: p.Maps.Pins.Len() + p.Maps.Unheld.Len(), Problems: len(p.Problems),
	}
	c.last = routing.NewTable(p)
	return c.last
}

// listProblems returns all problems, sorted by key.
func (c *Compiler) listProblems() []routing.Problem {
	if !c.problems.changed {
		return c.problems.listed
	}
	var elsewhere []routing.Problem
	for _, list := range c.claims.problems {
		elsewhere = append(elsewhere, list...)
	}
	if more := len(c.guard.held) + c.guard.unlisted - c.guard.listed; more > 0 {
		elsewhere = append(elsewhere, routing.Problem{Code: routing.ProblemHeld, Origin: c.problems.origin, Revision: c.guard.revision, Message: fmt.Sprintf(
			"%d more changes are held that came with many others at once, until somebody says that they are meant: %s", more, c.howToAccept())})
	}
	return c.problems.list(elsewhere)
}
