package compile

import (
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// reviewReferences lists what refers to decks or tenants that do not exist: in the
// documents of the batch, and wherever a deck that came or went is named.
func (c *Compiler) reviewReferences(b *batch, flipped map[int32]bool) {
	for _, change := range b.decks {
		if id, ok := c.decks.ids[strings.TrimPrefix(change.Key, "decks/")]; ok {
			c.reviewDeck(c.decks.list[id])
		}
	}
	if len(flipped) > 0 {
		for _, deck := range c.decks.list {
			c.reviewDeck(deck)
		}
		c.reviewTenantsOf(flipped)
	}
	for _, change := range b.tenants {
		if !change.review {
			continue
		}
		c.reviewTenant(strings.TrimPrefix(change.Key, "tenants/"))
	}
	c.reviewPins(b, flipped)
}

func (c *Compiler) reviewDeck(deck *routing.CompiledDeck) {
	key := "decks/" + deck.Name
	c.problems.clearCode(key, routing.ProblemUnknownDeck)
	if deck.Standby != "" && !c.decks.has(deck.Standby) {
		c.problems.add(key, routing.ProblemUnknownDeck, "has the standby "+deck.Standby+", which does not exist", c.pairs[key].Revision)
	}
}

// reviewTenantsOf looks at the tenants whose policies name one of the decks.
func (c *Compiler) reviewTenantsOf(flipped map[int32]bool) {
	concerned := map[uint32]bool{}
	for id, entry := range c.policies.entries {
		if entry == nil || entry.Document() == nil {
			continue
		}
		entry.Document().EachDeck(func(deck string) {
			if flipped[c.decks.ids[deck]] {
				concerned[uint32(id)] = true
			}
		})
	}
	if len(concerned) == 0 {
		return
	}
	c.maps.Tenants.Each(func(name, packed string) bool {
		if concerned[store.UnpackTenant(packed).Policy] {
			c.reviewTenant(strings.Clone(name))
		}
		return true
	})
}

func (c *Compiler) reviewTenant(name string) {
	key := "tenants/" + name
	packed, ok := c.maps.Tenants.Get(name)
	if !ok || c.waiting[key] != nil {
		return
	}
	record := store.UnpackTenant(packed)
	if record.Policy == 0 {
		return
	}
	c.problems.clearCode(key, routing.ProblemUnknownDeck)
	for _, deck := range c.policies.entries[record.Policy].Decks() {
		if c.decks.list[deck].Missing {
			c.problems.add(key, routing.ProblemUnknownDeck, "names the deck "+c.decks.list[deck].Name+", which does not exist; what is mapped to it gets deck_down", record.Revision)
		}
	}
}

// reviewPins looks at the pins that a batch may have set right or wrong.
func (c *Compiler) reviewPins(b *batch, flipped map[int32]bool) {
	reviewed := 0
	for _, change := range b.pins {
		if change.key != "" {
			if packed, ok := c.maps.Pins.Get(change.tenant + "/" + change.key); ok {
				reviewed++
				c.reviewPin(change.tenant, change.Key, store.UnpackPin(packed).Deck, change.Revision)
			}
		}
	}
	if !c.concernsOtherPins(b, flipped, reviewed) {
		return
	}
	c.maps.Pins.Each(func(at, packed string) bool {
		tenant, key, _ := strings.Cut(at, "/")
		if deck := store.UnpackPin(packed).Deck; b.flipped[tenant] || flipped[deck] {
			c.reviewPin(strings.Clone(tenant), "pins/"+tenant+"/"+routing.EscapeKey(key), deck, 0)
		}
		return true
	})
}

// concernsOtherPins says whether a batch can make pins right or wrong that it does not hold. reviewed is how
// many pins that are there it holds; those that it deletes are no longer there.
func (c *Compiler) concernsOtherPins(b *batch, flipped map[int32]bool, reviewed int) bool {
	for id := range flipped {
		if c.decks.pinned(id) {
			return true
		}
	}
	if reviewed >= c.maps.Pins.Len() { // it holds them all
		return false
	}
	for tenant := range b.flipped {
		if c.pinCounts[tenant] > 0 {
			return true
		}
	}
	return false
}

func (c *Compiler) reviewPin(tenant, docKey string, deck int32, revision int64) {
	c.problems.clearCode(docKey, routing.ProblemUnknownTenant)
	if _, ok := c.maps.Tenants.Get(tenant); !ok {
		c.problems.add(docKey, routing.ProblemUnknownTenant, "is for the tenant "+tenant+", which does not exist", revision)
	}
	if c.waiting[docKey] != nil {
		return
	}
	c.problems.clearCode(docKey, routing.ProblemUnknownDeck)
	if deck != store.PinUnreadable && c.decks.list[deck].Missing {
		c.problems.add(docKey, routing.ProblemUnknownDeck, "names the deck "+c.decks.list[deck].Name+", which does not exist; the key gets deck_down", revision)
	}
}
