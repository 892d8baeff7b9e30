package catalog

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing/compile"
)

// What the guard of the routers counts within its window, it counts over all calls. So a call
// leaves word of the tenants that it dropped or repointed, for the next ones to reckon with. The
// word is no more than that: two calls at the same moment may miss each other's, and then the
// routers hold what neither was told of.

// maxRecent bounds the word; no more can be done in a window by calls of one change each.
const maxRecent = 2_000

// recentMoves is when tenants were dropped or repointed last, by name, and when Gslb documents were
// deleted, by key, which no tenant's name is like.
type recentMoves map[string]time.Time

// recent is the etcd key of the word: beside what routers follow and what is compared.
func (l layout) recent() string { return string(l) + "recent/moves" }

// readRecent reads the word, as far as it is of the guard's window. One that does not read, or
// that this user may not read, is none.
func (s *snapshot) readRecent(ctx context.Context) recentMoves {
	moves := recentMoves{}
	answer, err := s.get(ctx, s.at.recent(), s.options()...)
	if err != nil || len(answer.Kvs) == 0 || json.Unmarshal(answer.Kvs[0].Value, &moves) != nil || moves == nil {
		return recentMoves{} // an etcd that is away is told of by the next call
	}
	now := s.now()
	maps.DeleteFunc(moves, func(_ string, at time.Time) bool { // a clock that is ahead is no reason to wait for it
		return now.Sub(at) >= compile.GuardWindow || at.Sub(now) > compile.GuardWindow
	})
	return moves
}

// split parts the tenants from the Gslb documents.
func (m recentMoves) split() (tenants, names recentMoves) {
	tenants, names = recentMoves{}, recentMoves{}
	for name, at := range m {
		if folder, _ := folderOf(name); folder == FolderGslb {
			names[name] = at
		} else {
			tenants[name] = at
		}
	}
	return tenants, names
}

// with counts the tenants of the word and others.
func (m recentMoves) with(changed map[string]bool) int {
	n := len(m)
	for name := range changed {
		if _, counted := m[name]; !counted {
			n++
		}
	}
	return n
}

// untilExpired is how long it takes until so many of the word are no longer of the window.
func (m recentMoves) untilExpired(surplus int, now time.Time) time.Duration {
	ages := make([]time.Duration, 0, len(m))
	for _, at := range m {
		ages = append(ages, compile.GuardWindow-now.Sub(at))
	}
	slices.Sort(ages)
	return ages[min(surplus, len(ages))-1]
}

// writeRecent adds the tenants that a plan dropped or repointed. Routers that were told that all is
// meant count none of it, nor of what came before. It is no error if nobody can be told.
func (r *run) writeRecent(ctx context.Context) {
	if len(r.plan.moved) == 0 || r.result.Transactions == 0 {
		return
	}
	moves := recentMoves{}
	if !r.plan.accepted {
		moves = (&snapshot{Catalog: r.Catalog}).readRecent(ctx)
		for name := range r.plan.moved {
			if len(moves) < maxRecent {
				moves[name] = r.now().UTC().Truncate(time.Millisecond)
			}
		}
	}
	text, err := json.Marshal(moves)
	if err == nil {
		_, _ = r.txn(ctx, nil, []clientv3.Op{clientv3.OpPut(r.at.recent(), string(text))}, nil) // the next call is told less
	}
}
