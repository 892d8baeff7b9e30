package keyspace

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"
)

// TestHeavyHittersAreKeptWithinTheErrorBound holds what is kept to what was really counted, for streams in which
// few keys are hot and many are not.
func TestHeavyHittersAreKeptWithinTheErrorBound(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3, 4, 5} {
		random := rand.New(rand.NewPCG(seed, seed))
		const room, count = 100, 50_000
		zipf := rand.NewZipf(random, 1.0+0.05*float64(seed), 1, 20_000)
		h, truth := newHeavy(room), map[string]int64{}
		for range count {
			key := fmt.Sprint(zipf.Uint64())
			h.add(key, 1)
			truth[key]++
		}
		if h.total != count || len(h.least) != room || len(h.byKey) != room {
			t.Fatalf("%d counted, %d and %d kept", h.total, len(h.least), len(h.byKey))
		}
		kept := h.top(room)
		for _, one := range kept {
			if one.count < truth[one.key] || one.count-one.wrong > truth[one.key] || one.wrong > count/room {
				t.Errorf("seed %d: %s was counted %d times, not %d (or %d less)", seed, one.key, truth[one.key], one.count, one.wrong)
			}
		}
		for key, n := range truth {
			if n > count/room && !slices.ContainsFunc(kept, func(one *hitter) bool { return one.key == key }) {
				t.Errorf("seed %d: %s was counted %d times and is not kept", seed, key, n)
			}
		}
	}
}

func TestKeysThatFitAreCountedExactly(t *testing.T) {
	h := newHeavy(100)
	for i := range 100 {
		h.add(fmt.Sprint(i), int64(i+1))
	}
	for i, one := range h.top(3) {
		if one.key != fmt.Sprint(99-i) || one.count != int64(100-i) || one.wrong != 0 {
			t.Errorf("%+v", one)
		}
	}
}

// FuzzGroups holds the groups that are counted in one pass to those that a map would give.
func FuzzGroups(f *testing.F) {
	f.Add("/a/b/c\n/a/b\n/a\n/b/c/d\nx", 2)
	f.Add("a/b-c/x\na/b/x\na/b/y\n//\n/", 1)
	f.Add("!\n/\n/a\nz\nz/a/b", 3)
	f.Fuzz(func(t *testing.T, text string, parts int) {
		if parts < 1 || parts > 16 {
			return
		}
		keys := strings.Split(text, "\n")
		slices.Sort(keys)
		keys = slices.Compact(keys)
		c, want := newCounter(UsageOptions{Parts: parts, Top: 50}), map[string]int64{}
		for _, key := range keys {
			c.add(&mvccpb.KeyValue{Key: []byte(key), Version: 1}, true)
			want[beginning(key, parts)]++
			if len(c.open) > parts+2 {
				t.Fatalf("%d groups are open", len(c.open))
			}
		}
		u := c.finish()
		if u.Groups != int64(len(want)) || u.Total.Keys != int64(len(keys)) {
			t.Fatalf("%q: %d groups of %d keys, want %v", keys, u.Groups, u.Total.Keys, want)
		}
	})
}

func FuzzSampler(f *testing.F) {
	f.Add(0)
	f.Add(19)
	f.Add(21)
	f.Add(5000)
	f.Fuzz(func(t *testing.T, count int) {
		if count < 0 || count > 100_000 {
			return
		}
		s := sampler{every: 1}
		for i := range count {
			s.add(fmt.Appendf(nil, "%06d", i))
		}
		if len(s.kept) > mostSample || len(s.kept) < min(count, mostSample/2) || !slices.IsSorted(s.kept) || len(slices.Compact(slices.Clone(s.kept))) != len(s.kept) {
			t.Fatalf("of %d: %v", count, s.kept)
		}
	})
}
