package discovery

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdStreamThatLostEventsIsFoundOutByTheCountOfKeys(t *testing.T) {
	for name, lose := range map[string]func(t *testing.T, w etcdWriter){
		"a new key":  func(t *testing.T, w etcdWriter) { w.commit(t, map[string]string{"lost": "1"}) },
		"a deletion": func(t *testing.T, w etcdWriter) { w.commit(t, nil, "a") },
		"a key anew": func(t *testing.T, w etcdWriter) {
			w.commit(t, nil, "a")
			w.commit(t, map[string]string{"a": "2", "c": "1"})
		},
		"with changes": func(t *testing.T, w etcdWriter) { w.commit(t, map[string]string{"a": "2", "b": "2", "c": "2"}) },
	} {
		t.Run(name, func(t *testing.T) {
			etcd := etcdtest.Start(t)
			var losing atomic.Bool
			client := tamperedClient(t, etcd.Addr, (&tampering{change: func(stream int, message *pb.WatchResponse) bool {
				return stream > 1 || len(message.Events) == 0 || !losing.Load()
			}}).intercept)
			w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
			w.commit(t, map[string]string{"a": "1"})
			source := openTest(EtcdConfig{Client: client})
			r := follow(t, source)
			w.commit(t, map[string]string{"b": "1"})
			r.awaitEtcd(w.client)
			losing.Store(true)
			lose(t, w)
			r.awaitEtcd(w.client)
			if got := testutil.ToFloat64(source.metrics.lists.WithLabelValues(becauseMissing)); got != 1 {
				t.Errorf("%v lists are counted for missing events, want 1", got)
			}
			if last := r.received()[len(r.received())-1]; !last.Whole || last.SourceChanged || last.Audit {
				t.Errorf("the last batch is %+v, want a whole one", last)
			}
		})
	}
}

func TestEtcdComparisonOfASoundStreamChangesNothing(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	// Patience with a stream is counted in this: a slow machine is not to use it up. One that does all the
	// same loses a stream by it, and is asked for another round.
	testkit.Eventually(t, "ten comparisons on one stream, with one list", func() bool {
		source := openTest(EtcdConfig{Client: client, ProgressEvery: 80 * time.Millisecond})
		r := follow(t, source)
		r.awaitEtcd(client)
		done := func() bool { return testutil.ToFloat64(source.metrics.probes) >= 10 }
		for n := 0; !done(); n++ { // puts, changes and deletions, while the counts are compared
			w.commit(t, map[string]string{"a": "2", "new": "1", "b": "1"})
			w.commit(t, map[string]string{"a": "3"}, "new")
			if n > 100_000 {
				t.Fatal("no ten comparisons were made")
			}
		}
		r.awaitEtcd(client)
		if s := source.Status(); s.Leader == 0 || s.Cluster == "" {
			t.Errorf("the status %+v names no revision of the leader, or no cluster", s)
		}
		if err := r.stop(); !isCanceled(err) {
			t.Error(err)
		}
		return r.wholeAfterFirst() == 0 && testutil.ToFloat64(source.metrics.watches) == 1
	})
}

func TestEtcdStreamBehindTheLeaderIsOpenedAnewThenTheClient(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	// Two streams come from a member that is stuck at one revision: it answers
	// for progress, and knows of nothing newer.
	var stuckAt atomic.Int64
	stuck := &tampering{change: func(stream int, message *pb.WatchResponse) bool {
		if at := stuckAt.Load(); at > 0 && stream < 3 && !message.Created {
			message.Header.Revision = at
			return len(message.Events) == 0
		}
		return true
	}}
	source := openTest(EtcdConfig{Dial: func() (*clientv3.Client, error) {
		return dialPlain(etcd.Addr, grpc.WithChainStreamInterceptor(stuck.intercept))
	}})
	r := follow(t, source)
	r.awaitEtcd(w.client)
	testkit.Eventually(t, "a proof from the stream", func() bool { return source.Status().Connected })
	stuckAt.Store(source.Status().Revision)
	w.commit(t, map[string]string{"a": "2", "b": "2"})
	r.awaitEtcd(w.client)
	if got := testutil.ToFloat64(source.metrics.givenUp.WithLabelValues(streamBehind)); got != 2 {
		t.Errorf("%v streams were given up for being behind, want 2", got)
	}
	if got := testutil.ToFloat64(source.metrics.clients); got != 2 {
		t.Errorf("%v clients were made, want a second one after the second stream", got)
	}
	if got := r.wholeAfterFirst(); got != 0 {
		t.Errorf("%d more lists, want the watch to go on from its cursor", got)
	}
}

func TestEtcdRepeatedSilenceMakesTheClientAnew(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	deaf := &tampering{change: deafUntil(3)}
	source := openTest(EtcdConfig{Dial: func() (*clientv3.Client, error) {
		return dialPlain(etcd.Addr, grpc.WithChainStreamInterceptor(deaf.intercept))
	}})
	r := follow(t, source)
	r.awaitEtcd(w.client)
	w.commit(t, map[string]string{"a": "2"})
	r.awaitEtcd(w.client)
	if got := testutil.ToFloat64(source.metrics.clients); got != 2 {
		t.Errorf("%v clients were made, want a second one", got)
	}
	// Such a stream is behind as well: what it is given up for depends on who looks first.
	silent, behind := source.metrics.givenUp.WithLabelValues(streamSilent), source.metrics.givenUp.WithLabelValues(streamBehind)
	if got := testutil.ToFloat64(silent) + testutil.ToFloat64(behind); got < 1 {
		t.Errorf("%v streams were given up for their silence, want one at least", got)
	}
}

func TestEtcdConnectionOnWhichNothingFlowsIsMadeAnew(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, etcd.Addr)
	source := openTest(EtcdConfig{CallTimeout: 200 * time.Millisecond, // a client that would notice nothing by itself
		Dial: func() (*clientv3.Client, error) { return dialPlain(p.addr) }})
	r := follow(t, source)
	r.awaitEtcd(w.client)
	p.silence()
	w.commit(t, map[string]string{"a": "2", "b": "2"})
	r.awaitEtcd(w.client)
	if got := testutil.ToFloat64(source.metrics.givenUp.WithLabelValues(streamUnreachable)); got != 1 {
		t.Errorf("%v streams were given up because nothing answered, want 1", got)
	}
	if got := testutil.ToFloat64(source.metrics.clients); got != 2 {
		t.Errorf("%v clients were made, want a second one", got)
	}
}
