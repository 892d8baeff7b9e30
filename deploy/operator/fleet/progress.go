package fleet

import (
	"fmt"
	"sync"
	"time"
)

// progress remembers when each fleet got nearer to its spec for the last time. It is kept in memory: an
// operator that starts anew gives each fleet its whole deadline again. A Deployment has a deadline of its
// own, which does not see routers that a quota or a full cluster keeps from being added.
type progress struct {
	mu    sync.Mutex
	marks map[string]mark
}

type mark struct {
	what  string
	since time.Time
}

// overdue says whether a fleet that is not what it should be has made no progress for a deadline, and if it
// has not, how much of that is left; 0: no deadline runs.
func (p *progress) overdue(id string, v seen, idle bool, at time.Time, deadline time.Duration) (over bool, left time.Duration) {
	what := ""
	if !v.rolledOut && idle && !v.fleet.Spec.Paused && v.intent.stable != nil {
		what = fmt.Sprintf("%s %d %d %d %d %d", v.intent.stable.hash, v.fleet.Generation, v.wanted, v.replicas, v.ready, v.fleet.Status.Updated)
	}
	since := p.since(id, what, at)
	if what == "" {
		return false, 0
	}
	left = deadline - at.Sub(since)
	return left <= 0, max(left, 0)
}

// since says from when on something is true of a fleet: from now on, if that was something else before.
func (p *progress) since(id, what string, at time.Time) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, there := p.marks[id]
	if !there || known.what != what {
		known = mark{what, at}
		p.marks[id] = known
	}
	return known.since
}

func (p *progress) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.marks, id)
}
