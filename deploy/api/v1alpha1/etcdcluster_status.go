package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// EtcdClusterStatus is what an etcd cluster is, as the operator saw it last.
type EtcdClusterStatus struct {
	// The generation of the spec that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// The id that etcd gave the cluster when it was formed, in hexadecimal digits. A cluster is formed once; what has
	// another id is never taken for it.
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
	// The minor version that etcd's members have agreed on, such as 3.7; the data is of that version.
	// +optional
	ClusterVersion string `json:"clusterVersion,omitempty"`
	// The version that all members run; while they differ, the oldest.
	// +optional
	Version string `json:"version,omitempty"`
	// How many members there are.
	// +optional
	Replicas int32 `json:"replicas"`
	// How many of them are healthy: they answer, and have what the others have.
	// +optional
	Healthy int32 `json:"healthy"`
	// The label selector of the members' pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// The member that leads.
	// +optional
	Leader string `json:"leader,omitempty"`
	// What the operator does, or waits for, in words.
	// +optional
	Step string `json:"step,omitempty"`
	// What the members run that are not on their way to something else: what a change that fails goes back to.
	// +optional
	Template *EtcdMemberTemplate `json:"template,omitempty"`
	// The change that was taken back last.
	// +optional
	Refused *EtcdRefusedChange `json:"refused,omitempty"`
	// The last time that spec.defrag asked for, and what came of it.
	// +optional
	LastDefrag *EtcdLastDefrag `json:"lastDefrag,omitempty"`
	// The next time that spec.defrag asks for; once it has passed, as soon as all members are healthy.
	// +optional
	NextDefrag *metav1.Time `json:"nextDefrag,omitempty"`
	// The recovery from a lost quorum that goes on. Absent: none does.
	// +optional
	Recovery *EtcdRecovery `json:"recovery,omitempty"`
	// The number of the next member; no number is used twice.
	// +optional
	NextMember int64 `json:"nextMember,omitempty"`
	// The members, in the order of their numbers.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=map
	// +listMapKey=name
	Members []EtcdMemberSummary `json:"members,omitempty"`
	// Available, Quorate, Progressing, Degraded, TLSValid, SpaceLow.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// EtcdRefusedChange is a change of the members that was taken back. It is not tried again until the spec
// asks for something else.
type EtcdRefusedChange struct {
	// The hash of what members were to run.
	Hash string `json:"hash"`
	// Its version.
	Version string `json:"version"`
	// Why it was taken back.
	Why string `json:"why"`
	// When.
	At metav1.Time `json:"at"`
}

// EtcdLastDefrag is what came of a defragmentation by schedule.
type EtcdLastDefrag struct {
	// When it ended.
	At metav1.Time `json:"at"`
	// How many bytes all members together gave back; 0: of none was enough free.
	// +optional
	FreedBytes int64 `json:"freedBytes"`
	// Why it ended before all members were done; empty: it did not.
	// +optional
	Problem string `json:"problem,omitempty"`
}

// EtcdRecovery is a recovery from a lost quorum.
type EtcdRecovery struct {
	// The member that the cluster goes on with.
	Survivor string `json:"survivor"`
	// What names this recovery: a member is made the only one once for each.
	Token string `json:"token"`
	// Since when it goes on.
	Since metav1.Time `json:"since"`
}

// EtcdMemberSummary is what a cluster's status tells of one member.
type EtcdMemberSummary struct {
	// The member's name, which is that of its EtcdMember, its pod and its volume's claim.
	Name string `json:"name"`
	// Leader, Follower, Learner; empty: it is none, or does not answer.
	// +optional
	Role EtcdRole `json:"role,omitempty"`
	// The version that it runs.
	// +optional
	Version string `json:"version,omitempty"`
	// Whether it answers, and has what the others have.
	// +optional
	Healthy bool `json:"healthy"`
	// The size of its database in bytes, and how much of that is in use.
	// +optional
	DBBytes    int64 `json:"dbBytes,omitempty"`
	InUseBytes int64 `json:"inUseBytes,omitempty"`
	// How far its raft log is.
	// +optional
	RaftIndex int64 `json:"raftIndex,omitempty"`
	// The alarms that it raised: NOSPACE, CORRUPT.
	// +optional
	// +kubebuilder:validation:MaxItems=4
	// +listType=atomic
	Alarms []string `json:"alarms,omitempty"`
	// What is wrong with it, in words.
	// +optional
	Problem string `json:"problem,omitempty"`
}

// EtcdRole is what a member is to the others.
type EtcdRole string

// The roles.
const (
	EtcdLeader   EtcdRole = "Leader"
	EtcdFollower EtcdRole = "Follower"
	EtcdLearner  EtcdRole = "Learner"
)
