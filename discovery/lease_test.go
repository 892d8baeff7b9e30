package discovery

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

const testKey = "/gridrouter/fleet/router-1"

// announce runs an announcer until the test ends, or stop is called.
func announce(t *testing.T, cfg AnnouncerConfig) (a *Announcer, stop func()) {
	t.Helper()
	cfg.Key, cfg.Every, cfg.Registerer = testKey, 10*time.Millisecond, prometheus.NewPedanticRegistry()
	a = NewAnnouncer(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	ended := false
	stop = func() {
		cancel()
		if ended {
			return
		}
		ended = true
		select {
		case err := <-done:
			if !isCanceled(err) {
				t.Errorf("Run returned %v, want its context's error", err)
			}
		case <-time.After(patience):
			t.Error("Run did not return after its context ended")
		}
	}
	t.Cleanup(stop)
	return a, stop
}

func fixed(value string) func() []byte { return func() []byte { return []byte(value) } }

// stored gives the announced key, or nil.
func stored(t *testing.T, client *clientv3.Client) *string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := client.Get(ctx, testKey)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Kvs) == 0 {
		return nil
	}
	value := string(answer.Kvs[0].Value)
	return &value
}

func awaitStored(t *testing.T, client *clientv3.Client, want string) {
	t.Helper()
	testkit.Eventually(t, "the key to hold "+want, func() bool { got := stored(t, client); return got != nil && *got == want })
}

func TestAnnouncerWritesRewritesAndTakesBack(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	var value atomic.Pointer[string]
	first, second := "one", "two"
	value.Store(&first)
	a, stop := announce(t, AnnouncerConfig{Client: client, Value: func() []byte { return []byte(*value.Load()) }})
	awaitStored(t, client, "one")
	value.Store(&second)
	awaitStored(t, client, "two")

	answer, err := client.Get(t.Context(), testKey)
	if err != nil {
		t.Fatal(err)
	}
	if kv := answer.Kvs[0]; kv.Version != 2 || kv.Lease == 0 {
		t.Errorf("the key has version %d and lease %d, want 2 (written only when changed) and a lease", kv.Version, kv.Lease)
	}
	if got := testutil.ToFloat64(a.held); got != 1 {
		t.Errorf("announced is %v, want 1", got)
	}
	stop()
	if got := stored(t, client); got != nil {
		t.Errorf("after the stop the key still holds %q", *got)
	}
}

func TestAnnouncerWaitsForATakenKey(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	_, stopFirst := announce(t, AnnouncerConfig{Client: client, Value: fixed("first")})
	awaitStored(t, client, "first")
	second, _ := announce(t, AnnouncerConfig{Client: client, Value: fixed("second")})
	testkit.Eventually(t, "refusals to be counted", func() bool { return testutil.ToFloat64(second.taken) > 3 })
	if got := stored(t, client); got == nil || *got != "first" {
		t.Fatalf("a taken key was overwritten: %v", got)
	}
	stopFirst()
	awaitStored(t, client, "second")
}

func TestAnnouncerKeyOutlivesADeadProcessByItsLeaseOnly(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	// What a killed router leaves: a key under a lease that nobody keeps any more.
	lease, err := client.Grant(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Put(t.Context(), testKey, "dead", clientv3.WithLease(lease.ID)); err != nil {
		t.Fatal(err)
	}
	ctx, die := context.WithCancel(t.Context())
	defer die()
	kept, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		t.Fatal(err)
	}
	var keeping sync.WaitGroup
	keeping.Go(func() {
		for range kept { // whoever keeps a lease must take the answers
		}
	})
	a, _ := announce(t, AnnouncerConfig{Client: client, Value: fixed("alive")})
	testkit.Eventually(t, "a refusal to be counted", func() bool { return testutil.ToFloat64(a.taken) > 0 })
	die()
	keeping.Wait()
	awaitStored(t, client, "alive")
}

func TestAnnouncerNeverOverwritesAKeyWithoutALease(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	if _, err := client.Put(t.Context(), testKey, "by hand"); err != nil {
		t.Fatal(err)
	}
	other := func(value []byte) bool { return string(value) == "a word of another process" }
	a, _ := announce(t, AnnouncerConfig{Client: client, Value: fixed("x"), Copied: other})
	testkit.Eventually(t, "refusals to be counted", func() bool { return testutil.ToFloat64(a.taken) > 3 })
	if got := stored(t, client); got == nil || *got != "by hand" {
		t.Errorf("the key was overwritten: %v", got)
	}
}

