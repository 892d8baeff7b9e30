package discovery

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen.
const patience = 30 * time.Second

// receiver follows a source as a router would, and checks each batch against
// the Source contract.
type receiver struct {
	t      *testing.T
	cancel context.CancelFunc
	done   chan struct{}
	err    error // of Follow, once done is closed
	inside atomic.Int32

	mu      sync.Mutex
	state   map[string]Entry
	batches []Batch
	faults  []Fault
	changed chan struct{}
	onBatch func(state map[string]Entry, batch Batch) // called with mu held
}

// follow starts to follow source until the test ends, or stop is called.
func follow(t *testing.T, source Source) *receiver {
	t.Helper()
	return followWith(t, source, nil)
}

func followWith(t *testing.T, source Source, onBatch func(map[string]Entry, Batch)) *receiver {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &receiver{t: t, cancel: cancel, done: make(chan struct{}), state: map[string]Entry{},
		changed: make(chan struct{}), onBatch: onBatch}
	go func() {
		defer close(r.done)
		r.err = source.Follow(ctx, r.apply)
	}()
	t.Cleanup(func() { r.stop() })
	return r
}

// stop ends the following and returns what Follow returned.
func (r *receiver) stop() error {
	r.t.Helper()
	r.cancel()
	select {
	case <-r.done:
	case <-time.After(patience):
		r.t.Fatal("Follow did not return after its context ended")
	}
	return r.err
}

func (r *receiver) apply(batch Batch) {
	if r.inside.Add(1) != 1 {
		r.t.Error("apply was called while it ran")
	}
	defer r.inside.Add(-1)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.check(batch)
	if batch.Whole {
		clear(r.state)
	}
	for _, entry := range batch.Put {
		r.state[entry.Key] = entry
	}
	for _, key := range batch.Deleted {
		delete(r.state, key)
	}
	r.batches = append(r.batches, batch)
	r.faults = batch.Faults
	if r.onBatch != nil {
		r.onBatch(r.state, batch)
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *receiver) check(batch Batch) {
	if len(r.batches) == 0 && !batch.Whole {
		r.t.Errorf("the first batch is not whole: %+v", batch)
	}
	if batch.Whole && len(batch.Deleted) > 0 {
		r.t.Errorf("a whole batch deletes %q", batch.Deleted)
	}
	if n := len(r.batches); n > 0 && batch.Revision <= r.batches[n-1].Revision && !batch.Whole {
		r.t.Errorf("revision %d comes after revision %d", batch.Revision, r.batches[n-1].Revision)
	}
	seen := map[string]bool{}
	for _, entry := range batch.Put {
		if seen[entry.Key] {
			r.t.Errorf("key %q twice in one batch", entry.Key)
		}
		seen[entry.Key] = true
		if entry.Revision > batch.Revision || entry.Revision < 1 {
			r.t.Errorf("entry %q has revision %d in a batch of revision %d", entry.Key, entry.Revision, batch.Revision)
		}
		if entry.Origin == "" {
			r.t.Errorf("entry %q has no origin", entry.Key)
		}
	}
	for _, key := range batch.Deleted {
		if seen[key] {
			r.t.Errorf("key %q twice in one batch", key)
		}
		seen[key] = true
	}
}

// await waits until cond holds for what was received.
func (r *receiver) await(what string, cond func(state map[string]Entry, batches []Batch) bool) {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		held, changed := cond(r.state, r.batches), r.changed
		r.mu.Unlock()
		if held {
			return
		}
		select {
		case <-changed:
		case <-r.done:
			r.t.Fatalf("Follow returned %v while the test waited for: %s", r.err, what)
		case <-deadline:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("waited in vain for: %s; %d batches, %d entries, faults %v", what, len(r.batches), len(r.state), r.faults)
		}
	}
}

// awaitState waits until exactly want has arrived.
func (r *receiver) awaitState(want map[string]string) {
	r.t.Helper()
	r.await("the state that was written", func(state map[string]Entry, batches []Batch) bool {
		return len(batches) > 0 && maps.Equal(values(state), want)
	})
}

func (r *receiver) entry(key string) Entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state[key]
}

func (r *receiver) received() []Batch {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

func (r *receiver) values() map[string]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return values(r.state)
}

func values(state map[string]Entry) map[string]string {
	plain := make(map[string]string, len(state))
	for key, entry := range state {
		plain[key] = string(entry.Value)
	}
	return plain
}

func isCanceled(err error) bool { return errors.Is(err, context.Canceled) }
