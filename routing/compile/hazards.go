package compile

import (
	"reflect"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// hazards are what a batch would do to tenants that are in force.
type hazards struct {
	maps     *store.Editors
	decks    *decks
	policies *policies
	read     *reader
	seen     map[string]uint64 // the highest epochs of tenants that have no such form

	keys    map[string]bool // of the documents that do it
	tenants map[string]bool
	dropped int
	onDecks int  // tenants on decks that go
	others  bool // some of it is done by more than the return of documents whose deletion is held
	// setBack are the tenants that are, or come to be, stored with a lower epoch than was seen: true.
	// False: those that come to be stored with another one.
	setBack map[string]bool
}

// add notes a document that does something to a tenant.
func (h *hazards) add(change *Change, tenant string) {
	h.keys[change.Key] = true
	h.tenants[tenant] = true
	h.others = h.others || !change.returns
}

// concerned counts the tenants of the batch, and those of the window. Where all that is done is that
// documents whose deletion is held return in another form, as when a wipe is undone that came with a
// change, the deletions that are held with them do not count: nothing of these is in force.
func (h *hazards) concerned(g *guard) int {
	counts := func(name string) bool {
		move, within := g.recent[name]
		held := g.held["tenants/"+name]
		return within && (h.others || move.form != nil || held != nil && !held.Deleted)
	}
	n := h.onDecks
	for name := range g.recent {
		if counts(name) {
			n++
		}
	}
	for name := range h.tenants {
		if !counts(name) {
			n++
		}
	}
	return n
}

// leavesNone says whether the batch leaves no tenant where there were several, or, where one may
// be enough, one.
func (h *hazards) leavesNone(one bool) bool {
	return (h.dropped > 1 || one && h.dropped == 1) && h.dropped == h.maps.Tenants.Len()
}

// hazardsOf finds what a batch would do.
func (c *Compiler) hazardsOf(b *batch) *hazards {
	h := &hazards{maps: &c.maps, decks: &c.decks, policies: &c.policies, read: &c.read, seen: c.seen, keys: map[string]bool{}, tenants: map[string]bool{}, setBack: map[string]bool{}}
	h.ofDecks(b)
	for _, change := range b.tenants {
		h.ofTenant(change)
	}
	for _, change := range b.pins {
		setBack, known := h.setBack[change.tenant]
		if !known {
			setBack = c.isSetBack(change.tenant)
			h.setBack[change.tenant] = setBack
		}
		if !setBack { // of one that is, all pins stay as they are in force
			h.ofPin(change)
		}
	}
	return h
}

// keepLosses forgets all but the deletions of tenants and decks.
func (h *hazards) keepLosses(b *batch) {
	h.keys, h.tenants, h.dropped = map[string]bool{}, map[string]bool{}, 0
	for _, change := range b.decks {
		if change.Deleted && h.decks.has(strings.TrimPrefix(change.Key, "decks/")) {
			h.keys[change.Key] = true
		}
	}
	for _, change := range b.tenants {
		if change.Deleted {
			h.ofTenant(change)
		}
	}
	for _, change := range b.pins { // they go with their tenant, and a pin that goes alone raises its epoch
		if change.Deleted && h.tenants[change.tenant] {
			h.ofPin(change)
		}
	}
}

// ofChangedDecks adds decks that come in another form than the one in force.
func (h *hazards) ofChangedDecks(b *batch) {
	for _, change := range b.decks {
		name := strings.TrimPrefix(change.Key, "decks/")
		if change.Deleted || !h.decks.has(name) {
			continue
		}
		deck, err := h.read.deck(change.Key, change.Value)
		id := h.decks.ids[name]
		if err == nil && !reflect.DeepEqual(routing.CompileDeck(deck, id, -1).Deck, h.decks.list[id].Deck) {
			h.keys[change.Key] = true
		}
	}
}

// ofDecks finds what deleted decks do.
func (h *hazards) ofDecks(b *batch) {
	gone := map[int32]bool{}
	for _, change := range b.decks {
		name := strings.TrimPrefix(change.Key, "decks/")
		if change.Deleted && h.decks.has(name) {
			gone[h.decks.ids[name]] = true
			h.keys[change.Key], h.others = true, true
		}
	}
	if len(gone) == 0 {
		return
	}
	for _, entry := range h.policies.entries[1:] {
		if entry != nil && slices.ContainsFunc(entry.Decks(), func(deck int32) bool { return gone[deck] }) {
			h.onDecks += entry.tenants
		}
	}
}

// ofTenant finds what a change of a tenant does.
func (h *hazards) ofTenant(change *Change) {
	name := strings.TrimPrefix(change.Key, "tenants/")
	packed, ok := h.maps.Tenants.Get(name)
	if !ok {
		return
	}
	record := store.UnpackTenant(packed)
	if change.Deleted {
		h.dropped++
	}
	if record.Policy == 0 {
		return
	}
	if !change.Deleted {
		form, err := h.read.tenant(change)
		if err == nil {
			h.setBack[name] = form.epoch < max(h.seen[name], record.Epoch)
		}
		if h.setBack[name] { // such a form comes into force never
			return
		}
		if err != nil || form.known && form.policy == record.Policy ||
			sameRules(h.read.rules(&form), h.policies.entries[record.Policy].Document()) {
			return
		}
	}
	h.add(change, name)
}

// ofPin finds what a change of a pin does.
func (h *hazards) ofPin(change *Change) {
	if _, ok := h.maps.Tenants.Get(change.tenant); !ok {
		return
	}
	packed, held := h.maps.Pins.Get(change.tenant + "/" + change.key)
	if !held {
		if _, unheld := h.maps.Unheld.Get(h.maps.Unheld.UnheldKey(change.tenant, change.key)); !unheld || !change.Deleted {
			return // what the value of a pin is that is read on demand only its reader knows
		}
	}
	if !change.Deleted {
		deck := store.UnpackPin(packed).Deck
		pin, err := h.read.pin(change)
		if err != nil || deck != store.PinUnreadable && h.decks.list[deck].Name == pin.Deck {
			return
		}
	}
	h.add(change, change.tenant)
}

// sameRules says whether two policies lead every key to the same deck.
func sameRules(a, b *routing.Tenant) bool { return reflect.DeepEqual(a.Rules, b.Rules) }
