package discovery

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestEtcdLeaderOfAnotherClusterOrOfEarlierRevisionsIsAnotherSource(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	w.commit(t, map[string]string{"a": "1"})
	source := openTest(EtcdConfig{Client: client})
	r := follow(t, source)
	r.awaitEtcd(client)
	if err := r.stop(); !isCanceled(err) {
		t.Fatal(err)
	}
	other := newTestClient(t, etcdtest.Start(t).Addr)
	etcdWriter{other, testRoot}.commit(t, map[string]string{"a": "1"})
	for name, c := range map[string]struct {
		client *clientv3.Client
		seen   int64
		want   error
	}{
		"the same":         {client, source.cursor, nil},
		"another cluster":  {other, 0, errSourceChanged},
		"earlier revision": {client, source.cursor + 1, errSourceChanged},
	} {
		if err := source.askLeader(t.Context(), c.client, c.seen); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
}

func TestEtcdAuditOfAnotherClusterOrOfARevisionToComeIsAnotherSource(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	w.commit(t, map[string]string{"a": "1"})
	source := openTest(EtcdConfig{Client: client, AuditEvery: time.Hour})
	r := follow(t, source)
	r.awaitEtcd(client)
	if err := r.stop(); !isCanceled(err) {
		t.Fatal(err)
	}
	other := newTestClient(t, etcdtest.Start(t).Addr)
	for range 9 { // so many that it has the revision
		etcdWriter{other, testRoot}.commit(t, map[string]string{"a": "2"})
	}
	audits := func(client *clientv3.Client, cursor int64) error {
		t.Helper()
		source.cursor = cursor
		w := &watching{Etcd: source, client: client, apply: func(Batch) { t.Error("another source's list was delivered") },
			gathered: newGathering(cursor), audit: newAudit(time.Now().Add(time.Hour))}
		defer w.audit.due.Stop()
		w.beginAudit(t.Context())
		return w.endAudit(<-w.audit.listed)
	}
	if err := audits(other, source.cursor); !errors.Is(err, errSourceChanged) {
		t.Errorf("a list of another cluster: %v, want %v", err, errSourceChanged)
	}
	if err := audits(client, source.cursor+100); !errors.Is(err, errSourceChanged) {
		t.Errorf("a list at a revision that was never: %v, want %v", err, errSourceChanged)
	}
}

func TestEtcdSlowReceiverIsNoSilence(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	w := etcdWriter{client, testRoot}
	// A machine that is slow for longer than a stream may be silent loses one by that; each round has
	// the receiver be slow for longer still.
	testkit.Eventually(t, "a slow receiver keeps its stream, and none is given up as silent", func() bool {
		w.commit(t, map[string]string{"a": "1"})
		source := openTest(EtcdConfig{Client: client, ProgressEvery: 10 * time.Millisecond})
		r := followWith(t, source, func(_ map[string]Entry, batch Batch) {
			if !batch.Whole {
				time.Sleep(4 * wedgedSilences * source.silence()) // a large batch on a busy machine
			}
		})
		r.awaitEtcd(client)
		w.commit(t, map[string]string{"a": "2"})
		r.awaitEtcd(client)
		w.commit(t, map[string]string{"a": "3"})
		r.awaitEtcd(client)
		if err := r.stop(); !isCanceled(err) {
			t.Error(err)
		}
		return testutil.ToFloat64(source.metrics.watches) == 1 && testutil.ToFloat64(source.metrics.givenUp.WithLabelValues(streamSilent)) == 0
	})
}

func TestEtcdMemberWithoutALeaderSaysSoOnTheStream(t *testing.T) {
	cluster := startCluster(t)
	client, err := cluster.dial()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	cluster.write(client, "a", "0")
	_, alone := cluster.leader()
	// Nothing but the stream itself can tell: no progress is asked for and
	// nothing is compared for an hour.
	source := openTest(EtcdConfig{ProgressEvery: time.Hour, Dial: func() (*clientv3.Client, error) {
		return NewClient(ClientConfig{Endpoints: []string{alone.clients.addr}}, nil)
	}})
	r := follow(t, source)
	r.awaitEtcd(client)
	for _, m := range cluster.members {
		if m != alone {
			cluster.stop(m)
		}
	}
	testkit.Eventually(t, "a status that tells that the cluster has no leader", func() bool {
		return strings.Contains(source.Status().LastError, "no leader")
	})
	if got := r.values(); len(got) != 1 {
		t.Errorf("without a leader the receiver holds %v, want what it held", got)
	}
}

func TestEtcdStreamIsOpenedWithAYoungToken(t *testing.T) {
	etcd := etcdtest.Start(t)
	enableAuth(t, newTestClient(t, etcd.Addr))
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	l := &login{user: "router", passwordFile: password, timeout: patience}
	client, err := dialPlain(etcd.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	token := func() string {
		t.Helper()
		var got string
		_, err := l.stream(t.Context(), nil, client.ActiveConnection(), "", func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			got = l.token
			return nil, ctx.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := token()
	if again := token(); first == "" || again != first {
		t.Errorf("a token of a moment ago is not used again: %q, then %q", first, again)
	}
	l.since = l.since.Add(-2 * time.Minute)
	if later := token(); later == first {
		t.Error("a stream is opened with a token two minutes old, which etcd may have forgotten")
	}
}
