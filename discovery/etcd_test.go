package discovery

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

const (
	testRoot     = "/gridrouter/docs/"
	testProgress = 50 * time.Millisecond
)

// openEtcd makes a source that asks for progress often, so that tests are
// quick.
func openEtcd(client *clientv3.Client, root string) *Etcd {
	return NewEtcd(EtcdConfig{Client: client, Root: root, ProgressEvery: testProgress,
		Registerer: prometheus.NewPedanticRegistry()})
}

func TestEtcdKeepsTheSourceContract(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	// Neighbours of the prefix, which no test may see.
	etcdWriter{client, ""}.commit(t, map[string]string{"/": "x", "/0": "x", "/test": "x"})
	n := 0
	testSource(t, func(*testing.T) (Source, writer) {
		n++
		root := fmt.Sprintf("/test/%d/", n)
		return openEtcd(client, root), etcdWriter{client, root}
	})
}

func TestEtcdListsManyKeysAtOneRevisionWhileTheyChange(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	const keys, perCommit = 3000, 100
	// Every key of a block holds the same number, written in one transaction:
	// a list over two revisions would show a block with two numbers.
	writeBlock := func(block, n int) {
		put := map[string]string{}
		for k := range perCommit {
			put[fmt.Sprintf("%03d/%05d", k, block)] = fmt.Sprintf("%d %s", n, strings.Repeat("x", 200))
		}
		w.commit(t, put)
	}
	for block := range keys / perCommit {
		writeBlock(block, 0)
	}
	for _, pageSize := range []int{0, 37, 1000, keys} {
		t.Run(fmt.Sprintf("pages of %d", pageSize), func(t *testing.T) {
			stop := make(chan struct{})
			var writing = make(chan struct{})
			go func() {
				defer close(writing)
				for n := 1; ; n++ {
					select {
					case <-stop:
						return
					case <-time.After(10 * time.Millisecond): // else etcd has time for nothing but the writer
						writeBlock(n%(keys/perCommit), n)
					}
				}
			}()
			source := NewEtcd(EtcdConfig{Client: client, Root: testRoot, PageSize: pageSize})
			r := followWith(t, source, func(state map[string]Entry, batch Batch) {
				if len(state) != keys {
					t.Errorf("%d keys at revision %d, want %d", len(state), batch.Revision, keys)
				}
				for block := range keys / perCommit {
					first := state[fmt.Sprintf("000/%05d", block)]
					for k := range perCommit {
						if other := state[fmt.Sprintf("%03d/%05d", k, block)]; other.Revision != first.Revision {
							t.Errorf("at revision %d block %d holds revisions %d and %d", batch.Revision, block, first.Revision, other.Revision)
							return
						}
					}
				}
			})
			r.await("some batches", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 5 })
			close(stop)
			<-writing
			if err := r.stop(); !isCanceled(err) {
				t.Error(err)
			}
		})
	}
}

func TestEtcdLargeTransactionIsOneBatch(t *testing.T) {
	// 128 values of 10 kB: more than the 1.5 MB at which etcd cuts a watch
	// answer in fragments, once it has two such revisions to send.
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	r := follow(t, openEtcd(client, testRoot))
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	for n := range 6 {
		put := map[string]string{}
		for k := range 128 {
			put[fmt.Sprint(k)] = strings.Repeat(fmt.Sprint(n), 10_000)
		}
		revision := w.revision(t, put)
		r.await("the transaction", func(_ map[string]Entry, batches []Batch) bool {
			return batches[len(batches)-1].Revision >= revision
		})
		last := r.received()[len(r.received())-1]
		if len(last.Put) != 128 || last.Whole || last.Revision != revision {
			t.Errorf("the batch of revision %d has %d entries and revision %d", revision, len(last.Put), last.Revision)
		}
	}
}

func TestEtcdFragmentedBacklogStaysWhole(t *testing.T) {
	etcd := etcdtest.Start(t)
	direct := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	p := startProxy(t, etcd.Addr)
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	r := followWith(t, source, func(state map[string]Entry, batch Batch) {
		revisions := map[int64]bool{}
		for _, entry := range state {
			revisions[entry.Revision] = true
		}
		if len(revisions) > 1 {
			t.Errorf("at revision %d a transaction is applied by half: %v", batch.Revision, revisions)
		}
	})
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	p.cut()
	for n := range 8 { // some 8 MB to catch up with
		put := map[string]string{}
		for k := range 100 {
			put[fmt.Sprint(k)] = strings.Repeat(fmt.Sprint(n), 10_000)
		}
		direct.commit(t, put)
	}
	p.point(etcd.Addr)
	r.await("the last transaction", func(state map[string]Entry, _ []Batch) bool {
		return strings.HasPrefix(string(state["0"].Value), "7")
	})
	if r.received()[len(r.received())-1].Whole {
		t.Error("it was listed, not watched: the test proves nothing")
	}
}

