package keyspace_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

// writing writes a hot key nine times as often as all others together, until it is stopped.
func writing(ctx context.Context, t *testing.T, client *clientv3.Client) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			key := "/hot/key"
			if i%10 == 0 {
				key = fmt.Sprintf("/cold/%05d", i/10)
			}
			if _, err := client.Put(ctx, key, "value"); err != nil && ctx.Err() == nil {
				t.Error(err)
				return
			}
		}
	})
	return func() { cancel(); done.Wait() }
}

func TestThePlantedHotKeyIsFound(t *testing.T) {
	cluster := etcdtest.StartCluster(t, 3)
	_, follower := cluster.Leader(t)
	ctx, client := to(t, follower)
	put(ctx, t, client, "v", numbered("/hot/not/%04d", 200)...)
	stop := writing(ctx, t, client)
	defer stop()
	for name, find := range map[string]func(keyspace.HotOptions) (keyspace.Hot, error){
		"by a watch":  func(o keyspace.HotOptions) (keyspace.Hot, error) { return keyspace.HotKeys(ctx, client, o) },
		"by versions": func(o keyspace.HotOptions) (keyspace.Hot, error) { return keyspace.Growth(ctx, client, o) },
	} {
		for _, prefix := range []string{"", "/hot/"} {
			hot, err := find(keyspace.HotOptions{Prefix: prefix, For: time.Second, Room: 100})
			if err != nil {
				t.Fatal(name, err)
			}
			small(t, hot)
			if len(hot.Top) == 0 || hot.Top[0].Key != "/hot/key" || hot.Top[0].PerSecond <= 0 || hot.Note == "" || hot.ToRevision < hot.FromRevision {
				t.Fatalf("%s: %+v", name, hot)
			}
			if prefix != "" && (len(hot.Top) != 1 || hot.Top[0].Changes != hot.Changes) {
				t.Errorf("%s: %+v", name, hot)
			}
			t.Logf("%s under %q: %d of %d changes in %.2f s", name, prefix, hot.Top[0].Changes, hot.Changes, hot.Seconds)
		}
	}
}

func TestChangesAreCountedAsTheyWere(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "v", "/a", "/b", "/c")
	began := make(chan struct{})
	watching := &between{KV: client, before: sync.OnceFunc(func() { close(began) })}
	var wrote sync.WaitGroup
	wrote.Go(func() {
		<-began
		// Of these, those count that come after the read which began.
		for range 4 {
			put(ctx, t, client, "v", "/new")
		}
	})
	hot, err := keyspace.Growth(ctx, watching, keyspace.HotOptions{For: 2 * time.Second})
	wrote.Wait()
	if err != nil || hot.Changes > 4 {
		t.Errorf("%+v, %v", hot, err)
	}
	for _, one := range hot.Top {
		if one.Key != "/new" {
			t.Errorf("%+v", one)
		}
	}
}

func TestAWatchEndsWithItsContextAndItsEtcd(t *testing.T) {
	server := etcdtest.Start(t)
	ctx, client := to(t, server)
	ended, cancel := context.WithCancel(ctx)
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := keyspace.HotKeys(ended, client, keyspace.HotOptions{For: time.Hour}); err == nil {
		t.Error("it went on")
	}
	if _, err := keyspace.Growth(ended, client, keyspace.HotOptions{For: time.Hour}); err == nil {
		t.Error("it went on")
	}
	f := func(o keyspace.HotOptions) {
		t.Helper()
		if _, err := keyspace.HotKeys(ctx, client, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
		if _, err := keyspace.Growth(ctx, client, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	f(keyspace.HotOptions{})
	f(keyspace.HotOptions{For: 2 * time.Hour})
	f(keyspace.HotOptions{For: time.Second, Top: 51})
	f(keyspace.HotOptions{For: time.Second, Room: 99})
	f(keyspace.HotOptions{For: time.Second, Pace: keyspace.Pace{Page: -1}})
}

func TestGrowthSaysThatItsBeginningWasCompacted(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "v", "/a")
	reads := 0
	compacting := &between{KV: client, before: func() {
		if reads++; reads == 2 { // the walk begins
			put(ctx, t, client, "v", "/a")
			now, err := client.Put(ctx, "/a", "v")
			if err == nil {
				_, err = client.Compact(ctx, now.Header.Revision)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}}
	if hot, err := keyspace.Growth(ctx, compacting, keyspace.HotOptions{For: 20 * time.Millisecond}); err == nil {
		t.Errorf("%+v", hot)
	}
}
