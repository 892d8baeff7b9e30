package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EtcdCluster is an etcd that is made, scaled, upgraded and healed as one: members with a volume each, a
// Service that leads to them, and the certificates by which they and their clients know each other.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=etcd,categories=grid
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=".status.version",description="The version that all members run; while they differ, the oldest."
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=".spec.version",description="The version that the spec asks for."
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=".status.replicas",description="How many members there are."
// +kubebuilder:printcolumn:name="Healthy",type=integer,JSONPath=".status.healthy",description="How many of them answer and have what the others have."
// +kubebuilder:printcolumn:name="Leader",type=string,JSONPath=".status.leader",description="The member that leads."
// +kubebuilder:printcolumn:name="Quorate",type=string,JSONPath=".status.conditions[?(@.type==\"Quorate\")].status",description="Whether a majority of voters answers, without which nothing can be written."
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=".status.conditions[?(@.type==\"Progressing\")].reason",description="What is going on."
// +kubebuilder:printcolumn:name="Degraded",type=string,JSONPath=".status.conditions[?(@.type==\"Degraded\")].reason",description="What is wrong, or AsExpected.",priority=1
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=".status.step",description="What the operator does, or waits for.",priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 40 of a-z, 0-9 and -, and begin with a letter, because members and Services are named after it: choose such a name"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.clusterVersion) || self.status.clusterVersion.size() == 0 || !self.spec.version.matches('^[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,4}$') || int(self.spec.version.split('.')[1]) >= int(self.status.clusterVersion.split('.')[1])",message="etcd cannot go back to an older minor version than that of its data (status.clusterVersion): write one that is not older, or restore a backup into a new cluster"
// +kubebuilder:validation:XValidation:rule="!has(self.status) || !has(self.status.clusterVersion) || self.status.clusterVersion.size() == 0 || !self.spec.version.matches('^[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,4}$') || int(self.spec.version.split('.')[1]) <= int(self.status.clusterVersion.split('.')[1]) + 1",message="etcd is upgraded one minor version at a time: write the one after status.clusterVersion first, and the next when all members run that"
type EtcdCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the cluster is to be.
	// +required
	Spec EtcdClusterSpec `json:"spec"`
	// What the cluster is, as the operator saw it last.
	// +optional
	Status EtcdClusterStatus `json:"status,omitzero"`
}

// EtcdClusterList is a list of etcd clusters.
//
// +kubebuilder:object:root=true
type EtcdClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EtcdCluster `json:"items"`
}

