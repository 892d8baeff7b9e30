package catalog

import (
	"fmt"
	"slices"

	"gridrouter.io/routing"
)

// owner says who will hold a host when the plan is done.
type owner struct {
	tenant string
	item   *item
	doc    *routing.Tenant // nil: its stored form cannot be read
}

// owners maps every host that the plan knows of to its holder. What is given comes first;
// of stored claims, those count whose tenant lists the host.
func (w *world) owners() map[string]owner {
	owners := make(map[string]owner, len(w.claims))
	for _, it := range w.given {
		tenant := tenantOf(it.given)
		for _, host := range hostsOf(tenant) {
			if _, taken := owners[host]; !taken {
				owners[host] = owner{tenant.Name, it, tenant}
			}
		}
	}
	for host, claim := range w.claims {
		if _, taken := owners[host]; taken || w.stale(host, claim) {
			continue
		}
		it := w.items[tenantKey(claim.tenant)]
		if it == nil || it.changing() {
			continue
		}
		owners[host] = owner{claim.tenant, it, it.wasTenant()}
	}
	return owners
}

// stale says whether a claim holds nothing: its tenant does not exist, or does not list
// the host. A tenant whose stored form cannot be read keeps its claims.
func (w *world) stale(host string, c claim) bool {
	if c.tenant == "" {
		return true
	}
	it := w.items[tenantKey(c.tenant)]
	if it == nil || it.mod == 0 {
		return true
	}
	was := it.wasTenant()
	if was == nil {
		return false
	}
	return !slices.Contains(was.Hosts, host)
}

// checkHosts finds hosts of a tenant that belong to another, and delegates that are
// taken back while another tenant lives on them.
func (w *world) checkHosts(it *item, tenant *routing.Tenant, owners map[string]owner) []error {
	var reasons []error
	for i, host := range tenant.Hosts {
		path := fmt.Sprintf("hosts[%d]", i)
		if first := owners[host]; first.item != it {
			reasons = append(reasons, refusal(it, path, "%q belongs to tenant %q already (%s); a host belongs to one tenant: take it out of one of the two",
				host, first.tenant, first.item.place()))
			continue
		}
		if other, held := w.holder(host, tenant.Name); held {
			reasons = append(reasons, refusal(it, path, "%q belongs to tenant %q already (etcd); take it out of that tenant first, or in the same call",
				host, other))
		}
	}
	return reasons
}

// holder returns the tenant that holds host in etcd and goes on doing so, if it is
// another than tenant.
func (w *world) holder(host, tenant string) (string, bool) {
	c, claimed := w.claims[host]
	if !claimed || c.tenant == tenant || w.stale(host, c) {
		return "", false
	}
	if it := w.items[tenantKey(c.tenant)]; it.changing() {
		return "", false
	}
	return c.tenant, true
}

// checkWildcards finds hosts under another tenant's wildcard that are not delegated,
// where at least one of the two tenants is given. Every wildcard above counts, as it does
// for routers: who delegates a wildcard delegates all that is under it.
func (w *world) checkWildcards(owners map[string]owner) []error {
	var reasons []error
	for _, host := range sortedKeys(owners) {
		mine := owners[host]
		for _, wildcard := range routing.WildcardsAbove(host) {
			above, held := owners[wildcard]
			if !held {
				continue
			}
			given := mine.item.given != nil || above.item.given != nil
			if above.tenant != mine.tenant && given && !delegated(above.doc, host) {
				reasons = append(reasons, undelegated(host, wildcard, mine, above))
				break
			}
		}
	}
	return reasons
}

// undelegated is the reason, told at the document that was given.
func undelegated(host, wildcard string, mine, above owner) error {
	if mine.item.given != nil {
		return refusal(mine.item, hostPath(mine.doc, host), "%q lies under %q of tenant %q (%s), which does not delegate it; add it to the delegates of %q first, or in the same call",
			host, wildcard, above.tenant, above.item.place(), above.tenant)
	}
	return refusal(above.item, hostPath(above.doc, wildcard), "%q of tenant %q (%s) lies under %q; add it to the delegates of %q, or take it from tenant %q first",
		host, mine.tenant, mine.item.place(), wildcard, above.tenant, mine.tenant)
}

func hostPath(tenant *routing.Tenant, host string) string {
	if at := slices.Index(hostsOf(tenant), host); at >= 0 {
		return fmt.Sprintf("hosts[%d]", at)
	}
	return "hosts"
}
