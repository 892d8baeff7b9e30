package fleet

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
)

// seen is what conditions are computed from.
type seen struct {
	fleet                   *v1alpha1.GridRouter
	to                      target
	intent                  intent
	work                    *work
	stable                  track
	wanted, replicas, ready int32
	rolledOut               bool // the stable routers are what is intended, and nothing else is on its way
	waiting                 string
	conflicts               []string
	missing                 string
	overdue                 bool
	failure                 error
}

// status brings the status up to date with what was seen before the change that this reconcile made; the
// next one sees that.
func (r *Reconciler) status(w *world, to target, i intent, d *done, v verdict, failure error) {
	s, fleet := &w.fleet.Status, w.fleet
	s.ObservedGeneration = fleet.Generation
	s.Selector = render.LabelFleet + "=" + fleet.Name
	s.Instances, s.Replicas, s.Ready, s.Updated = w.instances(to.hash)
	if i.rejected || to.unknown {
		s.Updated = countOf(w, i.stable)
	}
	view := seen{
		fleet: fleet, to: to, intent: i, work: w.work, stable: w.stable, wanted: w.wantedReplicas(), replicas: s.Replicas, ready: s.Ready,
		waiting: w.whyWaiting(), conflicts: d.conflicts, missing: w.secrets.missing, failure: failure,
	}
	if view.waiting == "" {
		view.waiting = w.stable.refused
	}
	idle := w.work == nil || w.work.over()
	view.rolledOut = i.stable != nil && !i.begin && w.stable.hash == i.stable.hash && w.stable.settled && w.stable.wanted == view.wanted && idle && w.canary.deployment == nil
	overdue, left := r.progress.overdue(idOf(fleet), view.awaited(idle), w.now, durationOf(fleet.Spec.Rollout.ProgressDeadline, 10*time.Minute))
	view.overdue = overdue
	d.within(left)
	s.History = history(w.revisions, s.History, view.news)
	s.Versions = view.versions()
	if why := canaryWhy(w.work, v, view.waiting); why != "" && s.Canary != nil && s.Canary.State == string(w.work.State) {
		s.Canary.Why = clipped(why)
	}
	set := func(kind v1alpha1.ConditionType, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
		v1alpha1.SetCondition(&s.Conditions, fleet.Generation, kind, status, reason, clipped(message))
	}
	status, reason, message := view.available()
	set(v1alpha1.ConditionAvailable, status, reason, message)
	status, reason, message = view.progressing()
	set(v1alpha1.ConditionProgressing, status, reason, message)
	status, reason, message = view.degraded(w.tables.Err)
	set(v1alpha1.ConditionDegraded, status, reason, message)
	set(v1alpha1.ConditionConfigSynced, metav1.ConditionStatus(w.synced.Status), v1alpha1.Reason(w.synced.Reason), w.synced.Message)
}

// canaryWhy is what a canary that goes on waits for: its verdict, or pods that do not start; empty: nothing
// is known of either.
func canaryWhy(w *work, v verdict, waiting string) string {
	switch {
	case w == nil || w.over():
		return ""
	case w.State == canary.Deploying && v.why == "":
		return waiting
	}
	return v.why
}

// news is what is known anew of how the rollout of a revision goes.
func (v *seen) news(r revision) (outcome v1alpha1.RevisionOutcome, why string) {
	if w := v.work; w != nil && w.Context.To == r.hash && v.fleet.Status.Canary != nil && v.fleet.Status.Canary.Revision == r.number {
		switch w.State {
		case canary.RolledBack, canary.RollingBack:
			return v1alpha1.RevisionRolledBack, v.fleet.Status.Canary.Why
		case canary.Promoted:
		default:
			return v1alpha1.RevisionProgressing, ""
		}
	}
	switch {
	case v.intent.stable == nil || v.intent.stable.hash != r.hash || v.intent.stable.number != r.number:
		return "", ""
	case v.rolledOut:
		return v1alpha1.RevisionComplete, ""
	case v.overdue:
		return v1alpha1.RevisionFailed, "no progress was made until the deadline: " + v.waiting
	case v.stable.hash == r.hash:
		// Scaling, or a node that went, says nothing of a rollout that was complete.
		if outcome, why := outcomeOf(v.fleet, &r); outcome == v1alpha1.RevisionComplete {
			return outcome, why
		}
	}
	return v1alpha1.RevisionProgressing, ""
}

// versions are the version of the newest revision that was complete last, and that which is on its way.
func (v *seen) versions() v1alpha1.FleetVersions {
	before := v.fleet.Status.Versions
	versions := v1alpha1.FleetVersions{Current: before.Current, Target: before.Target}
	if v.intent.stable == nil {
		return versions
	}
	versions.Target = v.intent.stable.input.Version
	switch {
	case v.intent.canary != nil: // what the spec asks for by now waits for the end of it
		versions.Target = v.intent.canary.input.Version
	case v.intent.begin:
		versions.Target = v.to.input.Version
	}
	if v.rolledOut {
		versions.Current = v.intent.stable.input.Version
	}
	return versions
}

