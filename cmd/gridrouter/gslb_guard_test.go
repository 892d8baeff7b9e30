package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing/document"
)

// heldNames is a keeper of names without a server.
type heldNames struct {
	*gslbNames
	answers int // names in the zone that was published last
}

func newHeldNames(kind string) *heldNames {
	h := &heldNames{}
	h.gslbNames = newGslbNames(catalog.NewReader().Decode, gslb.ZoneConfig{}, kind, func(z *gslb.Zone) { h.answers = z.Names() }, zap.NewNop(), prometheus.NewRegistry())
	return h
}

// nameEntries are documents of names n to m-1.
func nameEntries(n, m int) (entries []discovery.Entry) {
	for i := n; i < m; i++ {
		name := fmt.Sprintf("n%03d.grid.example", i)
		entries = append(entries, discovery.Entry{Key: name, Value: []byte(`{"kind":"Gslb","name":"` + name + `","vips":[{"address":"10.0.0.1"}]}`), Revision: 1})
	}
	return entries
}

func keysOf(entries []discovery.Entry) (keys []string) {
	for _, entry := range entries {
		keys = append(keys, entry.Key)
	}
	return keys
}

// TestTheGuardOfNamesHoldsMassDeletions tries what can come, one batch after the other, each at a
// time after the first, and what is answered and held then.
func TestTheGuardOfNamesHoldsMassDeletions(t *testing.T) {
	type step struct {
		after         time.Duration // since the step before
		batch         discovery.Batch
		accept        int64
		answers, held int
	}
	whole := func(revision int64, entries []discovery.Entry) discovery.Batch {
		return discovery.Batch{Whole: true, Revision: revision, Put: entries}
	}
	gone := func(revision int64, n, m int) discovery.Batch {
		return discovery.Batch{Revision: revision, Deleted: keysOf(nameEntries(n, m))}
	}
	first := func(n int) step { return step{batch: whole(1, nameEntries(0, n)), answers: n} }
	oneByOne := []step{first(100)}
	for i := range 12 {
		s := step{after: 100 * time.Millisecond, batch: gone(int64(2+i), i, i+1), answers: max(90, 99-i)}
		s.held = max(0, i-9)
		oneByOne = append(oneByOne, s)
	}
	seldom := []step{first(100)}
	for i := range 30 {
		seldom = append(seldom, step{after: 2 * time.Second, batch: gone(int64(2+i), i, i+1), answers: 99 - i})
	}
	both := gone(2, 0, 100)
	both.Put = nameEntries(100, 101)
	lookEmpty := whole(1, nil)
	lookEmpty.MayLookEmpty = true
	other := whole(1, nameEntries(0, 2))
	other.SourceChanged = true
	otherLacks := whole(1, nameEntries(0, 19))
	otherLacks.SourceChanged = true
	bad := nameEntries(0, 1)
	bad[0].Value = []byte(`{"kind":"Gslb"}`)
	cases := map[string][]step{
		"ten go":                      {first(30), {batch: gone(2, 0, 10), answers: 20}},
		"eleven go":                   {first(30), {batch: gone(2, 0, 11), answers: 30, held: 11}},
		"a twentieth goes":            {first(1000), {batch: gone(2, 0, 50), answers: 950}},
		"more than a twentieth":       {first(1000), {batch: gone(2, 0, 51), answers: 1000, held: 51}},
		"all of two":                  {first(2), {batch: gone(2, 0, 2), answers: 2, held: 2}},
		"the only one":                {first(1), {batch: gone(2, 0, 1), answers: 0}},
		"a list without the one":      {first(1), {batch: lookEmpty, answers: 1, held: 1}},
		"an empty list":               {first(20), {batch: whole(2, nil), answers: 20, held: 20}},
		"others go on":                {first(100), {batch: both, answers: 101, held: 100}},
		"one by one":                  oneByOne,
		"one by one, slowly":          seldom,
		"back again":                  {first(20), {batch: gone(2, 0, 20), answers: 20, held: 20}, {batch: discovery.Batch{Revision: 3, Put: nameEntries(0, 20)}, answers: 20}},
		"back again, but bad":         {first(20), {batch: gone(2, 0, 20), answers: 20, held: 20}, {batch: discovery.Batch{Revision: 3, Put: bad}, answers: 20, held: 19}},
		"lists while it is held":      {first(20), {batch: gone(2, 0, 20), answers: 20, held: 20}, {batch: whole(2, nil), answers: 20, held: 20}, {after: time.Hour, batch: whole(2, nil), answers: 20, held: 20}},
		"accepted":                    {first(20), {batch: gone(2, 0, 20), answers: 20, held: 20}, {accept: 2, answers: 0}},
		"accepted in parts":           {first(60), {batch: gone(2, 0, 20), answers: 60, held: 20}, {batch: gone(3, 20, 21), answers: 60, held: 21}, {accept: 2, answers: 40, held: 1}, {accept: 3, answers: 39}},
		"an older acceptance":         {first(20), {batch: gone(5, 0, 20), answers: 20, held: 20}, {accept: 4, answers: 20, held: 20}},
		"accepted beforehand":         {first(20), {accept: 2, answers: 20}, {batch: gone(2, 0, 20), answers: 0}},
		"a few, some meant, a few":    {first(100), {batch: gone(2, 0, 10), answers: 90}, {accept: 3, answers: 90}, {batch: gone(3, 10, 11), answers: 89}, {batch: gone(4, 11, 12), answers: 88}},
		"meant, then one more":        {first(100), {accept: 2, answers: 100}, {batch: gone(2, 0, 50), answers: 50}, {batch: gone(3, 50, 51), answers: 49}},
		"another source":              {first(20), {batch: other, answers: 20, held: 18}, {accept: 1, answers: 2}},
		"another source without one":  {first(20), {batch: otherLacks, answers: 20, held: 1}, {accept: 1, answers: 19}},
		"the same source without one": {first(20), {batch: whole(2, nameEntries(0, 19)), answers: 19}},
		"an acceptance of another source": {first(40), {accept: 9, answers: 40}, {batch: other, answers: 40, held: 38},
			{batch: gone(2, 0, 1), answers: 40, held: 39}},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			h := newHeldNames("etcd")
			now := time.Unix(1_000_000, 0)
			h.guard.clock = func() time.Time { return now }
			for i, s := range steps {
				now = now.Add(s.after)
				if s.accept > 0 {
					mark := fmt.Sprintf(`{"revision":%d,"by":"kim"}`, s.accept)
					h.acceptMarks(discovery.Batch{Revision: 99, Put: []discovery.Entry{{Key: catalog.MarkAccept, Value: []byte(mark), Revision: 99}}})
				} else {
					h.apply(s.batch)
				}
				told := 0
				if status := h.guard.status.Load(); status != nil {
					told = status.Held
				}
				if h.answers != s.answers || len(h.guard.held) != s.held || told != s.held {
					t.Fatalf("step %d: %d names are answered, want %d; %d held, %d told, want %d", i, h.answers, s.answers, len(h.guard.held), told, s.held)
				}
			}
		})
	}
}