// TestAnnouncerTakesACopyOfItsOwnKeyOver has all keys be copied into a new cluster, as a restore
// does: the copy hangs on no lease and would never go.
func TestAnnouncerTakesACopyOfItsOwnKeyOver(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	if _, err := client.Put(t.Context(), testKey, "of yesterday"); err != nil {
		t.Fatal(err)
	}
	_, stop := announce(t, AnnouncerConfig{Client: client, Value: fixed("of today"), Copied: func(value []byte) bool { return string(value) == "of yesterday" }})
	awaitStored(t, client, "of today")
	stop()
	if got := stored(t, client); got != nil {
		t.Errorf("after the stop the key still holds %q: it hangs on no lease", *got)
	}
}

func TestAnnouncerStaysAliveLongerThanItsLease(t *testing.T) {
	client := newTestClient(t, etcdtest.Start(t).Addr)
	announce(t, AnnouncerConfig{Client: client, Value: fixed("x"), TTL: time.Second})
	awaitStored(t, client, "x")
	// An announcer that is not let run for so long loses it, and only then.
	testkit.Eventually(t, "the key stays for twice its lease", func() bool {
		for end := time.Now().Add(2 * shortestTTL); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if stored(t, client) == nil {
				return false
			}
		}
		return true
	})
}

func TestAnnouncerSurvivesEtcd(t *testing.T) {
	p := startProxy(t, "") // absent at first
	defer p.cut()
	client := newTestClient(t, p.addr)
	a, _ := announce(t, AnnouncerConfig{Client: client, Value: fixed("x"), TTL: 2 * time.Second})
	testkit.Eventually(t, "a failure to be counted", func() bool { return testutil.ToFloat64(a.failed) > 0 })

	first := etcdtest.Start(t)
	p.point(first.Addr)
	awaitStored(t, newTestClient(t, first.Addr), "x")

	// Gone for good, and another one in its place: it knows no lease of ours.
	p.cut()
	second := etcdtest.Start(t)
	p.point(second.Addr)
	awaitStored(t, newTestClient(t, second.Addr), "x")
}

func TestAnnouncerTakesItsOwnKeyAfterALostLeaseStream(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := newTestClient(t, etcd.Addr)
	announcer := NewAnnouncer(AnnouncerConfig{Client: client, Key: testKey, Value: fixed("x"), TTL: time.Hour})
	for range 2 { // the first lease is never given back, and lives on
		lease, err := client.Grant(t.Context(), 3600)
		if err != nil {
			t.Fatal(err)
		}
		announcer.written, announcer.created = nil, 0
		announcer.remember(lease.ID)
		if err := announcer.write(t.Context(), lease.ID); err != nil {
			t.Fatal(err)
		}
		answer, err := client.Get(t.Context(), testKey)
		if err != nil {
			t.Fatal(err)
		}
		if got := clientv3.LeaseID(answer.Kvs[0].Lease); got != lease.ID {
			t.Errorf("the key hangs on lease %x, want the new one, %x", got, lease.ID)
		}
	}
}

// TestAnnouncerTakesItsKeyFromALeaseWhoseWriteWasNeverAcknowledged loses the answer to the first write.
func TestAnnouncerTakesItsKeyFromALeaseWhoseWriteWasNeverAcknowledged(t *testing.T) {
	etcd := etcdtest.Start(t)
	var writes, revokes atomic.Int32
	lossy := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		switch method {
		case pb.Lease_LeaseRevoke_FullMethodName:
			revokes.Add(1)
			return status.Error(codes.Unavailable, "lost")
		case pb.KV_Txn_FullMethodName:
			if err := invoke(ctx, method, request, reply, conn, options...); err != nil || writes.Add(1) > 1 {
				return err
			}
			return status.Error(codes.Unavailable, "lost")
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
	client, err := dialPlain(etcd.Addr, grpc.WithChainUnaryInterceptor(lossy))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	a, _ := announce(t, AnnouncerConfig{Client: client, Value: fixed("x"), TTL: time.Hour})
	testkit.Eventually(t, "the key to be ours", func() bool { return testutil.ToFloat64(a.held) == 1 })
	if got := testutil.ToFloat64(a.taken); got != 0 {
		t.Errorf("its own key was taken %v times for somebody else's", got)
	}
	if got := revokes.Load(); got != 0 {
		t.Errorf("%d leases were given back while the process runs: the key goes with its lease", got)
	}
}

func TestAnnouncerConfigurationFaultsArePermanent(t *testing.T) {
	if err := NewAnnouncer(AnnouncerConfig{Key: testKey}).Run(t.Context()); err == nil {
		t.Error("an announcer without a client runs")
	}
}
