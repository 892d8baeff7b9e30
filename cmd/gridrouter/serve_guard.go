package main

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// guardWatch tells the guard of the compiler what is accepted, and everybody else what it
// holds. All but the reading of held belongs to the goroutine of the documents.
type guardWatch struct {
	log      *zap.Logger
	folder   bool // the source is a folder
	holds    prometheus.Counter
	held     atomic.Pointer[catalog.StatusGuard] // nil: nothing
	accepted int64                               // by the marks
	now      time.Time                           // of the last update
	stamps   stamps
}

func newGuardWatch(log *zap.Logger, registry prometheus.Registerer) *guardWatch {
	g := &guardWatch{log: log, holds: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gridrouter_guard_holds_total", Help: "Times that the guard began to hold a mass change.",
	})}
	registry.MustRegister(g.holds, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "gridrouter_guard_held", Help: "Documents whose change or deletion the guard holds.",
	}, func() float64 {
		if held := g.held.Load(); held != nil {
			return float64(held.Held)
		}
		return 0
	}))
	return g
}

// compile compiles an update, with what is accepted by then.
//
// A mark that comes in the batch of its own revision speaks for all that is in it. One that
// comes with a whole list does not: who knows what happened after it. There the guard has
// its look first, and the mark its say afterwards, up to its revision.
func (g *guardWatch) compile(compiler *compile.Compiler, update compile.Update, batch discovery.Batch) (*routing.Table, error) {
	known := g.accepted
	g.readMarks(batch)
	if update.Accepted = g.accepted; batch.Whole {
		update.Accepted = min(known, g.accepted)
	}
	table, err := compiler.Compile(update)
	if err == nil && update.Accepted < g.accepted {
		table, err = compiler.Compile(compile.Update{
			Revision: update.Revision, Faults: update.Faults, Origin: update.Origin, At: update.At, Accepted: g.accepted,
		})
	}
	if err != nil {
		return nil, err
	}
	g.now = update.At
	return table, nil
}

// mend says how somebody ends what is held up to a revision.
func (g *guardWatch) mend(revision int64) string {
	if g.folder {
		return fmt.Sprintf("put the files back, or, if it is meant: gridctl guard accept %d --router ADDRESS, that of --admin", revision)
	}
	return fmt.Sprintf("gridctl guard accept %d, or gridctl guard discard %d", revision, revision)
}

// readMarks notes what is accepted. That a mark is deleted takes nothing back. Those that
// come with another source, or one that was restored, speak of other revisions.
func (g *guardWatch) readMarks(batch discovery.Batch) {
	if batch.SourceChanged {
		g.accepted, g.stamps = 0, nil
		if held := g.held.Load(); held != nil { // and so do its own of what is held already
			now := *held
			now.Revision, now.Before = batch.Revision, 0
			g.held.Store(&now)
		}
		return
	}
	for _, entry := range batch.Marks {
		if entry.Key != catalog.MarkAccept {
			continue
		}
		mark, err := catalog.DecodeMark(entry.Value, entry.Revision)
		if err != nil {
			g.log.Warn("a mark for the guard is ignored", zap.Int64("revision", entry.Revision), zap.Error(err))
			continue
		}
		g.accepted = max(g.accepted, mark.Revision)
	}
}

// look notes what the guard holds in the table that is in force now, which the source's
// revision led to, and tells of the beginning and the end of a hold.
func (g *guardWatch) look(table *routing.Table, revision int64) {
	g.stamps.forget(g.now)
	state := table.Guard()
	was := g.held.Load()
	switch {
	case state == nil && was != nil:
		g.held.Store(nil)
		g.log.Info("the guard holds nothing any more", zap.Int64("revision", was.Revision), zap.Int("documents", was.Held))
	case state != nil && was == nil:
		held := &catalog.StatusGuard{
			Revision: max(state.Revision, revision), Before: cmp.Or(state.Before, g.stamps.before()), Held: state.Documents, Since: state.Since.UTC().Truncate(time.Millisecond),
		}
		g.held.Store(held)
		g.holds.Inc()
		g.log.Error("the guard holds changes: what they concern stays as it is in force, until they are accepted or discarded",
			zap.String("mend", g.mend(held.Revision)),
			zap.Int64("revision", held.Revision), zap.Int64("before", held.Before), zap.Int("documents", state.Documents),
			zap.Int("dropped", state.Dropped), zap.Int("repointed", state.Repointed), zap.Int("limit", state.Limit),
			zap.Strings("tenants", state.Tenants[:min(len(state.Tenants), 10)]))
	case state != nil && (state.Documents != was.Held || state.Revision > was.Revision):
		now := *was
		now.Held = state.Documents
		if state.Documents > was.Held || state.Revision > was.Revision {
			now.Revision = max(was.Revision, state.Revision, revision)
		}
		g.held.Store(&now)
	}
	g.stamps.note(g.now, revision)
}
