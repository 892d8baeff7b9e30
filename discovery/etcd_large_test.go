package discovery

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"google.golang.org/grpc"

	"gridrouter.io/bench/testkit/etcdtest"
)

// smallMessages is a client that takes no message larger than limit bytes.
func smallMessages(t *testing.T, addr string, limit int) *clientv3.Client {
	t.Helper()
	client, err := dialPlain(addr, grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(limit)),
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, conn *grpc.ClientConn, method string, open grpc.Streamer, options ...grpc.CallOption) (grpc.ClientStream, error) {
			return open(ctx, d, conn, method, append(options, grpc.MaxCallRecvMsgSize(limit))...)
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func TestEtcdTransactionOfManyKeysIsOneBatch(t *testing.T) {
	const keys = 200 // etcd cuts fragments in a time that grows with their square
	etcd := etcdtest.Start(t, func(cfg *embed.Config) { cfg.MaxTxnOps, cfg.MaxRequestBytes = 2000, 512<<10 })
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	p := startProxy(t, etcd.Addr)
	r := followWith(t, openTest(EtcdConfig{Client: newTestClient(t, p.addr), ProgressEvery: time.Second}), func(state map[string]Entry, batch Batch) {
		revisions := map[int64]bool{}
		for _, entry := range state {
			revisions[entry.Revision] = true
		}
		if len(revisions) > 1 || len(state)%keys != 0 {
			t.Errorf("at revision %d a transaction is applied by half: %d keys of revisions %v", batch.Revision, len(state), revisions)
		}
	})
	r.awaitEtcd(w.client)
	transaction := func(n int) {
		put := map[string]string{}
		for k := range keys {
			put[fmt.Sprint(k)] = strings.Repeat(fmt.Sprint(n), 1950) // some 400 kB, nearly as much as this etcd takes
		}
		w.commit(t, put)
	}
	for n := range 3 { // each by itself
		transaction(n)
		r.awaitEtcd(w.client)
	}
	p.cut()
	for n := range 3 { // and as a backlog, which etcd sends in fragments
		transaction(3 + n)
	}
	p.point(etcd.Addr)
	r.awaitEtcd(w.client)
	if got := r.wholeAfterFirst(); got != 0 {
		t.Errorf("%d more lists: the test proves nothing", got)
	}
}

func TestEtcdRevisionInFragmentsIsOneBatch(t *testing.T) {
	// The deletion of a large prefix is one revision of more bytes than etcd
	// puts into one answer, so it comes in fragments; whole, it would be
	// larger than what this client takes.
	const keys, message = 1500, 1 << 20
	etcd := etcdtest.Start(t, func(cfg *embed.Config) { cfg.MaxTxnOps, cfg.MaxRequestBytes = 2000, 256<<10 })
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	long := strings.Repeat("x", 1000)
	for part := range keys / 100 {
		put := map[string]string{}
		for k := range 100 {
			put[fmt.Sprintf("many/%05d/%s", part*100+k, long)] = ""
		}
		w.commit(t, put)
	}
	w.commit(t, map[string]string{"kept": "1"})
	source := openTest(EtcdConfig{Client: smallMessages(t, etcd.Addr, message), PageSize: 200, ProgressEvery: time.Second})
	r := follow(t, source)
	r.awaitEtcd(w.client)
	answer, err := w.client.Delete(t.Context(), testRoot+"many/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	r.awaitEtcd(w.client)
	batches := r.received()
	if last := batches[len(batches)-1]; len(batches) != 2 || len(last.Deleted) != keys || last.Revision != answer.Header.Revision {
		t.Errorf("%d batches, the last with %d deletions at revision %d; want a second one with all %d at revision %d",
			len(batches), len(last.Deleted), last.Revision, keys, answer.Header.Revision)
	}
}

func TestEtcdDeletionOfEverythingArrivesAsDeletions(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	etcdWriter{client, testRoot}.commit(t, map[string]string{"a": "1", "b": "1", "c/d": "1"})
	r := follow(t, openTest(EtcdConfig{Client: client}))
	r.awaitEtcd(client)
	if _, err := client.Delete(t.Context(), testRoot, clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	r.awaitEtcd(client)
	batches := r.received()
	if last := batches[len(batches)-1]; last.Whole || len(last.Deleted) != 3 || len(batches) != 2 {
		t.Errorf("%d batches, the last is %+v, want one with three deletions", len(batches), last)
	}
}

func TestEtcdHugeValuesArrive(t *testing.T) {
	etcd := etcdtest.Start(t, func(cfg *embed.Config) { cfg.MaxRequestBytes = 10 << 20 })
	w := etcdWriter{generousClient(t, etcd.Addr), testRoot}
	huge := func(n int) string { return strings.Repeat(fmt.Sprint(n), 8<<20) }
	w.commit(t, map[string]string{"a": huge(1)})
	r := follow(t, openTest(EtcdConfig{Client: newTestClient(t, etcd.Addr)}))
	r.awaitEtcd(w.client)
	for n := range 3 {
		w.commit(t, map[string]string{"a": huge(n)})
		w.commit(t, map[string]string{"b": huge(n)})
	}
	w.commit(t, map[string]string{"small": "1"})
	r.awaitEtcd(w.client)
}

// generousClient may send requests larger than the 2 MB of etcd's
// client.
func generousClient(t *testing.T, addr string) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, MaxCallSendMsgSize: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}
