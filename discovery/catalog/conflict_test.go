package catalog_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"gridrouter.io/discovery/catalog"
)

func TestOfTwoConcurrentClaimsExactlyOneWins(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	for round := range 10 {
		host := fmt.Sprintf("h%d.example", round)
		plans := []*catalog.Plan{
			g.plan(tenant(fmt.Sprintf("acme-%d", round), host, all)),
			g.plan(tenant(fmt.Sprintf("globex-%d", round), host, all)),
		}
		wantOneWinner(t, g, plans, "host "+host+" was claimed")
	}
}

// wantOneWinner applies plans at the same time; all but one must end in a conflict.
func wantOneWinner(t *testing.T, g *grid, plans []*catalog.Plan, words string) {
	t.Helper()
	errs := make([]error, len(plans))
	var all sync.WaitGroup
	for i, plan := range plans {
		all.Go(func() { _, errs[i] = g.Apply(g.ctx, plan, nil) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		g.wantConflict(err, words)
	}
	if won != 1 {
		t.Errorf("%d of %d concurrent applies won: %v", won, len(plans), errs)
	}
}

func TestConcurrentChangesOfOneTenantConflict(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all))
	wantOneWinner(t, g, []*catalog.Plan{
		g.plan(tenant("acme", "a.example b.example", all)),
		g.plan(tenant("acme", "a.example c.example", all)),
	}, "tenant acme was changed")
}

func TestAWildcardAndAHostBelowItCannotBothBeClaimed(t *testing.T) {
	wide, narrow := tenant("acme", "*.shop.example", all), tenant("globex", "pay.shop.example", all)
	t.Run("the host is first", func(t *testing.T) {
		g := newGrid(t)
		g.apply(twoDecks)
		plan := g.plan(wide)
		g.apply(narrow)
		_, err := g.Apply(g.ctx, plan, nil)
		g.wantConflict(err, "host pay.shop.example, which lies under *.shop.example, was claimed for tenant globex")
		g.holds("*.shop.example", "")
		if g.value("docs/tenants/acme") != "" {
			t.Error("the tenant was written")
		}
	})
	t.Run("the wildcard is first", func(t *testing.T) {
		g := newGrid(t)
		g.apply(twoDecks)
		plan := g.plan(narrow)
		g.apply(wide)
		_, err := g.Apply(g.ctx, plan, nil)
		g.wantConflict(err, "host *.shop.example was claimed")
	})
	t.Run("at the same time", func(t *testing.T) {
		g := newGrid(t)
		g.apply(twoDecks)
		for round := range 20 {
			both := bothAtOnce(g,
				tenant(fmt.Sprintf("wide-%d", round), fmt.Sprintf("*.s%d.example", round), all),
				tenant(fmt.Sprintf("narrow-%d", round), fmt.Sprintf("pay.s%d.example", round), all))
			if both[0] == nil && both[1] == nil {
				t.Fatalf("round %d: both were claimed", round)
			}
		}
	})
	t.Run("the reservation is noticed", func(t *testing.T) {
		// Who was about to use a reservation that another took for stale must not.
		g := newGrid(t)
		g.apply(twoDecks)
		g.put("hosts/*.shop.example", `{"tenant":"acme"}`)
		plan := g.plan(wide)
		g.apply(narrow)
		_, err := g.Apply(g.ctx, plan, nil)
		g.wantConflict(err, "*.shop.example")
	})
}

func bothAtOnce(g *grid, texts ...string) []error {
	g.Helper()
	plans := make([]*catalog.Plan, len(texts))
	for i, text := range texts {
		plans[i] = g.plan(text)
	}
	errs := make([]error, len(plans))
	var all sync.WaitGroup
	for i, plan := range plans {
		all.Go(func() { _, errs[i] = g.Apply(g.ctx, plan, nil) })
	}
	all.Wait()
	return errs
}

