package discovery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// openCache gives a cache of testRoot in the etcd at addr, closed with the test.
func openCache(t *testing.T, addr string, change func(*ReadCacheConfig[string])) *ReadCache[string] {
	t.Helper()
	cfg := ReadCacheConfig[string]{
		Client: newTestClient(t, addr), Root: strings.TrimSuffix(testRoot, "/"), CallTimeout: patience,
		Decode: func(key string, value []byte) string { return key + "=" + string(value) },
	}
	if change != nil {
		change(&cfg)
	}
	cache, err := NewReadCache(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cache.Close)
	return cache
}

// wantValue asks for a key that must have a value; want empty: must be absent.
func wantValue(t *testing.T, cache *ReadCache[string], key, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	value, found, err := cache.Get(ctx, key)
	if err != nil || value != want || found != (want != "") {
		t.Errorf("%s: got %q, %v, %v, want %q", key, value, found, err, want)
	}
}

// rangesServed counts the reads that etcd servers of this process have answered.
func rangesServed(t *testing.T) (count float64) {
	t.Helper()
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "grpc_server_handled_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if label.GetName() == "grpc_method" && label.GetValue() == "Range" {
					count += metric.GetCounter().GetValue()
				}
			}
		}
	}
	return count
}

func TestReadCacheRemembersValuesAndAbsence(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1", "empty": ""})
	cache := openCache(t, etcd.Addr, nil)
	before := rangesServed(t)
	for range 3 {
		wantValue(t, cache, "a", "a=1")
		wantValue(t, cache, "empty", "empty=")
		wantValue(t, cache, "absent", "")
	}
	if got := rangesServed(t) - before; got != 3 {
		t.Errorf("etcd answered %v reads of three keys, want 3", got)
	}
	w.commit(t, map[string]string{"a": "2", "absent": "here"}, "empty")
	wantValue(t, cache, "a", "a=1") // nobody told of the change
	cache.Invalidate("a", "absent", "empty", "never asked for")
	wantValue(t, cache, "a", "a=2")
	wantValue(t, cache, "absent", "absent=here")
	wantValue(t, cache, "empty", "")
	m := cache.metrics
	for what, counter := range map[string]struct {
		counter prometheus.Counter
		want    float64
	}{
		"hits": {m.hits, 5}, "negative hits": {m.negative, 2}, "misses": {m.misses, 6}, "reads": {m.reads, 6},
		"errors": {m.failed, 0}, "invalidations": {m.invalidated, 3}, "evictions": {m.evictions, 0},
	} {
		if got := testutil.ToFloat64(counter.counter); got != counter.want {
			t.Errorf("%v %s are counted, want %v", got, what, counter.want)
		}
	}
	if entries, reads := cache.size(); entries != 3 || reads != 0 {
		t.Errorf("%d entries and %d reads, want 3 and none", entries, reads)
	}
}

func TestReadCacheInvalidateAllForgetsEverything(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1"})
	cache := openCache(t, etcd.Addr, nil)
	wantValue(t, cache, "a", "a=1")
	wantValue(t, cache, "b", "")
	w.commit(t, map[string]string{"a": "2", "b": "2"})
	cache.InvalidateAll()
	wantValue(t, cache, "a", "a=2")
	wantValue(t, cache, "b", "b=2")
}

// TestReadCacheHasOneReadAKeyWhoeverLeaves holds a read up while many wait for
// it: one goes to etcd, and the callers who leave take nothing from the others.
func TestReadCacheHasOneReadAKeyWhoeverLeaves(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1", "warm": "1"})
	p := startProxy(t, etcd.Addr)
	cache := openCache(t, p.addr, nil)
	wantValue(t, cache, "warm", "warm=1") // the connection stands
	before := rangesServed(t)
	p.stall()
	leaving, leave := context.WithCancel(t.Context())
	var first, others sync.WaitGroup
	first.Go(func() { // the one whose question begins the read
		if _, _, err := cache.Get(leaving, "a"); !errors.Is(err, context.Canceled) {
			t.Errorf("whoever left got %v", err)
		}
	})
	testkit.Eventually(t, "a read is under way", func() bool { _, reads := cache.size(); return reads == 1 })
	for range 50 {
		others.Go(func() { wantValue(t, cache, "a", "a=1") })
	}
	testkit.Eventually(t, "all wait", func() bool { return testutil.ToFloat64(cache.metrics.misses) == 52 })
	leave()
	first.Wait()
	p.resume()
	others.Wait()
	if got := rangesServed(t) - before; got != 1 {
		t.Errorf("etcd answered %v reads of one key, want 1", got)
	}
}

