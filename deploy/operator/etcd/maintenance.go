package etcd

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/maintain"
	"gridrouter.io/deploy/operator/etcd/plan"
)

// The alarms of etcd.
const (
	noSpace = "NOSPACE"
	corrupt = "CORRUPT"
)

// leastKept is how many revisions a relief keeps at least, where that leaves space enough; defaultKept is how many etcd
// is told to keep, where the spec does not say.
const (
	leastKept   = 1000
	defaultKept = 10000
)

// defaultFreeAbove is how much must be free in a database, in bytes, where the spec does not say.
const defaultFreeAbove = 200 << 20

// giveWay stops the maintenance of a cluster that is paused, or whose members are to be changed, and has a change wait
// for its end: a member that stands still is no member to rely on.
func (r *Reconciler) giveWay(w *world, step plan.Step) plan.Step {
	id := idOf(w.c)
	if r.keeper.State(id).Doing == "" || step.Act == plan.Wait && !w.c.Spec.Paused {
		return step
	}
	r.keeper.Stop(id)
	if step.Act == plan.Wait {
		return step
	}
	return plan.Step{Act: plan.Wait, Why: "the maintenance of members ends first"}
}

// maintain begins what the space of a cluster needs, if nothing else is going on.
func (r *Reconciler) maintain(w *world, step plan.Step, d *done, failed error) {
	id := idOf(w.c)
	w.maintained = r.keeper.State(id)
	due := w.schedule()
	idle := step.Act == plan.Wait && step.Why == "" && !d.changed && failed == nil && !w.c.Spec.Paused && w.report.Known
	if !idle || w.raised(corrupt) {
		return
	}
	job := maintain.Job{Access: accessOf(r.targetOf(w)), Keep: keptRevisions(w.c), FreeAbove: freeAbove(w.c)}
	switch {
	case w.raised(noSpace):
		job.Act = maintain.Relieve
	case due:
		job.Act = maintain.Defragment
	default:
		return
	}
	c := w.c.DeepCopy()
	job.Done = func(o maintain.Outcome) { r.tellMaintenance(c, &o) }
	job.Ended = func() {
		r.options.Members.Ask(id)
		r.Changed(c.Namespace, c.Name)
	}
	r.keeper.Begin(id, job)
	w.maintained = r.keeper.State(id)
}

// schedule notes what came of the last defragmentation by schedule, and which is the next, and says whether that has
// come. It is to be called before the status says which spec it answers.
func (w *world) schedule() bool {
	s := &w.c.Status
	asked := w.c.Spec.Defrag
	if asked == nil {
		s.NextDefrag = nil
		return false
	}
	times, err := maintain.ParseSchedule(asked.Schedule)
	if err != nil {
		s.NextDefrag, w.badSchedule = nil, clipped("spec.defrag.schedule: "+err.Error())
		return false
	}
	if last := w.maintained.Defragmented; !last.At.IsZero() && (s.LastDefrag == nil || last.At.After(s.LastDefrag.At.Time)) {
		s.LastDefrag = &v1alpha1.EtcdLastDefrag{At: metav1.NewTime(last.At), FreedBytes: last.FreedBytes, Problem: clipped(last.Problem)}
		if s.NextDefrag != nil && !s.NextDefrag.After(last.At) {
			s.NextDefrag = nil // it is done
		}
	}
	var before time.Time
	if s.NextDefrag != nil {
		before = s.NextDefrag.Time
	}
	next, due := times.Due(before, s.ObservedGeneration != w.c.Generation, w.now)
	s.NextDefrag = nil
	if !next.IsZero() {
		at := metav1.NewTime(next)
		s.NextDefrag = &at
	}
	return due
}

