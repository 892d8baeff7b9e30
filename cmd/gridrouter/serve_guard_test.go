package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// guarded is a router that follows an etcd with many tenants, and a catalog of them.
type guarded struct {
	*served
	*catalog.Catalog
	t      *testing.T
	client *clientv3.Client
	deck   string
}

const guardedTenants = 50

func startGuarded(t *testing.T) *guarded {
	t.Helper()
	addr := etcdtest.Start(t).Addr
	client := etcdClient(t, addr)
	g := &guarded{t: t, client: client, deck: startDeck(t, "one")}
	g.Catalog = catalog.New(catalog.Config{Client: client, Prefix: "/gridrouter/", Who: "kim@bastion", Timeout: patience})
	g.apply(catalog.Options{}, deckYAML("d1", g.deck)+deckYAML("d2", startDeck(t, "two"))+g.tenants("d1"))
	g.served = startServe(t, "--etcd", "http://"+addr, "--access-log", "off")
	g.ready(t)
	return g
}

// tenants are the documents of all tenants, on a deck.
func (g *guarded) tenants(deck string) string {
	var text strings.Builder
	for i := range guardedTenants {
		fmt.Fprintf(&text, "kind: Tenant\nname: t%02d\nhosts: [t%02d.example]\nrules: [{name: all, deck: %s}]\n---\n", i, i, deck)
	}
	return text.String()
}

func (g *guarded) apply(options catalog.Options, text string) catalog.Result {
	g.t.Helper()
	docs, err := g.Reader().ReadFile("docs.yaml", []byte(text))
	if err != nil {
		g.t.Fatal(err)
	}
	return g.carryOut(g.Plan(g.ctx(), docs, options))
}

func (g *guarded) carryOut(plan *catalog.Plan, err error) catalog.Result {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
	result, err := g.Apply(g.ctx(), plan, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	return result
}

func (g *guarded) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	g.t.Cleanup(cancel)
	return ctx
}

// dropAll deletes all documents behind the catalog's back.
func (g *guarded) dropAll() int64 {
	g.t.Helper()
	answer, err := g.client.Delete(g.ctx(), "/gridrouter/docs/", clientv3.WithPrefix())
	if err != nil {
		g.t.Fatal(err)
	}
	return answer.Header.Revision
}

// askOne sends a request to one of the tenants.
func (g *guarded) askOne(i int) (int, string) {
	req, err := http.NewRequest(http.MethodGet, "http://"+g.data+"/", nil)
	if err != nil {
		return 0, err.Error()
	}
	req.Host = fmt.Sprintf("t%02d.example", i)
	return do(req)
}

// answers asks all tenants, and wants the same of each.
func (g *guarded) answers(status int, body string) {
	g.t.Helper()
	for i := range guardedTenants {
		if got, text := g.askOne(i); got != status || !strings.Contains(text, body) {
			g.t.Fatalf("tenant %d: got %d %q, want %d %q", i, got, text, status, body)
		}
	}
}

// asking goes on asking all tenants until it is stopped, and returns how many requests failed.
func (g *guarded) asking() (stop func() (asked, failed int)) {
	done, ended := make(chan struct{}), make(chan struct{})
	asked, failed := 0, 0
	go func() {
		defer close(ended)
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			default:
			}
			asked++
			if status, _ := g.askOne(i % guardedTenants); status != http.StatusOK {
				failed++
			}
		}
	}()
	return func() (int, int) {
		close(done)
		<-ended
		return asked, failed
	}
}

// metric returns the value of a metric without labels, as it is shown.
func (g *guarded) metric(name string) string {
	_, body := fetch(g.admin + "/metrics")
	for line := range strings.Lines(body) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return "none"
}

// holds waits until the guard shows everywhere that it holds all tenants and decks.
func (g *guarded) holds(revision int64) {
	g.t.Helper()
	fields := g.await(g.t, "the guard holds changes: what they concern stays as it is in force, until they are accepted or discarded")
	if fields["level"] != "error" || fields["dropped"] != float64(guardedTenants) || fields["revision"] != float64(revision) {
		g.t.Errorf("the log says %v", fields)
	}
	if status, body := fetch(g.health + "/readyz"); status != http.StatusOK || !strings.Contains(body, "the guard holds changes") {
		g.t.Errorf("/readyz: %d %q", status, body)
	}
	if _, body := fetch(g.admin + "/table"); !strings.Contains(body, `"guard": {`) || !strings.Contains(body, fmt.Sprintf(`"dropped": %d`, guardedTenants)) {
		g.t.Errorf("/table: %s", body)
	}
	if held, holds := g.metric("gridrouter_guard_held"), g.metric("gridrouter_guard_holds_total"); held != fmt.Sprint(guardedTenants+2) || holds != "1" {
		g.t.Errorf("the metrics show %s held by %s holds", held, holds)
	}
	testkit.Eventually(g.t, "the fleet shows it", func() bool {
		state, err := g.GuardState(g.ctx())
		return err == nil && len(state.Holding) == 1 && state.Revision == revision && state.Holding[0].Guard.Held == guardedTenants+2 &&
			state.Holding[0].Guard.Before > 0 && state.Holding[0].Guard.Before < revision
	})
}