func TestADelegationTakenBackMeanwhileConflicts(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "*.shop.example", all, delegates("pay.shop.example")))
	plan := g.plan(tenant("globex", "pay.shop.example", all))
	g.apply(tenant("acme", "*.shop.example", all))
	_, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "tenant acme was changed")
}

func TestADelegatedHostClaimedMeanwhileConflicts(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "*.shop.example", all, delegates("pay.shop.example")))
	plan := g.plan(tenant("acme", "*.shop.example", all))
	g.apply(tenant("globex", "pay.shop.example", all))
	_, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "host pay.shop.example was claimed")
}

func TestAConflictStopsAndSaysHowFarItCame(t *testing.T) {
	g := newGrid(t)
	var text strings.Builder
	text.WriteString(twoDecks)
	for i := range 100 {
		text.WriteString(tenant(fmt.Sprintf("t%03d", i), fmt.Sprintf("a%d.example", i), all))
	}
	plan := g.plan(text.String())
	g.apply(twoDecks + tenant("other", "a90.example", all))
	// The decks were written meanwhile, so that nothing at all could be written.
	result, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "deck east-1 was created")
	if len(result.Written) != 0 || len(result.Unwritten) != 102 {
		t.Errorf("written %d, not written %d", len(result.Written), len(result.Unwritten))
	}
	// A plan of its own then sees that a host is taken.
	g.refuses(text.String(), `"a90.example" belongs to tenant "other"`)
}

func TestAHostBelowADelegatedWildcardClaimedMeanwhileConflicts(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "*.shop.example", all, delegates("*.pay.shop.example")))
	plan := g.plan(tenant("acme", "*.shop.example", all))
	g.apply(tenant("globex", "x.pay.shop.example", all))
	_, err := g.Apply(g.ctx, plan, nil)
	g.wantConflict(err, "host x.pay.shop.example was claimed")
}

// whileImporting imports pins of acme in several transactions, and does something between them.
func whileImporting(g *grid, text string, between func(transaction int)) error {
	g.Helper()
	docs, err := catalog.ReadPins("acme", "pins.csv", strings.NewReader(text))
	if err != nil {
		g.Fatal(err)
	}
	plan, err := g.Plan(g.ctx, docs, catalog.Options{})
	if err != nil {
		g.Fatal(err)
	}
	done := 0
	_, err = g.Apply(g.ctx, plan, func(catalog.Progress) {
		done++
		between(done)
	})
	return err
}

func TestATenantDeletedDuringAnImportTakesNoMorePins(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	err := whileImporting(g, rows(0, 300, "east-1"), func(transaction int) {
		if transaction == 1 {
			g.delete("tenants/acme", catalog.DeleteOptions{WithPins: true})
			g.apply(tenant("acme", "a.example", splitRule))
		}
	})
	g.wantConflict(err, "tenant acme was")
}

func TestADeckIsNotDeletedUnderAnImport(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + deck("old") + tenant("acme", "a.example", splitRule))
	var deletion *catalog.Plan
	err := whileImporting(g, rows(0, 100, "east-1")+strings.ReplaceAll(rows(100, 300, "old"), "key,deck\r\n", ""), func(transaction int) {
		switch transaction {
		case 1:
			plan, err := g.PlanDelete(g.ctx, "decks/old", catalog.DeleteOptions{})
			if err != nil {
				t.Fatal(err)
			}
			deletion = plan
		case 4:
			_, err := g.Apply(g.ctx, deletion, nil)
			g.wantConflict(err, "pin acme/")
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestATenantThatComesBackStopsTheDeletionOfItsPins(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	g.importPins("acme", rows(0, 3_000, "east-1"))
	plan, err := g.PlanDelete(g.ctx, "tenants/acme", catalog.DeleteOptions{WithPins: true})
	if err != nil {
		t.Fatal(err)
	}
	back := false
	_, err = g.Apply(g.ctx, plan, func(catalog.Progress) {
		if !back {
			back = true
			g.apply(tenant("acme", "a.example", splitRule))
		}
	})
	g.wantConflict(err, "tenant acme was created")
}
