package fleet

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// warnings are the reasons that a person should look at.
var warnings = map[v1alpha1.Reason]bool{
	v1alpha1.ReasonTooFewReady: true, v1alpha1.ReasonRolledBack: true, v1alpha1.ReasonRollingBack: true, v1alpha1.ReasonPodsForbidden: true,
	v1alpha1.ReasonDeadlineExceeded: true, v1alpha1.ReasonConflict: true, v1alpha1.ReasonApplyFailed: true, v1alpha1.ReasonSecretMissing: true,
	v1alpha1.ReasonRevisionUnknown: true, v1alpha1.ReasonEtcdUnreachable: true, v1alpha1.ReasonRoutersLag: true,
	v1alpha1.ReasonTablesDiffer: true, v1alpha1.ReasonVIPInUse: true, v1alpha1.ReasonProviderFailed: true, v1alpha1.ReasonTooManyErrors: true,
	v1alpha1.ReasonTooSlow: true, v1alpha1.ReasonCanaryNotReady: true, v1alpha1.ReasonClusterUnreachable: true, v1alpha1.ReasonPodsWaiting: true,
}

// quiet are the conditions whose good news are told by others. That a rollout failed is told by Progressing, so
// that the reason of Degraded for it is no warning.
var quiet = map[string]bool{string(v1alpha1.ConditionDegraded): true, string(v1alpha1.ConditionConfigSynced): true}

// toldByOthers says whether another condition tells the same: Progressing of a canary that goes on, and Degraded
// of an etcd that cannot be read.
func toldByOthers(c *metav1.Condition) bool {
	kind, reason := v1alpha1.ConditionType(c.Type), v1alpha1.Reason(c.Reason)
	return kind == v1alpha1.ConditionCanaryPassed && reason == v1alpha1.ReasonCanaryRunning ||
		kind == v1alpha1.ConditionConfigSynced && reason == v1alpha1.ReasonEtcdUnreachable
}

// tell writes an event for each condition whose reason changed, and for each step of a canary.
func (r *Reconciler) tell(fleet *v1alpha1.GridRouter, before *v1alpha1.GridRouterStatus) {
	for i := range fleet.Status.Conditions {
		c := &fleet.Status.Conditions[i]
		was := meta.FindStatusCondition(before.Conditions, c.Type)
		if was != nil && was.Reason == c.Reason && was.Status == c.Status {
			continue
		}
		if toldByOthers(c) {
			continue
		}
		// Routers that have yet to come, in a fleet that is made or grows, are nothing to look at.
		grows := c.Reason == string(v1alpha1.ReasonTooFewReady) && fleet.Status.Ready >= before.Ready
		warns := warnings[v1alpha1.Reason(c.Reason)] && !grows
		if !warns && (quiet[c.Type] || was == nil && c.Status == metav1.ConditionFalse) {
			continue
		}
		kind := corev1.EventTypeNormal
		if warns {
			kind = corev1.EventTypeWarning
		}
		r.options.Events.Eventf(fleet, nil, kind, c.Reason, c.Type, "%s", c.Message)
	}
}
