package compile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// Decoder turns a stored value into a document: *[Deck], *[Tenant], *[Pin], or anything
// else, which the compiler then counts but does not read. Beside an error it may return
// what could be read: a *Tenant with its hosts, so that these can answer for it.
type Decoder func(key string, value []byte) (document any, err error)

// Change is one stored pair that was written or deleted.
type Change struct {
	// Key is relative to docs/: "decks/NAME", "tenants/NAME", "pins/TENANT/KEY", "gslb/FQDN".
	Key string
	// Value is the stored value. Nobody may write to it, then or later.
	Value []byte
	// Deleted says that the pair is gone.
	Deleted bool
	// Revision is that of the last modification; 0 if unknown.
	Revision int64
	// Created is the revision at which the key was created; it decides between tenants that
	// claim one host. 0 if unknown: then names decide.
	Created int64
	// Origin is where a person finds the document; empty: Origin of the update.
	Origin string

	kind        documentKind
	was, sum    uint64 // hashes of the pair that was stored before, and of this one; 0: none
	tenant, key string // the tenant's name, and a pin's key
	packed      string // the record of the tenant before, if it was looked up
	review      bool   // what it refers to has to be looked at
}

// Update is what happened up to a revision.
type Update struct {
	// Whole says that Changes are everything there is: what is not among them is gone.
	Whole bool
	// Revision is the newest revision under docs/.
	Revision int64
	// Listed is the revision that a whole list is of, if that is newer than Revision: what the list
	// does not name may have gone as late as that.
	Listed int64
	// Changes hold each key at most once. The compiler may reorder them.
	Changes []Change
	// Faults are the complete list of what the source cannot read at present. Documents whose
	// Origin is in a place that cannot be read (the Origin of a fault, or a line of it) are not
	// gone when a whole list does not name them.
	Faults []routing.Problem
	// Origin is where a person finds documents whose change does not say it.
	Origin string
	// At is the time of the update, for the guard against mass changes. The zero Time turns
	// the guard off for this update.
	At time.Time
	// Accepted is the revision up to which mass changes are known to be meant; 0: none.
	Accepted int64
	// Seen holds epochs of tenants that other routers have seen, by name: a lower one is refused
	// here too, even if this compiler never saw any.
	Seen map[string]uint64
	// MayLookEmpty says that the source may look empty although it is not, as a folder does until
	// something is mounted there: the guard holds a list that leaves no tenant, be it one.
	MayLookEmpty bool
	// SourceChanged says that revisions are counted anew from here on.
	SourceChanged bool
}

// Compiler turns documents into tables, one update after the other. It remembers what
// outlives a single update: which pairs are stored, the last good form of each document,
// the highest epoch seen of each tenant, who claims which host, and the IDs of decks. One
// goroutine at a time.
type Compiler struct {
	decode Decoder

	pairs   map[string]*storedPair // of decks and of what has no store of its own
	waiting map[string]*Change     // held back until a deck exists
	setBack setBackPins

	ledger   ledger
	problems problems

	decks    decks
	compiler *routing.PolicyCompiler
	packed   []byte // a record on its way into a store

	policies  policies
	maps      store.Editors
	pinCounts map[string]int    // by tenant
	seen      map[string]uint64 // the highest epoch seen of a tenant, where none as high is in force

	claims claims
	guard  guard
	last   *routing.Table
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
		decode: decode, pairs: map[string]*storedPair{}, waiting: map[string]*Change{}, setBack: setBackPins{},
		ledger: newLedger(), problems: newProblems(),
		decks:    newDecks(),
		policies: newPolicies(), maps: store.NewEditors(),
		pinCounts: map[string]int{}, seen: map[string]uint64{}, guard: newGuard(),
	}
	c.claims = newClaims(&c.maps, &c.problems)
	c.compiler = routing.NewPolicyCompiler(c.decks.id)
	return c
}

