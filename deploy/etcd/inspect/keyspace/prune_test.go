package keyspace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

func count(ctx context.Context, t *testing.T, client *clientv3.Client, prefix string) int64 {
	t.Helper()
	answer, err := client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	return answer.Count
}

func TestADryRunEqualsWhatIsThenRemoved(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "value", numbered("/old/%04d", 1000)...)
	put(ctx, t, client, "value", "/old", "/older/x", "/keep/x")
	o := keyspace.PruneOptions{Prefix: "/old/", Protected: []string{"/gridrouter/"}, Pace: keyspace.Pace{Keys: 1 << 20}}
	d, err := keyspace.DryRun(ctx, client, o)
	if err != nil || d.Keys != 1000 || d.Bytes != 1000*(9+5) || len(d.Sample) < 10 || d.Token == "" {
		t.Fatalf("%+v, %v", d, err)
	}
	small(t, d)
	if again, err := keyspace.DryRun(ctx, client, o); err != nil || again.Token != d.Token {
		t.Errorf("another dry run says %+v, %v", again, err)
	}
	if left := count(ctx, t, client, "/old/"); left != 1000 {
		t.Fatalf("a dry run left %d keys", left)
	}
	var told keyspace.Doomed // as it comes back from where it was shown
	text, _ := json.Marshal(d)
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	p, err := keyspace.Apply(ctx, client, o, told, d.Token)
	if err != nil || p.Deleted != d.Keys || p.Changed != 0 || p.New != 0 || !p.Done {
		t.Fatalf("%+v, %v", p, err)
	}
	if left, others := count(ctx, t, client, "/old/"), count(ctx, t, client, "/"); left != 0 || others != 3 {
		t.Errorf("%d keys are left, and %d others", left, others)
	}
	if p, err := keyspace.Apply(ctx, client, o, told, d.Token); err != nil || p.Deleted != 0 || !p.Done {
		t.Errorf("once more: %+v, %v", p, err)
	}
}

func TestADryRunEqualsWhatIsThenRemovedWhileAWriterRuns(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "value", numbered("/old/%05d", 3000)...)
	o := keyspace.PruneOptions{Prefix: "/old/", Pace: keyspace.Pace{Keys: 1 << 20, Page: 100}}
	d, err := keyspace.DryRun(ctx, client, o)
	if err != nil {
		t.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	var done sync.WaitGroup
	wrote, started := map[string]bool{}, make(chan struct{})
	done.Go(func() { // it changes keys from the end, creates some, and does so until all is removed
		for i := 0; writing.Err() == nil; i++ {
			key := fmt.Sprintf("/old/%05d", (2999-7*i%3000+3000)%3000)
			if i%3 == 0 {
				key = fmt.Sprintf("/old/%05d/new", i)
			}
			if _, err := client.Put(ctx, key, "later"); err != nil {
				t.Error(err)
				break
			}
			wrote[key] = true
			if i == 20 {
				close(started)
			}
		}
	})
	<-started
	p, err := keyspace.Apply(ctx, client, o, d, d.Token)
	stop()
	done.Wait()
	if err != nil || !p.Done || p.Deleted+p.Changed > d.Keys || p.Changed == 0 || p.New == 0 || len(p.KeptSample) == 0 {
		t.Fatalf("%+v, %v", p, err)
	}
	small(t, p)
	left, err := client.Get(ctx, "/old/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if len(left.Kvs) != len(wrote) {
		t.Errorf("%d keys are left, the writer wrote %d", len(left.Kvs), len(wrote))
	}
	for _, pair := range left.Kvs { // what was written since is there, whenever it was; all else is gone
		if !wrote[string(pair.Key)] || string(pair.Value) != "later" || pair.ModRevision <= d.Revision {
			t.Errorf("%s at %d is left", pair.Key, pair.ModRevision)
		}
	}
	t.Logf("of %d keys %d were removed, %d kept as changed, %d as new, while %d were written", d.Keys, p.Deleted, p.Changed, p.New, len(wrote))
}