// maintainedWithin says when maintenance is to be looked at, at the latest after a while.
func (w *world) maintainedWithin(wait time.Duration) time.Duration {
	if w.c.Spec.Paused || w.maintained.Doing != "" {
		return wait // the end of either is told
	}
	if w.raised(noSpace) {
		return min(wait, max(w.maintained.RelieveAfter.Sub(w.now), soon))
	}
	if next := w.c.Status.NextDefrag; next != nil {
		left := next.Sub(w.now)
		if left <= 0 {
			left = soon // something keeps it from being begun
		}
		wait = min(wait, max(left, now))
	}
	return wait
}

// raised says whether any member raised an alarm.
func (w *world) raised(alarm string) bool {
	for _, alarms := range w.report.Alarms {
		if slices.Contains(alarms, alarm) {
			return true
		}
	}
	return false
}

// remedy says what is done about alarms.
func (w *world) remedy(alarms []string) string {
	last := w.maintained.Relieved
	switch {
	case !slices.Contains(alarms, noSpace):
		return ""
	case w.maintained.Doing == maintain.Relieve:
		return ": it is relieved, by compaction and defragmentation"
	case w.c.Spec.Paused:
		return ": nothing is done, since the cluster is paused"
	case w.raised(corrupt):
		return ": it is relieved once the member is replaced that raised CORRUPT"
	case last.Problem != "" && w.now.Before(w.maintained.RelieveAfter):
		return fmt.Sprintf(": relief failed at %s, and is tried again after %s: %s",
			last.At.Format(time.TimeOnly), w.maintained.RelieveAfter.UTC().Format(time.TimeOnly), last.Problem)
	}
	return ": it is relieved once all members are healthy, and none is being changed"
}

// tellMaintenance writes an event of what was done.
func (r *Reconciler) tellMaintenance(c *v1alpha1.EtcdCluster, o *maintain.Outcome) {
	switch {
	case o.Act == maintain.Relieve && o.Problem != "":
		r.options.Events.Eventf(c, nil, corev1.EventTypeWarning, "ReliefFailed", string(o.Act), "NOSPACE is not relieved; %s were freed: %s", mebibytes(o.FreedBytes), clipped(o.Problem))
	case o.Act == maintain.Relieve && o.Needed:
		r.options.Events.Eventf(c, nil, corev1.EventTypeNormal, "Relieved", string(o.Act), "NOSPACE is relieved, by compaction and defragmentation: %s were freed, and the largest database has %s of %s",
			mebibytes(o.FreedBytes), mebibytes(o.UsedBytes), mebibytes(o.QuotaBytes))
	case o.Act == maintain.Defragment && o.Problem != "":
		r.options.Events.Eventf(c, nil, corev1.EventTypeWarning, "DefragFailed", string(o.Act), "the defragmentation by schedule ended early; %s were freed: %s", mebibytes(o.FreedBytes), clipped(o.Problem))
	case o.Act == maintain.Defragment && o.Needed:
		r.options.Events.Eventf(c, nil, corev1.EventTypeNormal, "Defragmented", string(o.Act), "the members were defragmented by schedule: %s were freed", mebibytes(o.FreedBytes))
	}
}

func mebibytes(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }

// keptRevisions is how many revisions a relief is to keep: as many as etcd is told to.
func keptRevisions(c *v1alpha1.EtcdCluster) int64 {
	by := c.Spec.Options.AutoCompaction
	if by.Mode != v1alpha1.CompactByRevision && by.Mode != "" {
		return leastKept // how many revisions a duration has, nobody knows
	}
	if by.Retention == "" {
		return defaultKept
	}
	kept, err := strconv.ParseInt(by.Retention, 10, 64)
	if err != nil {
		return leastKept
	}
	return max(leastKept, kept)
}

// freeAbove is how many bytes must be free in a database for it to be defragmented by schedule.
func freeAbove(c *v1alpha1.EtcdCluster) int64 {
	if c.Spec.Defrag == nil || c.Spec.Defrag.FreeAbove == nil {
		return defaultFreeAbove
	}
	return c.Spec.Defrag.FreeAbove.Value()
}
