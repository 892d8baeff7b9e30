package routing_test

import "testing"

// TestTheHashTellsBadValuesApart writes bad values in place of a good one: each has a hash
// of its own, which every router shows that holds the same, and what is in force has not
// changed with any of them.
func TestTheHashTellsBadValuesApart(t *testing.T) {
	g := newGrid(t, twoDecks, tenant("acme", "east", "acme.example"))
	good, effective := g.table.Hash(), g.table.EffectiveHash()
	seen := map[string]string{good: "the good value"}
	for _, value := range []string{`garbage`, `{"kind":"Tenant"}`, `{"kind":"Tenant" }`} {
		g.raw("tenants/acme", value)
		hash := g.table.Hash()
		if other, twice := seen[hash]; twice {
			t.Errorf("%s has the hash of %s", value, other)
		}
		seen[hash] = value
		if fresh := g.fresh(); fresh.Hash() != hash {
			t.Errorf("%s: a router that starts has another hash", value)
		}
		if g.table.EffectiveHash() != effective {
			t.Errorf("%s changes what is in force", value)
		}
	}
	g.put(tenant("acme", "east", "acme.example"))
	if g.table.Hash() != good {
		t.Error("bad values leave traces in the hash")
	}
}
