package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
	"gridrouter.io/routing/routingtest"
)

func urlEscaped(text string) string { return url.QueryEscape(text) }

// TestEarlierTablesCanBeAsked publishes a few tables and asks what was decided when.
func TestEarlierTablesCanBeAsked(t *testing.T) {
	g := newGrid(t, nil)
	admin := adminOf(g, nil)
	f := func(revision string, status int, want string) {
		t.Helper()
		got, body := fetch(t, "GET", admin.URL+"/explain?url=http://acme.test/&revision="+revision)
		var told struct {
			Deck, Error string
			Revision    int64
		}
		if err := json.Unmarshal([]byte(body), &told); err != nil || got != status {
			t.Fatalf("revision %s: got %d %s, want %d", revision, got, body, status)
		}
		if told.Error == "" {
			told.Error = fmt.Sprintf("%s by table %d", told.Deck, told.Revision)
		}
		if told.Error != want {
			t.Errorf("revision %s: got %q, want %q", revision, told.Error, want)
		}
	}
	f("1", http.StatusServiceUnavailable, "no documents have been loaded yet")
	g.revision = 10
	for i := range 3 { // at revisions 11, 13 and 15
		g.put(deckAt(fmt.Sprint("d", i), "127.0.0.1:1"), tenantOn("acme", fmt.Sprint("d", i), "acme.test"))
		g.revision++
	}
	const kept = " is not here: this router keeps its tables of the revisions 11 to 15"
	f("10", http.StatusNotFound, "revision 10"+kept)
	f("11", http.StatusOK, "d0 by table 11")
	f("12", http.StatusOK, "d0 by table 11")
	f("13", http.StatusOK, "d1 by table 13")
	f("15", http.StatusOK, "d2 by table 15")
	f("", http.StatusOK, "d2 by table 15")
	f("16", http.StatusNotFound, "revision 16"+kept)
	f("x", http.StatusBadRequest, "revision is no whole number; write one such as 4711")
	f("-1", http.StatusBadRequest, "revision is no whole number; write one such as 4711")
	f("99999999999999999999", http.StatusBadRequest, "revision is no whole number; write one such as 4711")
	if _, body := fetch(t, "GET", admin.URL+"/tenants/acme?revision=12"); !strings.Contains(body, `"deck": "d0"`) {
		t.Errorf("the tenant of revision 12 is %s", body)
	}
	if _, body := fetch(t, "GET", admin.URL+"/metrics"); !strings.Contains(body, "\ngridrouter_tables_kept 3\n") {
		t.Error("the metrics do not say that three tables are kept")
	}
	g.revision = 3 // another source, or one that was restored
	g.publish()
	f("4", http.StatusOK, "d2 by table 4")
	f("13", http.StatusNotFound, "revision 13 is not here: this router keeps its tables of the revisions 4 to 4")
}

// TestAnEarlierTableReadsNoPins asks for a time of which nobody knows the pin any more.
func TestAnEarlierTableReadsNoPins(t *testing.T) {
	board := &pinBoard{pins: map[string]routing.Pinned{"acme/10086": readPin("10086", "d2")}}
	g := cachedGrid(t, board, "10086")
	admin := adminOf(g, nil)
	explain := func(revision int64) (told routing.Explanation) {
		t.Helper()
		_, body := fetch(t, "GET", fmt.Sprintf("%s/explain?url=http://acme.test/&header=x-user-id:10086&revision=%d", admin.URL, revision))
		if err := json.Unmarshal([]byte(body), &told); err != nil {
			t.Fatal(err)
		}
		return told
	}
	if told := explain(1); told.Deck != "d2" {
		t.Errorf("the table in force: got %+v, want d2", told)
	}
	g.put(deckAt("d3", "127.0.0.1:1"))
	if told := explain(1); told.Fault != routing.FaultPinUnreadable || told.Revision != 1 {
		t.Errorf("an earlier table: got %+v, want pin_unreadable", told)
	}
	if told := explain(2); told.Deck != "d2" {
		t.Errorf("the table in force: got %+v, want d2", told)
	}
}

// TestKeptTablesAreBounded publishes more than is kept.
func TestKeptTablesAreBounded(t *testing.T) {
	g := newGrid(t, nil)
	for range maxRecentTables + 10 {
		g.one("127.0.0.1:1")
	}
	if got := g.router.recent.count(); got != maxRecentTables {
		t.Errorf("%d tables are kept, want %d", got, maxRecentTables)
	}
	if _, _, err := g.router.recent.at(10); err == nil {
		t.Error("a table that should have gone answers")
	}
	if table, _, err := g.router.recent.at(11); err != nil || table.Revision() != 11 {
		t.Errorf("the oldest that is kept: %v", err)
	}
}

// TestKeptTablesAreBoundedInBytes replaces a large part of the table again and again.
func TestKeptTablesAreBoundedInBytes(t *testing.T) {
	compiler := compile.NewCompiler(decodeJSON)
	update := compile.Update{Whole: true}
	const pins, most = 500, 1 << 20
	for i := range pins {
		key := fmt.Sprint("pins/acme/", i)
		update.Changes = append(update.Changes, compile.Change{Key: key})
	}
	recent := recentTables{mostBytes: most}
	heaviest, total := 0, 0
	for n := range 200 {
		update.Revision = int64(n + 1)
		for i := range update.Changes {
			update.Changes[i].Value = fmt.Appendf(nil, `{"kind":"Pin","tenant":"acme","key":"%d","deck":"d%d"}`, i, n%7)
			update.Changes[i].Revision = update.Revision
		}
		table := routingtest.Compile(t, compiler, update)
		recent.add(table)
		heaviest, total = max(heaviest, table.Weight()), total+table.Weight()
		if update.Whole = false; total > 3*most {
			break
		}
	}
	kept := 0
	for _, table := range recent.tables[1:] {
		kept += table.Weight()
	}
	t.Logf("%d tables of at most %d bytes are kept, %d bytes of %d", recent.count(), heaviest, kept, total)
	if total <= most {
		t.Fatalf("only %d bytes were published: the test does not see enough", total)
	}
	if kept != recent.bytes || kept > most || kept+heaviest < most {
		t.Errorf("%d bytes are kept, counted as %d, want up to %d", kept, recent.bytes, most)
	}
}
