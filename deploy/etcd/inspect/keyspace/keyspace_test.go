package keyspace_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect/brief"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect starts an etcd and connects to it.
func connect(t *testing.T) (context.Context, *clientv3.Client) {
	t.Helper()
	return to(t, etcdtest.Start(t))
}

func to(t *testing.T, s *etcdtest.Server) (context.Context, *clientv3.Client) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 4*testkit.Patience)
	t.Cleanup(cancel)
	return ctx, client
}

// put writes keys in transactions of a hundred.
func put(ctx context.Context, t *testing.T, client *clientv3.Client, value string, keys ...string) {
	t.Helper()
	for len(keys) > 0 {
		n := min(100, len(keys))
		var ops []clientv3.Op
		for _, key := range keys[:n] {
			ops = append(ops, clientv3.OpPut(key, value))
		}
		if _, err := client.Txn(ctx).Then(ops...).Commit(); err != nil {
			t.Fatal(err)
		}
		keys = keys[n:]
	}
}

func numbered(format string, count int) []string {
	var out []string
	for i := range count {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

func small(t *testing.T, result any) {
	t.Helper()
	text, err := json.Marshal(result)
	if err != nil || len(text) > brief.MostBytes {
		t.Errorf("%d bytes, %v", len(text), err)
	}
}

func group(list []keyspace.Group, prefix string) keyspace.Group {
	for _, g := range list {
		if g.Prefix == prefix {
			return g
		}
	}
	return keyspace.Group{}
}

func TestUsageIsCountedByTheBeginningsOfKeys(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, strings.Repeat("v", 100), numbered("/a/big/%04d", 300)...)
	put(ctx, t, client, "v", numbered("/a/many/%04d", 700)...)
	put(ctx, t, client, "v", "/a/big-not/x", "/a/direct", "/a/zdirect", "/top", "plain", "/a//empty")
	lease, err := client.Grant(ctx, 600)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := client.Put(ctx, "/leased/x/1", "v", clientv3.WithLease(lease.ID)); err != nil {
			t.Fatal(err)
		}
	}
	u, err := keyspace.PrefixUsage(ctx, client, keyspace.UsageOptions{Parts: 2, Pace: keyspace.Pace{Page: 50}})
	if err != nil {
		t.Fatal(err)
	}
	small(t, u)
	if u.Total.Keys != 1007 || u.Groups != 8 || u.Estimated || u.Revision != u.LastRevision || u.ReadBytes != u.Total.Bytes {
		t.Errorf("%+v", u)
	}
	f := func(list []keyspace.Group, want keyspace.Group) {
		t.Helper()
		if got := group(list, want.Prefix); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	f(u.ByBytes[:1], keyspace.Group{Prefix: "/a/big/", Keys: 300, Bytes: 300 * (11 + 100), Versions: 300})
	f(u.ByKeys[:1], keyspace.Group{Prefix: "/a/many/", Keys: 700, Bytes: 700 * (12 + 1), Versions: 700})
	f(u.ByLeased, keyspace.Group{Prefix: "/leased/x/", Keys: 1, Bytes: 12, Leased: 1, Versions: 5})
	f(u.ByVersions, keyspace.Group{Prefix: "/leased/x/", Keys: 1, Bytes: 12, Leased: 1, Versions: 5})
	f(u.ByKeys, keyspace.Group{Prefix: "/a/", Keys: 2, Bytes: 10 + 11, Versions: 2})
	f(u.ByKeys, keyspace.Group{Prefix: "/", Keys: 1, Bytes: 5, Versions: 1})
	f(u.ByKeys, keyspace.Group{Keys: 1, Bytes: 6, Versions: 1})
	f(u.ByKeys, keyspace.Group{Prefix: "/a//", Keys: 1, Bytes: 10, Versions: 1})
	u, err = keyspace.PrefixUsage(ctx, client, keyspace.UsageOptions{Prefix: "/a/big", Parts: 1})
	if err != nil || u.Total.Keys != 301 || u.Groups != 1 {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestASampleEstimatesBytesAtLessCost(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, strings.Repeat("v", 1000), numbered("/a/%05d", 4000)...)
	whole, err := keyspace.PrefixUsage(ctx, client, keyspace.UsageOptions{Pace: keyspace.Pace{Page: 50, Bytes: 1 << 30, Keys: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	sampled, err := keyspace.PrefixUsage(ctx, client, keyspace.UsageOptions{SampleValues: 10, Pace: keyspace.Pace{Page: 50, Bytes: 1 << 30, Keys: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("read %d bytes for %d, sampled %d for %d", whole.ReadBytes, whole.Total.Bytes, sampled.ReadBytes, sampled.Total.Bytes)
	if !sampled.Estimated || sampled.Total.Keys != whole.Total.Keys || sampled.ReadBytes > whole.ReadBytes/5 || sampled.Total.Bytes != whole.Total.Bytes {
		t.Errorf("%+v\n%+v", sampled, whole)
	}
}

func TestUsageGoesOnWhereItsRevisionIsCompacted(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "v", numbered("/a/%04d", 500)...)
	pages := 0
	compacting := &between{KV: client, before: func() {
		if pages++; pages == 3 {
			now, err := client.Put(ctx, "/b", "v")
			if err == nil {
				_, err = client.Compact(ctx, now.Header.Revision)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}}
	u, err := keyspace.PrefixUsage(ctx, compacting, keyspace.UsageOptions{Prefix: "/a/", Pace: keyspace.Pace{Page: 50}})
	if err != nil || u.Total.Keys != 500 || u.LastRevision <= u.Revision {
		t.Errorf("%+v, %v", u, err)
	}
}

// between does something before each read of a real etcd.
type between struct {
	clientv3.KV
	before func()
}

func (b *between) Get(ctx context.Context, key string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	b.before()
	return b.KV.Get(ctx, key, options...)
}

func TestKeysOfAnyBytesAreCountedInASmallResult(t *testing.T) {
	ctx, client := connect(t)
	var keys []string
	for i := range 60 {
		keys = append(keys, strings.Repeat("\x00<", 150)+fmt.Sprint(i)+"/\xff/x")
	}
	put(ctx, t, client, "v", keys...)
	u, err := keyspace.PrefixUsage(ctx, client, keyspace.UsageOptions{Parts: 16, Top: 50})
	if err != nil || u.Groups != 60 || len(u.ByBytes) == 0 {
		t.Errorf("%+v, %v", u, err)
	}
	small(t, u)
}

func TestTheRateIsBounded(t *testing.T) {
	ctx, client := connect(t)
	put(ctx, t, client, "v", numbered("/a/%04d", 500)...)
	var asked int
	counting := &between{KV: client, before: func() { asked++ }}
	ended, cancel := context.WithCancel(ctx)
	// At ten keys a second it would take fifty seconds; it ends at once with its context.
	go func() {
		defer cancel()
		for range 1000 {
			if ctx.Err() != nil {
				return
			}
			_, _ = client.Get(ctx, "x")
		}
	}()
	_, err := keyspace.PrefixUsage(ended, counting, keyspace.UsageOptions{Pace: keyspace.Pace{Keys: 1, Page: 10}})
	if err == nil || asked > 3 {
		t.Errorf("%d pages, %v", asked, err)
	}
}

func TestWhatCannotBeCountedIsRefused(t *testing.T) {
	f := func(o keyspace.UsageOptions, want string) {
		t.Helper()
		if _, err := keyspace.PrefixUsage(t.Context(), nil, o); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f(keyspace.UsageOptions{Parts: 17}, "groups of 17 parts: they must be 1 to 16")
	f(keyspace.UsageOptions{Parts: -1}, "groups of -1 parts: they must be 1 to 16")
	f(keyspace.UsageOptions{Top: 51}, "lists of 51 groups: they must be 1 to 50")
	f(keyspace.UsageOptions{SampleValues: -1}, "the values of one page in -1: it must be one in 1 to 1000")
	f(keyspace.UsageOptions{Pace: keyspace.Pace{Page: 20_000}}, "pages of 20000 keys: they must be 1 to 10000")
	f(keyspace.UsageOptions{Pace: keyspace.Pace{Keys: -1}}, "-1 keys and 16777216 bytes a second: a pace may not be negative")
}
