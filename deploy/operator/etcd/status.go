package etcd

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
)

// spaceLow is the share of its quota, in percent, above which a database is said to be short of space.
const spaceLow = 80

// defaultQuota is etcd's own quota, in bytes.
const defaultQuota = 2 << 30

// status computes what the cluster is.
func (r *Reconciler) status(w *world, step plan.Step, d *done, failed error) {
	s := &w.c.Status
	s.ObservedGeneration = w.c.Generation
	s.Selector = render.LabelCluster + "=" + w.c.Name
	s.Step = clipped(sentence(step))
	s.Replicas, s.Healthy, s.Leader, s.Members = int32(len(w.members)), 0, "", nil
	for _, m := range w.members {
		s.NextMember = max(s.NextMember, m.number+1)
		s.Members = append(s.Members, w.summary(m))
		if m.healthy {
			s.Healthy++
			if m.seen.Leader == m.seen.ID {
				s.Leader = m.o.Name
			}
		}
	}
	w.versions()
	w.settle(step)
	w.conditions(step, d, failed)
}

func (w *world) summary(m *member) v1alpha1.EtcdMemberSummary {
	one := v1alpha1.EtcdMemberSummary{Name: m.o.Name, Healthy: m.healthy}
	if !m.healthy {
		one.Problem = clipped(m.problem)
	}
	if m.seen.Err == nil && m.seen.ID != 0 {
		one.Version, one.DBBytes, one.InUseBytes, one.RaftIndex = m.seen.Version, m.seen.DBBytes, m.seen.InUseBytes, int64(m.seen.Index)
		one.Alarms = w.report.Alarms[m.seen.ID]
		switch {
		case m.seen.Learner:
			one.Role = v1alpha1.EtcdLearner
		case m.seen.Leader == m.seen.ID:
			one.Role = v1alpha1.EtcdLeader
		default:
			one.Role = v1alpha1.EtcdFollower
		}
	}
	return one
}

// versions tells the oldest version of the members, and that of their data, which only grows.
func (w *world) versions() {
	oldest, data := "", ""
	for _, m := range w.members {
		if !m.healthy {
			continue
		}
		if oldest == "" || older(m.seen.Version, oldest) {
			oldest = m.seen.Version
		}
		if minor := minorOf(m.seen.StorageVersion); minor != "" && (data == "" || older(data, minor)) {
			data = minor
		}
	}
	if oldest != "" {
		w.c.Status.Version = oldest
	}
	if data != "" {
		w.c.Status.ClusterVersion = data
	}
}

// older says whether a version, of numbers between points, is older than another one.
func older(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := range min(len(x), len(y)) {
		var m, n int
		_, _ = fmt.Sscan(x[i], &m)
		_, _ = fmt.Sscan(y[i], &n)
		if m != n {
			return m < n
		}
	}
	return len(x) < len(y)
}

// minorOf cuts a version to its first two numbers.
func minorOf(version string) string {
	parts := strings.Split(version, ".")
	if len(parts) < 2 || parts[0] == "" || parts[1] == "" {
		return ""
	}
	return parts[0] + "." + parts[1]
}

// settle notes what members run once all of them run it, and are healthy.
func (w *world) settle(step plan.Step) {
	s := &w.c.Status
	switch {
	case s.Template == nil:
		s.Template = w.target.DeepCopy() // nothing to go back to
	case step.Act == plan.Wait && step.Why == "" && !w.c.Spec.Paused: // while it is, nobody has looked whether there is a step
		s.Template = w.target.DeepCopy()
	}
	if asked := render.TemplateOf(w.c); s.Refused != nil && s.Refused.Hash != render.Hash(&asked) {
		s.Refused = nil // the spec asks for something else
	}
}