// available says whether enough routers are ready.
func (v *seen) available() (status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	message = fmt.Sprintf("%d of %d routers are ready", v.ready, v.wanted)
	if v.ready > v.wanted {
		message = fmt.Sprintf("%d routers are ready, and %d are wanted", v.ready, v.wanted)
	}
	away, err := intstr.GetScaledValueFromIntOrPercent(intstr.ValueOrDefault(v.fleet.Spec.Disruption.MaxUnavailable, intstr.FromInt32(1)), int(v.wanted), true)
	if err != nil {
		away = 1
	}
	switch {
	case v.wanted == 0:
		return metav1.ConditionFalse, v1alpha1.ReasonScaledToZero, "no router is wanted"
	case v.ready >= v.wanted:
		return metav1.ConditionTrue, v1alpha1.ReasonReplicasReady, message
	case v.ready > 0 && int(v.wanted-v.ready) <= away:
		return metav1.ConditionTrue, v1alpha1.ReasonMinimumReady, message
	}
	return metav1.ConditionFalse, v1alpha1.ReasonTooFewReady, withWhy(message, v.waiting)
}

// progressing says what is going on.
func (v *seen) progressing() (status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	yes, no := metav1.ConditionTrue, metav1.ConditionFalse
	if v.fleet.Spec.Paused {
		return no, v1alpha1.ReasonPaused, "spec.paused is true: nothing is changed until it is false"
	}
	if v.work != nil && !v.work.over() {
		return v.canarying()
	}
	if v.intent.begin {
		return yes, v1alpha1.ReasonCanaryRunning, fmt.Sprintf("a canary of revision %d, version %s, begins", v.to.number, v.to.input.Version)
	}
	numbers := fmt.Sprintf("%d of %d routers are of revision %d, %d are ready", v.fleet.Status.Updated, v.wanted, v.to.number, v.ready)
	if v.fleet.Status.Updated > v.wanted {
		numbers = fmt.Sprintf("%d routers are of revision %d, and %d are wanted", v.fleet.Status.Updated, v.to.number, v.wanted)
	}
	switch {
	case v.intent.rejected && v.rolledOut:
		_, why := outcomeOf(v.fleet, &v.to.revision)
		return no, v1alpha1.ReasonRolledBack, fmt.Sprintf("revision %d, version %s, was taken back: %s; change the spec to try again", v.to.number, v.to.input.Version, why)
	case v.rolledOut:
		return no, v1alpha1.ReasonComplete, fmt.Sprintf("all %d routers are of revision %d, version %s", v.wanted, v.intent.stable.number, v.intent.stable.input.Version)
	case v.overdue:
		return no, v1alpha1.ReasonDeadlineExceeded, withWhy("no progress was made for the deadline: "+numbers, v.waiting)
	case v.stable.refused != "":
		return yes, v1alpha1.ReasonPodsForbidden, v.stable.refused
	case v.waiting != "":
		return yes, v1alpha1.ReasonPodsWaiting, withWhy(numbers, v.waiting)
	case v.to.rollback && v.rollingOut():
		return yes, v1alpha1.ReasonRollingBack, numbers
	case v.rollingOut():
		return yes, v1alpha1.ReasonRollingOut, numbers
	}
	return yes, v1alpha1.ReasonScaling, numbers
}

// rollingOut says whether routers are still brought to a revision: until it was complete for the first time.
// Then routers are only added, taken away, or made anew.
func (v *seen) rollingOut() bool {
	stable := v.intent.stable
	if stable == nil || v.stable.hash != stable.hash {
		return true
	}
	outcome, _ := outcomeOf(v.fleet, stable)
	return outcome != v1alpha1.RevisionComplete
}

// canarying says where a canary stands.
func (v *seen) canarying() (status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	told := v.fleet.Status.Canary
	where := fmt.Sprintf("canary of revision %d, step %d of %d (%d %%), %s", told.Revision, told.Step, len(v.work.Context.Steps), told.Percent, v.work.State)
	switch v.work.State {
	case canary.RollingBack:
		return metav1.ConditionTrue, v1alpha1.ReasonRollingBack, withWhy(where, told.Why)
	case canary.Promoting:
		return metav1.ConditionTrue, v1alpha1.ReasonRollingOut, where
	default:
	}
	if v.waiting != "" {
		return metav1.ConditionTrue, v1alpha1.ReasonCanaryRunning, withWhy(where, v.waiting)
	}
	return metav1.ConditionTrue, v1alpha1.ReasonCanaryRunning, withWhy(where, told.Why)
}