func TestEtcdBurstIsGathered(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	p := startProxy(t, client.Endpoints()[0][len("http://"):])
	r := follow(t, openEtcd(newTestClient(t, p.addr), testRoot))
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	w.commit(t, map[string]string{"watched": "x"}) // so that etcd sends each event by itself
	want := map[string]string{"watched": "x"}
	r.awaitState(want)
	p.stall()
	for n := range 200 {
		want[fmt.Sprint(n)] = "x"
		w.commit(t, map[string]string{fmt.Sprint(n): "x"})
	}
	p.resume()
	r.awaitState(want)
	if got := len(r.received()); got > 100 {
		t.Errorf("200 events that came at once made %d batches", got)
	}
}

func TestEtcdProgressKeepsAgeAndRevision(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	source := openEtcd(client, testRoot)
	r := follow(t, source)
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	// Writes beside the prefix make no batch, yet the cursor passes them.
	elsewhere := etcdWriter{client, "/elsewhere/"}
	revision := elsewhere.revision(t, map[string]string{"a": "1"})
	testkit.Eventually(t, "the cursor to pass a foreign write", func() bool { return source.Status().Revision >= revision })
	if got := len(r.received()); got != 1 {
		t.Errorf("%d batches, want 1", got)
	}
	if s := source.Status(); s.Age > source.silence() {
		t.Errorf("the age is %s although nothing is wrong", s.Age)
	}
}

func TestEtcdWithoutStreamedListsIsReadInPages(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	want := map[string]string{"a": "1", "b": "2", "c": "3"}
	etcdWriter{client, testRoot}.commit(t, want)
	source := openEtcd(client, testRoot)
	source.noStream.Store(true) // as after "unimplemented" from an older server
	r := follow(t, source)
	r.awaitState(want)
}

func TestEtcdConfigurationFaultsArePermanent(t *testing.T) {
	f := func(cfg EtcdConfig, part string) {
		t.Helper()
		err := NewEtcd(cfg).Follow(t.Context(), func(Batch) { t.Error("a batch came") })
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Follow returned %v, want an error that says %q", err, part)
		}
	}
	f(EtcdConfig{Root: testRoot}, "Client or Dial")
	f(EtcdConfig{Client: newTestClient(t, "127.0.0.1:1")}, "without a root")
}

func TestEtcdMetricsAreRegistered(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	NewEtcd(EtcdConfig{Client: newTestClient(t, "127.0.0.1:1"), Root: testRoot, Registerer: registry})
	NewFolder(FolderConfig{Dir: t.TempDir(), Split: splitJSON, Registerer: registry})
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, family := range families {
		names[family.GetName()] = true
		if !strings.HasPrefix(family.GetName(), "gridrouter_discovery_") || family.GetHelp() == "" {
			t.Errorf("metric %q: wrong prefix or no help", family.GetName())
		}
	}
	for _, name := range []string{"entries_total", "batches_total", "failures_total", "watches_total", "source_changes_total", "age_seconds", "revision", "connected"} {
		if !names["gridrouter_discovery_"+name] {
			t.Errorf("metric %s is missing among %v", name, slices.Sorted(maps.Keys(names)))
		}
	}
}

func TestEtcdEventOfACompleteRevisionIsOutOfOrder(t *testing.T) {
	source := openEtcd(newTestClient(t, "127.0.0.1:1"), testRoot)
	gathered := newGathering(7)
	f := func(revision int64, want error) {
		t.Helper()
		response := clientv3.WatchResponse{Header: &pb.ResponseHeader{Revision: 20}, Events: []*clientv3.Event{
			{Type: clientv3.EventTypePut, Kv: &mvccpb.KeyValue{Key: []byte(testRoot + "a"), ModRevision: revision}},
			{Type: clientv3.EventTypeDelete, Kv: &mvccpb.KeyValue{Key: []byte(testRoot + "b"), ModRevision: revision}},
		}}
		if err := source.take(t.Context(), nil, &response, gathered, func() {}); !errors.Is(err, want) {
			t.Errorf("events of revision %d after revision %d: %v, want %v", revision, gathered.seen, err, want)
		}
	}
	f(7, errOutOfOrder)
	f(8, nil)
	f(8, errOutOfOrder)
	f(10, nil)
	if batch, _ := gathered.drain(); batch.Revision != 10 || len(batch.Put) != 1 || len(batch.Deleted) != 1 {
		t.Errorf("gathered %+v, want the last change of each key, at revision 10", batch)
	}
}
