package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionType is what a condition tells of.
type ConditionType string

// The conditions. Each has a status, True, False or Unknown, a [Reason], and the generation of the spec
// that it answers.
const (
	// ConditionAvailable: enough routers are ready to serve; of a ClusterConnection: the cluster answers.
	ConditionAvailable ConditionType = "Available"
	// ConditionProgressing: the fleet is on its way to what the spec says.
	ConditionProgressing ConditionType = "Progressing"
	// ConditionDegraded: something is wrong that the operator cannot mend alone.
	ConditionDegraded ConditionType = "Degraded"
	// ConditionConfigSynced: all routers' tables are those of their peers.
	ConditionConfigSynced ConditionType = "ConfigSynced"
	// ConditionVIPBound: LVS forwards the VIP to the fleet. Absent without exposure LVS.
	ConditionVIPBound ConditionType = "VIPBound"
	// ConditionCanaryPassed: the last canary passed all its steps. Absent if there was none.
	ConditionCanaryPassed ConditionType = "CanaryPassed"
	// ConditionQuorate: a majority of an etcd cluster's voters answers, without which nothing can be written.
	ConditionQuorate ConditionType = "Quorate"
	// ConditionSpaceLow: a member's database is near its quota, at which etcd refuses writes.
	ConditionSpaceLow ConditionType = "SpaceLow"
)

// Reason says in one word why a condition is as it is. Reasons are part of the API: one is never given
// another meaning, and removed only with the version of the API.
type Reason string

// Reasons of any condition.
const (
	// ReasonPaused: spec.paused is true, so nothing is changed.
	ReasonPaused Reason = "Paused"
	// ReasonClusterUnreachable: the cluster that spec.cluster names does not answer, or has no
	// ClusterConnection.
	ReasonClusterUnreachable Reason = "ClusterUnreachable"
)

// Reasons of Available.
const (
	// ReasonReplicasReady: as many routers as wanted are ready.
	ReasonReplicasReady Reason = "ReplicasReady"
	// ReasonMinimumReady: some are not ready, but no more than disruption.maxUnavailable allows.
	ReasonMinimumReady Reason = "MinimumReady"
	// ReasonTooFewReady: fewer are ready than disruption.maxUnavailable allows.
	ReasonTooFewReady Reason = "TooFewReady"
	// ReasonScaledToZero: no router is wanted.
	ReasonScaledToZero Reason = "ScaledToZero"
)

// Reasons of Progressing.
const (
	// ReasonComplete: the fleet is what the spec says; False.
	ReasonComplete Reason = "Complete"
	// ReasonScaling: routers are added or taken away.
	ReasonScaling Reason = "Scaling"
	// ReasonRollingOut: routers are replaced by those of a new revision.
	ReasonRollingOut Reason = "RollingOut"
	// ReasonCanaryRunning: canaries of a new revision are watched; of CanaryPassed as well.
	ReasonCanaryRunning Reason = "CanaryRunning"
	// ReasonRollingBack: routers are put back to an older revision.
	ReasonRollingBack Reason = "RollingBack"
	// ReasonRolledBack: a revision was taken back; False. It is tried again once the spec changes.
	ReasonRolledBack Reason = "RolledBack"
	// ReasonPodsWaiting: pods do not start or get ready; the message has the pod's own reason, such as
	// ImagePullBackOff.
	ReasonPodsWaiting Reason = "PodsWaiting"
	// ReasonPodsForbidden: the cluster refuses pods, by a quota for example; the message says why.
	ReasonPodsForbidden Reason = "PodsForbidden"
	// ReasonDeadlineExceeded: no progress was made for rollout.progressDeadline; False.
	ReasonDeadlineExceeded Reason = "DeadlineExceeded"
)

// Reasons of Degraded.
const (
	// ReasonAsExpected: nothing is wrong; False.
	ReasonAsExpected Reason = "AsExpected"
	// ReasonConflict: an object that the fleet needs has the right name, but belongs to somebody else. It
	// is left alone.
	ReasonConflict Reason = "Conflict"
	// ReasonApplyFailed: the cluster refused an object of the fleet; the message says why.
	ReasonApplyFailed Reason = "ApplyFailed"
	// ReasonSecretMissing: a Secret that the spec names is not there, or lacks a key.
	ReasonSecretMissing Reason = "SecretMissing"
	// ReasonRevisionUnknown: spec.rollbackTo names a revision that is not in status.history.
	ReasonRevisionUnknown Reason = "RevisionUnknown"
	// ReasonRolloutFailed: the last rollout failed or was taken back.
	ReasonRolloutFailed Reason = "RolloutFailed"
	// ReasonEtcdUnreachable: the fleet's status keys in etcd cannot be read; of ConfigSynced as well.
	ReasonEtcdUnreachable Reason = "EtcdUnreachable"
)

// Reasons of ConfigSynced.
const (
	// ReasonInSync: all ready routers have the same table.
	ReasonInSync Reason = "InSync"
	// ReasonRoutersLag: some routers' tables are older than their peers'.
	ReasonRoutersLag Reason = "RoutersLag"
	// ReasonTablesDiffer: routers have different tables of one revision.
	ReasonTablesDiffer Reason = "TablesDiffer"
	// ReasonNoStatus: no router has told of its table yet.
	ReasonNoStatus Reason = "NoStatus"
)

