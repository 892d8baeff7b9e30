package compile

import (
	"slices"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// setDelegates replaces a tenant's delegates, and says whether they are others than before.
func (s *claims) setDelegates(tenant string, record *store.TenantRecord, delegates []string) (changed bool) {
	keyOf := func(host string) string { return store.DelegateKey(tenant, host) }
	list := s.maps.Delegates.ShardsOf(delegates, keyOf)
	if list == record.Delegates && !slices.ContainsFunc(delegates, func(host string) bool {
		_, there := s.maps.Delegates.Get(keyOf(host))
		return !there
	}) {
		return false
	}
	for _, host := range store.DelegatesOf(tenant, record.Delegates, s.maps.Delegates.EachIn) {
		s.maps.Delegates.Delete(keyOf(host))
	}
	for _, host := range delegates {
		s.maps.Delegates.Put(keyOf(host), nil)
	}
	record.Delegates = list
	return true
}

// delegated says whether a claimant lets others have a host.
func (s *claims) delegated(by *claimant, host string) bool {
	if by.record.Delegates == "" {
		return false
	}
	if _, ok := s.maps.Delegates.Get(store.DelegateKey(by.tenant, host)); ok {
		return true
	}
	return slices.ContainsFunc(routing.WildcardsAbove(host), func(above string) bool {
		_, ok := s.maps.Delegates.Get(store.DelegateKey(by.tenant, above))
		return ok
	})
}
