package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// TestARouterThatStartsAfterARestoreHoldsWhatTheBackupLacks restarts a router across a restore that leaves etcd
// its identity: what it knows from its snapshot is newer than the backup.
func TestARouterThatStartsAfterARestoreHoldsWhatTheBackupLacks(t *testing.T) {
	etcd, backup := etcdtest.Start(t), filepath.Join(t.TempDir(), "backup")
	putRaw(t, etcd.Addr, "decks/d1", deckJSON("d1", startDeck(t, "one")))
	putRaw(t, etcd.Addr, "tenants/other", `{"kind":"Tenant","name":"other","hosts":["other.example"],"rules":[{"name":"all","deck":"d1"}]}`)
	etcd.Stop()
	if err := os.CopyFS(backup, os.DirFS(etcd.Dir)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	for i := range 40 { // as many revisions as the words of routers will not make up for soon
		putRaw(t, etcd.Addr, "gslb/x.example", fmt.Sprint(i))
	}
	putRaw(t, etcd.Addr, "tenants/acme", tenantJSON("d1"))
	flags := []string{"--etcd", etcd.URL, "--snapshot", filepath.Join(t.TempDir(), "r1.snap"), "--access-log", "off"}
	s := startServe(t, flags...)
	s.becomes(t, "one ")
	if code := s.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	etcd.Stop()
	if err := os.RemoveAll(etcd.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(etcd.Dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	s = startServe(t, flags...)
	s.await(t, "the guard holds changes: what they concern stays as it is in force, until they are accepted or discarded")
	s.becomes(t, "one ")
}

// TestAFolderThatChangedBetweenTwoRunsIsTakenAsItIs edits a deck, and takes a tenant away, while a router that
// has a snapshot is down.
func TestAFolderThatChangedBetweenTwoRunsIsTakenAsItIs(t *testing.T) {
	dir, snap := t.TempDir(), filepath.Join(t.TempDir(), "r1.snap")
	write := func(deck string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "grid.yaml"), []byte(deckYAML("d1", deck)+tenantYAML("d1")), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	gone := filepath.Join(dir, "gone.yaml")
	if err := os.WriteFile(gone, []byte("kind: Tenant\nname: gone\nhosts: [gone.example]\nrules: [{name: all, deck: d1}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	write(startDeck(t, "one"))
	s := startServe(t, "--routes", dir, "--snapshot", snap, "--access-log", "off")
	s.becomes(t, "one ")
	if code := s.terminate(t); code != 0 {
		t.Fatalf("exit status %d", code)
	}
	write(startDeck(t, "two"))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	s = startServe(t, "--routes", dir, "--snapshot", snap, "--access-log", "off")
	s.becomes(t, "two ")
	if status, body := fetch(s.health + "/readyz"); status != http.StatusOK || strings.Contains(body, "guard") {
		t.Errorf("then it says %d %s", status, body)
	}
}

// TestAHoldIsToldByTheRevisionsOfTheSourceThatIsThere replaces the source of a hold by one that has not come as
// far: by its revisions people accept what is held.
func TestAHoldIsToldByTheRevisionsOfTheSourceThatIsThere(t *testing.T) {
	s, table := newTestDocuments(catalog.NewReader().Decode)
	list := func(revision int64, changed bool, keys ...string) discovery.Batch {
		batch := discovery.Batch{Whole: true, Revision: revision, SourceChanged: changed}
		for _, key := range keys {
			_, name, _ := strings.Cut(key, "/")
			value := deckJSON(name, "127.0.0.1:1")
			if key != "decks/d1" {
				value = strings.ReplaceAll(tenantJSON("d1"), "acme", name)
			}
			batch.Put = append(batch.Put, discovery.Entry{Key: key, Value: []byte(value), Revision: 1})
		}
		return batch
	}
	s.apply(list(500, false, "decks/d1", "tenants/a", "tenants/b"))
	s.apply(list(300, true, "decks/d1", "tenants/a"))
	wantsHeld(t, s, 300)
	s.apply(list(200, true, "decks/d1", "tenants/a"))
	wantsHeld(t, s, 200)
	if table.Load().Guard().Revision != 200 {
		t.Errorf("the table tells %+v", table.Load().Guard())
	}
}

func wantsHeld(t *testing.T, s *documents, revision int64) {
	t.Helper()
	if held := s.guard.held.Load(); held == nil || held.Revision != revision || held.Before != 0 || held.Held != 1 {
		t.Errorf("told is %+v, want 1 document up to revision %d", held, revision)
	}
}

// newTestDocuments are a router's documents without a source.
func newTestDocuments(decode compile.Decoder) (*documents, *atomic.Pointer[routing.Table]) {
	table := &atomic.Pointer[routing.Table]{}
	return &documents{
		rebuild: (*compile.Compiler).Rebuilt, compiler: compile.NewCompiler(decode), guard: newGuardWatch(zap.NewNop(), prometheus.NewRegistry()),
		publish: table.Store, kind: "etcd", first: make(chan struct{}), log: zap.NewNop(), relist: func() {},
		panics: prometheus.NewCounter(prometheus.CounterOpts{Name: "panics", Help: "x"}),
	}, table
}

// TestTheListOfAnotherSourceThatPanickedIsOneWhenItComesAgain gives up the list of a restored source, which then
// is listed again.
func TestTheListOfAnotherSourceThatPanickedIsOneWhenItComesAgain(t *testing.T) {
	decode, poisoned := catalog.NewReader().Decode, true
	s, table := newTestDocuments(func(key string, value []byte) (any, error) {
		if poisoned && string(value) == "poison" {
			return (*routing.Pin)(nil), nil // which nobody looks for
		}
		return decode(key, value)
	})
	entry := func(key, value string) discovery.Entry {
		return discovery.Entry{Key: key, Value: []byte(value), Revision: 1}
	}
	deck, pin := entry("decks/d1", deckJSON("d1", "127.0.0.1:1")), entry("pins/other/a", "poison")
	other := entry("tenants/other", strings.ReplaceAll(tenantJSON("d1"), "acme", "other"))
	s.apply(discovery.Batch{Whole: true, Revision: 500, Put: []discovery.Entry{deck, other, entry("tenants/acme", tenantJSON("d1"))}})
	restored := discovery.Batch{Whole: true, Revision: 300, SourceChanged: true, Put: []discovery.Entry{deck, other, pin}}
	s.apply(restored)
	if !s.broken {
		t.Fatal("nothing panicked")
	}
	poisoned, restored.SourceChanged = false, false
	s.apply(restored)
	wantsHeld(t, s, 300)
	if table.Load().Counts().Tenants != 2 {
		t.Errorf("in force are %+v", table.Load().Counts())
	}
}

// TestANameThatIsHeldStaysSoThroughARestart restarts a server that holds the loss of one name.
func TestANameThatIsHeldStaysSoThroughARestart(t *testing.T) {
	h := newHeldNames("etcd")
	h.apply(discovery.Batch{Whole: true, Revision: 500, Put: nameEntries(0, 20)})
	lacks := discovery.Batch{Whole: true, Revision: 300, SourceChanged: true, Put: nameEntries(0, 19)}
	h.apply(lacks)
	saved := h.saved("c")
	sections, err := saved.sections()
	if err != nil {
		t.Fatal(err)
	}
	next := newHeldNames("etcd")
	if err := next.restore(saved.header, sections); err != nil {
		t.Fatal(err)
	}
	lacks.Revision, lacks.SourceChanged = 301, false
	next.apply(lacks)
	if status := next.guard.status.Load(); next.answers != 20 || status == nil || status.Held != 1 || status.Revision != 301 {
		t.Errorf("%d names are answered, held is %+v", next.answers, status)
	}
	lacks.Revision, lacks.SourceChanged = 200, true
	next.apply(lacks)
	if status := next.guard.status.Load(); status == nil || status.Held != 1 || status.Revision != 200 || status.Before != 0 {
		t.Errorf("after another restore held is %+v", status)
	}
}

func TestNamesOfAFolderThatChangedBetweenTwoRunsAreTakenAsTheyAre(t *testing.T) {
	h := newHeldNames("files")
	h.apply(discovery.Batch{Whole: true, Revision: 5, Put: nameEntries(0, 20)})
	h.apply(discovery.Batch{Whole: true, Revision: 1, SourceChanged: true, MayLookEmpty: true, Put: nameEntries(0, 19)})
	if h.answers != 19 {
		t.Errorf("%d names are answered", h.answers)
	}
}

// TestASecondRestoreIsToldOfEpochsToo restores the same backup twice, the second time before the first was settled:
// the second etcd must learn what routers have seen, too, or those that start then serve from the deck of
// the backup.
func TestASecondRestoreIsToldOfEpochsToo(t *testing.T) {
	decks := deckYAML("d1", startDeck(t, "one")) + deckYAML("d2", startDeck(t, "two"))
	r := startRestorable(t, decks+tenantYAML("d1"))
	veteran := startServe(t, "--etcd", r.url, "--router-id", "veteran", "--access-log", "off")
	veteran.becomes(t, "one ")
	r.apply(tenantYAML("d2"))
	veteran.becomes(t, "two ")
	r.restore()
	r.seen()
	r.restore()
	r.seen()
	veteran.becomes(t, "two ")
}

// TestWhatABackupLacksGoesOnWithItsExport writes a tenant again, whose epoch had risen, from what a router
// prints.
func TestWhatABackupLacksGoesOnWithItsExport(t *testing.T) {
	decks := deckYAML("d1", startDeck(t, "one")) + deckYAML("d2", startDeck(t, "two"))
	r := startRestorable(t, decks+"kind: Tenant\nname: other\nhosts: [other.example]\nrules: [{name: all, deck: d1}]\n")
	veteran := startServe(t, "--etcd", r.url, "--router-id", "veteran", "--access-log", "off")
	for i := range 4 {
		r.apply(tenantYAML([]string{"d1", "d2"}[i%2]))
	}
	veteran.becomes(t, "two ")
	r.restore()
	veteran.await(t, "the guard holds changes: what they concern stays as it is in force, until they are accepted or discarded")
	_, export := fetch(veteran.admin + "/export")
	r.apply(strings.ReplaceAll(strings.TrimSpace(export), "\n", "\n---\n"))
	veteran.await(t, "the guard holds nothing any more")
	recruit := startServe(t, "--etcd", r.url, "--router-id", "recruit", "--access-log", "off")
	recruit.becomes(t, "two ")
	testkit.Eventually(t, "the fleet agrees", func() bool {
		fleet, err := r.grid().Fleet(t.Context())
		return err == nil && len(fleet.Members) == 2 && !fleet.Members[0].OtherForms && !fleet.Members[1].OtherForms && fleet.Members[0].Problems == 0
	})
}
