package etcd

import (
	"slices"
	"strconv"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

// recoversWithin is how long a recovery may take before its survivor is started once more, with another token: one that
// was used without effect is of no more use.
const recoversWithin = 10 * time.Minute

// recovery begins and ends recoveries from a lost quorum, and says whether the status changed by it. One that was begun is
// never given up, but for a majority: the survivor may be a cluster of its own already, and the others, started again,
// another one. So it ends when none of those is left.
func (w *world) recovery() bool {
	s := &w.c.Status
	switch {
	case s.Recovery != nil && w.report.Known && !slices.ContainsFunc(w.members, func(m *member) bool { return m.o.DeletionTimestamp != nil && m.o.Name != s.Recovery.Survivor }):
		s.Recovery = nil
		return true
	case s.Recovery != nil && !w.report.Known && replicasOf(w.c) > 0 && w.now.Sub(s.Recovery.Since.Time) > recoversWithin:
		s.Recovery = w.recoverWith(s.Recovery.Survivor)
		return true
	case s.Recovery != nil || !w.lostQuorum():
		return false
	}
	survivor := w.survivor()
	if survivor == nil {
		return false
	}
	s.Recovery = w.recoverWith(survivor.o.Name)
	return true
}

func (w *world) recoverWith(survivor string) *v1alpha1.EtcdRecovery {
	return &v1alpha1.EtcdRecovery{Survivor: survivor, Token: strconv.FormatInt(w.now.UnixNano(), 36), Since: metav1.NewTime(w.now.Truncate(time.Second))}
}

// lostQuorum says whether no majority answers for as long as the spec bears, and it wants a recovery then.
func (w *world) lostQuorum() bool {
	loss := &w.c.Spec.SelfHeal.QuorumLoss
	told := meta.FindStatusCondition(w.c.Status.Conditions, string(v1alpha1.ConditionQuorate))
	return loss.Policy == v1alpha1.QuorumFromSurvivor && !w.c.Spec.Paused && replicasOf(w.c) > 0 && w.c.Status.ClusterID != "" && len(w.members) > 1 &&
		w.asked && !w.report.Known && told != nil && told.Reason == string(v1alpha1.ReasonQuorumLost) &&
		w.now.Sub(told.LastTransitionTime.Time) > durationOf(loss.After, 10*time.Minute)
}

// survivor is the member with the longest log of those that answer and follow nobody; nil: there is none. One that has no
// vote has not all that was acknowledged, and one that follows a leader is in a cluster that lives.
func (w *world) survivor() *member {
	var best *member
	for _, m := range w.members {
		seen, asked := w.report.Members[m.o.Name]
		switch {
		case !asked || seen.Err != nil || seen.URL != clientURL(w.c, m.pod) || m.lost != "" || m.o.DeletionTimestamp != nil || seen.Learner:
		case hex(seen.ClusterID) != w.c.Status.ClusterID || hex(seen.ID) != m.o.Status.ID:
		case seen.Leader != 0:
			return nil
		case best == nil || seen.Index > w.report.Members[best.o.Name].Index:
			best = m
		}
	}
	return best
}