// TestASnapshotOfNamesIsWhatWasAnswered writes and restores one in each state.
func TestASnapshotOfNamesIsWhatWasAnswered(t *testing.T) {
	first := newHeldNames("etcd")
	if first.saved("c") != nil {
		t.Error("a snapshot before there is anything")
	}
	first.apply(discovery.Batch{Whole: true, Revision: 7, Put: nameEntries(0, 20)})
	bad := nameEntries(0, 1)
	bad[0].Value = []byte(`{"kind":"Gslb"}`)
	first.apply(discovery.Batch{Revision: 8, Put: bad})
	first.apply(discovery.Batch{Revision: 9, Deleted: keysOf(nameEntries(1, 20))})
	kept := first.saved("c")
	sections, err := kept.sections()
	if err != nil || kept.header.Names != 20 || kept.header.Revision != 9 {
		t.Fatalf("%+v, %v", kept.header, err)
	}

	next := newHeldNames("etcd")
	if err := next.restore(kept.header, sections); err != nil || next.answers != 20 {
		t.Fatalf("%d names are answered, %v", next.answers, err)
	}
	// What was held comes under the eyes of the guard again, and a bad document finds its last good form.
	next.apply(discovery.Batch{Whole: true, Revision: 9, Put: bad})
	if next.answers != 20 || len(next.guard.held) != 19 {
		t.Errorf("%d names are answered, %d held", next.answers, len(next.guard.held))
	}
	// Whoever discards it still learns when it began, or they would find nothing to put back.
	for range 2 {
		if held := next.guard.status.Load(); held == nil || held.Before != 7 {
			t.Fatalf("held is %+v, want what came after 7", held)
		}
		again, err := next.saved("c").sections()
		if err != nil {
			t.Fatal(err)
		}
		third := newHeldNames("etcd")
		if err := third.restore(next.saved("c").header, again); err != nil {
			t.Fatal(err)
		}
		third.apply(discovery.Batch{Whole: true, Revision: 30, Put: bad})
		next = third
	}

	var values []map[string]any
	if err := json.Unmarshal(sections[0].Data, &values); err != nil {
		t.Fatal(err)
	}
	values[3]["vips"] = []any{}
	changed, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	newer := newHeldNames("etcd")
	if err := newer.restore(kept.header, []discovery.SnapshotSection{{Name: discovery.SnapshotNames, Data: changed}}); err != nil || newer.answers != 19 {
		t.Errorf("with a document that is refused now %d names are answered, %v", newer.answers, err)
	}
	for what, sections := range map[string][]discovery.SnapshotSection{
		"nothing": nil, "another section": {{Name: "x"}}, "no JSON": {{Name: discovery.SnapshotNames, Data: []byte("[")}}, "no documents": {{Name: discovery.SnapshotNames, Data: []byte("[1]")}},
	} {
		none := newHeldNames("etcd")
		if err := none.restore(kept.header, sections); err == nil || none.saved("c") != nil {
			t.Errorf("%s: restored, %v", what, err)
		}
	}
	broken := newHeldNames("etcd")
	broken.newZone = func([]*gslb.Document, gslb.ZoneConfig) *gslb.Zone { panic("broken") }
	if err := broken.restore(kept.header, sections); err == nil || len(broken.documents) != 0 {
		t.Errorf("a zone that panics is restored, %v", err)
	}
}