// CachePins tells the compiler, before its first update, that pins of tenants with "pins:
// cached" are read on demand. Without it they are held like resident ones.
func (c *Compiler) CachePins() { c.compiler.CachePins = true }

// batch is an update, sorted by what depends on what.
type batch struct {
	decks, tenants, pins, others []*Change
	flipped                      map[string]bool   // tenants with pins that came or went
	holds                        bool              // the guard holds some of it
	unlisted                     map[string]uint64 // pins that are read on demand and that a whole list does not name, by their hashes
}

func (b *batch) flip(c *Compiler, tenant string, flipped bool) {
	if flipped && c.pinCounts[tenant] > 0 {
		b.flipped[tenant] = true
	}
}

// Compile applies an update and returns the table that is then in force. A document
// that does not compile never stops the others: it keeps its last good form, and the
// table lists a problem.
func (c *Compiler) Compile(u Update) *routing.Table {
	c.problems.hear(&u)
	setBack := c.heed(u.Seen)
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
		c.compiler.ForgetCosts() // many decks' at once, and seldom wanted again
	}
	return c.publish(u.Revision)
}

// Last returns the table of the last update, or of the restored snapshot; nil: there is none.
func (c *Compiler) Last() *routing.Table { return c.last }

// Moved returns how many stored pairs the last update changed.
func (c *Compiler) Moved() int { return c.ledger.moved }

// sort picks the changes that change something, keeps the hash of the stored pairs up to
// date, and adds what a whole list leaves out.
func (c *Compiler) sort(u Update) batch {
	b := batch{flipped: map[string]bool{}}
	c.ledger.found, c.ledger.moved = 0, 0
	fresh := 0
	if c.ledger.stored == 0 { // all that comes is new: nearly all of it tenants, with a host each
		c.maps.Tenants.Expect(len(u.Changes))
		c.maps.Hosts.Expect(len(u.Changes))
	}
	for i := range u.Changes {
		if c.place(&b, &u.Changes[i]) {
			fresh++
		}
	}
	if u.Whole && c.ledger.found+fresh < c.ledger.stored {
		unread := placesOf(u.Faults)
		for _, key := range c.missingFrom(&b, u.Changes) {
			if unread[placeOf(c.problems.originOf(key))] {
				continue
			}
			c.place(&b, &Change{Key: key, Deleted: true, Revision: u.Revision})
		}
	}
	byKey := func(x, y *Change) int { return strings.Compare(x.Key, y.Key) }
	for _, list := range [][]*Change{b.decks, b.tenants, b.pins} {
		if !slices.IsSortedFunc(list, byKey) {
			slices.SortFunc(list, byKey)
		}
	}
	return b
}

// placesOf returns the places that faults are about as a whole, such as files, and not a line of.
func placesOf(faults []routing.Problem) map[string]bool {
	places := map[string]bool{}
	for _, fault := range faults {
		if fault.Origin != "" && placeOf(fault.Origin) == fault.Origin {
			places[fault.Origin] = true
		}
	}
	return places
}

// placeOf is an origin without its line.
func placeOf(origin string) string {
	if colon := strings.LastIndexByte(origin, ':'); colon >= 0 {
		if _, err := strconv.Atoi(origin[colon+1:]); err == nil {
			return origin[:colon]
		}
	}
	return origin
}

// place says whether the change is of a pair that was not stored before.
func (c *Compiler) place(b *batch, change *Change) (fresh bool) {
	change.kind, change.tenant, change.key = kindOfKey(change.Key)
	was, created := c.storedPairOf(change)
	change.was = was
	if was != 0 {
		c.ledger.found++
	}
	if change.Deleted {
		if was == 0 {
			return false
		}
		c.ledger.stored--
		delete(c.problems.origins, change.Key)
	} else {
		change.sum = pairDigest(change.Key, change.Value)
		if was == change.sum && created == change.Created {
			return false
		}
		if fresh = was == 0; fresh {
			c.ledger.stored++
		}
		c.ledger.hash.add(change.sum)
		if change.Origin != "" {
			c.problems.origins[change.Key] = change.Origin
		}
	}
	c.ledger.moved++
	c.ledger.hash.sub(was)
	delete(c.waiting, change.Key)
	c.setBack.forget(change)
	c.guard.release(change.Key)
	b.add(change)
	return fresh
}

