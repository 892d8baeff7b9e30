package discovery

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdWriteBetweenListAndWatchArrives(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1", "gone": "1"})
	var once sync.Once
	client := tamperedClient(t, etcd.Addr, (&tampering{before: func() {
		once.Do(func() { w.commit(t, map[string]string{"a": "2", "b": "2"}, "gone") })
	}}).intercept)
	r := follow(t, openTest(EtcdConfig{Client: client}))
	r.awaitState(map[string]string{"a": "2", "b": "2"})
	if got := r.received(); len(got) != 2 || !got[0].Whole || len(got[0].Put) != 2 || got[1].Whole || len(got[1].Put) != 2 || len(got[1].Deleted) != 1 {
		t.Errorf("received %+v, want what was listed, then what was written after it", got)
	}
}

// TestEtcdChangeOfManyKeysIsABatchOfItsOwn writes much at once between two small changes, all of which
// come in one answer: whoever holds back the large one must not hold the others with it.
func TestEtcdChangeOfManyKeysIsABatchOfItsOwn(t *testing.T) {
	cases := map[string]struct {
		put     map[string]string
		deleted []string
		batches int
	}{
		"three deleted":         {nil, []string{"x", "y", "z"}, 4},
		"three changed":         {map[string]string{"x": "2", "y": "2", "z": "2"}, nil, 4},
		"a pin and its tenant":  {map[string]string{"x": "2"}, []string{"y"}, 2},
		"many that are new":     {map[string]string{"n1": "1", "n2": "1", "n3": "1", "n4": "1"}, nil, 2},
		"two changed, some new": {map[string]string{"x": "2", "y": "2", "n1": "1", "n2": "1"}, nil, 2},
	}
	for name, of := range cases {
		t.Run(name, func(t *testing.T) {
			etcd := etcdtest.Start(t)
			w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
			w.commit(t, map[string]string{"a": "1", "x": "1", "y": "1", "z": "1"})
			var once sync.Once
			client := tamperedClient(t, etcd.Addr, (&tampering{before: func() {
				once.Do(func() {
					w.commit(t, map[string]string{"a": "2"})
					w.commit(t, of.put, of.deleted...)
					w.commit(t, map[string]string{"a": "3"})
				})
			}}).intercept)
			r := follow(t, openTest(EtcdConfig{Client: client}))
			r.await("the last change", func(state map[string]Entry, _ []Batch) bool { return string(state["a"].Value) == "3" })
			got := r.received()
			if len(got) != of.batches {
				t.Fatalf("%d batches, want %d: %+v", len(got), of.batches, got)
			}
			if large := got[2%len(got)]; of.batches == 4 && (len(got[1].Put) != 1 || len(large.Put)+len(large.Deleted) != 3 || len(got[3].Put) != 1) {
				t.Errorf("received %+v", got)
			}
		})
	}
}

func TestEtcdCompactionOfAnIdlePrefixNeedsNoList(t *testing.T) {
	etcd := etcdtest.Start(t)
	direct := newTestClient(t, etcd.Addr)
	w, elsewhere := etcdWriter{direct, testRoot}, etcdWriter{direct, "/elsewhere/"}
	w.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, etcd.Addr)
	source := openTest(EtcdConfig{Client: newTestClient(t, p.addr)})
	r := follow(t, source)
	r.awaitEtcd(direct)
	var revision int64
	for n := range 20 {
		revision = elsewhere.revision(t, map[string]string{"b": fmt.Sprint(n)})
	}
	testkit.Eventually(t, "the cursor to follow on an idle prefix", func() bool { return source.Status().Revision >= revision })
	if _, err := direct.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	p.cut()
	testkit.Eventually(t, "a status that tells of the cut", func() bool { return !source.Status().Connected })
	w.commit(t, map[string]string{"a": "2"})
	p.point(etcd.Addr)
	r.awaitEtcd(direct)
	if got := r.wholeAfterFirst(); got != 0 {
		t.Errorf("%d more lists after the compaction of an idle prefix, want none", got)
	}
}

func TestEtcdIdlePrefixCompactedWhileAwayIsListedAndTheSame(t *testing.T) {
	etcd := etcdtest.Start(t)
	direct := newTestClient(t, etcd.Addr)
	etcdWriter{direct, testRoot}.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, etcd.Addr)
	source := openTest(EtcdConfig{Client: newTestClient(t, p.addr)})
	r := follow(t, source)
	r.awaitEtcd(direct)
	p.cut()
	testkit.Eventually(t, "a status that tells of the cut", func() bool { return !source.Status().Connected })
	var revision int64
	for n := range 20 {
		revision = etcdWriter{direct, "/elsewhere/"}.revision(t, map[string]string{"b": fmt.Sprint(n)})
	}
	if _, err := direct.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	p.point(etcd.Addr)
	testkit.Eventually(t, "a list after the compaction", func() bool {
		return testutil.ToFloat64(source.metrics.lists.WithLabelValues(becauseCompacted)) == 1
	})
	r.awaitEtcd(direct)
	etcdWriter{direct, testRoot}.commit(t, map[string]string{"a": "2"})
	r.awaitEtcd(direct)
}