// TestAGslbServerAnswersFromItsSnapshotAndHoldsAWipe goes through an accident: the server is
// started anew while etcd is away, the prefix is wiped, put back, wiped again as it is meant.
func TestAGslbServerAnswersFromItsSnapshotAndHoldsAWipe(t *testing.T) {
	etcd := etcdtest.Start(t)
	addr := etcd.Addr
	client := etcdClient(t, addr)
	grid := catalog.New(catalog.Config{Client: client, Prefix: "/test/", Who: "kim@bastion", Timeout: patience})
	var text strings.Builder
	for i := range 3 {
		fmt.Fprintf(&text, "kind: Gslb\nname: n%d.grid.example\nvips: [{address: 10.0.0.%d}]\n---\n", i, i+1)
	}
	text.WriteString(deckYAML("d1", "127.0.0.1:1") + deckYAML("d2", "127.0.0.1:1") + tenantYAML("d1"))
	plan, err := grid.Plan(t.Context(), documentsOf(t, grid, text.String()), catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = grid.Apply(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	snapshot := t.TempDir() + "/names.snap"
	args := []string{"--etcd", "http://" + addr, "--prefix", "/test/", "--listen", "127.0.0.1:0", "--server-id", "dns-1", "--snapshot", snapshot}
	p := startGslb(t, args...)
	wantAnswer(t, p.await(t, "answering DNS")["addr"].(string), "n1.grid.example", "10.0.0.2")
	if status := p.terminate(t); status != 0 {
		t.Fatalf("it ended with %d", status)
	}

	if out, err := exec.Command(binary(t), "snapshot", "inspect", snapshot).CombinedOutput(); err != nil || !strings.Contains(string(out), "3 names") {
		t.Errorf("inspect says %v:\n%s", err, out)
	}

	etcd.Stop()
	p = startGslb(t, args...)
	server := p.await(t, "answering DNS")["addr"].(string)
	p.await(t, "the GSLB server starts from its snapshot")
	wantAnswer(t, server, "n1.grid.example", "10.0.0.2")
	p.await(t, "the source of the documents is absent: this server answers from its snapshot, or SERVFAIL where it has none, and keeps trying")
	etcd.Restart(t)
	p.await(t, "the source of the documents is back")

	wipe := func() int64 {
		t.Helper()
		answer, err := client.Delete(t.Context(), "/test/docs/gslb/", clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		return answer.Header.Revision
	}
	revision := wipe()
	p.await(t, "the guard holds the deletion of names: they are answered as before, until it is accepted or discarded by gridctl guard")
	testkit.Eventually(t, "the guard's hold is shown", func() bool {
		state, err := grid.GuardState(t.Context())
		return err == nil && state.GslbServers == 1 && len(state.Holding) == 1 && state.Holding[0].ID == "dns-1" && state.Revision == revision && state.Holding[0].Guard.Held == 3
	})
	if fleet, err := grid.Fleet(t.Context()); err != nil || len(fleet.Members) != 0 || len(fleet.GslbServers) != 1 || fleet.GslbServers[0].Guard == nil {
		t.Errorf("the fleet is %+v, %v", fleet, err)
	}
	putGslb(t, client, "n9.grid.example", gslbValue("n9.grid.example", "10.0.0.9"))
	wantAnswer(t, server, "n9.grid.example", "10.0.0.9")
	wantAnswer(t, server, "n1.grid.example", "10.0.0.2")
	// A mark that is meant for something else would accept it, and is not written.
	plan, err = grid.Plan(t.Context(), documentsOf(t, grid, tenantYAML("d2")), catalog.Options{AllowMassChange: true})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("hold another mass change, up to revision %d", revision)) {
		t.Errorf("a mass change beside it is planned: %+v, %v", plan, err)
	}

	plan, err = grid.PlanDiscard(t.Context(), revision, catalog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if result, err := grid.Apply(t.Context(), plan, nil); err != nil || len(result.Written) != 3 {
		t.Fatalf("%+v, %v", result, err)
	}
	p.await(t, "the guard holds nothing any more")
	testkit.Eventually(t, "nobody shows a hold", func() bool {
		state, err := grid.GuardState(t.Context())
		return err == nil && len(state.Holding) == 0
	})

	revision = wipe()
	testkit.Eventually(t, "the second hold is shown", func() bool {
		state, err := grid.GuardState(t.Context())
		return err == nil && state.Revision == revision
	})
	wantAnswer(t, server, "n1.grid.example", "10.0.0.2")
	if _, err := grid.GuardAccept(t.Context(), revision, "they are gone"); err != nil {
		t.Fatal(err)
	}
	wantAnswer(t, server, "n1.grid.example", "REFUSED") // no name is left, nor an origin
}

// TestAGslbServerIsSaidToBeUpToDateWhenItIs writes good and odd documents, and others than the server's,
// and asks each time whether all are up to date.
func TestAGslbServerIsSaidToBeUpToDateWhenItIs(t *testing.T) {
	addr := etcdtest.Start(t).Addr
	client := etcdClient(t, addr)
	grid := catalog.New(catalog.Config{Client: client, Prefix: "/test/", Timeout: patience})
	putGslb(t, client, "n1.grid.example", gslbValue("n1.grid.example", "10.0.0.1"))
	startGslb(t, "--etcd", "http://"+addr, "--prefix", "/test/", "--listen", "127.0.0.1:0", "--server-id", "dns-1")
	router := `{"id":"r1","revision":9000000000,"hash":"aa"}` // whoever waits for nobody else has no router to wait for
	if _, err := client.Put(t.Context(), "/test/fleet/r1", router); err != nil {
		t.Fatal(err)
	}
	agreed := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		arrival, err := grid.Await(ctx, 0, nil)
		for err == nil && arrival.GslbServers == 0 && ctx.Err() == nil { // it has not announced itself yet
			arrival, err = grid.Await(ctx, 0, nil)
		}
		if fleet, failed := grid.Fleet(t.Context()); err != nil || failed != nil || len(fleet.GslbServers) != 1 || fleet.GslbServers[0].Behind || fleet.GslbServers[0].Disagrees {
			t.Errorf("%s: %v; the GSLB servers are at %d: %+v, %v", what, err, fleet.GslbRevision, fleet.GslbServers, failed)
		}
	}
	agreed("at first")
	for _, key := range []string{"gslb/n2.grid.example", "gslb/", "gslb/..", "gslb/\xff", "gslb/X.example", "gslb/" + strings.Repeat("a.", 2<<10), "gslb", "gslb0", "tenants/t1", ""} {
		if _, err := client.Put(t.Context(), "/test/docs/"+key, "{}"); err != nil {
			t.Fatal(err)
		}
		agreed(fmt.Sprintf("with the key %.40q", key))
		if _, err := client.Delete(t.Context(), "/test/docs/"+key); err != nil {
			t.Fatal(err)
		}
		agreed(fmt.Sprintf("without the key %.40q", key))
	}
}

// TestAFolderOfNamesThatLooksEmptyIsHeldUntilItIsAccepted follows a folder, restarts included.
func TestAFolderOfNamesThatLooksEmptyIsHeldUntilItIsAccepted(t *testing.T) {
	dir, snapshot := t.TempDir(), t.TempDir()+"/names.snap"
	writeFile(t, dir+"/names.yaml", "kind: Gslb\nname: n1.grid.example\nvips: [{address: 10.0.0.1}]\n")
	args := []string{"--routes", dir, "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--origin", "grid.example", "--snapshot", snapshot}
	p := startGslb(t, args...)
	wantAnswer(t, p.await(t, "answering DNS")["addr"].(string), "n1.grid.example", "10.0.0.1")
	if status := p.terminate(t); status != 0 {
		t.Fatalf("it ended with %d", status)
	}
	if err := os.Rename(dir, dir+".away"); err != nil { // as a volume that is not mounted yet
		t.Fatal(err)
	}
	p = startGslb(t, args...)
	wantAnswer(t, p.await(t, "answering DNS")["addr"].(string), "n1.grid.example", "10.0.0.1")
	if status := p.terminate(t); status != 0 {
		t.Fatalf("it ended with %d", status)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}

	writeFile(t, dir+"/names.yaml", "")
	p = startGslb(t, args...)
	server := p.await(t, "answering DNS")["addr"].(string)
	line := p.await(t, "the guard holds the deletion of names: they are answered as before, until it is accepted or discarded by gridctl guard")
	revision := line["revision"]
	wantAnswer(t, server, "n1.grid.example", "10.0.0.1")
	if address := p.await(t, "serving metrics")["addr"]; line["mend"] != fmt.Sprintf("put the files back, or on this machine: gridctl guard accept %v --router %v", revision, address) {
		t.Errorf("the log tells to mend it by %q", line["mend"])
	}
	at := "http://" + p.await(t, "serving metrics")["addr"].(string) + "/guard/accept?revision="
	if status, body := post(t, at+"0"); status != 400 {
		t.Errorf("revision 0: %d %s", status, body)
	}
	if status, body := post(t, at+fmt.Sprint(revision)); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	wantAnswer(t, server, "n1.grid.example", "NXDOMAIN")
	if status, body := post(t, at+fmt.Sprint(revision)); status != 409 || !strings.Contains(body, "holds nothing") {
		t.Errorf("%d %s", status, body)
	}
}

// documentsOf reads documents as a file of them.
func documentsOf(t *testing.T, grid *catalog.Catalog, text string) []document.Parsed {
	t.Helper()
	docs, err := grid.Reader().ReadFile("docs.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return docs
}

// post posts nothing, and returns the answer's status and body.
func post(t *testing.T, url string) (int, string) {
	t.Helper()
	answer, err := http.Post(url, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body)
}

// TestManyNamesThatAreLeftOutCostLittle has an --origin that none of the names is under: a change takes
// no longer for it, and the log tells of a few.
func TestManyNamesThatAreLeftOutCostLittle(t *testing.T) {
	core, logs := observer.New(zap.WarnLevel)
	n := newGslbNames(catalog.NewReader().Decode, gslb.ZoneConfig{Origins: []string{"other.example"}}, "etcd", func(*gslb.Zone) {}, zap.New(core), prometheus.NewRegistry())
	names := nameEntries(0, 10_000)
	n.apply(discovery.Batch{Whole: true, Revision: 1, Put: names})
	if logs.Len() != 11 {
		t.Errorf("%d lines for 10,000 names", logs.Len())
	}
	before := processorTime(t)
	for i := range 5 {
		one := nameEntries(0, 1)
		one[0].Value = []byte(strings.Replace(string(one[0].Value), "10.0.0.1", fmt.Sprintf("10.0.1.%d", i), 1))
		n.apply(discovery.Batch{Revision: int64(2 + i), Put: one})
	}
	if took := processorTime(t) - before; took > 4*time.Second || logs.Len() != 11 {
		t.Errorf("five changes took %s of processors, and %d lines of the log", took, logs.Len())
	}
}

// processorTime is what the process has used of processors so far, which does not grow while it waits
// for one.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
