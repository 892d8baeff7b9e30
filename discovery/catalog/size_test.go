package catalog_test

import (
	"fmt"
	"strings"
	"testing"
)

// TestLargeDocumentsAreDividedAmongTransactions writes more than one transaction of etcd
// takes by its bytes, though by far not by its operations.
func TestLargeDocumentsAreDividedAmongTransactions(t *testing.T) {
	g := newGrid(t)
	g.apply(deck("east-1"))
	var ranges strings.Builder
	for i := range 5_000 {
		fmt.Fprintf(&ranges, "{from: %d, to: %d, deck: east-1},", 10*i, 10*i+5)
	}
	var text strings.Builder
	for i := range 5 {
		text.WriteString(tenant(fmt.Sprintf("t%d", i), fmt.Sprintf("t%d.example", i), "key: {header: x}, ranges: ["+ranges.String()+"]"))
	}
	if plan := g.apply(text.String()); plan.Transactions < 3 {
		t.Errorf("more than 2 MiB took %d transactions", plan.Transactions)
	}
	for i := range 5 {
		g.wantEpoch(fmt.Sprintf("t%d", i), 1)
	}
}