func TestEtcdRestoredAndAheadAgainIsFoundOutByTheCountOfKeys(t *testing.T) {
	// The same cluster, set back to a backup, and its revisions are past ours
	// again before we see it: its watch then goes on as if nothing had been.
	backup, etcd := filepath.Join(t.TempDir(), "backup"), etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "old"})
	etcd.Stop()
	if err := os.CopyFS(backup, os.DirFS(etcd.Dir)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	p := startProxy(t, etcd.Addr)
	defer p.cut() // a graceful stop would wait for the watch
	source := openTest(EtcdConfig{Client: newTestClient(t, p.addr)})
	r := follow(t, source)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "new", "b": "new", "c": "new"})
	r.awaitEtcd(w.client)
	p.cut()
	etcd.Stop()
	if err := os.RemoveAll(etcd.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(etcd.Dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	w = etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	for n := range 20 {
		w.commit(t, map[string]string{"a": fmt.Sprint("after the restore ", n)})
	}
	if s := source.Status(); s.Revision >= w.revision(t, map[string]string{"d": "1"}) {
		t.Fatalf("the source is at revision %d: the test proves nothing", s.Revision)
	}
	p.point(etcd.Addr)
	r.awaitEtcd(w.client)
}

// TestEtcdRestoredAndAheadAgainIsFoundOutByItsHistory restores a backup that holds as many keys, and
// lets others write until its revisions are past ours again, before we see it.
func TestEtcdRestoredAndAheadAgainIsFoundOutByItsHistory(t *testing.T) {
	type write struct {
		put    map[string]string
		remove []string
	}
	for name, c := range map[string]struct {
		lost    []write // behind the backup
		compact bool    // after the restore
	}{
		"a change":                   {lost: []write{{put: map[string]string{"a": "new"}}}},
		"a change, compacted":        {lost: []write{{put: map[string]string{"a": "new"}}}, compact: true},
		"a new key for another":      {lost: []write{{put: map[string]string{"c": "new"}, remove: []string{"a"}}}},
		"a deletion":                 {lost: []write{{put: map[string]string{"c": "new"}}, {remove: []string{"a"}}}},
		"a deletion and a new start": {lost: []write{{remove: []string{"a"}}, {put: map[string]string{"a": "new"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			backup, etcd := filepath.Join(t.TempDir(), "backup"), etcdtest.Start(t)
			etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "old", "b": "old"})
			etcd.Stop()
			if err := os.CopyFS(backup, os.DirFS(etcd.Dir)); err != nil {
				t.Fatal(err)
			}
			etcd.Restart(t)
			p := startProxy(t, etcd.Addr)
			defer p.cut() // a graceful stop would wait for the watch
			source := openTest(EtcdConfig{Client: newTestClient(t, p.addr)})
			changed := atomic.Bool{}
			r := followWith(t, source, func(_ map[string]Entry, batch Batch) { changed.Store(changed.Load() || batch.SourceChanged) })
			w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
			for _, lost := range c.lost {
				w.commit(t, lost.put, lost.remove...)
			}
			r.awaitEtcd(w.client)
			p.cut()
			etcd.Stop()
			if err := os.RemoveAll(etcd.Dir); err != nil {
				t.Fatal(err)
			}
			if err := os.CopyFS(etcd.Dir, os.DirFS(backup)); err != nil {
				t.Fatal(err)
			}
			etcd.Restart(t)
			w = etcdWriter{newTestClient(t, etcd.Addr), testRoot}
			others := etcdWriter{w.client, "/others/"} // such as those who announce themselves
			for n := range 20 {
				others.commit(t, map[string]string{"x": fmt.Sprint(n)})
			}
			if s := source.Status(); s.Revision >= w.revision(t, map[string]string{"b": "after the restore"}) {
				t.Fatalf("the source is at revision %d: the test proves nothing", s.Revision)
			}
			if c.compact {
				if _, err := w.client.Compact(t.Context(), w.revision(t, map[string]string{"b": "compacted"})); err != nil {
					t.Fatal(err)
				}
			}
			p.point(etcd.Addr)
			r.awaitEtcd(w.client)
			if !changed.Load() {
				t.Error("nobody was told that the source is another one")
			}
		})
	}
}

func TestEventsAreGatheredForLongerWhereTheReceiverIsSlow(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{
		0: gatherLeast, 50 * time.Microsecond: gatherLeast, 500 * time.Microsecond: 5 * time.Millisecond, time.Second: gatherMost,
	} {
		if got := gatherFor(took); got != want {
			t.Errorf("after a batch that took %s events are gathered for %s, want %s", took, got, want)
		}
	}
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	source := openTest(EtcdConfig{Client: client})
	r := followWith(t, source, func(_ map[string]Entry, batch Batch) {
		if !batch.Whole {
			time.Sleep(gatherLeast)
		}
	})
	r.awaitState(nil)
	w.commit(t, map[string]string{"a": "1"})
	r.awaitEtcd(client)
	if err := r.stop(); !isCanceled(err) {
		t.Fatal(err)
	}
	if source.took < gatherLeast {
		t.Errorf("the receiver's time is taken for %s", source.took)
	}
}
