package catalog_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestNothingIsWrittenBehindAConflict lets a transaction in the middle meet a conflict,
// with others behind it that would go through.
func TestNothingIsWrittenBehindAConflict(t *testing.T) {
	const tenants, taken = 150, 70
	g := newGrid(t)
	g.apply(twoDecks)
	var text strings.Builder
	for i := range tenants {
		text.WriteString(tenant(fmt.Sprintf("t%03d", i), fmt.Sprintf("a%03d.example", i), all))
	}
	plan := g.plan(text.String())
	if plan.Transactions < 4 {
		t.Fatalf("%d transactions have no middle", plan.Transactions)
	}
	g.put(fmt.Sprintf("hosts/a%03d.example", taken), `{"tenant":"somebody"}`)
	result, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, fmt.Sprintf("host a%03d.example was claimed", taken))
	if result.Transactions < 1 || result.Transactions >= plan.Transactions-1 || len(result.Written)+len(result.Unwritten) != tenants {
		t.Fatalf("%d of %d transactions, written %d, not written %d", result.Transactions, plan.Transactions, len(result.Written), len(result.Unwritten))
	}
	for i := range tenants {
		name := fmt.Sprintf("t%03d", i)
		if stored := g.value("docs/tenants/"+name) != ""; stored != (i < len(result.Written)) {
			t.Fatalf("%s is stored: %t, though %d were written", name, stored, len(result.Written))
		}
	}
}
