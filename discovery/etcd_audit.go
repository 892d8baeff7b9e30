package discovery

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.uber.org/zap"
)

// audit is the list that is made now and then beside the watch. It is made at
// the cursor of its beginning while the watch goes on. What the watch brings
// in the meantime is noted, and laid over the list at its end: so the whole is
// exactly that of the cursor of its end, no change waits for a list, and
// nothing newer is undone.
type audit struct {
	due    *time.Timer
	listed chan audited
	since  map[place]change // what came while a list is being made; nil: none is
}

type audited struct {
	all     *listing
	err     error
	started time.Time
}

func newAudit(due time.Time) audit {
	return audit{due: time.NewTimer(time.Until(due)), listed: make(chan audited, 1)}
}

// note takes the changes of a batch that was delivered.
func (a *audit) note(changes []change) {
	if a.since == nil {
		return
	}
	for i := range changes {
		a.since[changes[i].place()] = changes[i]
	}
}

// beginAudit has everything listed as it is at the cursor.
func (w *watching) beginAudit(ctx context.Context) {
	w.flush()
	w.audit.since = map[place]change{}
	revision := w.cursor
	w.beside.Go(func() {
		started := time.Now()
		all, err := w.read(ctx, w.client, revision)
		w.audit.listed <- audited{all: all, err: err, started: started}
	})
}

// endAudit delivers the list with what came since. A list that failed is tried
// again at the next audit's time: the watch tells of an etcd that is away.
func (w *watching) endAudit(done audited) error {
	w.flush()
	since := w.audit.since
	w.audit.since = nil
	w.auditDue = time.Now().Add(around(w.cfg.AuditEvery))
	w.audit.due.Reset(time.Until(w.auditDue))
	switch {
	case says(done.err, rpctypes.ErrGRPCFutureRev), done.err == nil && done.all.header.ClusterId != w.clusterID:
		return errSourceChanged
	case errors.Is(done.err, errSourceChanged):
		return done.err
	case done.err != nil:
		w.metrics.failures.Inc()
		w.log.Warn("the list that compares could not be made: what was received stays in force",
			zap.String("root", w.cfg.Root), zap.String("cause", w.explain(done.err)))
		return nil //nolint:nilerr // the watch goes on, and the next audit is due
	}
	batch := Batch{Whole: true, Audit: true, Revision: w.cursor,
		Put: withChanges(done.all.put, since, false), Marks: withChanges(done.all.marks, since, true)}
	w.move(w.cursor, int64(len(batch.Put)))
	w.metrics.audits.Inc()
	w.log.Info("listed everything in etcd to compare", zap.String("root", w.cfg.Root),
		zap.Int("entries", len(batch.Put)), zap.Int64("revision", w.cursor), zap.Duration("took", time.Since(done.started)))
	w.deliver(batch, w.apply)
	return nil
}

// withChanges gives the entries of a list as they are after the changes of since.
func withChanges(entries []Entry, since map[place]change, mark bool) []Entry {
	if len(since) == 0 {
		return entries
	}
	kept := entries[:0]
	for i := range entries {
		if _, changed := since[place{mark: mark, key: entries[i].Key}]; !changed {
			kept = append(kept, entries[i])
		}
	}
	for at, c := range since {
		if at.mark == mark && !c.gone {
			kept = append(kept, c.entry)
		}
	}
	return kept
}
