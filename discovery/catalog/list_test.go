package catalog_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func TestListingGoesPageByPageAtOneRevision(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", splitRule))
	const n = 2_500
	g.importPins("acme", rows(0, n, "east-1"))
	pages, found := 0, map[string]bool{}
	revision, err := g.List(g.ctx, "pins/acme/", func(items []catalog.Item) error {
		if pages++; pages == 1 {
			g.apply(pin("acme", "zzz", "east-1"))
		}
		for _, item := range items {
			found[item.Key] = true
		}
		return nil
	})
	if err != nil || revision == 0 || pages < 2 || len(found) != n || found["pins/acme/zzz"] {
		t.Errorf("%d pins in %d pages at revision %d, %v", len(found), pages, revision, err)
	}
}

func TestBadStoredDocumentsAreListedWithTheirFault(t *testing.T) {
	g := newGrid(t)
	g.put("docs/decks/bad", `{"kind":"Deck","name":"worse"}`)
	var items []catalog.Item
	if _, err := g.List(g.ctx, "", func(page []catalog.Item) error { items = append(items, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	if len(items) != 1 || items[0].Err == nil || items[0].Key != "decks/bad" {
		t.Errorf("listed %+v", items)
	}
}

func TestManyAreReadAtOnce(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks)
	items, err := g.GetMany(g.ctx, []string{"decks/east-1", "decks/nobody"})
	if err != nil || len(items) != 1 || items["decks/east-1"].Document == nil {
		t.Errorf("got %v, %v", items, err)
	}
}

func TestACompilerTakesWhatIsStored(t *testing.T) {
	g := newGrid(t)
	g.apply(twoDecks + tenant("acme", "a.example", all))
	update, err := g.Update(g.ctx)
	if err != nil {
		t.Fatal(err)
	}
	table := routingtest.Compile(t, compile.NewCompiler(g.Reader().Decode), update)
	decision := table.Decide(&routing.Request{Host: []byte("a.example"), Method: []byte("GET"), Path: []byte("/")})
	if decision.Deck == nil || decision.Deck.Name != "east-1" || table.Revision() != update.Revision || len(table.Problems()) != 0 {
		t.Errorf("decided %+v at revision %d, problems %v", decision, table.Revision(), table.Problems())
	}
}

func TestAnEtcdThatIsAwayIsToldInOneLine(t *testing.T) {
	const nowhere = "http://127.0.0.1:1"
	client, err := discovery.NewClient(discovery.ClientConfig{Endpoints: []string{nowhere}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c := catalog.New(catalog.Config{Client: client, Prefix: "/x/", Timeout: 300 * time.Millisecond})
	want := fmt.Sprintf("etcd at %s does not answer within 300ms; is it running?", nowhere)
	wantLine := func(err error) {
		t.Helper()
		var away *catalog.UnreachableError
		if !errors.As(err, &away) || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("the error is %v", err)
		}
	}
	docs, err := c.Reader().ReadFile("grid.yaml", []byte(twoDecks))
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Plan(t.Context(), docs, catalog.Options{})
	wantLine(err)
	_, err = c.Get(t.Context(), "decks/a")
	wantLine(err)
	_, err = c.Fleet(t.Context())
	wantLine(err)
	// A transaction may have been done all the same, and says so.
	g := newGrid(t)
	plan := g.plan(twoDecks)
	result, err := c.Apply(t.Context(), plan, nil)
	wantLine(err)
	if !strings.Contains(err.Error(), "may or may not have been written") || len(result.Unwritten) != 2 {
		t.Errorf("the error is %v, not written %v", err, result.Unwritten)
	}
}
