package compile

import (
	"maps"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// decks are the compiled decks by ID. A name that was ever mentioned has an ID, and keeps it.
type decks struct {
	ids   map[string]int32
	index map[string]int32        // ids as tables have them: never changed, but for another one
	list  []*routing.CompiledDeck // by ID; copied by begin
	pins  []int                   // by ID: how many pins name the deck
	known []bool                  // by ID: which decks had a form in force when the update began
	count int                     // how many have one
}

func newDecks() decks { return decks{ids: map[string]int32{}} }

// sealed returns the IDs by name, for a table. A name keeps its ID, so that the index is the same as
// long as no name comes.
func (d *decks) sealed() map[string]int32 {
	if len(d.index) != len(d.ids) {
		d.index = maps.Clone(d.ids)
	}
	return d.index
}

// begin copies the list, which a table has, before an update changes it.
func (d *decks) begin() {
	d.list = slices.Clone(d.list)
	d.known = make([]bool, len(d.list))
	for id, deck := range d.list {
		d.known[id] = !deck.Missing
	}
}

// flipped returns the decks that came or went since begin.
func (d *decks) flipped() map[int32]bool {
	flipped := map[int32]bool{}
	for id, deck := range d.list {
		if before := id < len(d.known) && d.known[id]; before == deck.Missing {
			flipped[int32(id)] = true
		}
	}
	return flipped
}

// id returns the ID of a deck's name, and gives out a new one, for a missing deck, if it has none.
func (d *decks) id(name string) int32 {
	if id, ok := d.ids[name]; ok {
		return id
	}
	id := int32(len(d.list)) // far fewer decks
	d.ids[name] = id
	d.list = append(d.list, routing.MissingDeck(name, id))
	return id
}

// has says whether a deck has a form in force.
func (d *decks) has(name string) bool {
	id, ok := d.ids[name]
	return ok && !d.list[id].Missing
}

// set puts a deck's form in force.
func (d *decks) set(name string, deck *routing.Deck) {
	standby := int32(-1)
	if deck.Standby != "" {
		standby = d.id(deck.Standby)
	}
	id := d.id(name)
	compiled := routing.CompileDeck(deck, id, standby)
	if d.list[id].Missing {
		d.count++
	}
	d.list[id] = compiled
}

// remove leaves a missing deck in the place of one.
func (d *decks) remove(name string) {
	if d.has(name) {
		id := d.ids[name]
		d.list[id] = routing.MissingDeck(name, id)
		d.count--
	}
}

// countPin counts the pins that name a deck.
func (d *decks) countPin(deck int32, by int) {
	if deck == store.PinUnreadable {
		return
	}
	for len(d.pins) <= int(deck) {
		d.pins = append(d.pins, 0)
	}
	d.pins[deck] += by
}

// pinned says whether pins name a deck.
func (d *decks) pinned(id int32) bool { return int(id) < len(d.pins) && d.pins[id] > 0 }

// compileDeck applies one change of a deck.
func (c *Compiler) compileDeck(change *Change) {
	name := strings.TrimPrefix(change.Key, "decks/")
	if change.Deleted {
		c.ledger.forget(change)
		c.problems.clear(change.Key)
		delete(c.pairs, change.Key)
		c.decks.remove(name)
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
	deck, err := c.read.deck(change.Key, change.Value)
	if err != nil {
		c.ledger.keep(change)
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		return
	}
	if err := contained(func() { c.decks.set(name, deck) }); err != nil {
		c.ledger.keep(change)
		c.problems.add(change.Key, routing.ProblemBadDocument, err.Error(), change.Revision)
		return
	}
	pair.Good = nil
	c.ledger.putInForce(change)
}
