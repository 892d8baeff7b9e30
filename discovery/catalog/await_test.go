package catalog_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// says lets a router tell of itself.
func (g *grid) says(id string, revision int64, hash string) {
	g.Helper()
	g.put("fleet/"+id, fmt.Sprintf(`{"id":%q,"revision":%d,"hash":%q}`, id, revision, hash))
}

// hash is that of the stored documents, as a router has it.
func (g *grid) hash() string {
	g.Helper()
	update, err := g.Update(g.ctx)
	if err != nil {
		g.Fatal(err)
	}
	return routingtest.Compile(g, compile.NewCompiler(g.Reader().Decode), update).Hash()
}

// newest is the revision of the newest document.
func (g *grid) newest() int64 {
	g.Helper()
	update, err := g.Update(g.ctx)
	if err != nil {
		g.Fatal(err)
	}
	return update.Revision
}

// arrives waits for what must have happened already.
func (g *grid) arrives(revision, want int64) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, 20*time.Second)
	defer cancel()
	arrival, err := g.Await(ctx, revision, func(_ catalog.Arrival, behind []catalog.Member) {
		g.Errorf("behind: %s", catalog.Stragglers(behind))
	})
	if err != nil || arrival.Revision != want {
		g.Errorf("awaiting %d: %+v, %v; want revision %d", revision, arrival, err, want)
	}
}

// lacks waits for what does not happen, for a moment, and wants the stragglers.
func (g *grid) lacks(revision int64, want ...string) {
	g.Helper()
	ctx, cancel := context.WithTimeout(g.ctx, 700*time.Millisecond)
	defer cancel()
	_, err := g.Await(ctx, revision, nil)
	var late *catalog.BehindError
	if !errors.As(err, &late) {
		g.Fatalf("awaiting %d: %v, want stragglers", revision, err)
	}
	var got []string
	for i := range late.Stragglers {
		got = append(got, late.Stragglers[i].ID)
		if !strings.Contains(err.Error(), late.Stragglers[i].ID) {
			g.Errorf("%q does not name %s", err, late.Stragglers[i].ID)
		}
	}
	if !slices.Equal(got, want) {
		g.Errorf("the stragglers are %v, want %v", got, want)
	}
}

func TestAwaitEndsWhenAllRoutersRunTheRevision(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	newest := g.newest()
	g.says("r1", newest, "aa")
	g.says("r2", newest+7, "bb")
	g.arrives(0, newest)
	g.arrives(newest, newest)
	g.arrives(1, 1)
	g.says("r3", newest-1, "aa")
	g.put("fleet/r4", `[]`)
	g.lacks(0, "r3", "r4")
	g.lacks(newest, "r3", "r4")
}

func TestARouterThatCannotBeReadIsBehindEvenWithoutDocuments(t *testing.T) {
	g := newGrid(t)
	g.says("r1", 0, "")
	g.put("fleet/r2", `[]`)
	g.lacks(0, "r2")
}

func TestAwaitTellsWhoIsBehindOnceForEachSet(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	newest := g.newest()
	for _, id := range []string{"r1", "r2", "r3"} {
		g.says(id, newest-3, "aa")
	}
	var told []string
	ctx, cancel := context.WithTimeout(g.ctx, 20*time.Second)
	defer cancel()
	arrival, err := g.Await(ctx, 0, func(goal catalog.Arrival, behind []catalog.Member) {
		told = append(told, fmt.Sprintf("%d: %s", goal.Routers, catalog.Stragglers(behind)))
		switch len(told) {
		case 1:
			g.says("r2", newest-2, "aa") // a step, but the same routers are behind
			g.says("r1", newest, "bb")
		case 2:
			g.drop("fleet/r3") // its lease ends
			g.says("r2", newest, "bb")
		case 3:
			g.drop("fleet/r1") // which ran it
			g.says("r3", newest, "bb")
		}
	})
	at := func(n int64) string { return fmt.Sprintf("(revision %d)", newest-n) }
	want := []string{"3: r1 " + at(3) + ", r2 " + at(3) + ", r3 " + at(3), "3: r2 " + at(2) + ", r3 " + at(3),
		"3: r3 (announces itself no longer: it is cut off from etcd and serves older documents, or it has ended)"}
	if err != nil || !slices.Equal(told, want) || arrival.Routers != 2 {
		t.Errorf("told %q, want %q; %+v, %v", told, want, arrival, err)
	}
}

func TestAwaitWithoutARouterFails(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	if _, err := g.Await(g.ctx, 0, nil); !errors.Is(err, catalog.ErrNoRouter) {
		t.Errorf("without a router: %v", err)
	}
	g.says("r1", 1, "")
	ctx, cancel := context.WithTimeout(g.ctx, 700*time.Millisecond)
	defer cancel()
	_, err := g.Await(ctx, 0, func(catalog.Arrival, []catalog.Member) { g.drop("fleet/r1") })
	if late := (*catalog.BehindError)(nil); !errors.As(err, &late) || !strings.Contains(err.Error(), "r1 (announces itself no longer") {
		t.Errorf("when the last one went: %v", err)
	}
}

