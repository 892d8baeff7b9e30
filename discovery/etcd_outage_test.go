package discovery

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdCompactedWhileCutOffListsAgain(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	p := startProxy(t, etcd.Addr)
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	w.commit(t, map[string]string{"kept": "1", "gone": "1"})
	r := follow(t, source)
	r.awaitState(map[string]string{"kept": "1", "gone": "1"})

	p.cut()
	testkit.Eventually(t, "a status that tells of the cut", func() bool { return !source.Status().Connected })
	w.commit(t, nil, "gone")
	revision := w.revision(t, map[string]string{"kept": "2"})
	if _, err := w.client.Compact(t.Context(), revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if got := r.values(); len(got) != 2 {
		t.Errorf("cut off, the receiver holds %v", got)
	}
	p.point(etcd.Addr)
	r.awaitState(map[string]string{"kept": "2"})
	last := r.received()[len(r.received())-1]
	if !last.Whole || last.SourceChanged {
		t.Errorf("after compaction came %+v, want a whole batch of the same source", last)
	}
	if got := testutil.ToFloat64(source.metrics.lists.WithLabelValues(becauseCompacted)); got != 1 {
		t.Errorf("%v lists are counted as compacted, want 1", got)
	}
}

func TestEtcdSilenceShowsAndHeals(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	p := startProxy(t, etcd.Addr)
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	r := follow(t, source)
	w.commit(t, map[string]string{"a": "1"})
	r.awaitState(map[string]string{"a": "1"})
	testkit.Eventually(t, "connected", func() bool { return source.Status().Connected })
	p.stall()
	testkit.Eventually(t, "a status that tells of the silence", func() bool {
		s := source.Status()
		return !s.Connected && s.Synced && strings.Contains(s.LastError, "no word from etcd") && s.Age > source.silence()
	})
	w.commit(t, map[string]string{"a": "2"})
	p.resume()
	r.awaitState(map[string]string{"a": "2"})
	testkit.Eventually(t, "connected again", func() bool { s := source.Status(); return s.Connected && s.LastError == "" })
}

func TestEtcdWedgedStreamIsOpenedAnew(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := tamperedClient(t, etcd.Addr, (&tampering{change: deafUntil(2)}).intercept)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	source := openEtcd(client, testRoot)
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	w.commit(t, map[string]string{"a": "2"})
	r.awaitState(map[string]string{"a": "2"})
	if last := r.received()[len(r.received())-1]; last.Whole {
		t.Error("a silent stream made a new list, want the watch to go on from its cursor")
	}
	if got := testutil.ToFloat64(source.metrics.watches); got < 2 {
		t.Errorf("%v watches opened, want another one", got)
	}
}

func TestEtcdStoppedAndStartedAgain(t *testing.T) {
	etcd := etcdtest.Start(t)
	p := startProxy(t, etcd.Addr)
	defer p.cut() // a graceful stop would wait for the watch
	client := newTestClient(t, p.addr)
	source := openEtcd(client, testRoot)
	r := follow(t, source)
	etcdWriter{client, testRoot}.commit(t, map[string]string{"a": "1"})
	r.awaitState(map[string]string{"a": "1"})
	p.cut()
	etcd.Stop()
	testkit.Eventually(t, "a status that tells of the loss", func() bool {
		s := source.Status()
		return !s.Connected && s.Synced && s.LastError != ""
	})
	etcd.Restart(t)
	p.point(etcd.Addr)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "2"})
	r.awaitState(map[string]string{"a": "2"})
	if got := len(r.received()); slices.ContainsFunc(r.received()[1:], func(b Batch) bool { return b.Whole }) {
		t.Errorf("the same etcd was listed again: %d batches", got)
	}
	testkit.Eventually(t, "connected again", func() bool { return source.Status().Connected })
}

