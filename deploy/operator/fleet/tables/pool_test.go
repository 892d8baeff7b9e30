package tables

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func good(r Report) bool { return r.Err == nil }

func TestRoutersAreReadAndChangesTold(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := connect(t, etcd.URL)
	announce(t, client, "edge-1", 5, "x")
	p := newPool(t, quick)
	var told atomic.Int32
	p.Follow("team/edge", Source{Endpoints: []string{etcd.URL}, Prefix: prefix}, func() { told.Add(1) })
	r := eventually(t, p, "team/edge", "a report", good)
	if len(r.Routers) != 1 || r.Routers["edge-1"].Revision != 5 || r.At.IsZero() || len(r.Looks) != 1 {
		t.Fatalf("%+v", r)
	}
	testkit.Eventually(t, "the first look is told", func() bool { return told.Load() == 1 })

	change := func(what string, do func()) {
		t.Helper()
		before := told.Load()
		do()
		testkit.Eventually(t, what+" is told", func() bool { return told.Load() > before })
	}
	change("a revision", func() { announce(t, client, "edge-1", 6, "x") })
	change("a hash", func() { announce(t, client, "edge-1", 6, "y") })
	change("a router that comes", func() { announce(t, client, "edge-2", 6, "y") })
	change("a version", func() {
		put(t, client, prefix+"fleet/edge-1", strings.Replace(statusOf("edge-1", 6, "y"), "1.4.0", "1.5.0", 1))
	})
	lease, err := client.Grant(t.Context(), 60)
	if err != nil {
		t.Fatal(err)
	}
	change("a router with a lease", func() {
		put(t, client, prefix+"fleet/edge-3", statusOf("edge-3", 6, "y"), clientv3.WithLease(lease.ID))
	})
	change("the end of a lease", func() {
		if _, err := client.Revoke(t.Context(), lease.ID); err != nil {
			t.Fatal(err)
		}
	})
	if r, _ := p.Latest("team/edge"); len(r.Routers) != 2 {
		t.Errorf("%+v", r.Routers)
	}

	// What does not matter is read and not told.
	before := told.Load()
	put(t, client, prefix+"fleet/edge-1", strings.Replace(strings.Replace(statusOf("edge-1", 6, "y"), "1.4.0", "1.5.0", 1), `"ageSeconds":0`, `"ageSeconds":70`, 1))
	eventually(t, p, "team/edge", "another age", func(r Report) bool { return r.Routers["edge-1"].AgeSeconds == 70 })
	at := eventually(t, p, "team/edge", "a report", good).At
	eventually(t, p, "team/edge", "a later look", func(r Report) bool { return r.At.After(at) })
	if got := told.Load(); got != before {
		t.Errorf("an age was told %d times", got-before)
	}
}

func TestAThousandRoutersAreReadBesideGarbage(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := connect(t, etcd.URL)
	for from := 0; from < 1000; from += 100 {
		var puts []clientv3.Op
		for i := range 100 {
			id := fmt.Sprintf("edge-%04d", from+i)
			puts = append(puts, clientv3.OpPut(prefix+"fleet/"+id, statusOf(id, 5, "x")))
		}
		if _, err := client.Txn(t.Context()).Then(puts...).Commit(); err != nil {
			t.Fatal(err)
		}
	}
	huge := strings.Repeat("x", 1<<20)
	garbage := map[string]string{
		"":             "{}",
		"a-json":       "{",
		"a-number":     "7",
		"a-null":       "null",
		"a-trailing":   statusOf("a-trailing", 1, "x") + "{}",
		"a-other":      statusOf("edge-0001", 9, "z"),
		"a-negative":   statusOf("a-negative", -1, "z"),
		"a-overflow":   `{"id":"a-overflow","revision":99999999999999999999}`,
		"a-empty":      "",
		"a-field":      statusOf("a-field", 1, strings.Repeat("h", 300)),
		"a-control":    statusOf("a-control", 1, "a\x1b[2Jb"),
		"a\nb":         statusOf("a\nb", 1, "x"),
		"a-deep":       strings.Repeat("[", 10000),
		"a/" + "b\xff": "{}",
	}
	for i := range 12 { // more than one answer may hold, before, between and behind good ones
		garbage[fmt.Sprintf("a-huge-%d", i)] = huge
		garbage[fmt.Sprintf("edge-0500-%d", i)] = huge
		garbage[fmt.Sprintf("z-huge-%d", i)] = huge
	}
	for id, value := range garbage {
		put(t, client, prefix+"fleet/"+id, value)
	}
	put(t, client, prefix+"fleet0", statusOf("0", 5, "x")) // next to the folder
	p := newPool(t, quick)
	p.Follow("f", Source{Endpoints: []string{etcd.URL}, Prefix: prefix}, nil)
	r := eventually(t, p, "f", "a report", good)
	if len(r.Routers) != 1000 || len(r.Unreadable) != len(garbage) {
		t.Errorf("%d routers and %d unreadable of %d", len(r.Routers), len(r.Unreadable), len(garbage))
	}
	for id, why := range r.Unreadable {
		if why == "" || len(why) > 200 || strings.ContainsAny(id+why, "\x1b\n") || !utf8.ValidString(id+why) {
			t.Errorf("%q: %q", id, why)
		}
	}
}

