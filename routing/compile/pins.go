package compile

import (
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// storedPin returns the hash of the pair of a pin; 0: there is none.
func (c *Compiler) storedPin(tenant, key string) uint64 {
	if packed, ok := c.maps.Pins.Get(tenant + "/" + key); ok {
		if record := store.UnpackPin(packed); !record.Gone {
			return record.Digest
		}
		return 0
	}
	if packed, ok := c.maps.Unheld.Get(c.maps.Unheld.UnheldKey(tenant, key)); ok {
		if sum, gone := store.UnpackUnheld(packed); !gone {
			return sum
		}
	}
	return 0
}

// dropUnheld finds those pins, of which only hashes are kept, that a whole list does not name.
func (c *Compiler) dropUnheld(b *batch, present map[string]struct{}) {
	if c.maps.Unheld.Len() == 0 {
		return
	}
	there := make(map[string]bool, len(present))
	for key := range present {
		if rest, ok := strings.CutPrefix(key, "pins/"); ok {
			tenant, escaped, _ := strings.Cut(rest, "/")
			if key, err := routing.UnescapeKey(escaped); err == nil {
				there[c.maps.Unheld.UnheldKey(tenant, key)] = true
			}
		}
	}
	c.setBack.each(func(change *Change) { // what is stored of these is known apart from what is in force
		there[c.maps.Unheld.UnheldKey(change.tenant, change.key)] = true
	})
	gone := map[string]uint64{}
	c.maps.Unheld.Each(func(key, packed string) bool {
		if sum, held := store.UnpackUnheld(packed); !held && !there[key] {
			gone[strings.Clone(key)] = sum
		}
		return true
	})
	for _, sum := range gone {
		c.ledger.hash.sub(sum)
	}
	c.ledger.stored -= len(gone)
	c.ledger.moved += len(gone)
	b.unlisted = gone
}

// dropUnlisted takes out pins that are read on demand and that a whole list did not name, or,
// if they are held, marks them: then they are there for decisions, which cannot read them.
func (c *Compiler) dropUnlisted(unlisted map[string]uint64, hold bool) {
	for key, sum := range unlisted {
		if hold {
			c.maps.Unheld.Put(key, store.PackUnheld(sum, true))
			c.guard.unlisted++
			c.guard.stale, c.problems.changed = true, true
			continue
		}
		c.ledger.effective.sub(sum)
		c.maps.Unheld.Delete(key)
	}
}

// dropGone takes out those that are marked, and that no held change names.
func (c *Compiler) dropGone() {
	if c.guard.unlisted == 0 {
		return
	}
	named := map[string]bool{}
	for _, change := range c.guard.held {
		if change.kind == keyOfPin {
			named[c.maps.Unheld.UnheldKey(change.tenant, change.key)] = true
		}
	}
	gone := map[string]uint64{}
	c.maps.Unheld.Each(func(key, packed string) bool {
		if sum, held := store.UnpackUnheld(packed); held && !named[key] {
			gone[strings.Clone(key)] = sum
		}
		return true
	})
	c.dropUnlisted(gone, false)
	c.guard.unlisted, c.guard.stale, c.problems.changed = 0, true, true
}

// returned notes that a pin comes back whose deletion is held, if it is.
func (c *Compiler) returned(change *Change, packed string) {
	sum, gone := store.UnpackUnheld(packed)
	if !gone {
		return
	}
	c.ledger.effective.sub(sum)
	if _, named := c.ledger.behind[change.Key]; named {
		delete(c.ledger.behind, change.Key)
	} else {
		c.guard.unlisted--
	}
	c.guard.stale, c.problems.changed = true, true
}

// compilePin applies one change of a pin.
func (c *Compiler) compilePin(change *Change) {
	at := change.tenant + "/" + change.key
	packed, exists := c.maps.Pins.Get(at)
	if change.Deleted {
		c.ledger.forget(change)
		c.problems.clear(change.Key)
		c.dropPin(change, exists)
		return
	}
	c.problems.clear(change.Key)
	if !exists && c.readsPins(change.tenant) {
		c.putUnheld(change)
		return
	}
	if c.maps.Unheld.Len() > 0 {
		key := c.maps.Unheld.UnheldKey(change.tenant, change.key)
		if packed, known := c.maps.Unheld.Get(key); known {
			c.returned(change, packed)
			c.maps.Unheld.Delete(key)
		}
	}
	present := int32(store.PinUnreadable)
	if exists {
		present = store.UnpackPin(packed).Deck
	} else {
		c.countPin(change.tenant, 1)
	}
	pin, err := c.read.pin(change)
	deck := present
	switch {
	case err != nil:
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		c.ledger.keep(change)
	case present != store.PinUnreadable && !c.decks.has(pin.Deck) && c.decks.list[present].Name != pin.Deck:
		c.wait(change, pin.Deck)
		c.ledger.keep(change)
	default:
		deck = c.decks.id(pin.Deck)
		c.ledger.putInForce(change)
	}
	c.decks.countPin(present, -1)
	c.decks.countPin(deck, 1)
	c.packed = store.PinRecord{Deck: deck, Digest: change.sum}.Pack(c.packed[:0])
	c.maps.Pins.Put(at, c.packed)
}

// readsPins says whether the pins of a tenant are read on demand.
func (c *Compiler) readsPins(tenant string) bool {
	if !c.policies.compiler.CachePins {
		return false
	}
	packed, ok := c.maps.Tenants.Get(tenant)
	return ok && c.policies.entries[store.UnpackTenant(packed).Policy].CachesPins()
}

// putUnheld keeps the hashes of a pin that is read on demand. Whether its value can be
// read is seen then.
func (c *Compiler) putUnheld(change *Change) {
	key := c.maps.Unheld.UnheldKey(change.tenant, change.key)
	if packed, known := c.maps.Unheld.Get(key); known {
		c.returned(change, packed)
	}
	c.ledger.putInForce(change)
	c.maps.Unheld.Put(key, store.PackUnheld(change.sum, false))
}

// dropPin takes a pin out of the store that it is in.
func (c *Compiler) dropPin(change *Change, held bool) {
	if !held {
		c.maps.Unheld.Delete(c.maps.Unheld.UnheldKey(change.tenant, change.key))
		return
	}
	at := change.tenant + "/" + change.key
	packed, _ := c.maps.Pins.Get(at)
	c.decks.countPin(store.UnpackPin(packed).Deck, -1)
	c.maps.Pins.Delete(at)
	c.countPin(change.tenant, -1)
}

func (c *Compiler) countPin(tenant string, by int) {
	if c.pinCounts[tenant] += by; c.pinCounts[tenant] == 0 {
		delete(c.pinCounts, tenant)
	}
}