func TestEtcdAbsentAtStart(t *testing.T) {
	p := startProxy(t, "")
	defer p.cut() // a graceful stop would wait for the watch
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	r := follow(t, source)
	testkit.Eventually(t, "a status that says that etcd is absent", func() bool {
		s := source.Status()
		return !s.Connected && !s.Synced && strings.Contains(s.LastError, "not reachable") && strings.Contains(s.LastError, p.addr)
	})
	if got := r.received(); len(got) != 0 {
		t.Fatalf("an absent etcd gave %+v", got)
	}
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1"})
	p.point(etcd.Addr)
	r.awaitState(map[string]string{"a": "1"})
}

func TestEtcdOtherClusterAtTheSameAddress(t *testing.T) {
	first := etcdtest.Start(t)
	p := startProxy(t, first.Addr)
	defer p.cut() // a graceful stop would wait for the watch
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	w := etcdWriter{newTestClient(t, first.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	r := followWith(t, source, func(state map[string]Entry, batch Batch) {
		if strings.HasPrefix(string(state["a"].Value), "other") && state["b"].Value != nil {
			t.Errorf("two clusters are mixed in a batch: %+v", batch)
		}
	})
	r.awaitState(map[string]string{"a": "1", "b": "1"})

	second := etcdtest.Start(t)
	w = etcdWriter{newTestClient(t, second.Addr), testRoot}
	for n := range 20 { // its revisions are ahead of the first one's
		w.commit(t, map[string]string{"a": fmt.Sprint("other ", n)})
	}
	p.point(second.Addr)
	r.awaitState(map[string]string{"a": "other 19"})
	wantSourceChanged(t, source, r)
}

func TestEtcdRestoredToAnOlderState(t *testing.T) {
	// The same cluster id, revisions set back: what a restore from a backup
	// onto the same members leaves.
	backup, etcd := filepath.Join(t.TempDir(), "backup"), etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "old"})
	etcd.Stop()
	if err := os.CopyFS(backup, os.DirFS(etcd.Dir)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	p := startProxy(t, etcd.Addr)
	defer p.cut() // a graceful stop would wait for the watch
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	r := follow(t, source)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	for n := range 10 {
		w.commit(t, map[string]string{"a": fmt.Sprint("new ", n), "b": "new"})
	}
	r.awaitState(map[string]string{"a": "new 9", "b": "new"})
	p.cut()
	etcd.Stop()
	if err := os.RemoveAll(etcd.Dir); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(etcd.Dir, os.DirFS(backup)); err != nil {
		t.Fatal(err)
	}
	etcd.Restart(t)
	p.point(etcd.Addr)
	r.awaitState(map[string]string{"a": "old"})
	wantSourceChanged(t, source, r)
}

func wantSourceChanged(t *testing.T, source *Etcd, r *receiver) {
	t.Helper()
	batches := r.received()
	if last := batches[len(batches)-1]; !last.Whole || !last.SourceChanged {
		t.Errorf("the last batch is %+v, want a whole one of a changed source", last)
	}
	if got := testutil.ToFloat64(source.metrics.changes); got != 1 {
		t.Errorf("%v source changes are counted, want 1", got)
	}
}

// TestEtcdInWhichNothingIsWrittenIsNotSilent follows an etcd that has come no further since the list:
// it answers no request for progress to a watch from a revision that it has not reached.
func TestEtcdInWhichNothingIsWrittenIsNotSilent(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, etcd.Addr)
	source := openEtcd(newTestClient(t, p.addr), testRoot)
	r := follow(t, source)
	r.awaitState(map[string]string{"a": "1"})
	testkit.Eventually(t, "the status tells of no silence most of the time, though nothing is written", func() bool {
		looks, silent := 0, 0
		for until := time.Now().Add(8 * source.silence()); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
			looks++
			if s := source.Status(); !s.Connected || s.LastError != "" {
				silent++ // on a busy machine an answer may come late
			}
		}
		return 2*silent < looks
	})
	p.stall()
	testkit.Eventually(t, "a status that tells of the silence", func() bool { return !source.Status().Connected })
	w.commit(t, map[string]string{"a": "2"})
	p.resume()
	r.awaitState(map[string]string{"a": "2"})
	testkit.Eventually(t, "connected again", func() bool { s := source.Status(); return s.Connected && s.LastError == "" })
}