// TestReadCacheOvertakenReadIsNotRemembered invalidates a key while a read of it
// is under way whose answer is already the older one.
func TestReadCacheOvertakenReadIsNotRemembered(t *testing.T) {
	for name, invalidate := range map[string]func(*ReadCache[string]){
		"key":       func(c *ReadCache[string]) { c.Invalidate("a") },
		"all":       func(c *ReadCache[string]) { c.InvalidateAll() },
		"reconcile": func(c *ReadCache[string]) { c.Reconcile(1, maps.All(map[string]int64{})) },
	} {
		t.Run(name, func(t *testing.T) {
			etcd := etcdtest.Start(t)
			w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
			w.commit(t, map[string]string{"a": "old"})
			inside, proceed := make(chan struct{}, 2), make(chan struct{})
			cache := openCache(t, etcd.Addr, func(cfg *ReadCacheConfig[string]) {
				decode := cfg.Decode
				cfg.Decode = func(key string, value []byte) string {
					if inside <- struct{}{}; string(value) == "old" {
						<-proceed
					}
					return decode(key, value)
				}
			})
			var asked sync.WaitGroup
			asked.Go(func() { wantValue(t, cache, "a", "a=old") })
			<-inside // the old value has been read
			w.commit(t, map[string]string{"a": "new"})
			invalidate(cache)
			wantValue(t, cache, "a", "a=new") // not the read that is under way
			close(proceed)
			asked.Wait()
			wantValue(t, cache, "a", "a=new")
		})
	}
}

// TestReadCacheNeverAnswersFromBeforeAnInvalidation writes, invalidates and reads at the
// same time, many times over: whoever asks after the invalidation has the change.
func TestReadCacheNeverAnswersFromBeforeAnInvalidation(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	cache := openCache(t, etcd.Addr, nil)
	done := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			last := 0
			for {
				select {
				case <-done:
					return
				default:
				}
				value, _, err := cache.Get(context.Background(), "a")
				now, _ := strconv.Atoi(strings.TrimPrefix(value, "a="))
				if err != nil || now < last {
					t.Errorf("got %q, %v behind %d", value, err, last)
					return
				}
				last = now
			}
		})
	}
	for n := 1; n <= 500; n++ {
		w.commit(t, map[string]string{"a": strconv.Itoa(n)})
		cache.Invalidate("a")
		wantValue(t, cache, "a", fmt.Sprintf("a=%d", n))
	}
	close(done)
	readers.Wait()
}

func TestReadCacheOutlivesEtcd(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	p := startProxy(t, etcd.Addr)
	cache := openCache(t, p.addr, nil)
	wantValue(t, cache, "a", "a=1")
	wantValue(t, cache, "absent", "")
	p.cut()
	unread := func(key string) {
		t.Helper()
		if _, found, err := cache.Get(t.Context(), key); err == nil || found || !strings.Contains(err.Error(), testRoot+key) {
			t.Errorf("%s with etcd away: got %v, %v, want an error that names the key", key, found, err)
		}
	}
	for range 3 {
		wantValue(t, cache, "a", "a=1")
		wantValue(t, cache, "absent", "")
		unread("b")
	}
	if got := testutil.ToFloat64(cache.metrics.failed); got != 3 {
		t.Errorf("%v errors are counted, want 3", got)
	}
	p.point(etcd.Addr)
	testkit.Eventually(t, "the key is read again", func() bool {
		value, _, err := cache.Get(t.Context(), "b")
		return err == nil && value == "b=1"
	})
}

func TestReadCacheReadsAreBoundedInTimeAndNumber(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"warm": "1", "c": "1"})
	p := startProxy(t, etcd.Addr)
	cache := openCache(t, p.addr, func(cfg *ReadCacheConfig[string]) { cfg.InFlight, cfg.CallTimeout = 2, 500*time.Millisecond })
	wantValue(t, cache, "warm", "warm=1")
	p.stall()
	var asked sync.WaitGroup
	for _, key := range []string{"a", "b"} {
		asked.Go(func() {
			if _, _, err := cache.Get(context.Background(), key); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
				t.Errorf("%s of an etcd that says nothing: got %v, want that its time is over", key, err)
			}
		})
	}
	testkit.Eventually(t, "two reads are under way", func() bool { _, reads := cache.size(); return reads == 2 })
	if _, _, err := cache.Get(t.Context(), "c"); !errors.Is(err, ErrTooManyReads) {
		t.Errorf("a third read: got %v, want %v", err, ErrTooManyReads)
	}
	wantValue(t, cache, "warm", "warm=1")
	asked.Wait() // the reads' own time ends them
	p.resume()
	testkit.Eventually(t, "keys are read again", func() bool { _, found, err := cache.Get(t.Context(), "c"); return found && err == nil })
	if got := testutil.ToFloat64(cache.metrics.refused); got != 1 {
		t.Errorf("%v refused reads are counted, want 1", got)
	}
}