// free waits until the guard holds nothing, as everybody sees.
func (g *guarded) free() {
	g.t.Helper()
	g.await(g.t, "the guard holds nothing any more")
	testkit.Eventually(g.t, "nobody shows a hold", func() bool {
		_, ready := fetch(g.health + "/readyz")
		state, err := g.GuardState(g.ctx())
		return err == nil && len(state.Holding) == 0 && ready == "ready\n" && g.metric("gridrouter_guard_held") == "0"
	})
}

// quiet fails if the guard ever held anything.
func (g *guarded) quiet() {
	g.t.Helper()
	if holds := g.metric("gridrouter_guard_holds_total"); holds != "0" {
		g.t.Errorf("the guard held something %s times", holds)
	}
}

func TestAMassDeletionIsHeldUntilItIsAccepted(t *testing.T) {
	g := startGuarded(t)
	stop := g.asking()
	revision := g.dropAll()
	g.holds(revision)
	g.answers(http.StatusOK, "one")
	if asked, failed := stop(); failed > 0 || asked == 0 {
		t.Errorf("%d of %d requests failed", failed, asked)
	}
	if mark, err := g.GuardAccept(g.ctx(), revision, "they left us"); err != nil || mark.Revision != revision {
		t.Fatalf("%+v, %v", mark, err)
	}
	g.free()
	g.answers(http.StatusNotFound, `"fault": "no_tenant"`)
}

func TestAMassDeletionThatIsDiscardedWasNone(t *testing.T) {
	g := startGuarded(t)
	before := g.table(t)
	stop := g.asking()
	revision := g.dropAll()
	g.holds(revision)
	plan, err := g.PlanDiscard(g.ctx(), revision, catalog.Options{})
	if result := g.carryOut(plan, err); len(result.Written) != guardedTenants+2 || len(plan.Notes) > 0 {
		t.Errorf("%d documents are back, notes %q", len(result.Written), plan.Notes)
	}
	g.free()
	testkit.Eventually(t, "all is as before", func() bool {
		now := g.table(t)
		before.Revision = now.Revision
		return now == before
	})
	g.answers(http.StatusOK, "one")
	if asked, failed := stop(); failed > 0 || asked == 0 {
		t.Errorf("%d of %d requests failed", failed, asked)
	}
}

