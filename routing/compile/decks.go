package compile

import (
	"errors"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// deckID returns the ID of a deck's name, and gives out a new one, for a missing deck,
// if it has none.
func (c *Compiler) deckID(name string) int32 {
	if id, ok := c.deckIDs[name]; ok {
		return id
	}
	id := int32(len(c.decks)) // far fewer decks
	c.deckIDs[name] = id
	c.decks = append(c.decks, routing.MissingDeck(name, id))
	return id
}

// deckKnown says whether a deck has a form in force.
func (c *Compiler) deckKnown(name string) bool {
	id, ok := c.deckIDs[name]
	return ok && !c.decks[id].Missing
}

// knownDecks says of each ID whether its deck has a form in force.
func (c *Compiler) knownDecks() []bool {
	known := make([]bool, len(c.decks))
	for id, deck := range c.decks {
		known[id] = !deck.Missing
	}
	return known
}

// flippedDecks returns the decks that came or went since.
func (c *Compiler) flippedDecks(known []bool) map[int32]bool {
	flipped := map[int32]bool{}
	for id, deck := range c.decks {
		if before := id < len(known) && known[id]; before == deck.Missing {
			flipped[int32(id)] = true
		}
	}
	return flipped
}

func (c *Compiler) compileDeck(change *Change) {
	name := strings.TrimPrefix(change.Key, "decks/")
	if change.Deleted {
		c.ledger.forget(change)
		c.problems.clear(change.Key)
		delete(c.pairs, change.Key)
		if c.deckKnown(name) {
			id := c.deckIDs[name]
			c.decks[id] = routing.MissingDeck(name, id)
			c.counts.Decks--
		}
		return
	}
	c.problems.clear(change.Key)
	pair := &storedPair{Digest: change.sum, Created: change.Created, Revision: change.Revision, Value: slices.Clone(change.Value)}
	if before := c.pairs[change.Key]; before != nil {
		if pair.Good = before.Good; pair.Good == nil {
			pair.Good = before.Value
		}
	}
	c.pairs[change.Key] = pair
	deck, err := c.readDeck(change.Key, change.Value)
	if err != nil {
		c.ledger.keep(change)
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		return
	}
	if err := contained(func() { c.setDeck(name, deck) }); err != nil {
		c.ledger.keep(change)
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		return
	}
	pair.Good = nil
	c.ledger.enforce(change)
}

func (c *Compiler) readDeck(key string, value []byte) (*routing.Deck, error) {
	document, err := c.decode(key, value)
	deck, ok := document.(*routing.Deck)
	if err == nil && !ok {
		err = errors.New("the value is no deck")
	}
	return deck, err
}

// setDeck puts a deck's form in force.
func (c *Compiler) setDeck(name string, deck *routing.Deck) {
	standby := int32(-1)
	if deck.Standby != "" {
		standby = c.deckID(deck.Standby)
	}
	id := c.deckID(name)
	compiled := routing.CompileDeck(deck, id, standby)
	if c.decks[id].Missing {
		c.counts.Decks++
	}
	c.decks[id] = compiled
}

// reviewReferences lists what refers to decks or tenants that do not exist: in the
// documents of the batch, and wherever a deck that came or went is named.
func (c *Compiler) reviewReferences(b *batch, flipped map[int32]bool) {
	for _, change := range b.decks {
		if id, ok := c.deckIDs[strings.TrimPrefix(change.Key, "decks/")]; ok {
			c.reviewDeck(c.decks[id])
		}
	}
	if len(flipped) > 0 {
		for _, deck := range c.decks {
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
	if deck.Standby != "" && !c.deckKnown(deck.Standby) {
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
			if flipped[c.deckIDs[deck]] {
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
		if c.decks[deck].Missing {
			c.problems.add(key, routing.ProblemUnknownDeck, "names the deck "+c.decks[deck].Name+", which does not exist; what is mapped to it gets deck_down", record.Revision)
		}
	}
}

// reviewPins looks at the pins that a batch may have set right or wrong.
func (c *Compiler) reviewPins(b *batch, flipped map[int32]bool) {
	for _, change := range b.pins {
		if change.key != "" {
			if packed, ok := c.maps.Pins.Get(change.tenant + "/" + change.key); ok {
				c.reviewPin(change.tenant, change.Key, store.UnpackPin(packed).Deck, change.Revision)
			}
		}
	}
	if !c.concernsOtherPins(b, flipped) {
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

// concernsOtherPins says whether a batch can make pins right or wrong that it does not hold.
func (c *Compiler) concernsOtherPins(b *batch, flipped map[int32]bool) bool {
	for id := range flipped {
		if int(id) < len(c.deckPins) && c.deckPins[id] > 0 {
			return true
		}
	}
	if len(b.pins) >= c.maps.Pins.Len() { // it holds them all
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
	if deck != store.PinUnreadable && c.decks[deck].Missing {
		c.problems.add(docKey, routing.ProblemUnknownDeck, "names the deck "+c.decks[deck].Name+", which does not exist; the key gets deck_down", revision)
	}
}
