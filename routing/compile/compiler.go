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
	stored  int                    // how many pairs are stored, of all kinds
	waiting map[string]*Change     // held back until a deck exists
	setBack setBackPins
	origin  string
	origins map[string]string // of documents that have one of their own
	faults  []routing.Problem

	hash, effective digest
	behind          map[string]uint64            // key -> hash of the pair in force, where that is not the stored one
	problems        map[string][]routing.Problem // by document key
	sorted          []routing.Problem            // all problems as published last
	complaints      bool                         // they changed since

	deckIDs  map[string]int32
	decks    []*routing.CompiledDeck // by ID, copied on change
	deckPins []int                   // by ID: how many pins name the deck
	compiler *routing.PolicyCompiler
	packed   []byte // a record on its way into a store

	policies  policies
	maps      store.Editors
	pinCounts map[string]int    // by tenant
	seen      map[string]uint64 // the highest epoch seen of a tenant, where none as high is in force

	claims claims
	guard  guard
	counts routing.Counts
	last   *routing.Table
	found  int // stored pairs that the present update named
	moved  int // pairs that it changed
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
		decode: decode, pairs: map[string]*storedPair{}, waiting: map[string]*Change{}, setBack: setBackPins{}, origins: map[string]string{},
		behind: map[string]uint64{}, problems: map[string][]routing.Problem{},
		deckIDs:  map[string]int32{},
		policies: newPolicies(), maps: store.NewEditors(),
		pinCounts: map[string]int{}, seen: map[string]uint64{}, claims: newClaims(), guard: newGuard(),
	}
	c.compiler = routing.NewPolicyCompiler(c.deckID)
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
	if !slices.EqualFunc(c.faults, u.Faults, func(a, b routing.Problem) bool { return a == b }) {
		c.complaints = true
	}
	c.faults, c.origin = u.Faults, u.Origin
	setBack := c.heed(u.Seen)
	b := c.sort(u)
	c.guardUpdate(&u, &b)
	c.dropUnlisted(b.unlisted, b.holds)
	c.decks = slices.Clone(c.decks)

	known := c.knownDecks()
	for _, change := range b.decks {
		c.compileDeck(change)
	}
	flippedDecks := c.flippedDecks(known)
	if len(flippedDecks) > 0 {
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
	c.settleHosts()
	c.reviewReferences(&b, c.flippedDecks(known))
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
func (c *Compiler) Moved() int { return c.moved }

// sort picks the changes that change something, keeps the hash of the stored pairs up to
// date, and adds what a whole list leaves out.
func (c *Compiler) sort(u Update) batch {
	b := batch{flipped: map[string]bool{}}
	c.found, c.moved = 0, 0
	fresh := 0
	if c.stored == 0 { // all that comes is new: nearly all of it tenants, with a host each
		c.maps.Tenants.Expect(len(u.Changes))
		c.maps.Hosts.Expect(len(u.Changes))
	}
	for i := range u.Changes {
		if c.place(&b, &u.Changes[i]) {
			fresh++
		}
	}
	if u.Whole && c.found+fresh < c.stored {
		unread := placesOf(u.Faults)
		for _, key := range c.missingFrom(&b, u.Changes) {
			if unread[placeOf(c.originOf(key))] {
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
		c.found++
	}
	if change.Deleted {
		if was == 0 {
			return false
		}
		c.stored--
		delete(c.origins, change.Key)
	} else {
		change.sum = pairDigest(change.Key, change.Value)
		if was == change.sum && created == change.Created {
			return false
		}
		if fresh = was == 0; fresh {
			c.stored++
		}
		c.hash.add(change.sum)
		if change.Origin != "" {
			c.origins[change.Key] = change.Origin
		}
	}
	c.moved++
	c.hash.sub(was)
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

// enforce notes that the present value of a key is the one in force.
func (c *Compiler) enforce(change *Change) {
	c.effective.sub(c.inForce(change))
	c.effective.add(change.sum)
	delete(c.behind, change.Key)
}

// keep notes that what was in force stays so, though another value is stored.
func (c *Compiler) keep(change *Change) { c.behind[change.Key] = c.inForce(change) }

// forget notes that a key is gone, and nothing of it is in force.
func (c *Compiler) forget(change *Change) {
	c.effective.sub(c.inForce(change))
	delete(c.behind, change.Key)
	c.praise(change.Key)
}

// inForce returns the hash of the pair that is in force before a change; 0: none.
func (c *Compiler) inForce(change *Change) uint64 {
	if sum, ok := c.behind[change.Key]; ok {
		return sum
	}
	return change.was
}

// complain notes what is wrong with a stored document; praise takes all of it back.
func (c *Compiler) complain(key, code, message string, revision int64) {
	c.complaints = true
	c.problems[key] = append(c.problems[key], routing.Problem{Key: key, Code: code, Message: message, Origin: c.originOf(key), Revision: revision})
}

func (c *Compiler) praise(key string) {
	if _, ok := c.problems[key]; ok {
		delete(c.problems, key)
		c.complaints = true
	}
}

func (c *Compiler) originOf(key string) string {
	if origin, ok := c.origins[key]; ok {
		return origin
	}
	return c.origin
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
	c.complain(change.Key, routing.ProblemUnknownDeck, "names the deck "+deck+", which does not exist; the last good form stays in force until it does", change.Revision)
}

// checkOther lists what is wrong with documents of other kinds, whose meaning is for others,
// and with keys that no document has.
func (c *Compiler) checkOther(change *Change) {
	if change.Deleted {
		c.forget(change)
		delete(c.pairs, change.Key)
		return
	}
	c.praise(change.Key)
	c.pairs[change.Key] = &storedPair{Digest: change.sum, Created: change.Created, Revision: change.Revision}
	if change.kind == keyMisspelled {
		c.complain(change.Key, routing.ProblemBadKey, whyMisspelled(change.Key), change.Revision)
		c.keep(change)
		return
	}
	if _, err := c.decode(change.Key, change.Value); err != nil {
		c.complain(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		c.keep(change)
		return
	}
	c.enforce(change)
}

// publish makes the table of the present state.
func (c *Compiler) publish(revision int64) *routing.Table {
	before := routing.Parts{}
	if c.last != nil {
		before = c.last.Parts()
	}
	p := routing.Parts{
		Revision: revision, Hash: c.hash.String(), EffectiveHash: c.effective.plus(c.claims.effective).String(), Decks: c.decks, Refused: c.claims.refused,
		Wildcards: c.claims.wildcards > 0, Policies: c.policies.published.Seal(),
	}
	p.Maps, p.Weight = c.maps.Seal(before.Maps)
	p.Guard = c.guardState()
	if c.complaints {
		p.Weight += len(c.sorted) * int(unsafe.Sizeof(routing.Problem{}))
	}
	if changed := c.complaints; changed || c.last == nil {
		p.Problems = c.sortedProblems()
		p.Rewound = c.rewound(p.Problems)
	} else {
		p.Problems, p.Rewound = c.sortedProblems(), before.Rewound
	}
	c.counts.Hosts, c.counts.Tenants, c.counts.Problems = p.Maps.Hosts.Len(), p.Maps.Tenants.Len(), len(p.Problems)
	p.Counts = c.counts
	c.last = routing.NewTable(p)
	return c.last
}

// sortedProblems returns all problems by key, anew only if they changed.
func (c *Compiler) sortedProblems() []routing.Problem {
	if !c.complaints {
		return c.sorted
	}
	c.complaints = false
	var all []routing.Problem
	for _, list := range c.problems {
		all = append(all, list...)
	}
	for _, list := range c.claims.problems {
		all = append(all, list...)
	}
	all = append(all, c.faults...)
	if more := len(c.guard.held) + c.guard.unlisted - c.guard.listed; more > 0 {
		all = append(all, routing.Problem{Code: routing.ProblemHeld, Origin: c.origin, Revision: c.guard.revision, Message: fmt.Sprintf(
			"%d more changes are held that came with many others at once, until somebody says that they are meant: gridctl guard", more)})
	}
	slices.SortStableFunc(all, func(a, b routing.Problem) int {
		if order := strings.Compare(a.Key, b.Key); order != 0 {
			return order
		}
		if order := strings.Compare(a.Code, b.Code); order != 0 {
			return order
		}
		return strings.Compare(a.Message, b.Message)
	})
	c.sorted = all
	return all
}
