package routing

import (
	"maps"
	"slices"
	"strings"
)

// Decoder turns a stored value into a document: *[Deck], *[Tenant], *[Pin], or anything
// else, which the compiler then counts but does not read. Beside an error it may return
// what could be read: a *Tenant with its hosts, so that these can answer for it.
type Decoder func(key string, value []byte) (document any, err error)

// Change is one stored pair that was written or deleted.
type Change struct {
	// Key is relative to docs/: "decks/NAME", "tenants/NAME", "pins/TENANT/KEY", "gslb/FQDN".
	Key string
	// Value is the stored value; it is not kept.
	Value []byte
	// Deleted says that the pair is gone.
	Deleted bool
	// Revision is that of the last modification; 0 if unknown.
	Revision int64
	// Created is the revision at which the key was created; it decides between tenants that
	// claim one host. 0 if unknown: then names decide.
	Created int64
	// Origin is where a person finds the document.
	Origin string
}

// Update is what happened up to a revision.
type Update struct {
	// Whole says that Changes are everything there is: what is not among them is gone.
	Whole bool
	// Revision is the newest revision under docs/.
	Revision int64
	// Changes hold each key at most once.
	Changes []Change
	// Faults are the complete list of what the source cannot read at present.
	Faults []Problem
}

// Compiler turns documents into tables, one update after the other. It remembers what
// outlives a single update: the last good form of each document, the highest epoch seen
// of each tenant, who claims which host, and the IDs of decks. One goroutine at a time.
type Compiler struct {
	decode  Decoder
	stored  map[string]*storedPair
	waiting map[string]Change // held back until a deck exists
	faults  []Problem

	hash, effective digest
	problems        map[string][]Problem // by document key

	deckIDs map[string]int32
	decks   []*CompiledDeck // by ID, copied on change
	splits  map[string]*compiledSplit
	costs   map[string][]uint64 // of a deck's slots

	tenants map[string]*tenantState
	names   map[string]int32            // tenant -> index, copied on change
	free    []int32                     // unused indexes of policies
	table   []*Policy                   // by tenant index, copied on change
	pins    map[string]map[string]int32 // tenant -> key -> deck, or pinUnreadable

	claims claims
	counts Counts
}

// storedPair is what the compiler remembers of one stored pair.
type storedPair struct {
	digest  digest
	inForce digest // of the pair whose form is in force; zero if there is none
	created int64
	// revision and origin tell people where the value is.
	revision int64
	origin   string
}

// NewCompiler returns a compiler without documents.
func NewCompiler(decode Decoder) *Compiler {
	return &Compiler{
		decode: decode, stored: map[string]*storedPair{}, waiting: map[string]Change{},
		problems: map[string][]Problem{}, deckIDs: map[string]int32{}, splits: map[string]*compiledSplit{}, costs: map[string][]uint64{},
		tenants: map[string]*tenantState{}, names: map[string]int32{}, pins: map[string]map[string]int32{}, claims: newClaims(),
	}
}

// batch is an update, sorted by what depends on what.
type batch struct {
	decks, tenants, pins, others []Change
	pinned                       map[string]bool // tenants whose pins changed
	flipped                      map[string]bool // tenants that came or went
}

// Compile applies an update and returns the table that is then in force. A document
// that does not compile never stops the others: it keeps its last good form, and the
// table lists a problem.
func (c *Compiler) Compile(u Update) *Table {
	c.faults = u.Faults
	b := c.sort(u)
	c.decks, c.table = slices.Clone(c.decks), slices.Clone(c.table)

	known := c.knownDecks()
	for _, change := range b.decks {
		c.compileDeck(change)
	}
	decksChanged := !maps.Equal(known, c.knownDecks())
	if decksChanged {
		c.retryWaiting(&b)
	}
	for _, change := range b.tenants {
		c.compileTenant(change, &b)
	}
	for _, change := range b.pins {
		c.compilePin(change, &b)
	}
	for _, change := range b.others {
		c.checkOther(change)
	}
	c.settleNames(&b)
	c.givePins(&b)
	c.settleHosts()
	c.reviewReferences(&b, decksChanged)
	return c.publish(u.Revision)
}

// sort picks the changes that change something, keeps the stored pairs and their hash
// up to date, and adds what a whole list leaves out.
func (c *Compiler) sort(u Update) batch {
	b := batch{pinned: map[string]bool{}, flipped: map[string]bool{}}
	if u.Whole {
		present := make(map[string]bool, len(u.Changes))
		for i := range u.Changes {
			present[u.Changes[i].Key] = true
		}
		for key := range c.stored {
			if !present[key] {
				c.place(&b, Change{Key: key, Deleted: true, Revision: u.Revision})
			}
		}
	}
	for i := range u.Changes {
		c.place(&b, u.Changes[i])
	}
	byKey := func(x, y Change) int { return strings.Compare(x.Key, y.Key) }
	slices.SortFunc(b.decks, byKey)
	slices.SortFunc(b.tenants, byKey)
	slices.SortFunc(b.pins, byKey)
	return b
}

