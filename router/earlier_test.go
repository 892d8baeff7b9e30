package router

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gridrouter.io/routing"
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