// conditions tells how the cluster fares.
func (w *world) conditions(step plan.Step, d *done, failed error) {
	set := func(kind v1alpha1.ConditionType, status bool, reason v1alpha1.Reason, message string) {
		value := metav1.ConditionFalse
		if status {
			value = metav1.ConditionTrue
		}
		v1alpha1.SetCondition(&w.c.Status.Conditions, w.c.Generation, kind, value, reason, clipped(message))
	}
	healthy, voters := w.votes()
	switch {
	case replicasOf(w.c) == 0:
		set(v1alpha1.ConditionQuorate, false, v1alpha1.ReasonHibernated, "no member is wanted")
		set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonHibernated, "no member is wanted")
	case w.c.Status.ClusterID == "":
		set(v1alpha1.ConditionQuorate, false, v1alpha1.ReasonNotFormed, "the cluster is not formed yet")
		set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonNotFormed, "the cluster is not formed yet")
	case w.report.Known:
		set(v1alpha1.ConditionQuorate, true, v1alpha1.ReasonMajorityAnswers, fmt.Sprintf("%d of %d voters are healthy", healthy, voters))
		set(v1alpha1.ConditionAvailable, true, v1alpha1.ReasonMajorityAnswers, fmt.Sprintf("%d of %d voters are healthy", healthy, voters))
	default:
		why := fmt.Sprintf("%d of %d members are healthy, which is no majority: nothing can be written%s", healthy, len(w.members), w.problems())
		set(v1alpha1.ConditionQuorate, false, v1alpha1.ReasonQuorumLost, why)
		set(v1alpha1.ConditionAvailable, false, v1alpha1.ReasonQuorumLost, why)
	}
	reason, going := w.progressing(step)
	message := w.c.Status.Step
	if message == "" {
		message = "the cluster is what the spec says"
	}
	set(v1alpha1.ConditionProgressing, going, reason, message)
	bad, why := w.degraded(d, failed)
	set(v1alpha1.ConditionDegraded, bad != v1alpha1.ReasonAsExpected, bad, why)
	w.space(set)
}

func (w *world) votes() (healthy, voters int) {
	for _, m := range w.members {
		if m.listed != nil && !m.listed.Learner {
			voters++
			if m.healthy {
				healthy++
			}
		}
	}
	return healthy, voters
}

