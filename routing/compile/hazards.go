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

	keys    map[string]bool // of the documents that do it
	tenants map[string]bool
	dropped int
	onDecks int // tenants on decks that go
}

// concerned counts the tenants of the batch, and those of the window.
func (h *hazards) concerned(g *guard) int {
	n := len(g.recent) + h.onDecks
	for name := range h.tenants {
		if _, counted := g.recent[name]; !counted {
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
	h := &hazards{maps: &c.maps, decks: &c.decks, policies: &c.policies, read: &c.read, keys: map[string]bool{}, tenants: map[string]bool{}}
	h.ofDecks(b)
	for _, change := range b.tenants {
		h.ofTenant(change)
	}
	for _, change := range b.pins {
		h.ofPin(change)
	}
	return h
}

// ofDecks finds what deleted decks do.
func (h *hazards) ofDecks(b *batch) {
	gone := map[int32]bool{}
	for _, change := range b.decks {
		name := strings.TrimPrefix(change.Key, "decks/")
		if change.Deleted && h.decks.has(name) {
			gone[h.decks.ids[name]] = true
			h.keys[change.Key] = true
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
		if err != nil || form.known && form.policy == record.Policy ||
			sameRules(h.read.rules(&form), h.policies.entries[record.Policy].Document()) {
			return
		}
	}
	h.keys[change.Key] = true
	h.tenants[name] = true
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
	h.keys[change.Key] = true
	h.tenants[change.tenant] = true
}

// sameRules says whether two policies lead every key to the same deck.
func sameRules(a, b *routing.Tenant) bool { return reflect.DeepEqual(a.Rules, b.Rules) }