// add puts a change where its kind belongs.
func (b *batch) add(change *Change) {
	switch change.kind {
	case keyOfDeck:
		b.decks = append(b.decks, change)
	case keyOfTenant:
		b.tenants = append(b.tenants, change)
	case keyOfPin:
		b.pins = append(b.pins, change)
	case keyOfOther, keyMisspelled:
		b.others = append(b.others, change)
	}
}

// storedPairOf returns the hash of the pair that is stored under a change's key, 0 if there
// is none, and when it was created, where that counts.
func (c *Compiler) storedPairOf(change *Change) (sum uint64, created int64) {
	created = change.Created
	switch change.kind {
	case keyOfTenant:
		packed, ok := c.maps.Tenants.Get(change.tenant)
		if change.packed = packed; !ok {
			return 0, created
		}
		if record := store.UnpackTenant(packed); !record.Gone {
			return record.Digest, record.Created
		}
		return 0, created
	case keyOfPin:
		if held := c.setBack[change.tenant][change.Key]; held != nil {
			return held.sum, created
		}
		return c.storedPin(change.tenant, change.key), created
	case keyOfDeck, keyOfOther, keyMisspelled:
	}
	if pair := c.pairs[change.Key]; pair != nil {
		return pair.Digest, pair.Created
	}
	return 0, created
}

// missingFrom returns the keys of the stored pairs that a whole list does not name. Pins of
// which only hashes are kept it notes in the batch.
func (c *Compiler) missingFrom(b *batch, changes []Change) (gone []string) {
	present := make(map[string]struct{}, len(changes))
	for i := range changes {
		present[changes[i].Key] = struct{}{}
	}
	look := func(key string) {
		if _, ok := present[key]; !ok {
			gone = append(gone, key)
		}
	}
	for key := range c.pairs {
		look(key)
	}
	c.maps.Tenants.Each(func(name, packed string) bool {
		if record := store.UnpackTenant(packed); !record.Gone {
			look("tenants/" + name)
		}
		return true
	})
	c.maps.Pins.Each(func(key, packed string) bool {
		if !store.UnpackPin(packed).Gone {
			tenant, rest, _ := strings.Cut(key, "/")
			look("pins/" + tenant + "/" + routing.EscapeKey(rest))
		}
		return true
	})
	c.setBack.each(func(change *Change) {
		if !change.Deleted {
			look(change.Key)
		}
	})
	c.dropUnheld(b, present)
	slices.Sort(gone)
	return slices.Compact(gone) // a pin may be in force in one form, and stored in another that was set back
}

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
	if _, err := c.decode(change.Key, change.Value); err != nil {
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		c.ledger.keep(change)
		return
	}
	c.ledger.enforce(change)
}

// publish makes the table of the present state.
func (c *Compiler) publish(revision int64) *routing.Table {
	before := routing.Parts{}
	if c.last != nil {
		before = c.last.Parts()
	}
	p := routing.Parts{
		Revision: revision, Hash: c.ledger.hash.String(), EffectiveHash: c.ledger.effective.plus(c.claims.effective).String(), Decks: c.decks.list, Refused: c.claims.refused,
		Wildcards: c.claims.wildcards > 0, Policies: c.policies.published.Seal(),
	}
	p.Maps, p.Weight = c.maps.Seal(before.Maps)
	p.Guard = c.guardState()
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
			"%d more changes are held that came with many others at once, until somebody says that they are meant: gridctl guard", more)})
	}
	return c.problems.list(elsewhere)
}
