package restore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/restore"
	"gridrouter.io/deploy/etcd/backup/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cluster is a real etcd with a client.
type cluster struct {
	*clientv3.Client
	server *etcdtest.Server
	url    string
}

func startCluster(t testing.TB) *cluster {
	t.Helper()
	server := etcdtest.Start(t)
	return &cluster{Client: connectTo(t, server.URL), server: server, url: server.URL}
}

func connectTo(t testing.TB, url string) *clientv3.Client {
	t.Helper()
	client, err := connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func connect(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop(), DialTimeout: testkit.Patience})
}

func (c *cluster) source() backup.Source {
	return backup.Source{Endpoints: []string{c.url}, Connect: connect}
}

func (c *cluster) config(t testing.TB, s store.Store) backup.Config {
	return backup.Config{Source: c.source(), Store: s, Scratch: t.TempDir(), Report: reporter(t)}
}

// reporter logs while the test runs.
func reporter(t testing.TB) func(string) {
	return func(text string) { t.Log(text) }
}

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 2*testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

// change makes changes of all kinds, and returns the revision after them.
func (c *cluster) change(t testing.TB, round int) int64 {
	t.Helper()
	ctx := patient(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key := func(i int) string { return fmt.Sprintf("/r%d/k%02d", round, i) }
	for i := range 6 {
		_, err := c.Put(ctx, key(i), fmt.Sprintf("value %d of %d", i, round))
		must(err)
	}
	_, err := c.Put(ctx, "/shared", fmt.Sprint(round))
	must(err)
	held, err := c.Grant(ctx, 3600)
	must(err)
	_, err = c.Put(ctx, key(10), "leased", clientv3.WithLease(held.ID))
	must(err)
	gone, err := c.Grant(ctx, 3600)
	must(err)
	_, err = c.Txn(ctx).Then(
		clientv3.OpPut(key(11), "b", clientv3.WithLease(gone.ID)), clientv3.OpPut(key(12), "", clientv3.WithLease(gone.ID)),
		clientv3.OpDelete(key(0)), clientv3.OpPut(string([]byte{0, byte(round)}), string([]byte{0, 255})),
		clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut(key(13), "nested")}, nil),
	).Commit()
	must(err)
	_, err = c.Revoke(ctx, gone.ID)
	must(err)
	_, err = c.Put(ctx, key(10), "no lease any more")
	must(err)
	_, err = c.Delete(ctx, key(2), clientv3.WithRange(key(5)))
	must(err)
	last, err := c.Put(ctx, key(2), "again")
	must(err)
	return last.Header.Revision
}

// hash asks for HashKV at a revision.
func (c *cluster) hash(t testing.TB, revision int64) *clientv3.HashKVResponse {
	t.Helper()
	answer, err := c.HashKV(patient(t), c.url, revision)
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// pairs are all keys at a revision, 0 for the newest, with what a client can see of them but revisions.
func pairs(t testing.TB, client *clientv3.Client, revision int64) map[string]string {
	t.Helper()
	answer, err := client.Get(patient(t), "\x00", clientv3.WithFromKey(), clientv3.WithRev(revision))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, kv := range answer.Kvs {
		all[string(kv.Key)] = fmt.Sprintf("%q lease %x version %d since %d at %d", kv.Value, kv.Lease, kv.Version, kv.CreateRevision, kv.ModRevision)
	}
	return all
}

func folder(t testing.TB) *store.Folder {
	t.Helper()
	s, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// following is a follower that runs.
type following struct {
	status atomic.Pointer[backup.Status]
	stop   context.CancelFunc
	ended  chan error
	once   sync.Once
	err    error
}

func quick(c backup.Config) backup.FollowConfig {
	return backup.FollowConfig{Config: c, Every: 20 * time.Millisecond, HashEvery: 2, Look: 50 * time.Millisecond, Retry: 10 * time.Millisecond}
}

func follow(t testing.TB, c backup.FollowConfig) *following {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	f := &following{stop: stop, ended: make(chan error, 1)}
	c.Status = func(s backup.Status) { f.status.Store(&s) }
	go func() { f.ended <- backup.Follow(ctx, c) }()
	t.Cleanup(func() { _ = f.end() })
	return f
}

// end ends it and returns what it ended with.
func (f *following) end() error {
	f.once.Do(func() {
		f.stop()
		f.err = <-f.ended
	})
	return f.err
}

func (f *following) mustEnd(t testing.TB) {
	t.Helper()
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
}

// reaches waits until the store has a revision.
func (f *following) reaches(t testing.TB, revision int64) backup.Status {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("revision %d is in the store", revision), func() bool {
		s := f.status.Load()
		return s != nil && s.Revision >= revision && s.Fault == nil
	})
	return *f.status.Load()
}

// options restore a member that is alone.
func options(s store.Store, dir string) restore.Options {
	return restore.Options{Store: s, Dir: dir, Name: "default", InitialCluster: "default=http://127.0.0.1:2380", Token: "restored"}
}

// restored restores a chain and starts etcd on it.
func restored(t testing.TB, o restore.Options) (*cluster, restore.Result) {
	t.Helper()
	o.Report = reporter(t)
	result, err := restore.Restore(patient(t), o)
	if err != nil {
		t.Fatal(err)
	}
	server := etcdtest.Start(t, etcdtest.In(o.Dir))
	return &cluster{Client: connectTo(t, server.URL), server: server, url: server.URL}, result
}

// verified wants a chain to be whole.
func verified(t testing.TB, s store.Store, id string) restore.Result {
	t.Helper()
	result, damages, err := restore.Verify(patient(t), restore.Options{Store: s, ID: id, Report: reporter(t)}, t.TempDir())
	if err != nil || len(damages) > 0 {
		t.Fatalf("verify: %v, %v", err, damages)
	}
	return result
}

// failing is a store whose writes fail from the nth on, before or after they took place.
type failing struct {
	store.Store
	left  atomic.Int64
	after bool
}

var errKilled = errors.New("killed")

func (f *failing) Put(ctx context.Context, name string, r io.Reader, size int64) error {
	if f.left.Add(-1) >= 0 {
		return f.Store.Put(ctx, name, r, size)
	}
	if f.after && f.left.Load() == -1 {
		if err := f.Store.Put(ctx, name, r, size); err != nil {
			return err
		}
	}
	return errKilled
}

func (f *failing) Delete(ctx context.Context, name string) error {
	if f.left.Add(-1) >= 0 {
		return f.Store.Delete(ctx, name)
	}
	return errKilled
}

// newest is the newest finished chain.
func newest(t testing.TB, s store.Store) *backup.Chain {
	t.Helper()
	c, err := backup.Newest(patient(t), s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func names(objects []store.Object) (all []string) {
	for _, object := range objects {
		if chain.ParseName(object.Name).Kind != chain.Other {
			all = append(all, object.Name)
		}
	}
	return all
}