// degraded says what is wrong, the worst first.
func (v *seen) degraded(tables error) (status metav1.ConditionStatus, reason v1alpha1.Reason, message string) {
	yes := metav1.ConditionTrue
	switch {
	case len(v.conflicts) > 0:
		return yes, v1alpha1.ReasonConflict, strings.Join(v.conflicts, ", ") + " belongs to somebody else, and is left alone: remove it, or give the fleet another name"
	case v.failure != nil:
		return yes, v1alpha1.ReasonApplyFailed, v.failure.Error()
	case v.missing != "":
		return yes, v1alpha1.ReasonSecretMissing, v.missing
	case v.to.unknown:
		return yes, v1alpha1.ReasonRevisionUnknown, fmt.Sprintf("spec.rollbackTo is %d, and status.history has no such revision: name one that it has, or 0", v.fleet.Spec.RollbackTo)
	case v.overdue:
		return yes, v1alpha1.ReasonRolloutFailed, withWhy("no progress was made for the deadline", v.waiting)
	case v.intent.rejected:
		_, why := outcomeOf(v.fleet, &v.to.revision)
		return yes, v1alpha1.ReasonRolloutFailed, fmt.Sprintf("revision %d was taken back: %s", v.to.number, why)
	case tables != nil:
		return yes, v1alpha1.ReasonEtcdUnreachable, "the routers' status keys in etcd cannot be read: " + tables.Error()
	}
	return metav1.ConditionFalse, v1alpha1.ReasonAsExpected, "nothing is wrong"
}

// unreachableStatus says that the fleet's cluster cannot be reached. What was seen of it before stays.
func unreachableStatus(fleet *v1alpha1.GridRouter, unreachable *clusters.UnreachableError) {
	fleet.Status.ObservedGeneration = fleet.Generation
	set := func(kind v1alpha1.ConditionType, status metav1.ConditionStatus) {
		v1alpha1.SetCondition(&fleet.Status.Conditions, fleet.Generation, kind, status, v1alpha1.ReasonClusterUnreachable, clipped(unreachable.Error()))
	}
	set(v1alpha1.ConditionAvailable, metav1.ConditionUnknown)
	set(v1alpha1.ConditionProgressing, metav1.ConditionUnknown)
	set(v1alpha1.ConditionDegraded, metav1.ConditionTrue)
}

// leavingStatus says what keeps a fleet that is being deleted.
func leavingStatus(fleet *v1alpha1.GridRouter, failure error) {
	fleet.Status.ObservedGeneration = fleet.Generation
	reason := v1alpha1.ReasonApplyFailed
	if errors.As(failure, new(*clusters.UnreachableError)) {
		reason = v1alpha1.ReasonClusterUnreachable
	}
	v1alpha1.SetCondition(&fleet.Status.Conditions, fleet.Generation, v1alpha1.ConditionDegraded, metav1.ConditionTrue, reason,
		clipped(fmt.Sprintf("the fleet is deleted once its objects in the other cluster are, and without that after %s: %v", mostCleaning, failure)))
}

// failedStatus says that a reconcile failed before it could tell more.
func failedStatus(fleet *v1alpha1.GridRouter, failure error) {
	fleet.Status.ObservedGeneration = fleet.Generation
	v1alpha1.SetCondition(&fleet.Status.Conditions, fleet.Generation, v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonApplyFailed, clipped(failure.Error()))
}

// showVerdict sets the condition CanaryPassed to what is known of a canary.
func showVerdict(fleet *v1alpha1.GridRouter, state canary.State, reason v1alpha1.Reason) {
	set := func(status metav1.ConditionStatus, reason v1alpha1.Reason) {
		message := fleet.Status.Canary.Why
		if message == "" {
			message = "it goes on: see condition Progressing"
		}
		v1alpha1.SetCondition(&fleet.Status.Conditions, fleet.Generation, v1alpha1.ConditionCanaryPassed, status, reason, message)
	}
	switch state {
	case canary.Promoted:
		set(metav1.ConditionTrue, v1alpha1.ReasonCanaryPassed)
	case canary.RollingBack:
		set(metav1.ConditionFalse, reason)
	case canary.RolledBack:
	default:
		if reason == "" || reason == v1alpha1.ReasonCanaryPassed {
			reason = v1alpha1.ReasonCanaryRunning
		}
		set(metav1.ConditionUnknown, reason)
	}
}

func withWhy(message, why string) string {
	if why == "" {
		return message
	}
	return message + ": " + why
}

// mostTold bounds what is told in one message, in bytes; the API server refuses messages of conditions
// over 32768 and texts of ours over 1024.
const mostTold = 1000

func clipped(text string) string {
	if len(text) <= mostTold {
		return text
	}
	end := mostTold - 3
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "..."
}