// EtcdClusterSpec is what an etcd cluster is to be.
//
// +kubebuilder:validation:XValidation:rule="!has(self.class) || self.class != 'Guaranteed' || (has(self.resources) && has(self.resources.limits) && ['cpu', 'memory'].all(r, r in self.resources.limits && (!has(self.resources.requests) || !(r in self.resources.requests) || quantity(string(self.resources.requests[r])).compareTo(quantity(string(self.resources.limits[r]))) == 0)))",message="class Guaranteed asks for limits of cpu and memory, and for requests that are absent or equal to them: set resources.limits, or choose class Burstable"
// +kubebuilder:validation:XValidation:rule="!has(self.class) || self.class != 'BestEffort' || !has(self.resources) || (!has(self.resources.limits) && !has(self.resources.requests))",message="class BestEffort requests and limits nothing: remove resources, or choose class Burstable"
// +kubebuilder:validation:XValidation:rule="!has(self.options) || !has(self.options.quotaBytes) || quantity(string(self.options.quotaBytes)).compareTo(quantity(string(self.storage.size))) <= 0",message="options.quotaBytes is more than storage.size, and the disk would be full before etcd says so: lower the quota, or give more storage"
type EtcdClusterSpec struct {
	// The version of etcd, such as 3.7.3. The image's tag is "v" and this. A change replaces the members one after
	// the other, and is taken back by itself if the first does not come up. There is no default, so that a new
	// operator never changes a cluster.
	// +required
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,4}$')",message="version must be a version of etcd with three numbers: write one such as 3.7.3"
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[0-9]{1,3}[.][0-9]{1,3}[.][0-9]{1,4}$') || (self.startsWith('3.') && int(self.split('.')[1]) >= 6)",message="version must be 3.6.0 or later of etcd 3, since older ones lack what the operator goes by: upgrade to 3.6 elsewhere first"
	Version string `json:"version"`

	// The image of etcd without a tag. Default: that of the operator's flag --etcd-image.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="!self.matches('(:[^/]*|@.*)$')",message="image holds a tag or a digest: write the version into version, and only the name here"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9._:@/-]*[a-z0-9])?$')",message="image must be a name such as registry.example:5000/team/etcd, in lower case"
	Image string `json:"image,omitempty"`

	// How many members there are: 1, 3, 5 or 7; 0 hibernates the cluster: no member runs, and all volumes stay.
	// +optional
	// +kubebuilder:default=3
	// +kubebuilder:validation:XValidation:rule="self in [0, 1, 3, 5, 7]",message="replicas must be 1, 3, 5 or 7, since an even number of voters bears no more failures than one less; or 0, which hibernates the cluster"
	Replicas *int32 `json:"replicas,omitempty"`

	// The volume of each member.
	// +required
	Storage EtcdStorage `json:"storage"`

	// What a member requests and may use, as in a pod. Default: nothing is requested, nothing limited.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!has(self.claims)",message="a member uses no claimed devices: remove claims"
	// +kubebuilder:validation:XValidation:rule="!has(self.requests) || !has(self.limits) || ['cpu', 'memory'].all(r, !(r in self.requests) || !(r in self.limits) || quantity(string(self.requests[r])).compareTo(quantity(string(self.limits[r]))) <= 0)",message="more is requested of cpu or memory than the limit allows: lower requests, or raise limits"
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`

	// How much a member is protected from its neighbours on a node, which is checked against resources.
	// Guaranteed: limits of cpu and memory, and requests equal to them. Burstable: as resources say. BestEffort:
	// nothing requested, for trials.
	// +optional
	// +kubebuilder:default=Burstable
	Class EtcdClass `json:"class,omitempty"`

	// How members and clients know each other.
	// +optional
	// +kubebuilder:default={}
	TLS EtcdTLS `json:"tls,omitzero"`

	// Options of the etcd server. A change replaces the members one after the other.
	// +optional
	// +kubebuilder:default={}
	Options EtcdOptions `json:"options,omitzero"`

	// Where members run.
	// +optional
	// +kubebuilder:default={}
	Placement Placement `json:"placement,omitzero"`

	// Who may reach the cluster. Default: everybody. Members and the operator always may.
	// +optional
	Access *Access `json:"access,omitempty"`

	// What the operator does by itself about members that fail.
	// +optional
	// +kubebuilder:default={}
	SelfHeal EtcdSelfHeal `json:"selfHeal,omitzero"`

	// While it is true, the operator changes nothing of the cluster and only reports.
	// +optional
	// +kubebuilder:default=false
	Paused bool `json:"paused,omitempty"`
}

// EtcdStorage is the volume of a member.
type EtcdStorage struct {
	// The size of each volume, from 16Mi to 64Ti. It can only grow, and grows in place where the class of storage
	// lets it.
	// +required
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || (quantity(string(self)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self)).compareTo(quantity('64Ti')) <= 0)",message="storage.size must be from 16Mi to 64Ti: write one such as 8Gi"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || quantity(string(self)).compareTo(quantity(string(oldSelf))) >= 0",message="storage.size cannot shrink: write the former size, or make a new cluster"
	Size resource.Quantity `json:"size"`
	// The StorageClass of the volumes. Default: the cluster's. It cannot be changed.
	// +optional
	// +kubebuilder:default=""
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="storage.className cannot be changed: make a new cluster with it"
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="storage.className must be the name of a StorageClass: lower-case letters, digits, '-' and '.'"
	ClassName string `json:"className,omitempty"`
	// How long the volume of a member that was removed is kept, from 0s to 720h.
	// +optional
	// +kubebuilder:default="1h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) <= duration('720h')",message="storage.keepRemoved must be a duration from 0s to 720h: write one such as 1h"
	KeepRemoved *metav1.Duration `json:"keepRemoved,omitempty"`
	// What happens to the volumes when the EtcdCluster is deleted. Retain: they stay, for a person to remove.
	// Delete: they go with it, and all data.
	// +optional
	// +kubebuilder:default=Retain
	WhenDeleted VolumesWhenDeleted `json:"whenDeleted,omitempty"`
}

// VolumesWhenDeleted says what happens to volumes when their cluster is deleted.
//
// +kubebuilder:validation:Enum=Retain;Delete
type VolumesWhenDeleted string

// What happens to volumes.
const (
	VolumesRetain VolumesWhenDeleted = "Retain"
	VolumesDelete VolumesWhenDeleted = "Delete"
)

// EtcdClass is how much a member is protected from its neighbours.
//
// +kubebuilder:validation:Enum=Guaranteed;Burstable;BestEffort
type EtcdClass string

// The classes, which are those of Kubernetes for pods.
const (
	EtcdGuaranteed EtcdClass = "Guaranteed"
	EtcdBurstable  EtcdClass = "Burstable"
	EtcdBestEffort EtcdClass = "BestEffort"
)

// EtcdTLS says how members and clients know each other.
type EtcdTLS struct {
	// Operator: the operator makes an authority for this cluster, and certificates of it for members and clients;
	// clients find theirs in the Secret NAME.user.client. Off: no TLS, for trials. It cannot be changed.
	// +optional
	// +kubebuilder:default=Operator
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="tls.mode cannot be changed: make a new cluster with it, and move the data there"
	Mode EtcdTLSMode `json:"mode,omitempty"`
	// How long before its end a certificate is renewed, from 1h to 4320h.
	// +optional
	// +kubebuilder:default="720h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('1h') && duration(self) <= duration('4320h')",message="tls.rotateBefore must be a duration from 1h to 4320h: write one such as 720h"
	RotateBefore *metav1.Duration `json:"rotateBefore,omitempty"`
	// Asks for another authority if the present one was made before this time. Members are restarted twice, one after the
	// other. Default: none is asked for, and one is made before the end of the old one, after ten years.
	// +optional
	RenewCA *metav1.Time `json:"renewCA,omitempty"`
}

// EtcdTLSMode is who makes certificates.
//
// +kubebuilder:validation:Enum=Operator;Off
type EtcdTLSMode string

// Who makes certificates.
const (
	EtcdTLSOperator EtcdTLSMode = "Operator"
	EtcdTLSOff      EtcdTLSMode = "Off"
)

// EtcdOptions are options of the etcd server.
//
// +kubebuilder:validation:XValidation:rule="!has(self.heartbeat) || !has(self.election) || !self.heartbeat.matches('^[0-9]{1,6}(ms|s)$') || !self.election.matches('^[0-9]{1,6}(ms|s)$') || (duration(self.election) >= duration(self.heartbeat) + duration(self.heartbeat) + duration(self.heartbeat) + duration(self.heartbeat) + duration(self.heartbeat))",message="options.election must be at least five times options.heartbeat, else members elect while their leader lives: raise election, or lower heartbeat"
type EtcdOptions struct {
	// How large a member's database may grow before etcd refuses writes (alarm NOSPACE), from 16Mi to 64Gi, and
	// at most storage.size. Default: etcd's own, 2Gi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || (quantity(string(self)).compareTo(quantity('16Mi')) >= 0 && quantity(string(self)).compareTo(quantity('64Gi')) <= 0)",message="options.quotaBytes must be from 16Mi to 64Gi: write one such as 8Gi"
	QuotaBytes *resource.Quantity `json:"quotaBytes,omitempty"`
	// How old revisions are forgotten.
	// +optional
	// +kubebuilder:default={}
	AutoCompaction EtcdAutoCompaction `json:"autoCompaction,omitzero"`
	// How often the leader says that it lives, from 10ms to 5s.
	// +optional
	// +kubebuilder:default="100ms"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,6}(ms|s)$') && duration(self) >= duration('10ms') && duration(self) <= duration('5s')",message="options.heartbeat must be a duration from 10ms to 5s in ms or s: write one such as 100ms"
	Heartbeat *metav1.Duration `json:"heartbeat,omitempty"`
	// For how long members bear a silent leader, from 100ms to 50s.
	// +optional
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9]{1,6}(ms|s)$') && duration(self) >= duration('100ms') && duration(self) <= duration('50s')",message="options.election must be a duration from 100ms to 50s in ms or s: write one such as 1s"
	Election *metav1.Duration `json:"election,omitempty"`
	// After how many changes a member writes a raft snapshot, from 1000 to 1000000. Default: etcd's own.
	// +optional
	// +kubebuilder:validation:Minimum=1000
	// +kubebuilder:validation:Maximum=1000000
	SnapshotCount *int64 `json:"snapshotCount,omitempty"`
}

// EtcdAutoCompaction says how old revisions are forgotten.
//
// +kubebuilder:validation:XValidation:rule="!has(self.mode) || !has(self.retention) || self.mode == 'Off' || self.mode == 'Revision' && self.retention.matches('^[0-9]{1,12}$') && int(self.retention) >= 1 || self.mode == 'Periodic' && self.retention.matches('^[0-9]{1,6}(s|m|h)$') && duration(self.retention) > duration('0s')",message="autoCompaction.retention must be a number of revisions with mode Revision, such as \"10000\", or a duration with mode Periodic, such as 1h"
type EtcdAutoCompaction struct {
	// Revision: the newest revisions are kept. Periodic: those of the last time. Off: all, until somebody compacts.
	// +optional
	// +kubebuilder:default=Revision
	Mode EtcdCompactionMode `json:"mode,omitempty"`
	// How much is kept: a number of revisions, or a duration.
	// +optional
	// +kubebuilder:default="10000"
	// +kubebuilder:validation:MaxLength=16
	Retention string `json:"retention,omitempty"`
}

// EtcdCompactionMode is what old revisions are counted by.
//
// +kubebuilder:validation:Enum=Revision;Periodic;Off
type EtcdCompactionMode string

// What old revisions are counted by.
const (
	CompactByRevision EtcdCompactionMode = "Revision"
	CompactByTime     EtcdCompactionMode = "Periodic"
	CompactNever      EtcdCompactionMode = "Off"
)

// EtcdSelfHeal is what the operator does by itself about members that fail.
type EtcdSelfHeal struct {
	// After what time a member that does not come back is replaced by a new one, as long as the others have a
	// majority, from 10s to 24h. A member whose data is lost is replaced at once.
	// +optional
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="selfHeal.replaceAfter must be a duration from 10s to 24h: write one such as 5m"
	ReplaceAfter *metav1.Duration `json:"replaceAfter,omitempty"`
	// How long a member that was changed may take to get healthy before the change is taken back, from 10s to 24h.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="selfHeal.progressDeadline must be a duration from 10s to 24h: write one such as 10m"
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`
	// What is done when so many members are lost that the others are no majority.
	// +optional
	// +kubebuilder:default={}
	QuorumLoss EtcdQuorumLoss `json:"quorumLoss,omitzero"`
}

// EtcdQuorumLoss says what is done when no majority is left.
type EtcdQuorumLoss struct {
	// Manual: a person brings members back, or changes this to FromSurvivor. FromSurvivor: the cluster goes on with the
	// member that has most, behind the same Service and with the same id; all others are ended first and made anew. What
	// that member had not heard of is lost, though it was acknowledged.
	// +optional
	// +kubebuilder:default=Manual
	Policy EtcdQuorumPolicy `json:"policy,omitempty"`
	// For how long there must have been no majority, from 30s to 24h.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('30s') && duration(self) <= duration('24h')",message="selfHeal.quorumLoss.after must be a duration from 30s to 24h: write one such as 10m"
	After *metav1.Duration `json:"after,omitempty"`
}

// EtcdQuorumPolicy says who brings a majority back.
//
// +kubebuilder:validation:Enum=Manual;FromSurvivor
type EtcdQuorumPolicy string

// Who brings a majority back.
const (
	QuorumManual       EtcdQuorumPolicy = "Manual"
	QuorumFromSurvivor EtcdQuorumPolicy = "FromSurvivor"
)

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
