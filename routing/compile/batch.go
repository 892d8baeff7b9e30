package compile

import (
	"slices"
	"strconv"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

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
		if IsPlace(fault.Origin) {
			places[fault.Origin] = true
		}
	}
	return places
}

// IsPlace says whether an origin is a place as a whole, such as a file, and not a line of one.
func IsPlace(origin string) bool { return origin != "" && placeOf(origin) == origin }

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
		change.sum = store.PairDigest(change.Key, change.Value)
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
	if held := c.guard.held[change.Key]; held != nil {
		change.returns = held.Deleted && !change.Deleted
		c.guard.release(change.Key)
	}
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