func TestAwaitSeesADeletionThatNoRouterTellsOf(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	old, before := g.hash(), g.newest()
	g.says("stale", before, old)
	g.delete("decks/east-2", catalog.DeleteOptions{})
	now, err := g.Changes(g.ctx, "decks/east-2")
	if err != nil || now[0].Action() != catalog.Delete {
		t.Fatal(err)
	}
	if g.newest() != before {
		t.Fatal("the deletion is not what it is meant to be: there is a newer document")
	}
	g.lacks(0, "stale")
}

func TestARouterThatStartedAfterADeletionIsNotBehind(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	old, newest := g.hash(), g.newest()
	plan, err := g.PlanDelete(g.ctx, "decks/east-2", catalog.DeleteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	deletion := g.carryOut(plan).Revision
	// It lists what is left, of which nothing is as new as the deletion.
	g.says("late", newest, g.hash())
	g.arrives(0, deletion)
	g.arrives(deletion, deletion)
	g.says("stale", newest, old)
	g.lacks(0, "stale")
	// What the documents are now is not asked of one that watched the deletion.
	g.says("stale", deletion, "cc")
	g.says("late", newest, "cc")
	g.arrives(deletion, deletion)
	// A newer document takes the hashes out of the question.
	g.apply(deck("spare"))
	g.says("late", newest, g.hash())
	g.lacks(deletion, "late")
}

func TestAwaitRefusesARevisionThatEtcdHasNotComeTo(t *testing.T) {
	g := newGrid(t)
	g.says("r1", 1, "")
	_, err := g.Await(g.ctx, 1<<40, nil)
	if err == nil || !strings.Contains(err.Error(), "no router can run revision 1099511627776: etcd has come to revision") {
		t.Errorf("got %v", err)
	}
}

func TestAwaitEndsWithItsCaller(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	g.says("r1", 1, "")
	ctx, cancel := context.WithCancel(g.ctx)
	defer cancel()
	if _, err := g.Await(ctx, 0, func(catalog.Arrival, []catalog.Member) { cancel() }); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestAwaitSaysThatEtcdIsAway(t *testing.T) {
	client, err := discovery.NewClient(discovery.ClientConfig{Endpoints: []string{"http://127.0.0.1:1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err = catalog.New(catalog.Config{Client: client, Prefix: "/away/"}).Await(ctx, 0, nil)
	var away *catalog.UnreachableError
	if !errors.As(err, &away) || away.Timeout > 5*time.Second {
		t.Errorf("got %v", err)
	}
}

// TestWhatIsHeldIsNotInForceWhateverItsRevision deletes documents past gridctl: no revision that is
// stored tells of that, but routers that hold it do.
func TestWhatIsHeldIsNotInForceWhateverItsRevision(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	newest := g.newest()
	g.put("fleet/r1", fmt.Sprintf(`{"id":"r1","revision":%d,"hash":"aa"}`, newest))
	g.put("fleet/r2", fmt.Sprintf(`{"id":"r2","revision":%d,"hash":"aa","guard":{"revision":%d,"before":%d,"held":24}}`, newest, newest+1, newest))
	g.lacks(0, "r2")
	g.arrives(newest, newest) // what was asked for is in force
}

// TestAwaitNamesGslbServersAndSplits has GSLB servers and routers tell of themselves in each way that
// is to be named, or not.
func TestAwaitNamesGslbServersAndSplits(t *testing.T) {
	name := "kind: Gslb\nname: orders.grid.example\nvips: [{address: 10.0.0.1}]\n"
	serve := func(g *grid, revision int64, hash, rest string) {
		g.put("gslb/dns", fmt.Sprintf(`{"revision":%d,"hash":%q%s}`, revision, hash, rest))
	}
	stored := func(g *grid) string {
		var hash catalog.Fingerprint
		hash.Add("orders.grid.example", []byte(g.value("docs/gslb/orders.grid.example")))
		return hash.String()
	}
	for what, c := range map[string]struct {
		tell func(g *grid, newest int64)
		late []string
	}{
		"behind":                        {func(g *grid, newest int64) { serve(g, newest-1, "eeee", "") }, []string{"dns"}},
		"ahead":                         {func(g *grid, newest int64) { serve(g, newest+1, "eeee", "") }, nil},
		"only tenants changed since":    {func(g *grid, newest int64) { serve(g, newest-1, stored(g), "") }, nil},
		"an earlier version":            {func(g *grid, newest int64) { serve(g, newest-1, "", "") }, nil},
		"holds":                         {func(g *grid, newest int64) { serve(g, newest, stored(g), `,"guard":{"revision":9,"held":3}`) }, []string{"dns"}},
		"the name of a router":          {func(g *grid, newest int64) { g.put("gslb/r1", fmt.Sprintf(`{"revision":%d,"hash":"eeee"}`, newest-1)) }, []string{"r1"}},
		"a router with other documents": {func(g *grid, newest int64) { g.says("r2", newest, "bb") }, []string{"r1", "r2"}},
		"a router with the stored documents and one without": {func(g *grid, newest int64) {
			g.says("r1", newest, g.hash())
			g.says("r2", newest, "bb")
		}, []string{"r2"}},
	} {
		t.Run(what, func(t *testing.T) {
			g := newGrid(t)
			g.apply(twoDecks + "---\n" + name)
			newest := g.newest()
			g.says("r1", newest, "aa")
			c.tell(g, newest)
			if c.late == nil {
				g.arrives(0, newest)
				return
			}
			g.lacks(0, c.late...)
		})
	}
}
