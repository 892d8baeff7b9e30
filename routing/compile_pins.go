package routing

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// storedPin returns the hash of the pair of a pin; 0: there is none.
func (c *Compiler) storedPin(tenant, key string) uint64 {
	if packed, ok := c.pins.get(tenant + "/" + key); ok {
		if record := unpackPin(packed); !record.gone {
			return record.digest
		}
		return 0
	}
	if packed, ok := c.unheld.get(c.unheld.unheldKey(tenant, key)); ok && !isGone(packed) {
		return unpackSum(packed)
	}
	return 0
}

// unheldKey stands for a pin that is read on demand: of it only hashes are kept. They are
// seeded, else a tenant could choose a key whose hash is that of another tenant's, and by
// deleting its own pin take that one's away.
func (s *store) unheldKey(tenant, key string) string {
	var d xxhash.Digest
	d.ResetWithSeed(s.seed)
	_, _ = d.WriteString(tenant)
	_, _ = d.Write([]byte{'/'})
	_, _ = d.WriteString(key)
	var out [8]byte
	binary.LittleEndian.PutUint64(out[:], d.Sum64())
	return string(out[:])
}

// dropUnheld finds those pins, of which only hashes are kept, that a whole list does not name.
func (c *Compiler) dropUnheld(b *batch, present map[string]struct{}) {
	if c.unheld.count == 0 {
		return
	}
	there := make(map[string]struct{}, len(present))
	for key := range present {
		if rest, ok := strings.CutPrefix(key, "pins/"); ok {
			tenant, escaped, _ := strings.Cut(rest, "/")
			if key, err := UnescapeKey(escaped); err == nil {
				there[c.unheld.unheldKey(tenant, key)] = struct{}{}
			}
		}
	}
	gone := map[string]uint64{}
	c.unheld.each(func(key, packed string) bool {
		if _, ok := there[key]; !ok && !isGone(packed) {
			gone[strings.Clone(key)] = unpackSum(packed)
		}
		return true
	})
	for _, sum := range gone {
		c.hash.sub(sum)
	}
	c.stored -= len(gone)
	c.moved += len(gone)
	b.unlisted = gone
}

// dropUnlisted takes out pins that are read on demand and that a whole list did not name, or,
// if they are held, marks them: then they are there for decisions, which cannot read them.
func (c *Compiler) dropUnlisted(unlisted map[string]uint64, hold bool) {
	for key, sum := range unlisted {
		if hold {
			c.unheld.put(key, packSum(sum, true))
			c.guard.unlisted++
			c.guard.stale, c.complaints = true, true
			continue
		}
		c.effective.sub(sum)
		c.unheld.delete(key)
		c.counts.Pins--
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
			named[c.unheld.unheldKey(change.tenant, change.key)] = true
		}
	}
	gone := map[string]uint64{}
	c.unheld.each(func(key, packed string) bool {
		if isGone(packed) && !named[key] {
			gone[strings.Clone(key)] = unpackSum(packed)
		}
		return true
	})
	c.dropUnlisted(gone, false)
	c.guard.unlisted, c.guard.stale, c.complaints = 0, true, true
}

// returned notes that a pin comes back whose deletion is held, if it is.
func (c *Compiler) returned(change *Change, packed string) {
	if !isGone(packed) {
		return
	}
	c.effective.sub(unpackSum(packed))
	if _, named := c.behind[change.Key]; named {
		delete(c.behind, change.Key)
	} else {
		c.guard.unlisted--
	}
	c.guard.stale, c.complaints = true, true
}

// packSum packs the hash of a pair, and whether the pair is gone though its deletion is held.
func packSum(sum uint64, gone bool) []byte {
	packed := binary.LittleEndian.AppendUint64(nil, sum)
	if gone {
		packed = append(packed, recordGone)
	}
	return packed
}

func isGone(packed string) bool { return len(packed) > 8 }

func unpackSum(packed string) uint64 {
	return uint64(load32(packed, 0)) | uint64(load32(packed, 4))<<32
}

// compilePin applies one change of a pin.
func (c *Compiler) compilePin(change *Change) {
	at := change.tenant + "/" + change.key
	packed, exists := c.pins.get(at)
	if change.Deleted {
		c.forget(change)
		c.dropPin(change, exists)
		return
	}
	c.praise(change.Key)
	if !exists && c.readsPins(change.tenant) {
		c.putUnheld(change)
		return
	}
	if c.unheld.count > 0 {
		key := c.unheld.unheldKey(change.tenant, change.key)
		if packed, known := c.unheld.get(key); known {
			c.returned(change, packed)
			c.unheld.delete(key)
			c.counts.Pins--
		}
	}
	present := int32(pinUnreadable)
	if exists {
		present = unpackPin(packed).deck
	} else {
		c.countPin(change.tenant, 1)
	}
	document, err := c.decode(change.Key, change.Value)
	pin, ok := document.(*Pin)
	if err == nil && !ok {
		err = errors.New("the value is no pin")
	}
	deck := present
	switch {
	case err != nil:
		c.complain(change.Key, ProblemBadDocument, err.Error(), change.Revision)
		c.keep(change)
	case present != pinUnreadable && !c.deckKnown(pin.Deck) && c.decks[present].Name != pin.Deck:
		c.wait(change, pin.Deck)
		c.keep(change)
	default:
		deck = c.deckID(pin.Deck)
		c.enforce(change)
	}
	c.countDeck(present, -1)
	c.countDeck(deck, 1)
	c.packed = pinRecord{deck: deck, digest: change.sum}.pack(c.packed[:0])
	c.pins.put(at, c.packed)
}

// readsPins says whether the pins of a tenant are read on demand.
func (c *Compiler) readsPins(tenant string) bool {
	if !c.cachePins {
		return false
	}
	packed, ok := c.tenants.get(tenant)
	return ok && c.policies.entries[unpackTenant(packed).policy].cachesPins
}

// putUnheld keeps the hashes of a pin that is read on demand. Whether its value can be
// read is seen then.
func (c *Compiler) putUnheld(change *Change) {
	key := c.unheld.unheldKey(change.tenant, change.key)
	if packed, known := c.unheld.get(key); known {
		c.returned(change, packed)
	} else {
		c.counts.Pins++
	}
	c.enforce(change)
	c.unheld.put(key, packSum(change.sum, false))
}

// dropPin takes a pin out of the store that it is in.
func (c *Compiler) dropPin(change *Change, held bool) {
	if !held {
		if c.unheld.delete(c.unheld.unheldKey(change.tenant, change.key)) {
			c.counts.Pins--
		}
		return
	}
	at := change.tenant + "/" + change.key
	packed, _ := c.pins.get(at)
	c.countDeck(unpackPin(packed).deck, -1)
	c.pins.delete(at)
	c.countPin(change.tenant, -1)
}

func (c *Compiler) countPin(tenant string, by int) {
	c.counts.Pins += by
	if c.pinCounts[tenant] += by; c.pinCounts[tenant] == 0 {
		delete(c.pinCounts, tenant)
	}
}

// countDeck counts the pins that name a deck.
func (c *Compiler) countDeck(deck int32, by int) {
	if deck == pinUnreadable {
		return
	}
	for len(c.deckPins) <= int(deck) {
		c.deckPins = append(c.deckPins, 0)
	}
	c.deckPins[deck] += by
}
