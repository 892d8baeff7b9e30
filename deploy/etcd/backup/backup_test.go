package backup_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func patient(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	t.Cleanup(cancel)
	return ctx
}

func connect(endpoints ...string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
}

// start starts etcd, with a store in a folder for its backups.
func start(t *testing.T) (backup.Config, *clientv3.Client) {
	t.Helper()
	url := etcdtest.Start(t).URL
	client, err := connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	s, err := store.OpenFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	source := backup.Source{Endpoints: []string{url}, Connect: connect}
	return backup.Config{Source: source, Store: s, Scratch: t.TempDir(), Report: func(text string) { t.Log(text) }}, client
}

func taken(t *testing.T, c backup.Config) string {
	t.Helper()
	m, err := backup.Take(patient(t), c)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Millisecond) // IDs tell milliseconds apart
	return m.ID
}

func damage(t *testing.T, s store.Store, name string) {
	t.Helper()
	data, err := store.GetBytes(patient(t), s, name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)/2] ^= 4
	if err := s.Delete(patient(t), name); err != nil {
		t.Fatal(err)
	}
	if err := store.PutBytes(patient(t), s, name, data); err != nil {
		t.Fatal(err)
	}
}

func TestAManifestSaysWhatWasTaken(t *testing.T) {
	c, client := start(t)
	written, err := client.Put(patient(t), "a", "1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := backup.Take(patient(t), c)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := client.HashKV(patient(t), c.Source.Endpoints[0], m.Revision)
	if err != nil {
		t.Fatal(err)
	}
	if m.Revision != written.Header.Revision || m.HashKV == nil || m.HashKV.Hash != hash.Hash || m.EtcdVersion == "" || m.Cluster == "" || m.Member == "" {
		t.Errorf("%+v", m)
	}
	chains, err := backup.List(patient(t), c.Store)
	if err != nil || len(chains) != 1 || *chains[0].Manifest.HashKV != *m.HashKV || chains[0].Last() != m.Revision {
		t.Errorf("%+v, %v", chains, err)
	}
}

func TestTheRevisionAfterADeletionWasCompactedIsKnown(t *testing.T) {
	c, client := start(t)
	ctx := patient(t)
	if _, err := client.Put(ctx, "a", "1"); err != nil {
		t.Fatal(err)
	}
	gone, err := client.Delete(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Compact(ctx, gone.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
	if m, err := backup.Take(ctx, c); err != nil || m.Revision != gone.Header.Revision || m.CompactRevision != gone.Header.Revision {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestEtcdThatIsAwayIsSaid(t *testing.T) {
	c, _ := start(t)
	c.Source.Endpoints = []string{"http://" + testkit.FreeAddr(t)}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := backup.Take(ctx, c); err == nil || !strings.Contains(err.Error(), "--etcd") {
		t.Errorf("it says %v", err)
	}
	objects, err := c.Store.List(patient(t), "")
	if err != nil || len(objects) > 0 {
		t.Errorf("%v, %v", objects, err)
	}
}

func pruned(t *testing.T, s store.Store, r backup.Retention) backup.Pruned {
	t.Helper()
	p, err := backup.Prune(patient(t), s, r, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheOldestGoAndCountStay(t *testing.T) {
	c, _ := start(t)
	var ids []string
	for range 5 {
		ids = append(ids, taken(t, c))
	}
	if p := pruned(t, c.Store, backup.Retention{Count: 3, DryRun: true}); !slices.Equal(p.Chains, ids[:2]) || p.Bytes == 0 {
		t.Errorf("a dry run says %+v", p)
	}
	if p := pruned(t, c.Store, backup.Retention{Count: 1, Age: time.Hour}); len(p.Chains) > 0 || !slices.Equal(p.Kept, ids) {
		t.Errorf("young ones go: %+v", p)
	}
	if p := pruned(t, c.Store, backup.Retention{Count: 3}); !slices.Equal(p.Chains, ids[:2]) || !slices.Equal(p.Kept, ids[2:]) || p.Spared != "" {
		t.Errorf("%+v", p)
	}
	left, err := backup.List(patient(t), c.Store)
	if err != nil || len(left) != 3 || left[0].ID != ids[2] {
		t.Errorf("%v, %v", left, err)
	}
	if _, err := backup.Prune(patient(t), c.Store, backup.Retention{}, nil); err == nil {
		t.Error("all may go")
	}
}

func TestTheLastWholeOneIsSpared(t *testing.T) {
	c, _ := start(t)
	var ids []string
	for range 4 {
		ids = append(ids, taken(t, c))
	}
	damage(t, c.Store, chain.FullName(ids[2]))
	damage(t, c.Store, chain.ManifestName(ids[3]))
	p := pruned(t, c.Store, backup.Retention{Count: 2})
	if p.Spared != ids[1] || !slices.Equal(p.Chains, ids[:1]) || !slices.Equal(p.Kept, ids[1:]) {
		t.Errorf("%+v", p)
	}
	damage(t, c.Store, chain.FullName(ids[1]))
	if p, err := backup.Prune(patient(t), c.Store, backup.Retention{Count: 2}, nil); err == nil || len(p.Chains) > 0 {
		t.Errorf("none is whole, and %+v goes", p)
	}
}

func TestWhatWasNeverFinishedGoesAfterAGrace(t *testing.T) {
	c, _ := start(t)
	half, whole := taken(t, c), taken(t, c)
	if err := c.Store.Delete(patient(t), chain.ManifestName(half)); err != nil {
		t.Fatal(err)
	}
	if p := pruned(t, c.Store, backup.Retention{Count: 1}); len(p.Unfinished) > 0 || !slices.Equal(p.Kept, []string{half, whole}) {
		t.Errorf("within the grace: %+v", p)
	}
	time.Sleep(2 * time.Millisecond)
	if p := pruned(t, c.Store, backup.Retention{Count: 1, Grace: time.Millisecond}); !slices.Equal(p.Unfinished, []string{half}) || !slices.Equal(p.Kept, []string{whole}) {
		t.Errorf("after the grace: %+v", p)
	}
	if _, err := backup.Open(patient(t), c.Store, half); !errors.Is(err, backup.ErrNone) {
		t.Errorf("it is left: %v", err)
	}
}

func TestTheLatestChainIsTheOneThatEndsLast(t *testing.T) {
	c, client := start(t)
	if _, err := backup.Latest(patient(t), c.Store); !errors.Is(err, backup.ErrNone) {
		t.Errorf("of none: %v", err)
	}
	ctx, stop := context.WithCancel(patient(t))
	ended := make(chan error)
	reached := make(chan int64, 1000)
	config := backup.FollowConfig{Config: c, Every: 10 * time.Millisecond, Look: time.Hour, Status: func(s backup.Status) { reached <- s.Revision }}
	go func() { ended <- backup.Follow(ctx, config) }()
	<-reached
	newer := taken(t, c)
	last, err := client.Put(ctx, "a", "1")
	if err != nil {
		t.Fatal(err)
	}
	for <-reached < last.Header.Revision {
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	latest, err := backup.Latest(patient(t), c.Store)
	if err != nil || latest.ID == newer || latest.Last() != last.Header.Revision {
		t.Errorf("the latest is %+v, %v", latest, err)
	}
	if newest, err := backup.Newest(patient(t), c.Store); err != nil || newest.ID != newer {
		t.Errorf("the newest is %+v, %v", newest, err)
	}
	again := taken(t, c)
	if latest, err := backup.Latest(patient(t), c.Store); err != nil || latest.ID != again {
		t.Errorf("then the latest is %+v, %v", latest, err)
	}
}