func (c *Compiler) place(b *batch, change Change) {
	pair := c.stored[change.Key]
	if change.Deleted {
		if pair == nil {
			return
		}
		c.hash.sub(pair.digest)
	} else {
		sum := pairDigestBytes(change.Key, change.Value)
		switch {
		case pair == nil:
			pair = &storedPair{}
			c.stored[change.Key] = pair
		case pair.digest == sum && pair.created == change.Created:
			return
		default:
			c.hash.sub(pair.digest)
		}
		c.hash.add(sum)
		pair.digest, pair.created, pair.revision, pair.origin = sum, change.Created, change.Revision, change.Origin
	}
	delete(c.waiting, change.Key)
	folder, _, _ := strings.Cut(change.Key, "/")
	switch folder {
	case "decks":
		b.decks = append(b.decks, change)
	case "tenants":
		b.tenants = append(b.tenants, change)
	case "pins":
		b.pins = append(b.pins, change)
	default:
		b.others = append(b.others, change)
	}
}

// enforce notes that the present value of a key is the one in force.
func (c *Compiler) enforce(key string) {
	pair := c.stored[key]
	c.effective.sub(pair.inForce)
	c.effective.add(pair.digest)
	pair.inForce = pair.digest
}

// forget notes that a key is gone.
func (c *Compiler) forget(key string) {
	if pair := c.stored[key]; pair != nil {
		c.effective.sub(pair.inForce)
		delete(c.stored, key)
	}
	delete(c.problems, key)
}

// complain notes what is wrong with a stored document.
func (c *Compiler) complain(key, code, message string) {
	problem := Problem{Key: key, Code: code, Message: message}
	if pair := c.stored[key]; pair != nil {
		problem.Origin, problem.Revision = pair.origin, pair.revision
	}
	c.problems[key] = append(c.problems[key], problem)
}

// retryWaiting brings back what was held for want of a deck, now that the decks have changed.
func (c *Compiler) retryWaiting(b *batch) {
	for _, key := range slices.Sorted(maps.Keys(c.waiting)) {
		change := c.waiting[key]
		delete(c.waiting, key)
		if strings.HasPrefix(key, "tenants/") {
			b.tenants = append(b.tenants, change)
		} else {
			b.pins = append(b.pins, change)
		}
	}
}

// hold keeps a change until the deck that it names exists.
func (c *Compiler) hold(change Change, deck string) {
	change.Value = slices.Clone(change.Value)
	c.waiting[change.Key] = change
	c.complain(change.Key, ProblemUnknownDeck, "names the deck "+deck+", which does not exist; the last good form stays in force until it does")
}

// checkOther lists what is wrong with documents of other kinds; their meaning is for others.
func (c *Compiler) checkOther(change Change) {
	if change.Deleted {
		c.forget(change.Key)
		return
	}
	delete(c.problems, change.Key)
	if _, err := c.decode(change.Key, change.Value); err != nil {
		c.complain(change.Key, ProblemBadDocument, err.Error())
		return
	}
	c.enforce(change.Key)
}

// settleNames brings the index of tenants up to date.
func (c *Compiler) settleNames(b *batch) {
	if len(b.flipped) == 0 {
		return
	}
	c.names = make(map[string]int32, len(c.tenants))
	for name, state := range c.tenants {
		c.names[name] = state.index
	}
}

// publish makes the table of the present state.
func (c *Compiler) publish(revision int64) *Table {
	t := &Table{
		revision: revision, hash: c.hash, effective: c.effective,
		exact: c.claims.exact, wildcard: c.claims.wildcard,
		policies: c.table, names: c.names, decks: c.decks,
	}
	t.effective.add(c.claims.effective)
	for _, list := range c.problems {
		t.problems = append(t.problems, list...)
	}
	for _, list := range c.claims.problems {
		t.problems = append(t.problems, list...)
	}
	t.problems = append(t.problems, c.faults...)
	slices.SortStableFunc(t.problems, func(a, b Problem) int {
		if order := strings.Compare(a.Key, b.Key); order != 0 {
			return order
		}
		if order := strings.Compare(a.Code, b.Code); order != 0 {
			return order
		}
		return strings.Compare(a.Message, b.Message)
	})
	c.counts.Hosts = len(t.exact) + len(t.wildcard)
	c.counts.Problems = len(t.problems)
	c.counts.Tenants = len(c.tenants)
	t.counts = c.counts
	return t
}
