package main

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery/catalog"
	"gridrouter.io/gslb"
	"gridrouter.io/routing/compile"
)

// gslbGuard holds back the deletion of many names at once, by the rule that routers hold changes
// of tenants by: more than [compile.GuardLimit] of them within [compile.GuardWindow], or all where
// there are two or more. It belongs to who holds the lock of the names.
type gslbGuard struct {
	log      *zap.Logger
	accepted int64                // mass changes up to this revision are meant
	held     map[string]int64     // by name, the revision that accepts its deletion; above 0
	recent   map[string]time.Time // names that went, or whose deletion is held, and when
	clock    func() time.Time
	now      time.Time // of the present batch
	wary     bool      // what the first list lacks may be what was held when a snapshot was written
	stamps   stamps
	mend     func(revision int64) string // how to accept up to a revision, for people; nil: as where etcd is followed

	status atomic.Pointer[catalog.StatusGuard] // what is told of it; nil: nothing is held
	began  prometheus.Counter
}

func newGslbGuard(log *zap.Logger, registry prometheus.Registerer) *gslbGuard {
	g := &gslbGuard{log: log, clock: time.Now, held: map[string]int64{}, recent: map[string]time.Time{}, began: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gridrouter_guard_holds_total", Help: "Times that the guard began to hold a mass change.",
	})}
	registry.MustRegister(g.began, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gridrouter_guard_held", Help: "Documents whose change or deletion the guard holds.",
	}, func() float64 {
		if held := g.status.Load(); held != nil {
			return float64(held.Held)
		}
		return 0
	}))
	return g
}

// holds says whether a deletion of names that are in force is too much. Where the source may look
// empty although it is not, even the last name is.
func (g *gslbGuard) holds(names []string, inForce map[string]*gslb.Document, mayLookEmpty bool) bool {
	maps.DeleteFunc(g.recent, func(_ string, at time.Time) bool { return g.now.Sub(at) >= compile.GuardWindow })
	if len(names) == 0 {
		return false
	}
	if len(names) == len(inForce) && (len(names) > 1 || mayLookEmpty) {
		return true
	}
	counted, before := len(g.recent), len(inForce)
	for _, name := range names {
		if _, known := g.recent[name]; !known {
			counted++
		}
	}
	for name := range g.recent {
		if inForce[name] == nil {
			before++
		}
	}
	return counted > compile.GuardLimit(before)
}

// hold keeps the deletion of names back.
func (g *gslbGuard) hold(names []string, revision int64) {
	for _, name := range names {
		g.held[name] = max(revision, 1)
		g.recent[name] = g.now
	}
}

// release forgets a deletion that is held, since the name is there again.
func (g *gslbGuard) release(name string) { delete(g.held, name) }

// releaseAccepted forgets the deletions that are held and accepted, and returns their names. What
// is accepted counts for nothing later.
func (g *gslbGuard) releaseAccepted() (names []string) {
	for name, revision := range g.held {
		if revision <= g.accepted {
			names = append(names, name)
			delete(g.recent, name)
		}
	}
	for _, name := range names {
		delete(g.held, name)
	}
	return names
}

// rebase takes over the revisions of another source, which begins without a mark.
func (g *gslbGuard) rebase(revision int64) {
	g.accepted, g.stamps = 0, nil
	for name := range g.held {
		g.held[name] = max(revision, 1)
	}
	if held := g.status.Load(); held != nil {
		now := *held
		now.Revision, now.Before = g.revision(), 0
		g.status.Store(&now)
	}
}

// revision accepts all that is held; 0: nothing is.
func (g *gslbGuard) revision() (newest int64) {
	for _, revision := range g.held {
		newest = max(newest, revision)
	}
	return newest
}

// tell notes what is held now that the documents are as of a revision, and logs when a hold begins
// and when it ends.
func (g *gslbGuard) tell(revision int64, inForce int) {
	g.stamps.forget(g.now)
	was := g.status.Load()
	if len(g.held) == 0 {
		if was != nil {
			g.status.Store(nil)
			g.log.Info("the guard holds nothing any more", zap.Int("names", was.Held))
		}
		g.stamps.note(g.now, revision)
		return
	}
	now := &catalog.StatusGuard{Revision: g.revision(), Before: g.stamps.before(), Held: len(g.held), Since: g.now.UTC().Truncate(time.Millisecond)}
	if was != nil {
		now.Since, now.Before = was.Since, was.Before
	}
	g.status.Store(now)
	g.stamps.note(g.now, revision)
	if was == nil {
		g.began.Inc()
		names := slices.Sorted(maps.Keys(g.held))
		g.log.Error("the guard holds the deletion of names: they are answered as before, until it is accepted or discarded by gridctl guard",
			zap.Int64("revision", now.Revision), zap.Int64("before", now.Before), zap.Int("names", now.Held), zap.Int("inForce", inForce),
			zap.Strings("among", names[:min(len(names), 10)]), zap.String("mend", g.howToAccept(now.Revision)))
	}
}

// howToAccept says how what is held up to a revision is accepted, or not.
func (g *gslbGuard) howToAccept(revision int64) string {
	if g.mend != nil {
		return g.mend(revision)
	}
	return fmt.Sprintf("gridctl guard accept %d, or gridctl guard discard %d", revision, revision)
}
