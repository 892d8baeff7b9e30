package discovery

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
)

// writer changes what a source follows, as one step.
type writer interface {
	commit(t *testing.T, put map[string]string, deleted ...string)
}

// testSource is the contract that every source keeps. open gives a new, empty
// source and the way to write to it.
func testSource(t *testing.T, open func(t *testing.T) (Source, writer)) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, source Source, w writer)
	}{
		{"an empty source gives an empty whole batch", emptyIsWhole},
		{"what is there already comes first, and whole", presentComesFirst},
		{"puts, changes and deletions arrive", changesArrive},
		{"one commit is one step", commitIsOneStep},
		{"an entry's revision rises with its value only", entryRevisions},
		{"follow ends with its context", followEnds},
		{"follow again starts anew", followAgain},
		{"one follow at a time", oneFollow},
		{"status tells how it goes", statusTells},
		{"random writes arrive", randomWrites},
	} {
		t.Run(c.name, func(t *testing.T) {
			source, w := open(t)
			c.test(t, source, w)
		})
	}
}

func emptyIsWhole(t *testing.T, source Source, w writer) {
	r := follow(t, source)
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	if first := r.received()[0]; !first.Whole || len(first.Put) != 0 || len(first.Faults) != 0 {
		t.Errorf("first batch is %+v, want an empty whole one", first)
	}
	w.commit(t, map[string]string{"tenants/acme": "1"})
	r.awaitState(map[string]string{"tenants/acme": "1"})
}

func presentComesFirst(t *testing.T, source Source, w writer) {
	want := map[string]string{"a/1": "x", "a/2": "y", "b": ""}
	w.commit(t, want)
	r := follow(t, source)
	r.awaitState(want)
	if batches := r.received(); len(batches) != 1 || !batches[0].Whole {
		t.Errorf("received %+v, want one whole batch", batches)
	}
}

func changesArrive(t *testing.T, source Source, w writer) {
	r := follow(t, source)
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	r.awaitState(map[string]string{"a": "1", "b": "1"})
	w.commit(t, map[string]string{"a": "2"})
	r.awaitState(map[string]string{"a": "2", "b": "1"})
	w.commit(t, nil, "b")
	r.awaitState(map[string]string{"a": "2"})
	w.commit(t, map[string]string{"b": "3"}, "a")
	r.awaitState(map[string]string{"b": "3"})
	w.commit(t, nil, "b")
	r.awaitState(map[string]string{})
}

// commitIsOneStep writes the same number under all keys in each commit: no
// batch may ever show two numbers.
func commitIsOneStep(t *testing.T, source Source, w writer) {
	const keys, commits = 20, 40
	r := followWith(t, source, func(state map[string]Entry, batch Batch) {
		distinct := map[string]bool{}
		for _, entry := range state {
			distinct[string(entry.Value)] = true
		}
		if len(distinct) > 1 || len(state)%keys != 0 {
			t.Errorf("at revision %d a commit is applied by half: %d keys, values %v", batch.Revision, len(state), distinct)
		}
	})
	for n := range commits {
		put := map[string]string{}
		for k := range keys {
			put[fmt.Sprintf("key/%02d", k)] = fmt.Sprint(n)
		}
		w.commit(t, put)
	}
	r.await("the last commit", func(state map[string]Entry, _ []Batch) bool {
		return string(state["key/00"].Value) == fmt.Sprint(commits-1)
	})
}

func entryRevisions(t *testing.T, source Source, w writer) {
	w.commit(t, map[string]string{"still": "1", "moving": "1"})
	r := follow(t, source)
	r.awaitState(map[string]string{"still": "1", "moving": "1"})
	still, moving := r.entry("still"), r.entry("moving")
	w.commit(t, map[string]string{"moving": "2"})
	r.awaitState(map[string]string{"still": "1", "moving": "2"})
	if got := r.entry("still"); got.Revision != still.Revision || got.Created != still.Created {
		t.Errorf("the untouched entry was %+v and is %+v", still, got)
	}
	if got := r.entry("moving"); got.Revision <= moving.Revision || got.Created != moving.Created {
		t.Errorf("the changed entry was %+v and is %+v", moving, got)
	}
}

func followEnds(t *testing.T, source Source, w writer) {
	r := follow(t, source)
	w.commit(t, map[string]string{"a": "1"})
	r.awaitState(map[string]string{"a": "1"})
	if err := r.stop(); !isCanceled(err) {
		t.Errorf("Follow returned %v, want its context's error", err)
	}
	before := len(r.received())
	w.commit(t, map[string]string{"a": "2"})
	if after := len(r.received()); after != before {
		t.Error("apply was called after Follow had returned")
	}
	if source.Status().Connected {
		t.Error("a source that nobody follows says that it is connected")
	}
}

func followAgain(t *testing.T, source Source, w writer) {
	w.commit(t, map[string]string{"a": "1", "b": "1"})
	first := follow(t, source)
	first.awaitState(map[string]string{"a": "1", "b": "1"})
	if err := first.stop(); !isCanceled(err) {
		t.Fatal(err)
	}
	w.commit(t, map[string]string{"a": "2"}, "b")
	second := follow(t, source)
	second.awaitState(map[string]string{"a": "2"})
	if batches := second.received(); !batches[0].Whole || batches[0].SourceChanged {
		t.Errorf("the second Follow began with %+v", batches[0])
	}
}

func oneFollow(t *testing.T, source Source, _ writer) {
	r := follow(t, source)
	r.await("the first batch", func(_ map[string]Entry, batches []Batch) bool { return len(batches) > 0 })
	if err := source.Follow(t.Context(), func(Batch) {}); err == nil || isCanceled(err) {
		t.Errorf("a second Follow at the same time returned %v, want a refusal", err)
	}
}

func statusTells(t *testing.T, source Source, w writer) {
	if s := source.Status(); s.Kind == "" || s.Synced || s.Connected {
		t.Errorf("before Follow the status is %+v", s)
	}
	r := follow(t, source)
	w.commit(t, map[string]string{"a": "1"})
	r.awaitState(map[string]string{"a": "1"})
	testkit.Eventually(t, "a good status", func() bool {
		s, batches := source.Status(), r.received()
		return s.Synced && s.Connected && s.LastError == "" && s.Detail != "" && s.Age < time.Minute &&
			s.Revision >= batches[len(batches)-1].Revision
	})
}

func randomWrites(t *testing.T, source Source, w writer) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := follow(t, source)
	want := map[string]string{}
	for n := range 60 {
		put, deleted := map[string]string{}, map[string]bool{}
		for range 1 + random.IntN(8) {
			key := fmt.Sprintf("k/%d", random.IntN(30))
			if random.IntN(3) == 0 && put[key] == "" {
				deleted[key] = true
				delete(want, key)
			} else if !deleted[key] {
				put[key] = fmt.Sprintf("%d-%d", n, random.IntN(1000))
				want[key] = put[key]
			}
		}
		var gone []string
		for key := range maps.Keys(deleted) {
			gone = append(gone, key)
		}
		w.commit(t, put, gone...)
		if random.IntN(10) == 0 {
			r.awaitState(want)
		}
	}
	r.awaitState(want)
}
