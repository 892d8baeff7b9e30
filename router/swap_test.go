package router

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

// TestTablesAndAddressesChangeUnderLoad publishes tables and addresses while requests
// run: none fails, and each is served by a deck of the table that it began with.
func TestTablesAndAddressesChangeUnderLoad(t *testing.T) {
	names := &ledger{}
	g := newGrid(t, func(cfg *Config) { cfg.Names = names })
	one, two := echoRevision(t, "one"), echoRevision(t, "two")
	_, port, _ := strings.Cut(one, ":")
	g.one(one)
	var stop atomic.Bool
	var load sync.WaitGroup
	for range 4 {
		load.Go(func() {
			w := g.dial()
			for !stop.Load() {
				w.send(get("/"))
				r, err := w.tryReply("GET")
				if err != nil || r.StatusCode != http.StatusOK {
					t.Errorf("a request failed while tables changed: %v", err)
					return
				}
				var deck string
				var revision int
				// Revisions 2, 5, 8 ... are those at deck two's address, and no others.
				if _, err := fmt.Sscan(r.body, &deck, &revision); err != nil || (deck == "two") != (revision%3 == 2) {
					t.Errorf("the deck says %q %v", r.body, err)
					return
				}
			}
		})
	}
	for i := range 60 {
		switch i % 3 {
		case 0:
			g.one(two)
		case 1:
			g.one(one, "svc.test:"+port)
			names.answer("svc.test", "127.0.0.1")
		case 2:
			g.one(one)
		}
	}
	stop.Store(true)
	load.Wait()
}

// echoRevision is a deck that says its name and the revision that it was told.
func echoRevision(t *testing.T, name string) string {
	return goDeck(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, name, " ", r.Header.Get("X-Grid-Revision"))
	})
}

func TestSeveralListenersServeTheSame(t *testing.T) {
	g := newGrid(t, nil)
	g.one(answering(t, fine).addr)
	second, err := g.router.Listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{g.addr, second.String()} {
		w := dialRaw(t, addr)
		w.send(get("/"))
		wantStatus(t, w.reply("GET"), 200, "")
	}
	if _, err := g.router.Listen(context.Background(), g.addr); err == nil {
		t.Fatal("an address in use is taken twice")
	}
	g.router.Close()
	if _, err := g.router.Listen(context.Background(), "127.0.0.1:0"); err == nil {
		t.Fatal("a closed router listens")
	}
}

func TestARouterNeedsAnIDThatCanBeAFieldsValue(t *testing.T) {
	for _, id := range []string{"", "two words", "a\nb", "\xff", strings.Repeat("a", maxIDBytes+1)} {
		if r, err := New(Config{ID: id}); err == nil {
			r.Close()
			t.Errorf("%q is taken", id)
		}
	}
}

// TestTheLogTellsOfProblemsThatAreNew publishes tables whose problems come and go.
func TestTheLogTellsOfProblemsThatAreNew(t *testing.T) {
	g := newGrid(t, nil)
	compiler := compile.NewCompiler(decodeJSON)
	publish := func(changes ...compile.Change) (lines, more int) {
		t.Helper()
		linesBefore, moreBefore := g.logs.FilterMessage("a document has a problem").Len(), g.logs.FilterMessageSnippet("new problems").Len()
		g.router.Publish(routingtest.Compile(t, compiler, compile.Update{Changes: changes}))
		return g.logs.FilterMessage("a document has a problem").Len() - linesBefore, g.logs.FilterMessageSnippet("new problems").Len() - moreBefore
	}
	bad := func(i int) compile.Change {
		return compile.Change{Key: fmt.Sprintf("tenants/t%02d", i), Value: []byte("{")}
	}
	var many []compile.Change
	for i := range 50 {
		many = append(many, bad(i))
	}
	check := func(what string, lines, more, wantLines, wantMore int) {
		t.Helper()
		if lines != wantLines || more != wantMore {
			t.Errorf("%s: %d lines and %d for the rest, want %d and %d", what, lines, more, wantLines, wantMore)
		}
	}
	lines, more := publish(many...)
	check("fifty", lines, more, maxLoggedProblems, 1)
	lines, more = publish(bad(60))
	check("one more", lines, more, 1, 0)
	lines, more = publish(compile.Change{Key: "tenants/t07", Deleted: true})
	check("one that went", lines, more, 0, 0)
	lines, more = publish(bad(7))
	check("one that came back", lines, more, 1, 0)
}
