package compile_test

import (
	"testing"

	"gridrouter.io/routing/routingtest"
)

// TestTheHashTellsBadValuesApart writes bad values in place of a good one: each has a hash
// of its own, which every router shows that holds the same, and what is in force has not
// changed with any of them.
func TestTheHashTellsBadValuesApart(t *testing.T) {
	g := routingtest.NewGrid(t, routingtest.TwoDecks, routingtest.TenantYAML("acme", "east", "acme.example"))
	good, effective := g.Table.Hash(), g.Table.EffectiveHash()
	seen := map[string]string{good: "the good value"}
	for _, value := range []string{`garbage`, `{"kind":"Tenant"}`, `{"kind":"Tenant" }`} {
		g.Raw("tenants/acme", value)
		hash := g.Table.Hash()
		if other, twice := seen[hash]; twice {
			t.Errorf("%s has the hash of %s", value, other)
		}
		seen[hash] = value
		if fresh := g.Fresh(); fresh.Hash() != hash {
			t.Errorf("%s: a router that starts has another hash", value)
		}
		if g.Table.EffectiveHash() != effective {
			t.Errorf("%s changes what is in force", value)
		}
	}
	g.Put(routingtest.TenantYAML("acme", "east", "acme.example"))
	if g.Table.Hash() != good {
		t.Error("bad values leave traces in the hash")
	}
}
