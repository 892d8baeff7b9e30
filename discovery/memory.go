package discovery

import (
	"context"
	"maps"
	"slices"
	"sync"
)

// Memory is a Source that holds its entries in memory: for tests, and for
// programs that embed the router and bring their own documents. Puts and
// deletions are gathered until Commit, which makes them one revision. All
// methods are safe for concurrent use; make one with NewMemory.
type Memory struct {
	track *tracker

	mu       sync.Mutex
	revision int64
	entries  map[string]Entry
	deleted  map[string]int64   // key -> revision of its deletion, while it is absent
	staged   map[string]*[]byte // key -> new value; nil: delete
	changed  chan struct{}      // closed and replaced by each Commit
}

// NewMemory makes an empty source at revision 0.
func NewMemory() *Memory {
	return &Memory{
		track:   newTracker(kindMemory, "this process"),
		entries: map[string]Entry{},
		deleted: map[string]int64{},
		staged:  map[string]*[]byte{},
		changed: make(chan struct{}),
	}
}

// Put stages a value, to be written by the next Commit. The bytes are copied.
func (m *Memory) Put(key string, value []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value = slices.Clone(value)
	m.staged[key] = &value
}

// Delete stages the removal of a key; an absent one is no error.
func (m *Memory) Delete(key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged[key] = nil
}

// Commit makes all that is staged one revision, which followers receive as one
// step, and returns it. With nothing staged, or only deletions of absent keys,
// there is no new revision.
func (m *Memory) Commit() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.staged, func(key string, value *[]byte) bool {
		_, present := m.entries[key]
		return value == nil && !present
	})
	if len(m.staged) == 0 {
		return m.revision
	}
	m.revision++
	for key, value := range m.staged {
		m.write(key, value)
	}
	clear(m.staged)
	close(m.changed)
	m.changed = make(chan struct{})
	return m.revision
}

func (m *Memory) write(key string, value *[]byte) {
	if value == nil {
		delete(m.entries, key)
		m.deleted[key] = m.revision
		return
	}
	created := m.revision
	if old, present := m.entries[key]; present {
		created = old.Created
	}
	delete(m.deleted, key)
	m.entries[key] = Entry{Key: key, Value: *value, Revision: m.revision, Created: created, Origin: kindMemory}
}

// Follow implements Source. Commits that come while apply runs are delivered
// together as one batch.
func (m *Memory) Follow(ctx context.Context, apply func(Batch)) error {
	if err := m.track.begin(); err != nil {
		return err
	}
	defer m.track.end()
	batch, changed := m.since(0, true)
	for {
		apply(batch)
		m.track.proved(batch.Revision)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
		batch, changed = m.since(batch.Revision, false)
	}
}

// since gathers what happened after revision, and what tells of the next
// Commit.
func (m *Memory) since(revision int64, whole bool) (Batch, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	batch := Batch{Whole: whole, Revision: m.revision}
	for _, key := range slices.Sorted(maps.Keys(m.entries)) {
		if entry := m.entries[key]; whole || entry.Revision > revision {
			batch.Put = append(batch.Put, entry)
		}
	}
	if !whole {
		for key, at := range m.deleted {
			if at > revision {
				batch.Deleted = append(batch.Deleted, key)
			}
		}
		slices.Sort(batch.Deleted)
	}
	return batch, m.changed
}

// Status implements Source. A followed Memory is never behind, so its Age is 0
// once it is synced.
func (m *Memory) Status() Status {
	status := m.track.read()
	if status.Connected {
		status.Age = 0
	}
	return status
}