func TestAMassChangeThatIsMeantPassesAtOnce(t *testing.T) {
	g := startGuarded(t)
	docs, err := g.Reader().ReadFile("docs.yaml", []byte(g.tenants("d2")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err = g.Plan(g.ctx(), docs, catalog.Options{}); err == nil {
		t.Fatal("a mass change is not refused")
	}
	result := g.apply(catalog.Options{AllowMassChange: true}, g.tenants("d2"))
	testkit.Eventually(t, "all is in force", func() bool { return g.table(t).Revision == result.Revision })
	g.answers(http.StatusOK, "two")
	// What was meant does not make a small change of the next moment one of many.
	g.apply(catalog.Options{}, "kind: Tenant\nname: t07\nhosts: [t07.example]\nrules: [{name: all, deck: d1}]\n")
	testkit.Eventually(t, "the small change is in force", func() bool {
		_, body := g.askOne(7)
		return strings.HasPrefix(body, "one")
	})
	g.quiet()
}

func TestABadMarkIsIgnored(t *testing.T) {
	g := startGuarded(t)
	if _, err := g.client.Put(g.ctx(), "/gridrouter/guard/accept", `{"revision": 9000000000000}`); err != nil {
		t.Fatal(err)
	}
	fields := g.await(t, "a mark for the guard is ignored")
	if !strings.Contains(fmt.Sprint(fields["error"]), "accepts mass changes up to revision 9000000000000, but was itself written at") {
		t.Errorf("the log says %v", fields)
	}
	revision := g.dropAll()
	g.holds(revision)
	g.answers(http.StatusOK, "one")
}

// TestAMassDeletionOfFilesIsHeldUntilTheRouterIsTold has a file of all tenants be emptied.
func TestAMassDeletionOfFilesIsHeldUntilTheRouterIsTold(t *testing.T) {
	dir := t.TempDir()
	g := &guarded{t: t, deck: startDeck(t, "one")}
	writeFile(t, dir+"/decks.yaml", deckYAML("d1", g.deck))
	writeFile(t, dir+"/tenants.yaml", g.tenants("d1"))
	g.served = startServe(t, "--routes", dir, "--access-log", "off")
	g.ready(t)
	g.answers(http.StatusOK, "one")
	accept := func(revision int64) (int, string) {
		req, err := http.NewRequest(http.MethodPost, fmt.Sprintf("%s/guard/accept?revision=%d", g.admin, revision), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		return do(req)
	}
	if status, body := accept(1); status != http.StatusConflict || !strings.Contains(body, "holds nothing") {
		t.Errorf("before there is anything to accept: %d %s", status, body)
	}
	writeFile(t, dir+"/tenants.yaml", "# none is left\n"+deckYAML("d2", g.deck))
	testkit.Eventually(t, "it is held", func() bool {
		_, body := fetch(g.admin + "/readyz")
		return strings.Contains(body, "the guard holds changes")
	})
	g.answers(http.StatusOK, "one")
	if got := g.table(t).Counts.Decks; got != 2 {
		t.Errorf("there are %d decks: what came beside it is not in force", got)
	}
	held := int64(0)
	_, body := fetch(g.admin + "/readyz")
	_, behind, _ := strings.Cut(body, "up to revision ")
	if _, err := fmt.Sscanf(behind, "%d", &held); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	command := fmt.Sprintf("gridctl guard accept %d --router ", held)
	if !strings.Contains(body, command) {
		t.Errorf("/readyz says %q, want %q", body, command)
	}
	if _, problems := fetch(g.admin + "/problems"); !strings.Contains(problems, "gridctl guard accept REVISION --router ") {
		t.Errorf("/problems says %s", problems)
	}
	if fields := g.await(t, "the guard holds changes: what they concern stays as it is in force, until they are accepted or discarded"); !strings.Contains(fmt.Sprint(fields["mend"]), command) {
		t.Errorf("the log says %v", fields)
	}
	if status, body := accept(held - 1); status != http.StatusConflict {
		t.Errorf("an earlier revision is accepted: %d %s", status, body)
	}
	if status, body := accept(held); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	testkit.Eventually(t, "no tenant is left", func() bool { return g.table(t).Counts.Tenants == 0 })
}

// TestAFolderThatIsNotItselfAtTheStart restarts a router whose folder is absent, empty or broken by
// then: what the snapshot holds goes on, until the folder says otherwise.
func TestAFolderThatIsNotItselfAtTheStart(t *testing.T) {
	deck := startDeck(t, "one")
	f := func(what string, spoil func(dir string), heals func(dir string)) {
		t.Helper()
		dir, snap := t.TempDir()+"/routes", t.TempDir()+"/r1.snap"
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		writeFile(t, dir+"/decks.yaml", deckYAML("d1", deck))
		writeFile(t, dir+"/acme.yaml", tenantYAML("d1"))
		s := startServe(t, "--routes", dir, "--snapshot", snap, "--access-log", "off")
		s.becomes(t, "one ")
		if code := s.terminate(t); code != 0 {
			t.Fatalf("exit status %d", code)
		}
		spoil(dir)
		s = startServe(t, "--routes", dir, "--snapshot", snap, "--access-log", "off")
		s.ready(t)
		time.Sleep(300 * time.Millisecond) // some rounds of reading, each of which could do harm
		if status, body := s.ask("/"); status != http.StatusOK {
			t.Errorf("%s: %d %s", what, status, body)
		}
		if _, body := fetch(s.admin + "/problems"); body == "[]" || body == "[]\n" {
			if _, ready := fetch(s.admin + "/readyz"); !strings.Contains(ready, "guard") {
				if _, table := fetch(s.admin + "/table"); !strings.Contains(table, "lastError") {
					t.Errorf("%s: nobody says so: %s", what, table)
				}
			}
		}
		heals(dir)
		writeFile(t, dir+"/more.yaml", strings.ReplaceAll(strings.ReplaceAll(tenantYAML("d1"), "acme.example", "more.example"), "name: acme", "name: more"))
		testkit.Eventually(t, what+": the folder is followed again", func() bool {
			_, body := fetch(s.admin + "/tenants/more")
			return strings.Contains(body, "more.example")
		})
		if status, body := s.ask("/"); status != http.StatusOK {
			t.Errorf("%s, in the end: %d %s", what, status, body)
		}
		s.terminate(t)
	}
	restore := func(dir string) {
		_ = os.Mkdir(dir, 0o700) // it may be there
		writeFile(t, dir+"/decks.yaml", deckYAML("d1", deck))
		writeFile(t, dir+"/acme.yaml", tenantYAML("d1"))
	}
	f("broken", func(dir string) { writeFile(t, dir+"/acme.yaml", "kind: Tenant\n\tname: [") }, restore)
	f("both files broken", func(dir string) {
		writeFile(t, dir+"/acme.yaml", "\x00")
		writeFile(t, dir+"/decks.yaml", "---\n\t{")
	}, restore)
	f("empty files", func(dir string) {
		writeFile(t, dir+"/acme.yaml", "")
		writeFile(t, dir+"/decks.yaml", "")
	}, restore)
	f("empty", func(dir string) {
		_ = os.Remove(dir + "/acme.yaml")
		_ = os.Remove(dir + "/decks.yaml")
	}, restore)
	f("absent", func(dir string) { _ = os.RemoveAll(dir) }, restore)
}

// TestAMarkInAWholeListSpeaksUpToItsRevision gives whole lists to the guard, as after an
// outage: what the mark accepts may be older than what is missing from the list.
func TestAMarkInAWholeListSpeaksUpToItsRevision(t *testing.T) {
	f := func(mark int64, restored, held bool) {
		t.Helper()
		g := newGuardWatch(zap.NewNop(), prometheus.NewRegistry())
		compiler, now := compile.NewCompiler(catalog.NewReader().Decode), time.Now()
		deck := discovery.Entry{Key: "decks/d1", Revision: 20, Value: []byte(`{"kind":"Deck","name":"d1","domain":"d1.deck.example","attach":"direct","addresses":["127.0.0.1:1"]}`)}
		batch := discovery.Batch{Whole: true, Revision: 20, Put: []discovery.Entry{deck}}
		for i := range 12 {
			batch.Put = append(batch.Put, discovery.Entry{Key: fmt.Sprintf("tenants/t%02d", i), Revision: 20, Value: fmt.Appendf(nil,
				`{"kind":"Tenant","name":"t%02d","hosts":["t%02d.example"],"epoch":1,"rules":[{"name":"all","deck":"d1"}]}`, i, i)})
		}
		deliver := func(batch discovery.Batch) {
			d := &documents{compiler: compiler, guard: g, publish: func(*routing.Table) {}, kind: "etcd", first: make(chan struct{})}
			update := d.update(batch)
			update.At = now
			table, err := g.compile(compiler, update, batch)
			if err != nil {
				t.Fatal(err)
			}
			g.look(table, batch.Revision)
		}
		deliver(batch)
		deliver(discovery.Batch{
			Whole: true, Revision: 40, SourceChanged: restored, Put: []discovery.Entry{deck},
			Marks: []discovery.Entry{{Key: catalog.MarkAccept, Revision: 40, Value: fmt.Appendf(nil, `{"revision":%d}`, mark)}},
		})
		if got := g.held.Load(); (got != nil) != held || got != nil && (got.Revision != 40 || got.Held != 12) {
			t.Errorf("a mark up to %d: held is %+v", mark, got)
		}
	}
	f(10, false, true)
	f(30, false, true) // it was written before the list, and what went may have gone after it
	f(40, false, false)
	f(30, true, true) // it is of another time
	f(40, true, true)
}

// TestAnOlderMarkAcceptsNoWipe has a router find out about a wipe by a list, with a mark in it that
// was written since the router's last document, for something else: at a start from a snapshot,
// after a compaction, and by an audit after the source was set back.
func TestAnOlderMarkAcceptsNoWipe(t *testing.T) {
	grid := discovery.Batch{Whole: true, Revision: 20, Put: []discovery.Entry{{Key: "decks/d1", Revision: 5, Value: []byte(`{"kind":"Deck","name":"d1","domain":"d1.deck.example","attach":"direct","addresses":["127.0.0.1:1"]}`)}}}
	for i := range 12 {
		grid.Put = append(grid.Put, discovery.Entry{Key: fmt.Sprintf("tenants/t%02d", i), Revision: 20, Value: fmt.Appendf(nil,
			`{"kind":"Tenant","name":"t%02d","hosts":["t%02d.example"],"epoch":1,"rules":[{"name":"all","deck":"d1"}]}`, i, i)})
	}
	wiped := discovery.Batch{Whole: true, Revision: 60, Marks: []discovery.Entry{{Key: catalog.MarkAccept, Revision: 40, Value: []byte(`{"revision":0}`)}}}
	back := wiped
	back.SourceChanged = true
	cases := map[string]struct {
		snapshot bool
		batches  []discovery.Batch
	}{
		"from a snapshot":           {true, []discovery.Batch{wiped}},
		"after a compaction":        {false, []discovery.Batch{wiped}},
		"set back, then an audit":   {false, []discovery.Batch{back, wiped}},
		"held, set back, an audit":  {false, []discovery.Batch{{Revision: 70, Deleted: keysOf(grid.Put)}, back, wiped}},
		"another source, a restart": {true, []discovery.Batch{back, wiped}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			newDocuments := func(compiler *compile.Compiler) *documents {
				return &documents{compiler: compiler, guard: newGuardWatch(zap.NewNop(), prometheus.NewRegistry()), publish: func(*routing.Table) {}, kind: "etcd", first: make(chan struct{}), log: zap.NewNop()}
			}
			d := newDocuments(compile.NewCompiler(catalog.NewReader().Decode))
			d.apply(grid)
			if c.snapshot {
				sections, err := d.checkpoint().Sections()
				if err != nil {
					t.Fatal(err)
				}
				compiler := compile.NewCompiler(catalog.NewReader().Decode)
				table, err := compiler.Restore(sections)
				if err != nil {
					t.Fatal(err)
				}
				d = newDocuments(compiler)
				d.restored(compiler, table, 0)
			}
			for _, batch := range c.batches {
				d.apply(batch)
			}
			held := d.guard.held.Load()
			if tenants := d.compiler.Last().Counts().Tenants; tenants != 12 || held == nil || held.Held != 13 {
				t.Fatalf("%d tenants are in force, %+v is held", tenants, held)
			}
			d.apply(discovery.Batch{Revision: 71, Marks: []discovery.Entry{{Key: catalog.MarkAccept, Revision: 71, Value: fmt.Appendf(nil, `{"revision":%d}`, held.Revision)}}})
			if tenants := d.compiler.Last().Counts().Tenants; tenants != 0 || d.guard.held.Load() != nil {
				t.Errorf("accepted, and %d tenants are in force", tenants)
			}
		})
	}
}

// TestARestartForgetsNotWhenAHoldBegan deletes tenants one by one, so that the hold begins within a
// change that has begun before it, and starts the router anew: whoever discards it has to know.
func TestARestartForgetsNotWhenAHoldBegan(t *testing.T) {
	etcd := etcdtest.Start(t)
	addr, url := etcd.Addr, etcd.URL
	snap := t.TempDir() + "/r1.snap"
	putRaw(t, addr, "decks/d1", deckJSON("d1", "127.0.0.1:1"))
	name := func(i int) string { return fmt.Sprintf("t%02d", i) }
	for i := range 20 {
		putRaw(t, addr, "tenants/"+name(i), fmt.Sprintf(`{"kind":"Tenant","name":%q,"hosts":["%s.example"],"epoch":1,"rules":[{"name":"all","deck":"d1"}]}`, name(i), name(i)))
	}
	client := newClient(t, url)
	grid := catalog.New(catalog.Config{Client: client, Prefix: "/gridrouter/"})
	holding := func(documents int) (held catalog.StatusGuard) {
		t.Helper()
		testkit.Eventually(t, fmt.Sprintf("%d documents are held", documents), func() bool {
			state, err := grid.GuardState(t.Context())
			if err != nil || len(state.Holding) != 1 || state.Holding[0].Guard.Held != documents {
				return false
			}
			held = *state.Holding[0].Guard
			return true
		})
		return held
	}
	s := startServe(t, "--etcd", url, "--snapshot", snap, "--router-id", "r1", "--access-log", "off")
	s.ready(t)
	for i := range 15 {
		if _, err := client.Delete(t.Context(), "/gridrouter/docs/tenants/"+name(i)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond)
	}
	was := holding(5)
	if code := s.terminate(t); code != 0 {
		t.Fatal(code)
	}
	startServe(t, "--etcd", url, "--snapshot", snap, "--router-id", "r1", "--access-log", "off")
	if now := holding(5); was.Before == 0 || now.Before != was.Before || now.Revision != was.Revision {
		t.Errorf("it held %+v, and holds %+v after a restart", was, now)
	}
}
