package discovery

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

const testMarks = "/gridrouter/guard/"

// openWithMarks makes a source that follows the marks too.
func openWithMarks(client *clientv3.Client, pageSize int) *Etcd {
	return NewEtcd(EtcdConfig{Client: client, Root: testRoot, Marks: testMarks, PageSize: pageSize,
		ProgressEvery: 50 * time.Millisecond, Registerer: prometheus.NewPedanticRegistry()})
}

// marked gathers the marks as a receiver would.
type marked map[string]string

func (m marked) take(_ map[string]Entry, batch Batch) {
	if batch.Whole {
		clear(m)
	}
	for _, entry := range batch.Marks {
		m[entry.Key] = string(entry.Value)
	}
	for _, key := range batch.MarksDeleted {
		delete(m, key)
	}
}

func TestEtcdMarksComeWithTheirTransaction(t *testing.T) {
	for _, pageSize := range []int{0, 2} {
		t.Run(fmt.Sprintf("pages of %d", pageSize), func(t *testing.T) {
			client := newTestClient(t, etcdtest.Start(t).Addr)
			w := etcdWriter{client, "/gridrouter/"}
			w.commit(t, map[string]string{"docs/a": "1", "fleet/r1": "x", "guard/accept": "1", "guard/other": "1", "history/1": "x"})
			marks := marked{}
			r := followWith(t, openWithMarks(client, pageSize), marks.take)
			awaitBoth := func(docs, want map[string]string) {
				t.Helper()
				r.await(fmt.Sprintf("documents %v with marks %v", docs, want), func(state map[string]Entry, batches []Batch) bool {
					return len(batches) > 0 && maps.Equal(values(state), docs) && maps.Equal(marks, want)
				})
			}
			awaitBoth(map[string]string{"a": "1"}, marked{"accept": "1", "other": "1"})

			revision := w.revision(t, map[string]string{"docs/a": "2", "docs/b": "2", "fleet/r2": "x", "guard/accept": "2"}, "guard/other")
			awaitBoth(map[string]string{"a": "2", "b": "2"}, marked{"accept": "2"})
			last := r.received()[len(r.received())-1]
			if last.Revision != revision || len(last.Put) != 2 || len(last.Marks) != 1 || len(last.MarksDeleted) != 1 || last.Marks[0].Revision != revision {
				t.Errorf("the transaction of revision %d came as %+v, want one batch", revision, last)
			}
			w.commit(t, map[string]string{"guard/a": "the document of this key is another"})
			awaitBoth(map[string]string{"a": "2", "b": "2"}, marked{"accept": "2", "a": "the document of this key is another"})
			if last := r.received()[len(r.received())-1]; last.Whole || len(last.Put) != 0 || len(last.Marks) != 1 {
				t.Errorf("a mark alone came as %+v", last)
			}
		})
	}
}

func TestEtcdKeysBetweenRootAndMarksMoveTheCursorOnly(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	source := openWithMarks(client, 0)
	source.cfg.ProgressEvery = time.Hour // so that nothing but the events themselves can move the cursor
	r := follow(t, source)
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	revision := etcdWriter{client, "/gridrouter/fleet/"}.revision(t, map[string]string{"r1": "x"})
	testkit.Eventually(t, "the cursor to pass a foreign event", func() bool { return source.Status().Revision >= revision })
	if got := len(r.received()); got != 1 {
		t.Errorf("a foreign key made a batch: %+v", r.received()[1:])
	}
	// A foreign event beside ours does not show in the batch's revision.
	ours := etcdWriter{client, testRoot}.revision(t, map[string]string{"a": "1"})
	etcdWriter{client, "/gridrouter/fleet/"}.commit(t, map[string]string{"r1": "y"})
	r.awaitState(map[string]string{"a": "1"})
	if got := r.received()[1].Revision; got != ours {
		t.Errorf("the batch has revision %d, want that of its own change, %d", got, ours)
	}
}

func TestMemoryMarksComeWithTheirCommit(t *testing.T) {
	memory := NewMemory()
	marks := marked{}
	r := followWith(t, memory, marks.take)
	memory.Put("a", []byte("1"))
	memory.PutMark("accept", []byte("1"))
	memory.Commit()
	r.await("both", func(state map[string]Entry, _ []Batch) bool { return len(state) == 1 && marks["accept"] == "1" })
	memory.DeleteMark("accept")
	memory.Commit()
	r.await("the mark's deletion", func(state map[string]Entry, _ []Batch) bool { return len(state) == 1 && len(marks) == 0 })
}

func TestEtcdMarksInFrontOfTheRootAreRefused(t *testing.T) {
	for _, marks := range []string{"/gridrouter/bell", testRoot, testRoot + "inside"} {
		source := NewEtcd(EtcdConfig{Client: newTestClient(t, "127.0.0.1:1"), Root: testRoot, Marks: marks})
		if err := source.Follow(t.Context(), func(Batch) { t.Error("a batch came") }); err == nil || isCanceled(err) {
			t.Errorf("marks %s: Follow returned %v, want a refusal", marks, err)
		}
	}
}