func TestReadCacheForgetsWhatWasUsedLongestAgo(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1", "b": "1", "c": "1"})
	cache := openCache(t, etcd.Addr, func(cfg *ReadCacheConfig[string]) { cfg.Entries = 2 })
	reads := func(key string, want float64) {
		t.Helper()
		wantValue(t, cache, key, key+"=1")
		if got := testutil.ToFloat64(cache.metrics.reads); got != want {
			t.Errorf("after %s: %v reads, want %v", key, got, want)
		}
	}
	reads("a", 1)
	reads("b", 2)
	reads("a", 2)
	reads("c", 3) // b gives way
	reads("a", 3)
	reads("b", 4)
	for n := range 20 {
		wantValue(t, cache, fmt.Sprint("absent", n), "")
	}
	if entries, _ := cache.size(); entries != 2 {
		t.Errorf("%d entries are kept, want 2", entries)
	}
	if got := testutil.ToFloat64(cache.metrics.evictions); got != 22 {
		t.Errorf("%v evictions are counted, want 22", got)
	}
}

func TestReadCacheReconcilesWithACompleteList(t *testing.T) {
	etcd := etcdtest.Start(t)
	w := etcdWriter{newTestClient(t, etcd.Addr), testRoot}
	same := w.revision(t, map[string]string{"same": "1", "changed": "1", "gone": "1"})
	cache := openCache(t, etcd.Addr, nil)
	for _, key := range []string{"same", "changed", "gone"} {
		wantValue(t, cache, key, key+"=1")
	}
	wantValue(t, cache, "came", "")
	wantValue(t, cache, "absent", "")
	listed := w.revision(t, map[string]string{"changed": "2", "came": "2"}, "gone")
	w.commit(t, map[string]string{"later": "3", "rewritten": "3"})
	wantValue(t, cache, "later", "later=3") // read after the list was made
	wantValue(t, cache, "rewritten", "rewritten=3")
	list := map[string]int64{"same": same, "rewritten": same, "changed": listed, "came": listed, "never asked for": listed}
	if got := cache.Reconcile(listed, maps.All(list)); got != 3 {
		t.Errorf("%d keys differ, want 3", got)
	}
	before := testutil.ToFloat64(cache.metrics.reads)
	wantValue(t, cache, "same", "same=1")
	wantValue(t, cache, "absent", "")
	wantValue(t, cache, "later", "later=3")
	wantValue(t, cache, "rewritten", "rewritten=3")
	if got := testutil.ToFloat64(cache.metrics.reads) - before; got != 0 {
		t.Errorf("%v keys that agree with the list were read again", got)
	}
	wantValue(t, cache, "changed", "changed=2")
	wantValue(t, cache, "came", "came=2")
	wantValue(t, cache, "gone", "")
	if got := cache.Reconcile(listed, maps.All(list)); got != 0 {
		t.Errorf("%d keys differ the second time, want none", got)
	}
}

func TestReadCacheClosedCutsReadsAndGoesOnAnswering(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, etcd.Addr)
	cache := openCache(t, p.addr, nil)
	wantValue(t, cache, "a", "a=1")
	p.stall()
	var asked sync.WaitGroup
	asked.Go(func() {
		if _, _, err := cache.Get(context.Background(), "b"); err == nil {
			t.Error("a read that was cut has an answer")
		}
	})
	testkit.Eventually(t, "a read is under way", func() bool { _, reads := cache.size(); return reads == 1 })
	cache.Close()
	asked.Wait()
	wantValue(t, cache, "a", "a=1")
	if _, _, err := cache.Get(t.Context(), "c"); !errors.Is(err, errCacheClosed) {
		t.Errorf("a closed cache says %v", err)
	}
}

func TestReadCacheConfigurationFaults(t *testing.T) {
	client := newTestClient(t, "127.0.0.1:1")
	decode := func(string, []byte) int { return 0 }
	for _, cfg := range []ReadCacheConfig[int]{
		{Root: testRoot, Decode: decode}, {Client: client, Decode: decode}, {Client: client, Root: testRoot},
	} {
		if cache, err := NewReadCache(cfg); err == nil {
			cache.Close()
			t.Errorf("NewReadCache took %+v", cfg)
		}
	}
}
