package discovery

import (
	"context"
	"maps"
	"slices"
	"strings"
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
	entries  map[place]Entry
	deleted  map[place]int64   // revision of a key's deletion, while it is absent
	staged   map[place]*[]byte // new values; nil: delete
	changed  chan struct{}     // closed and replaced by each Commit
}

// NewMemory makes an empty source at revision 0.
func NewMemory() *Memory {
	return &Memory{
		track:   newTracker(kindMemory, "this process"),
		entries: map[place]Entry{},
		deleted: map[place]int64{},
		staged:  map[place]*[]byte{},
		changed: make(chan struct{}),
	}
}

// Put stages a value, to be written by the next Commit. The bytes are copied.
func (m *Memory) Put(key string, value []byte) {
	value = slices.Clone(value)
	m.stage(place{key: key}, &value)
}

// PutMark stages the value of a mark (Batch.Marks). The bytes are copied.
func (m *Memory) PutMark(key string, value []byte) {
	value = slices.Clone(value)
	m.stage(place{mark: true, key: key}, &value)
}

// Delete stages the removal of a key; an absent one is no error.
func (m *Memory) Delete(key string) { m.stage(place{key: key}, nil) }

// DeleteMark stages the removal of a mark; an absent one is no error.
func (m *Memory) DeleteMark(key string) { m.stage(place{mark: true, key: key}, nil) }

func (m *Memory) stage(at place, value *[]byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.staged[at] = value
}

// Commit makes all that is staged one revision, which followers receive as one
// step, and returns it. With nothing staged, or only deletions of absent keys,
// there is no new revision.
func (m *Memory) Commit() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.staged, func(at place, value *[]byte) bool {
		_, present := m.entries[at]
		return value == nil && !present
	})
	if len(m.staged) == 0 {
		return m.revision
	}
	m.revision++
	for at, value := range m.staged {
		m.write(at, value)
	}
	clear(m.staged)
	close(m.changed)
	m.changed = make(chan struct{})
	return m.revision
}

func (m *Memory) write(at place, value *[]byte) {
	if value == nil {
		delete(m.entries, at)
		m.deleted[at] = m.revision
		return
	}
	created := m.revision
	if old, present := m.entries[at]; present {
		created = old.Created
	}
	delete(m.deleted, at)
	m.entries[at] = Entry{Key: at.key, Value: *value, Revision: m.revision, Created: created, Origin: kindMemory}
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
	for _, at := range slices.SortedFunc(maps.Keys(m.entries), byKey) {
		entry := m.entries[at]
		switch {
		case !whole && entry.Revision <= revision:
		case at.mark:
			batch.Marks = append(batch.Marks, entry)
		default:
			batch.Put = append(batch.Put, entry)
		}
	}
	if whole {
		return batch, m.changed
	}
	for _, at := range slices.SortedFunc(maps.Keys(m.deleted), byKey) {
		switch {
		case m.deleted[at] <= revision:
		case at.mark:
			batch.MarksDeleted = append(batch.MarksDeleted, at.key)
		default:
			batch.Deleted = append(batch.Deleted, at.key)
		}
	}
	return batch, m.changed
}

func byKey(a, b place) int { return strings.Compare(a.key, b.key) }

// Status implements Source. A followed Memory is never behind, so its Age is 0
// once it is synced.
func (m *Memory) Status() Status {
	status := m.track.read()
	if status.Connected {
		status.Age = 0
	}
	return status
}
