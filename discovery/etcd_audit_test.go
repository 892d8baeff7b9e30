package discovery

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdAuditRepairsAChangeThatWasLost(t *testing.T) {
	etcd := etcdtest.Start(t)
	var losing atomic.Bool
	client := tamperedClient(t, etcd.Addr, (&tampering{change: func(_ int, message *pb.WatchResponse) bool {
		return len(message.Events) == 0 || !losing.Load()
	}}).intercept)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	source := openTest(EtcdConfig{Client: client, AuditEvery: 500 * time.Millisecond})
	r := follow(t, source)
	w.commit(t, map[string]string{"b": "2"})
	r.awaitEtcd(w.client)
	losing.Store(true)
	w.commit(t, map[string]string{"a": "lost"}) // the number of keys does not tell
	r.awaitEtcd(w.client)
	if last := r.received()[len(r.received())-1]; !last.Whole || !last.Audit || last.SourceChanged {
		t.Errorf("the last batch is %+v, want an audit's", last)
	}
	if testutil.ToFloat64(source.metrics.audits) == 0 {
		t.Error("no audit is counted")
	}
}

func TestEtcdAuditUndoesNothingNewerAndLosesNothing(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	const keys = 40
	put := map[string]string{}
	for k := range keys {
		put[fmt.Sprintf("%02d %s", k, strings.Repeat("x", 50))] = "0"
	}
	names := slices.Collect(func(yield func(string) bool) {
		for key := range put {
			if !yield(key) {
				return
			}
		}
	})
	w.commit(t, put)
	audits, changes, newest := 0, 0, map[string]int64{} // key -> revision of its last change or deletion
	// Lists of many small pages take their time, while changes come.
	r := followWith(t, openTest(EtcdConfig{Client: client, PageSize: 3, AuditEvery: 5 * time.Millisecond}), func(state map[string]Entry, batch Batch) {
		if batch.Audit {
			audits++
		} else if !batch.Whole {
			changes++
		}
		for _, key := range batch.Deleted {
			newest[key] = batch.Revision
		}
		for key, entry := range state {
			if entry.Revision < newest[key] {
				t.Errorf("at revision %d the audit %v undoes %q: revision %d after %d", batch.Revision, batch.Audit, key, entry.Revision, newest[key])
			}
			newest[key] = entry.Revision
		}
		if len(state)%(keys/2) != 0 {
			t.Errorf("at revision %d a commit is there by half: %d keys", batch.Revision, len(state))
		}
	})
	enough := func() (enough bool) {
		r.await("nothing", func(map[string]Entry, []Batch) bool { enough = audits > 20 && changes > 50; return true })
		return enough
	}
	for n := 1; !enough(); n++ {
		half := map[string]string{}
		for _, key := range names[:keys/2] {
			half[key] = fmt.Sprint(n)
		}
		w.commit(t, half)
		w.commit(t, nil, names[keys/2:]...)
		w.commit(t, put)
	}
	r.awaitEtcd(client)
}

func TestEtcdAuditThatFailsChangesNothing(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := newTestClient(t, etcd.Addr)
	w := etcdWriter{client, testRoot}
	w.commit(t, map[string]string{"a": "1"})
	source := openTest(EtcdConfig{Client: client, AuditEvery: time.Hour})
	r := follow(t, source)
	r.awaitEtcd(client)
	// The revision that an audit of this moment would be made at is gone.
	watching := &watching{Etcd: source, client: client, apply: func(Batch) { t.Error("a failed audit was delivered") },
		gathered: newGathering(1), audit: newAudit(time.Now().Add(time.Hour))}
	if err := r.stop(); !isCanceled(err) {
		t.Fatal(err)
	}
	revision := w.revision(t, map[string]string{"a": "2"})
	if _, err := client.Compact(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	watching.beginAudit(t.Context())
	if err := watching.endAudit(<-watching.audit.listed); err != nil {
		t.Errorf("a failed audit ends the watch: %v", err)
	}
	watching.audit.due.Stop()
}
