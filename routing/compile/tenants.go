package compile

import (
	"fmt"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// compileTenant applies one change of a tenant.
func (c *Compiler) compileTenant(change *Change, b *batch) {
	name := strings.TrimPrefix(change.Key, "tenants/")
	packed := change.packed
	if packed == "" {
		packed, _ = c.maps.Tenants.Get(name)
	}
	exists := packed != ""
	var old store.TenantRecord
	if exists {
		old = store.UnpackTenant(packed)
	}
	if change.Deleted {
		c.deleteTenant(change, name, exists, &old, b)
		return
	}
	c.problems.clear(change.Key)
	b.flip(c, name, !exists)
	form, err := c.read.tenant(change)
	next := old
	next.Digest, next.Gone, next.Created, next.Revision = change.sum, false, change.Created, change.Revision
	hosts, accepted, redelegated := []string(nil), false, false
	code, message := c.refuseTenant(&old, name, &form, err)
	if code == "" {
		if err := c.findPolicy(&form); err != nil {
			code, message = routing.ProblemBadDocument, err.Error()
		}
	}
	if code != routing.ProblemEpochRewound {
		c.setBack.release(name, b)
	}
	switch code {
	case "":
		accepted = true
		hosts, next.Epoch = form.hosts, form.epoch
		redelegated = c.claims.setDelegates(name, &next, form.delegates)
		next.Policy = form.policy
		c.takePolicy(name, &form)
		c.guard.repointed(c, name, &old, next.Policy)
		if old.Policy != 0 {
			c.policies.release(old.Policy)
		}
		c.ledger.putInForce(change)
	case routing.ProblemUnknownDeck:
		c.ledger.keep(change)
		c.wait(change, message)
	default:
		c.ledger.keep(change)
		c.problems.add(change.Key, code, message, change.Revision)
		hosts = form.hosts
	}
	if !accepted && old.Policy != 0 { // the last good form keeps its hosts
		hosts = nil
	}
	c.setTenant(name, &old, &next, hosts, accepted || old.Policy == 0, redelegated)
	change.review = len(c.problems.byKey[change.Key]) > 0 || slices.ContainsFunc(c.policies.entries[next.Policy].Decks(), func(deck int32) bool { return c.decks.list[deck].Missing })
}

// findPolicy finds, or compiles, the policy of a form. What no check foresaw in one document
// is a problem of that document.
func (c *Compiler) findPolicy(form *tenantForm) error {
	if form.known {
		return nil
	}
	return contained(func() { form.policy = c.policies.idOf(form.document) })
}

// takePolicy counts the policy of an accepted form for its tenant.
func (c *Compiler) takePolicy(name string, form *tenantForm) {
	c.policies.hold(form.policy)
	if form.text != "" {
		c.policies.spelled(form.policy, form.text)
	}
	if c.seen[name] <= form.epoch {
		delete(c.seen, name)
	}
}

func (c *Compiler) deleteTenant(change *Change, name string, exists bool, old *store.TenantRecord, b *batch) {
	c.ledger.forget(change)
	c.problems.clear(change.Key)
	c.setBack.release(name, b)
	if !exists {
		return
	}
	c.guard.dropped(c, name, old)
	c.claims.withdraw(name, c.claims.hostsOf(name, old))
	c.claims.setDelegates(name, old, nil)
	c.maps.Tenants.Delete(name)
	if old.Policy != 0 {
		c.policies.release(old.Policy)
		c.seen[name] = max(c.seen[name], old.Epoch)
	}
	b.flip(c, name, true)
}

// refuseTenant says why a tenant's new form cannot be put in force; message is the
// deck's name for [routing.ProblemUnknownDeck].
func (c *Compiler) refuseTenant(old *store.TenantRecord, name string, form *tenantForm, err error) (code, message string) {
	if err != nil {
		return routing.ProblemBadDocument, err.Error()
	}
	switch seen := max(c.seen[name], old.Epoch); {
	case form.epoch < seen:
		return routing.ProblemEpochRewound, fmt.Sprintf("has epoch %d, but epoch %d was seen; write it with at least that epoch", form.epoch, seen)
	case !routing.EpochFollows(seen, form.epoch):
		return routing.ProblemEpochLeapt, fmt.Sprintf("has epoch %d, and the highest one seen was %d: no change by apply makes such a step; apply the document again without an epoch",
			form.epoch, seen)
	}
	if old.Policy == 0 || form.known && form.policy == old.Policy {
		return "", "" // nothing to fall back to: what names an unknown deck gets deck_down
	}
	before := c.policies.entries[old.Policy].Decks()
	if form.known {
		for _, deck := range c.policies.entries[form.policy].Decks() {
			if c.decks.list[deck].Missing && !slices.Contains(before, deck) {
				return routing.ProblemUnknownDeck, c.decks.list[deck].Name
			}
		}
		return "", ""
	}
	form.document.EachDeck(func(deck string) {
		if code == "" && !c.decks.has(deck) && !slices.ContainsFunc(before, func(id int32) bool { return c.decks.list[id].Name == deck }) {
			code, message = routing.ProblemUnknownDeck, deck
		}
	})
	return code, message
}

// setTenant puts a tenant's record in place of the one before. rehost says that the hosts
// it claims are those given, redelegated that others may have other hosts below them.
func (c *Compiler) setTenant(name string, old, next *store.TenantRecord, hosts []string, rehost, redelegated bool) {
	same := old.Created == next.Created && old.Gone == next.Gone && (old.Policy == 0) == (next.Policy == 0) && !redelegated
	if rehost {
		next.Hosts = c.maps.Hosts.ShardsOf(hosts, store.HostKey)
		same = same && old.Hosts == next.Hosts && c.claims.claimsAll(name, hosts)
	}
	if same {
		c.packed = next.Pack(c.packed[:0])
		c.maps.Tenants.Put(name, c.packed)
		if old.Policy != next.Policy || old.Epoch != next.Epoch {
			c.claims.rewriteHosts(name, next, hosts)
		}
		return
	}
	var claimed []string
	if old.Hosts != "" {
		claimed = c.claims.hostsOf(name, old)
	}
	if !rehost {
		hosts = claimed
	}
	c.claims.withdraw(name, claimed)
	c.packed = next.Pack(c.packed[:0])
	c.maps.Tenants.Put(name, c.packed)
	c.claims.claim(name, next, hosts)
}