// Reasons of VIPBound.
const (
	// ReasonBound: LVS has the VIP and at least one real server with a weight.
	ReasonBound Reason = "Bound"
	// ReasonNoRealServers: no router can be forwarded to.
	ReasonNoRealServers Reason = "NoRealServers"
	// ReasonVIPInUse: another fleet has the VIP already.
	ReasonVIPInUse Reason = "VIPInUse"
	// ReasonProviderFailed: what programs LVS reported an error; the message has it.
	ReasonProviderFailed Reason = "ProviderFailed"
)

// Reasons of CanaryPassed.
const (
	// ReasonCanaryPassed: all steps were passed; True.
	ReasonCanaryPassed Reason = "CanaryPassed"
	// ReasonTooManyErrors: canaries failed more requests than analysis.maxErrorPercent allows.
	ReasonTooManyErrors Reason = "TooManyErrors"
	// ReasonTooSlow: canaries answered more slowly than analysis.maxP99Ratio allows.
	ReasonTooSlow Reason = "TooSlow"
	// ReasonTooFewRequests: fewer than analysis.minRequests were served, so the step waits; Unknown.
	ReasonTooFewRequests Reason = "TooFewRequests"
	// ReasonCanaryNotReady: canaries did not get ready until the deadline.
	ReasonCanaryNotReady Reason = "CanaryNotReady"
)

// Reasons of an EtcdCluster's conditions.
const (
	// ReasonMajorityAnswers: of Quorate and Available: a majority of the voters answers.
	ReasonMajorityAnswers Reason = "MajorityAnswers"
	// ReasonQuorumLost: of Quorate and Available: no majority answers; the message says what is wrong with each member.
	ReasonQuorumLost Reason = "QuorumLost"
	// ReasonNotFormed: of Quorate and Available: the first member has not formed the cluster yet.
	ReasonNotFormed Reason = "NotFormed"
	// ReasonHibernated: no member is wanted, and none runs; the volumes keep the data.
	ReasonHibernated Reason = "Hibernated"
	// ReasonHibernating: of Progressing: no member is wanted, and some still run.
	ReasonHibernating Reason = "Hibernating"
	// ReasonForming: of Progressing: the first member forms the cluster.
	ReasonForming Reason = "Forming"
	// ReasonUpdating: of Progressing: members are changed one after the other.
	ReasonUpdating Reason = "Updating"
	// ReasonReplacing: of Progressing: a member is removed, and another one takes its place where one is wanted.
	ReasonReplacing Reason = "Replacing"
	// ReasonRecovering: of Progressing: the cluster goes on with one member, since no majority was left.
	ReasonRecovering Reason = "Recovering"
	// ReasonMembersWaiting: of Progressing: members are not healthy, and the operator waits for them.
	ReasonMembersWaiting Reason = "MembersWaiting"
	// ReasonMemberUnhealthy: of Degraded: a member does not answer or lags; the message says which, and why.
	ReasonMemberUnhealthy Reason = "MemberUnhealthy"
	// ReasonUpdateRefused: of Degraded: a change was taken back, since its first member did not get healthy.
	ReasonUpdateRefused Reason = "UpdateRefused"
	// ReasonForeignMember: of Degraded: etcd lists a member that the operator did not make.
	ReasonForeignMember Reason = "ForeignMember"
	// ReasonAlarm: of Degraded: a member raised an alarm, NOSPACE or CORRUPT.
	ReasonAlarm Reason = "Alarm"
	// ReasonNearQuota: of SpaceLow: a database has more than 80 % of options.quotaBytes.
	ReasonNearQuota Reason = "NearQuota"
	// ReasonSpaceLeft: of SpaceLow: all databases have less; False.
	ReasonSpaceLeft Reason = "SpaceLeft"
)

// Reasons of a ClusterConnection's conditions.
const (
	// ReasonReachable: the cluster answers.
	ReasonReachable Reason = "Reachable"
	// ReasonUnreachable: it does not; the message has the error.
	ReasonUnreachable Reason = "Unreachable"
	// ReasonUnauthorized: it refuses the credentials.
	ReasonUnauthorized Reason = "Unauthorized"
	// ReasonSecretUnlabelled: the Secret lacks the label gridrouter.io/kubeconfig.
	ReasonSecretUnlabelled Reason = "SecretUnlabelled"
	// ReasonKubeconfigInvalid: the Secret holds no kubeconfig that can be used; the message says why.
	ReasonKubeconfigInvalid Reason = "KubeconfigInvalid"
)

// SetCondition puts a condition into a list and says whether the list changed. The time of the last
// transition changes with the status alone; generation is that of the spec which the condition answers.
func SetCondition(conditions *[]metav1.Condition, generation int64, kind ConditionType, status metav1.ConditionStatus, reason Reason, message string) bool {
	return meta.SetStatusCondition(conditions, metav1.Condition{
		Type: string(kind), Status: status, ObservedGeneration: generation,
		Reason: string(reason), Message: message,
	})
}