func TestAnInterruptedRemovalGoesOn(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "value", numbered("/old/%04d", 500)...)
	o := keyspace.PruneOptions{Prefix: "/old/", Pace: keyspace.Pace{Keys: 1 << 20, Page: 50}}
	d, err := keyspace.DryRun(ctx, client, o)
	if err != nil {
		t.Fatal(err)
	}
	interrupted, cancel := context.WithCancel(ctx)
	reads := 0
	first, err := keyspace.Apply(interrupted, &between{KV: client, before: func() {
		if reads++; reads == 5 {
			cancel()
		}
	}}, o, d, d.Token)
	if !errors.Is(err, context.Canceled) || first.Done || first.Deleted == 0 || first.Deleted == d.Keys {
		t.Fatalf("%+v, %v", first, err)
	}
	// What is compacted meanwhile does not matter.
	now, err := client.Put(ctx, "/other", "v")
	if err == nil {
		_, err = client.Compact(ctx, now.Header.Revision)
	}
	if err != nil {
		t.Fatal(err)
	}
	second, err := keyspace.Apply(ctx, client, o, d, d.Token)
	if err != nil || !second.Done || first.Deleted+second.Deleted != d.Keys {
		t.Errorf("%+v, %v", second, err)
	}
}

func TestWhatMayNotBeRemovedIsRefused(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "v", "/gridrouter/decks/a", "/other/a")
	protected := []string{"/gridrouter/", "/locks/"}
	f := func(prefix, want string) {
		t.Helper()
		_, err := keyspace.DryRun(ctx, client, keyspace.PruneOptions{Prefix: prefix, Protected: protected})
		_, err2 := keyspace.Apply(ctx, client, keyspace.PruneOptions{Prefix: prefix, Protected: protected}, keyspace.Doomed{}, "x")
		if err == nil || err2 == nil || err.Error() != err2.Error() || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %s", prefix, err, err2, want)
		}
	}
	f("", "the prefix is empty")
	f("/", "the prefix / covers /gridrouter/, which is protected")
	f("/grid", "the prefix /grid covers /gridrouter/, which is protected")
	f("/gridrouter/", "covers /gridrouter/")
	f("/gridrouter/decks/", "lies within /gridrouter/, which is protected")
	f("/locks/x", "lies within /locks/")
	f("\xff", "is no UTF-8")
	f(strings.Repeat("x", 1025), "at most 1024")
	if _, err := keyspace.DryRun(ctx, client, keyspace.PruneOptions{Prefix: "/x", Protected: []string{""}}); err == nil {
		t.Error("an empty protected prefix was taken")
	}
	o := keyspace.PruneOptions{Prefix: "/other/", Protected: protected}
	d, err := keyspace.DryRun(ctx, client, o)
	if err != nil {
		t.Fatal(err)
	}
	g := func(change func(*keyspace.Doomed), token, want string) {
		t.Helper()
		other := d
		change(&other)
		if p, err := keyspace.Apply(ctx, client, o, other, token); err == nil || !strings.Contains(err.Error(), want) || p.Deleted != 0 {
			t.Errorf("%+v, %v; want %s", p, err, want)
		}
	}
	g(func(*keyspace.Doomed) {}, "", "no token: make a dry run")
	g(func(*keyspace.Doomed) {}, "x", "the token is not that of the dry run")
	g(func(d *keyspace.Doomed) { d.Revision++ }, d.Token, "the token is not that of the dry run")
	g(func(d *keyspace.Doomed) { d.Keys = 1 << 40 }, d.Token, "the token is not that of the dry run")
	g(func(d *keyspace.Doomed) { d.Prefix = "/" }, d.Token, "the dry run was of /, not of /other/")
	_, stranger := connect(t)
	if _, err := keyspace.Apply(ctx, stranger, o, d, d.Token); err == nil || !strings.Contains(err.Error(), "the dry run was of cluster") {
		t.Errorf("on another cluster: %v", err)
	}
	if count(ctx, t, client, "/") != 2 {
		t.Error("something was removed")
	}
}