func TestManyFleetsShareWhatTheyCan(t *testing.T) {
	etcd, other := etcdtest.Start(t), etcdtest.Start(t)
	p := newPool(t, quick)
	for i := range 500 {
		s := Source{Endpoints: []string{etcd.URL, other.URL}, Prefix: fmt.Sprintf("/p%d/", i%3)}
		if i%2 == 0 {
			s.Endpoints = []string{other.URL, etcd.URL}
		}
		p.Follow(fmt.Sprint(i), s, nil)
	}
	p.mu.Lock()
	feeds, connections := len(p.feeds), len(p.connections)
	p.mu.Unlock()
	if feeds != 3 || connections != 1 {
		t.Errorf("%d goroutines and %d clients for 3 prefixes of one etcd", feeds, connections)
	}
	for i := range 500 {
		eventually(t, p, fmt.Sprint(i), "a report", good)
	}
	for i := range 499 {
		p.Forget(fmt.Sprint(i))
	}
	p.Forget("nobody")
	testkit.Eventually(t, "one goroutine is left", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.feeds) == 1 && len(p.connections) == 1
	})
	p.Forget("499")
	testkit.Eventually(t, "no client is left", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.feeds) == 0 && len(p.connections) == 0
	})
	if _, looked := p.Latest("499"); looked {
		t.Error("a forgotten fleet has a report")
	}
}

// TestCallersNeverWait uses the pool from many goroutines while etcd is not there.
func TestCallersNeverWait(t *testing.T) {
	p := newPool(t, Options{Every: time.Millisecond, Timeout: time.Hour})
	addr := testkit.FreeAddr(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for k := range 100 {
				id := fmt.Sprint((i + k) % 5)
				p.Follow(id, Source{Endpoints: []string{"http://" + addr}, Prefix: fmt.Sprintf("/%d/", k%2)}, func() { p.Latest(id) })
				p.Latest(id)
				if k%3 == 0 {
					p.Forget(id)
				}
				runtime.Gosched()
			}
		})
	}
	all.Wait()
	p.Close()
	p.Follow("late", Source{Endpoints: []string{"http://" + addr}, Prefix: prefix}, nil)
	if _, looked := p.Latest("late"); looked || len(p.feeds) != 0 {
		t.Error("a closed pool is followed")
	}
	p.Close()
}

func TestARouterThatLagsIsFoundInWhatIsRead(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := connect(t, etcd.URL)
	for range 10 {
		put(t, client, "/elsewhere", "") // so that etcd has come as far as the routers say
	}
	for id, revision := range map[string]int64{"a": 5, "b": 5, "c": 3} {
		announce(t, client, id, revision, fmt.Sprint(revision))
	}
	p := newPool(t, quick)
	p.Follow("f", Source{Endpoints: []string{etcd.URL}, Prefix: prefix}, nil)
	judged := func(want string) func(Report) bool {
		return func(r Report) bool {
			return fmt.Sprint(Judge(r, routers("a b c"), quick.LagAfter, time.Now()).Lagging) == want
		}
	}
	first := eventually(t, p, "f", "a report", good)
	if !judged("[]")(first) {
		t.Error("one look is enough to lag")
	}
	eventually(t, p, "f", "c lags", judged("[c]"))
	announce(t, client, "c", 5, "5")
	eventually(t, p, "f", "c lags no more", judged("[]"))
}
