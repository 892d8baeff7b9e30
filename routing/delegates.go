package routing

import (
	"slices"
	"strings"
)

// The delegates of tenants are entries of a store of their own, as hosts are, so that a tenant
// with ten thousand of them costs no more than their bytes, and to ask for one is a look-up.

// delegateKey is where a tenant's delegate is in the store.
func delegateKey(tenant, host string) string { return tenant + "/" + hostKey(host) }

// setDelegates replaces a tenant's delegates, and says whether they are others than before.
func (c *Compiler) setDelegates(tenant string, record *tenantRecord, delegates []string) (changed bool) {
	keyOf := func(host string) string { return delegateKey(tenant, host) }
	list := c.delegates.shardList(delegates, keyOf)
	if list == record.delegates && !slices.ContainsFunc(delegates, func(host string) bool {
		_, there := c.delegates.get(keyOf(host))
		return !there
	}) {
		return false
	}
	for _, host := range delegatesIn(c.delegates.eachInShard, tenant, record.delegates) {
		c.delegates.delete(keyOf(host))
	}
	for _, host := range delegates {
		c.delegates.put(keyOf(host), nil)
	}
	record.delegates = list
	return true
}

// delegated says whether a claimant lets others have a host.
func (c *Compiler) delegated(by *claimant, host string) bool {
	if by.record.delegates == "" {
		return false
	}
	if _, ok := c.delegates.get(delegateKey(by.tenant, host)); ok {
		return true
	}
	return slices.ContainsFunc(WildcardsAbove(host), func(above string) bool {
		_, ok := c.delegates.get(delegateKey(by.tenant, above))
		return ok
	})
}

// delegatesIn lists a tenant's delegates, sorted. each is how the entries of a shard are read.
func delegatesIn(each func(shardNumber, func(key, value string) bool), tenant, shards string) (hosts []string) {
	prefix := tenant + "/"
	eachShard(shards, func(shard shardNumber) {
		each(shard, func(key, _ string) bool {
			if host, ok := strings.CutPrefix(key, prefix); ok {
				hosts = append(hosts, strings.Clone(hostOfKey(host)))
			}
			return true
		})
	})
	slices.Sort(hosts)
	return hosts
}
