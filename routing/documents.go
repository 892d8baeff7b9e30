package routing

import (
	"strings"

	"gridrouter.io/routing/store"
)

// Documents calls f with every document that is in force, as *[Deck], *[Tenant] or *[Pin], under its
// key: decks, then tenants, then pins, each kind in no order; until f returns false. A tenant's
// document has the hosts that it claims, also those that another tenant holds. Left out is what a
// table does not hold: documents of other kinds, tenants that never were good, pins that are read
// on demand, and those whose value never could be read. f must not change them.
func (t *Table) Documents(f func(key string, document any) bool) {
	for _, deck := range t.parts.Decks {
		if !deck.Missing && !f("decks/"+deck.Name, &deck.Deck) {
			return
		}
	}
	more := true
	t.parts.Maps.Tenants.Each(func(name, packed string) bool {
		record := store.UnpackTenant(packed)
		if record.Policy != 0 {
			name = strings.Clone(name)
			more = f("tenants/"+name, t.documentOf(name, &record))
		}
		return more
	})
	if !more {
		return
	}
	t.parts.Maps.Pins.Each(func(at, packed string) bool {
		tenant, key, _ := strings.Cut(strings.Clone(at), "/")
		record := store.UnpackPin(packed)
		if record.Deck == store.PinUnreadable {
			return true
		}
		return f("pins/"+tenant+"/"+EscapeKey(key), &Pin{Kind: KindPin, Tenant: tenant, Key: key, Deck: t.parts.Decks[record.Deck].Name})
	})
}

// PinsOnDemand counts the pins that are there and are not among [Table.Documents], since they are read
// on demand and only hashes of them are here.
func (t *Table) PinsOnDemand() int { return t.parts.Maps.Unheld.Len() }
