package table

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/document"
)

// pinTenants share the pins.
const pinTenants = 1000

// pins measures resident pins.
func (b *bench) pins(context.Context) error {
	b.afresh()
	before := heldBytes()
	h, took, err := b.holdPins()
	if err != nil {
		return err
	}
	after := heldBytes()
	runtime.KeepAlive(h)
	t := h.table.Load()
	if err := complete(t, pinTenants, b.Pins); err != nil {
		return err
	}
	var taken []time.Duration
	clock := clockCost(b.Lookups)
	if _, err := b.timed("pins-lookup", func() error {
		taken, err = pinLookups(t, b.Lookups, b.Pins)
		return err
	}); err != nil {
		return err
	}
	slices.Sort(taken)
	what := fmt.Sprintf("%d pins", b.Pins)
	b.report.inform(what+", bytes each, resident", "B", float64(after-before)/float64(b.Pins))
	b.report.inform(what+", load from memory", "s", took.Seconds())
	b.report.inform(what+", lookup of pinned keys, p50", "ns", float64(max(0, percentile(taken, 0.5)-clock)))
	b.report.inform(what+", lookup of pinned keys, p99", "ns", float64(max(0, percentile(taken, 0.99)-clock)))
	b.report.note("pins: keys of %d bytes, %d tenants; bytes and lookups as above, a lookup finds host, rule and pin", len(userID(0)), pinTenants)
	return nil
}

// holdPins loads tenants that look at their pins, and all pins, as one whole list.
func (b *bench) holdPins() (h *holding, took time.Duration, err error) {
	changes := make([]compile.Change, 0, decks+pinTenants+b.Pins)
	add := func(key string, value []byte) {
		changes = append(changes, compile.Change{Key: key, Value: value, Revision: 1, Created: 1})
	}
	for i := range decks {
		key, value, err := b.docs.deck(i)
		if err != nil {
			return nil, 0, err
		}
		add(key, value)
	}
	for i := range pinTenants {
		value, err := document.Encode(&routing.Tenant{
			Kind: routing.KindTenant, Name: tenantName(i), Hosts: []string{hostOf(i)}, Epoch: 1, Rules: []routing.Rule{{
				Name: "users", Key: &routing.KeySource{Header: userHeader}, Pins: routing.PinsResident,
				Split: map[string]int{deckName(i): 50, deckName(i + 1): 50},
			}},
		})
		if err != nil {
			return nil, 0, err
		}
		add("tenants/"+tenantName(i), value)
	}
	for i := range b.Pins {
		add(b.docs.pinOf(i%pinTenants, i))
	}
	h = &holding{tenants: pinTenants, compiler: b.newCompiler()}
	took, err = b.timed("load-pins", func() error {
		return h.apply(compile.Update{Whole: true, Changes: changes, Origin: "memory"})
	})
	return h, took, err
}

// pinLookups times decisions for keys that have a pin, and checks them.
func pinLookups(t *routing.Table, n, pins int) ([]time.Duration, error) {
	taken := make([]time.Duration, n)
	random := rand.New(rand.NewPCG(5, 6))
	a := newAsker()
	base := time.Now()
	for i := range taken {
		user := random.IntN(pins)
		tenant := user % pinTenants
		request := a.about(tenant)
		copy(a.user, userID(user))
		begun := time.Since(base)
		d := t.Decide(request)
		taken[i] = time.Since(base) - begun
		if d.Via != routing.ViaPin || d.Deck == nil || d.Deck.Name != deckName(pinnedTo(tenant, user)) {
			return nil, fmt.Errorf("key %s of %s was decided by %q (fault %q), not by its pin", a.user, tenantName(tenant), d.Via, d.Fault)
		}
	}
	return taken, nil
}
