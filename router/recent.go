package router

import (
	"cmp"
	"fmt"
	"sync"

	"gridrouter.io/routing"
)

// Tables that were in force before are kept for a while, so that what became of a request
// can still be explained after the documents have changed. Tables share what did not
// change between them; what is kept is bounded by their number and by what they do not share.
const (
	maxRecentTables = 256
	maxRecentBytes  = 64 << 20
)

// recentTables are the table in force and those that were before it, oldest first. Their
// revisions never fall from one to the next.
type recentTables struct {
	mostBytes int // 0: maxRecentBytes

	mu     sync.Mutex
	tables []*routing.Table
	bytes  int // that the others do not share with the one in force, nearly
}

// add puts a table behind the others, and lets go of the oldest that are too much. Where
// the revision falls another source answers, whose revisions mean something else: then all
// others go.
func (r *recentTables) add(t *routing.Table) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.tables); n > 0 {
		if t.Revision() < r.tables[n-1].Revision() {
			r.tables, r.bytes = nil, 0
		} else {
			r.bytes += t.Weight() // the one before it holds as much that nobody else does
		}
	}
	r.tables = append(r.tables, t)
	most := cmp.Or(r.mostBytes, maxRecentBytes)
	for len(r.tables) > 1 && (len(r.tables) > maxRecentTables || r.bytes > most) {
		r.bytes -= r.tables[1].Weight()
		r.tables[0] = nil // what the slice leaves behind would keep it
		r.tables = r.tables[1:]
	}
}

// TableAt returns the table that was in force last at a revision; present says that it is in force
// now. The error says which revisions are kept. nil without an error: none has been published.
func (r *Router) TableAt(revision int64) (t *routing.Table, present bool, err error) {
	return r.recent.at(revision)
}

// at is [Router.TableAt].
func (r *recentTables) at(revision int64) (t *routing.Table, present bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.tables) == 0 {
		return nil, false, nil
	}
	last := len(r.tables) - 1
	oldest, newest := r.tables[0].Revision(), r.tables[last].Revision()
	if revision < oldest || revision > newest {
		return nil, false, fmt.Errorf("revision %d is not here: this router keeps its tables of the revisions %d to %d", revision, oldest, newest)
	}
	for i := last; ; i-- {
		if r.tables[i].Revision() <= revision {
			return r.tables[i], i == last, nil
		}
	}
}

// count returns how many tables are kept, the one in force included.
func (r *recentTables) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tables)
}
