package compile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// A restore of the source from a backup sets tenants back: they are stored with lower epochs than
// routers have seen. What here is about them is described in docs/FOLLOWING.md.

// takeSeenEpochs takes over epochs that other routers have seen. It returns the tenants of which that is news,
// sorted.
func (c *Compiler) takeSeenEpochs(seen map[string]uint64) (news []string) {
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		epoch := seen[name]
		present := c.seen[name]
		if packed, ok := c.maps.Tenants.Get(name); ok {
			present = max(present, store.UnpackTenant(packed).Epoch)
		}
		if epoch > present && epoch <= routing.MaxEpoch && routing.CheckName(name) == nil {
			c.seen[name] = epoch
			news = append(news, name)
		}
	}
	return news
}

// withdrawSetBack takes a tenant's form out of force that is older than one that another router has
// seen, and that this update did not replace: to answer from its deck would have two decks serve it.
func (c *Compiler) withdrawSetBack(name string) {
	packed, ok := c.maps.Tenants.Get(name)
	if !ok {
		return
	}
	old := store.UnpackTenant(packed)
	if old.Policy == 0 || old.Epoch >= c.seen[name] {
		return
	}
	change := &Change{Key: "tenants/" + name, was: old.Digest}
	c.ledger.effective.sub(c.ledger.inForce(change))
	c.ledger.behind[change.Key] = 0 // nothing is
	next := old
	next.Policy, next.Epoch = 0, 0
	c.policies.release(old.Policy)
	c.setTenant(name, &old, &next, nil, false, false)
	c.problems.clear(change.Key)
	c.problems.add(change.Key, routing.ProblemEpochRewound, fmt.Sprintf(
		"has epoch %d, and another router has seen %d: it was set back; settle it with gridctl restored", old.Epoch, c.seen[name]), old.Revision)
}

// setBackPins are changes of pins, by tenant and document key, that came with a tenant's form that
// was set back, or that the guard holds. A pin has no epoch of its own: those that are stored belong to
// the epoch that is stored, and in force beside another form they would lead keys to decks where they
// never were at its epoch. So what is in force stays, pins and all, until another form of the tenant is
// stored, or what is held is accepted. Pins of a tenant that was set back that are read on demand are
// not among them: decisions do not ask for them ([routing.Table.Rewound]). Those of a tenant that is
// held are: the table keeps the hash of the form in force, and takes no other.
type setBackPins map[string]map[string]*Change

// take keeps a change back if its tenant is set back or held, and has an earlier form in force, and
// the change would lead its key elsewhere.
func (s setBackPins) take(c *Compiler, change *Change) bool {
	held := c.guard.holdsTenant(change.tenant)
	if !held && !c.isSetBack(change.tenant) || !c.redirects(change, held) {
		return false
	}
	kept := *change
	kept.Value, kept.packed = slices.Clone(change.Value), ""
	c.ledger.keep(change)
	c.problems.clear(change.Key)
	s.put(&kept)
	return true
}

func (s setBackPins) put(change *Change) {
	if s[change.tenant] == nil {
		s[change.tenant] = map[string]*Change{}
	}
	s[change.tenant][change.Key] = change
}

// forget forgets what is kept back of a document, since another change of it came.
func (s setBackPins) forget(change *Change) {
	if changes := s[change.tenant]; changes != nil {
		if delete(changes, change.Key); len(changes) == 0 {
			delete(s, change.tenant)
		}
	}
}

// release puts into the batch what was kept back for a tenant.
func (s setBackPins) release(tenant string, b *batch) {
	for _, key := range slices.Sorted(maps.Keys(s[tenant])) {
		b.add(s[tenant][key])
	}
	delete(s, tenant)
}

// retry puts into the batch all that is kept back, now that the decks have changed.
func (s setBackPins) retry(b *batch) {
	for _, tenant := range slices.Sorted(maps.Keys(s)) {
		s.release(tenant, b)
	}
}

func (s setBackPins) each(f func(*Change)) {
	for _, changes := range s {
		for _, change := range changes {
			f(change)
		}
	}
}

// all returns the changes by document key.
func (s setBackPins) all() map[string]*Change {
	all := map[string]*Change{}
	s.each(func(change *Change) { all[change.Key] = change })
	return all
}

// isSetBack says whether a tenant is stored with a lower epoch than was seen, and has the form in
// force that it had before.
func (c *Compiler) isSetBack(tenant string) bool {
	if !c.problems.has("tenants/"+tenant, routing.ProblemEpochRewound) {
		return false
	}
	packed, ok := c.maps.Tenants.Get(tenant)
	return ok && store.UnpackTenant(packed).Policy != 0
}

// redirects says whether a change of a pin would lead its key to another deck. What cannot be read, or
// names a deck that does not exist, leaves in force what is, set back or not. guarded says that the
// change of its tenant is held.
func (c *Compiler) redirects(change *Change, guarded bool) bool {
	packed, held := c.maps.Pins.Get(change.tenant + "/" + change.key)
	if !held && guarded && c.readsPins(change.tenant) {
		packed, known := c.maps.Unheld.Get(c.maps.Unheld.UnheldKey(change.tenant, change.key))
		switch {
		case change.Deleted:
			return known
		case !known:
			return true
		}
		sum, _ := store.UnpackUnheld(packed)
		return sum != change.sum
	}
	if change.Deleted {
		return held
	}
	pin, err := c.read.pin(change)
	switch {
	case err != nil:
		return false
	case !held:
		return !c.readsPins(change.tenant)
	}
	deck := store.UnpackPin(packed).Deck
	return deck == store.PinUnreadable || c.decks.list[deck].Name != pin.Deck && c.decks.has(pin.Deck)
}

// rewound returns the tenants whose stored epoch is lower than one that was seen, with that one.
func (c *Compiler) rewound(problems []routing.Problem) map[string]uint64 {
	var rewound map[string]uint64
	for i := range problems {
		if problems[i].Code != routing.ProblemEpochRewound {
			continue
		}
		name := strings.TrimPrefix(problems[i].Key, "tenants/")
		epoch := c.seen[name]
		if packed, ok := c.maps.Tenants.Get(name); ok {
			epoch = max(epoch, store.UnpackTenant(packed).Epoch)
		}
		if rewound == nil {
			rewound = map[string]uint64{}
		}
		rewound[name] = epoch
	}
	return rewound
}
