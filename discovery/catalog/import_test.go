package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gridrouter.io/discovery/catalog"
)

// rows is CSV of pins with the keys from one number up to another.
func rows(from, to int, deck string) string {
	var text strings.Builder
	text.WriteString("key,deck\r\n")
	for i := from; i < to; i++ {
		fmt.Fprintf(&text, "%d,%s\r\n", i, deck)
	}
	return text.String()
}

func (g *grid) importPins(tenant, text string) (*catalog.Plan, catalog.Result) {
	g.Helper()
	plan, result, err := g.ImportPins(g.ctx, tenant, "pins.csv", strings.NewReader(text), catalog.Options{}, nil)
	if err != nil {
		g.Fatal(err)
	}
	return plan, result
}

// applyInterrupted stops after some transactions.
func (g *grid) applyInterrupted(plan *catalog.Plan, after int) (catalog.Result, error) {
	ctx, stop := context.WithCancel(g.ctx)
	defer stop()
	done := 0
	return g.Apply(ctx, plan, func(catalog.Progress) {
		if done++; done == after {
			stop()
		}
	})
}

func TestPinsAreImported(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	_, result := g.importPins("acme", "key,deck\n10086,east-2\n\"a,b\"\"c\",east-1\nü/é,east-1\n")
	if len(result.Written) != 4 || result.Transactions != 1 {
		t.Errorf("written %v in %d transactions", result.Written, result.Transactions)
	}
	g.wantEpoch("acme", 2)
	if got := g.value("docs/pins/acme/a%2Cb%22c"); got != `{"kind":"Pin","tenant":"acme","key":"a,b\"c","deck":"east-1"}` {
		t.Errorf("the pin with a comma is %q", got)
	}
	if g.value("docs/pins/acme/%C3%BC%2F%C3%A9") == "" {
		t.Error("the pin beyond ASCII is missing")
	}
	if history, err := g.History(g.ctx, "pins/acme/10086"); err != nil || len(history) != 1 {
		t.Errorf("its records are %v, %v", history, err)
	}
	plan, _ := g.importPins("acme", "10086,east-2\n")
	if plan.Pending() != 0 {
		t.Errorf("%d documents are pending the second time", plan.Pending())
	}
	g.wantEpoch("acme", 2)
}

func TestEveryRowIsCheckedBeforeAnyIsWritten(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + deck("old", draining) + tenant("acme", "a.example", splitRule))
	f := func(text string, words ...string) {
		t.Helper()
		before := len(g.all())
		_, _, err := g.ImportPins(g.ctx, "acme", "pins.csv", strings.NewReader(text), catalog.Options{}, nil)
		g.wantRefusal(err, words...)
		if len(g.all()) != before {
			t.Error("something was written")
		}
	}
	f("1,east-1\n2,east-9\n", "pins.csv:2", "pins/acme/2", `there is no deck "east-9"`, `did you mean "east-1"`)
	f("1,east-1\n2,old\n", "pins.csv:2", "draining")
	f("1,east-1\n2\n3,a,b\n", "pins.csv:2: has 1 fields", "pins.csv:3: has 3 fields")
	f("1,east-1\n2,east-1\n1,east-2\n", "pins.csv:3", `"1", which stands in line 1 already`)
	f("1,east-1\n,east-1\n", "pins.csv:2", "key: is missing")
	f("1,\n", "pins.csv:1", "deck: is missing")
	f("1,East 1\n", "pins.csv:1", "character other than")
	f("1,east-1\n\"2,east-1\n", "pins.csv:", "is not CSV")
	f(strings.Repeat("x", 513)+",east-1\n", "513 bytes")
	f("\xff,east-1\n", "UTF-8")
	f(strings.Repeat("bad\n", 100), "pins.csv:20:", "80 more rows are bad")
	_, _, err := g.ImportPins(g.ctx, "nobody", "pins.csv", strings.NewReader("1,east-1\n"), catalog.Options{}, nil)
	g.wantRefusal(err, `there is no tenant "nobody"`)
	_, _, err = g.ImportPins(g.ctx, "../x", "pins.csv", strings.NewReader("1,east-1\n"), catalog.Options{}, nil)
	g.wantRefusal(err, "the tenant")
}

func TestAByteOrderMarkIsNoPartOfAKey(t *testing.T) {
	docs, err := catalog.ReadPins("acme", "pins.csv", strings.NewReader("\uFEFFkey,deck\n1,east-1\n"))
	if err != nil || len(docs) != 1 || docs[0].Key != "pins/acme/1" {
		t.Errorf("got %v, %v", docs, err)
	}
}

func TestALargeImportGoesThroughAndRaisesTheEpochOnce(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	n := 5_000
	if testing.Short() {
		n = 1_000
	}
	start := time.Now()
	plan, result := g.importPins("acme", rows(0, n, "east-1"))
	t.Logf("%d pins in %s, %d transactions", n, time.Since(start), result.Transactions)
	if len(result.Written) != n+1 {
		t.Errorf("%d documents written", len(result.Written))
	}
	if most := n/60 + 2; plan.Transactions > most {
		t.Errorf("it took %d transactions, want at most %d", plan.Transactions, most)
	}
	g.wantEpoch("acme", 2)
	g.importPins("acme", rows(0, n, "east-1"))
	g.wantEpoch("acme", 2)
	found := 0
	if _, err := g.List(g.ctx, "pins/acme/", func(items []catalog.Item) error { found += len(items); return nil }); err != nil || found != n {
		t.Errorf("%d pins are listed, %v", found, err)
	}
}

func TestAnInterruptedImportFinishesWhenRunAgain(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	docs, err := catalog.ReadPins("acme", "pins.csv", strings.NewReader(rows(0, 500, "east-1")))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := g.Plan(g.ctx, docs, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	result, err := g.applyInterrupted(plan, 3)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("not interrupted: %v", err)
	}
	g.wantEpoch("acme", 2)
	rest, second := g.importPins("acme", rows(0, 500, "east-1"))
	if got := len(result.Written) + len(second.Written); rest.Pending() == 0 || got != 500+2 {
		t.Errorf("%d documents were written in two runs", got)
	}
	g.wantEpoch("acme", 3)
}

func TestAnImportGoesOnWhileTheTenantChanges(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	docs, err := catalog.ReadPins("acme", "pins.csv", strings.NewReader(rows(0, 300, "east-1")))
	if err != nil {
		t.Fatal(err)
	}
	plan, err := g.Plan(g.ctx, docs, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	once := false
	_, err = g.Apply(g.ctx, plan, func(catalog.Progress) {
		if !once {
			once = true
			g.apply(tenant("acme", "a.example", otherRule))
		}
	})
	if err != nil {
		t.Errorf("another change of the tenant stopped the import: %v", err)
	}
	g.wantEpoch("acme", 3)
}
