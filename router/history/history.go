// Package history keeps the tables that were in force before, so that what became of a request can
// still be explained after the documents have changed.
package history

import (
	"cmp"
	"fmt"
	"sync"

	"gridrouter.io/routing"
)

// Tables share what did not change between them; what is kept is bounded by their number and by
// what they do not share.
const (
	maxTables = 256
	maxBytes  = 64 << 20
)

// Tables are the table in force and those that were before it, oldest first. Their
// revisions never fall from one to the next. The zero value is empty and ready; all methods may be
// called at once.
type Tables struct {
	mostBytes int // 0: maxBytes

	mu     sync.Mutex
	tables []*routing.Table
	bytes  int // that the others do not share with the one in force, nearly
}

// Add puts a table behind the others, and lets go of the oldest that are too much. Where
// the revision falls another source answers, whose revisions mean something else: then all
// others go.
func (h *Tables) Add(t *routing.Table) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.tables); n > 0 {
		if t.Revision() < h.tables[n-1].Revision() {
			h.tables, h.bytes = nil, 0
		} else {
			h.bytes += t.Weight() // the one before it holds as much that nobody else does
		}
	}
	h.tables = append(h.tables, t)
	most := cmp.Or(h.mostBytes, maxBytes)
	for len(h.tables) > 1 && (len(h.tables) > maxTables || h.bytes > most) {
		h.bytes -= h.tables[1].Weight()
		h.tables[0] = nil // what the slice leaves behind would keep it
		h.tables = h.tables[1:]
	}
}

// At returns the table that was in force last at a revision; present says that it is in force now.
// The error says which revisions are kept. nil without an error: none has been added.
func (h *Tables) At(revision int64) (t *routing.Table, present bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.tables) == 0 {
		return nil, false, nil
	}
	last := len(h.tables) - 1
	oldest, newest := h.tables[0].Revision(), h.tables[last].Revision()
	if revision < oldest || revision > newest {
		return nil, false, fmt.Errorf("revision %d is not here: this router keeps its tables of the revisions %d to %d", revision, oldest, newest)
	}
	for i := last; ; i-- {
		if h.tables[i].Revision() <= revision {
			return h.tables[i], i == last, nil
		}
	}
}

// Count returns how many tables are kept, the one in force included.
func (h *Tables) Count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.tables)
}
