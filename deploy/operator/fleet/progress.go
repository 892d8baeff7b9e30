package fleet

import (
	"fmt"
	"sync"
	"time"
)

// progress remembers how long ago each fleet got nearer to its spec for the last time. It is kept in memory: an
// operator that starts anew gives each fleet its whole deadline again. A Deployment has a deadline of its
// own, which does not see routers that a quota or a full cluster keeps from being added.
type progress struct {
	mu    sync.Mutex
	marks map[string]mark
}

type mark struct {
	what  string
	spent time.Duration // since what changed
	seen  time.Time     // when it was looked at last
}

// awaited describes how far a fleet has come that is not what it should be; empty: no deadline runs.
func (v *seen) awaited(idle bool) string {
	if v.rolledOut || !idle || v.fleet.Spec.Paused || v.intent.stable == nil {
		return ""
	}
	return fmt.Sprintf("%s %d %d %d %d %d", v.intent.stable.hash, v.fleet.Generation, v.wanted, v.replicas, v.ready, v.fleet.Status.Updated)
}

// overdue says whether what describes how far something has come has not changed for a deadline, and if it has,
// how much of that is left; 0: no deadline runs, since what is empty.
func (p *progress) overdue(id, what string, at time.Time, deadline time.Duration) (over bool, left time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := p.marks[id]
	switch {
	case what == "":
		delete(p.marks, id)
		return false, 0
	case known.what != what:
		known = mark{what: what, seen: at}
	}
	// More than it may be between two looks is time in which nobody looked, or a clock that jumped.
	known.spent += min(max(at.Sub(known.seen), 0), seldom)
	known.seen = at
	p.marks[id] = known
	left = deadline - known.spent
	return left <= 0, max(left, 0)
}

func (p *progress) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.marks, id)
	delete(p.marks, id+" canary")
}