// problems lists what is wrong with members.
func (w *world) problems() string {
	var all []string
	for _, m := range w.members {
		if !m.healthy {
			all = append(all, m.o.Name+": "+m.problem)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "; " + strings.Join(all, "; ")
}

// progressing says what is going on.
func (w *world) progressing(step plan.Step) (v1alpha1.Reason, bool) {
	switch {
	case w.c.Spec.Paused:
		return v1alpha1.ReasonPaused, false
	case replicasOf(w.c) == 0 && !slices.ContainsFunc(w.members, func(m *member) bool { return m.pod != nil }):
		return v1alpha1.ReasonHibernated, false
	case replicasOf(w.c) == 0:
		return v1alpha1.ReasonHibernating, true
	case w.c.Status.ClusterID == "":
		return v1alpha1.ReasonForming, true
	case w.c.Status.Recovery != nil:
		return v1alpha1.ReasonRecovering, true
	case step.Act == plan.Wait && step.Why == "" && w.c.Status.Refused != nil:
		return v1alpha1.ReasonRolledBack, false
	case step.Act == plan.Wait && step.Why == "":
		return v1alpha1.ReasonComplete, false
	case w.c.Status.Refused != nil && w.hash == w.current && slices.ContainsFunc(w.members, w.outdated):
		return v1alpha1.ReasonRollingBack, true
	case slices.ContainsFunc(w.members, func(m *member) bool { return m.lost != "" || m.o.DeletionTimestamp != nil }):
		return v1alpha1.ReasonReplacing, true
	case w.changing() || slices.ContainsFunc(w.members, w.outdated):
		return v1alpha1.ReasonUpdating, true
	case len(w.members) != replicasOf(w.c) || slices.ContainsFunc(w.members, func(m *member) bool { return m.listed == nil || m.listed.Learner }):
		return v1alpha1.ReasonScaling, true
	}
	return v1alpha1.ReasonMembersWaiting, true
}

// outdated says whether a member does not run what it is to run.
func (w *world) outdated(m *member) bool {
	return render.Hash(&m.o.Spec.Template) != w.hash || m.pod != nil && m.pod.Annotations[render.AnnotationTemplate] != w.hash
}

// degraded says what is wrong that a person should know of.
func (w *world) degraded(d *done, failed error) (v1alpha1.Reason, string) {
	switch refused := w.c.Status.Refused; {
	case failed != nil:
		return v1alpha1.ReasonApplyFailed, failed.Error()
	case len(d.conflicts) > 0:
		return v1alpha1.ReasonConflict, strings.Join(d.conflicts, ", ") + ": belongs to somebody else; remove it, or rename the cluster"
	case len(w.foreign) > 0:
		return v1alpha1.ReasonForeignMember, "etcd lists members that the operator did not make: " + strings.Join(w.foreign, ", ") + "; remove them by etcdctl member remove, if nobody needs them"
	case refused != nil:
		return v1alpha1.ReasonUpdateRefused, fmt.Sprintf("version %s was taken back: %s; change the spec to try again", refused.Version, refused.Why)
	}
	for _, m := range w.members {
		if alarms := w.report.Alarms[m.seen.ID]; m.seen.ID != 0 && len(alarms) > 0 {
			return v1alpha1.ReasonAlarm, m.o.Name + " raised " + strings.Join(alarms, ", ")
		}
	}
	if sick := w.problems(); sick != "" && replicasOf(w.c) > 0 && w.c.Status.ClusterID != "" && !w.expected() {
		return v1alpha1.ReasonMemberUnhealthy, strings.TrimPrefix(sick, "; ")
	}
	return v1alpha1.ReasonAsExpected, "nothing is wrong"
}

// expected says whether all members that are not healthy are so by the operator's own doing: they join, leave or are
// restarted for a change.
func (w *world) expected() bool {
	for _, m := range w.members {
		since := m.o.Status.UnhealthySince
		young := since != nil && w.now.Sub(since.Time) < startsWithin
		ours := m.o.Status.State != v1alpha1.MemberJoined || w.outdated(m) || w.trying(m) || m.pod == nil || m.pod.DeletionTimestamp != nil
		if m.lost != "" || !m.healthy && (!young || !ours) {
			return false
		}
	}
	return true
}

// space says whether a database is near its quota.
func (w *world) space(set func(v1alpha1.ConditionType, bool, v1alpha1.Reason, string)) {
	quota := int64(defaultQuota)
	if q := w.c.Spec.Options.QuotaBytes; q != nil {
		quota = q.Value()
	}
	most := int64(0)
	for _, m := range w.members {
		most = max(most, m.seen.DBBytes)
	}
	share := most * 100 / max(quota, 1)
	if share >= spaceLow {
		set(v1alpha1.ConditionSpaceLow, true, v1alpha1.ReasonNearQuota, fmt.Sprintf("the largest database has %d %% of options.quotaBytes: compact and defragment, or raise the quota", share))
		return
	}
	set(v1alpha1.ConditionSpaceLow, false, v1alpha1.ReasonSpaceLeft, fmt.Sprintf("all databases have less than %d %% of options.quotaBytes", spaceLow))
}

// failedStatus tells that a reconcile failed before it could tell anything else.
func failedStatus(c *v1alpha1.EtcdCluster, err error) {
	v1alpha1.SetCondition(&c.Status.Conditions, c.Generation, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonApplyFailed, clipped(err.Error()))
}

// warnings are the reasons that a person should look at.
var warnings = map[v1alpha1.Reason]bool{
	v1alpha1.ReasonQuorumLost: true, v1alpha1.ReasonRecovering: true, v1alpha1.ReasonRollingBack: true, v1alpha1.ReasonApplyFailed: true, v1alpha1.ReasonConflict: true, v1alpha1.ReasonForeignMember: true,
	v1alpha1.ReasonUpdateRefused: true, v1alpha1.ReasonAlarm: true, v1alpha1.ReasonMemberUnhealthy: true, v1alpha1.ReasonNearQuota: true,
}

// tell writes an event for each condition whose reason changed.
func (r *Reconciler) tell(c *v1alpha1.EtcdCluster, before *v1alpha1.EtcdClusterStatus) {
	for i := range c.Status.Conditions {
		now := &c.Status.Conditions[i]
		was := meta.FindStatusCondition(before.Conditions, now.Type)
		kind := corev1.EventTypeNormal
		if warnings[v1alpha1.Reason(now.Reason)] {
			kind = corev1.EventTypeWarning
		}
		switch {
		case was != nil && was.Reason == now.Reason && was.Status == now.Status:
		case now.Type == string(v1alpha1.ConditionAvailable): // Quorate tells the same
		case kind == corev1.EventTypeNormal && (was == nil || now.Type == string(v1alpha1.ConditionSpaceLow)) && now.Reason != string(v1alpha1.ReasonForming):
		default:
			r.options.Events.Eventf(c, nil, kind, now.Reason, now.Type, "%s", now.Message)
		}
	}
}

// tellStep writes an event of a step.
func (r *Reconciler) tellStep(c *v1alpha1.EtcdCluster, step plan.Step) {
	if step.Act == plan.Wait {
		return
	}
	text := sentence(step)
	if step.Why != "" {
		text += ": " + step.Why
	}
	r.options.Events.Eventf(c, nil, corev1.EventTypeNormal, string(step.Act), string(step.Act), "%s", clipped(text))
}
