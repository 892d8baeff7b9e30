package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// EtcdTask is one act on an EtcdCluster, which the operator does once: it examines the cluster, measures it, or changes
// something. What came of it is in its status. Tasks of one cluster are done one at a time, the oldest first.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=grid
// +kubebuilder:subresource:status
// +kubebuilder:selectablefield:JSONPath=".spec.cluster"
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=".spec.cluster",description="The EtcdCluster that it is about."
// +kubebuilder:printcolumn:name="Act",type=string,JSONPath=".status.act",description="What is done."
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=".status.state",description="How far it is: Pending, Running, Succeeded, Failed, Rejected."
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=".status.message",description="What came of it, or what it waits for."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type EtcdTask struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What is to be done. It cannot be changed.
	// +required
	Spec EtcdTaskSpec `json:"spec"`
	// What came of it.
	// +optional
	Status EtcdTaskStatus `json:"status,omitzero"`
}

// EtcdTaskList is a list of tasks.
//
// +kubebuilder:object:root=true
type EtcdTaskList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EtcdTask `json:"items"`
}

// EtcdTaskSpec is what is to be done: exactly one act, on one cluster.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a task is done once, and cannot be changed: make another one"
// +kubebuilder:validation:XValidation:rule="[has(self.inspect), has(self.consistency), has(self.probe), has(self.prefixUsage), has(self.hotKeys), has(self.prunePrefix), has(self.defragment), has(self.compact), has(self.moveLeader), has(self.replaceMember)].filter(x, x).size() == 1",message="a task is exactly one act: write one of inspect, consistency, probe, prefixUsage, hotKeys, prunePrefix, defragment, compact, moveLeader, replaceMember"
type EtcdTaskSpec struct {
	// The EtcdCluster, in the same namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Cluster string `json:"cluster"`
	// How long the task is kept after its end, from 0s to 8760h.
	// +optional
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) <= duration('8760h')",message="ttl must be a duration from 0s to 8760h: write one such as 168h"
	TTL *metav1.Duration `json:"ttl,omitempty"`

	// Examines the configuration and the state of the cluster: findings, the most urgent first, each with its plan.
	// +optional
	Inspect *EtcdTaskInspect `json:"inspect,omitempty"`
	// Has all members hash their data at one revision, and compares.
	// +optional
	Consistency *EtcdTaskConsistency `json:"consistency,omitempty"`
	// Tries from outside what clients do, at each member: it writes, reads, watches and deletes a key of its own.
	// +optional
	Probe *EtcdTaskProbe `json:"probe,omitempty"`
	// Counts what the keys under a prefix take, by the beginnings of the keys.
	// +optional
	PrefixUsage *EtcdTaskPrefixUsage `json:"prefixUsage,omitempty"`
	// Watches the keys under a prefix for a time, and lists those that change most.
	// +optional
	HotKeys *EtcdTaskHotKeys `json:"hotKeys,omitempty"`
	// Removes the keys under a prefix: first a dry run, which says what would go, then with the token of that.
	// +optional
	PrunePrefix *EtcdTaskPrunePrefix `json:"prunePrefix,omitempty"`
	// Gives back what is free in the members' database files, one member at a time, the leader last.
	// +optional
	Defragment *EtcdTaskDefragment `json:"defragment,omitempty"`
	// Drops the history of all keys but for the newest revisions.
	// +optional
	Compact *EtcdTaskCompact `json:"compact,omitempty"`
	// Has another member lead.
	// +optional
	MoveLeader *EtcdTaskMoveLeader `json:"moveLeader,omitempty"`
	// Has a member replaced by a new one: its EtcdMember is deleted, and the task ends when it is gone.
	// +optional
	ReplaceMember *EtcdTaskReplaceMember `json:"replaceMember,omitempty"`
}

// EtcdTaskInspect examines the configuration and the state of a cluster. There is nothing to say about it.
type EtcdTaskInspect struct{}

// EtcdTaskConsistency compares the data of all members. There is nothing to say about it.
type EtcdTaskConsistency struct{}

// EtcdTaskProbe tries what clients do. There is nothing to say about it.
type EtcdTaskProbe struct{}

// EtcdTaskPrefixUsage counts what keys take.
type EtcdTaskPrefixUsage struct {
	// The prefix of the keys that are counted, of at most 1 KiB. Default: all keys.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 1024",message="prefixUsage.prefix must be at most 1 KiB: write a shorter one"
	Prefix string `json:"prefix,omitempty"`
	// By how many parts of the path, between slashes, keys are grouped.
	// +optional
	// +kubebuilder:default=2
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Parts int32 `json:"parts,omitempty"`
	// How long the lists of the greatest groups are.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=50
	Top int32 `json:"top,omitempty"`
}

// EtcdTaskHotKeys lists the keys that change most. Reads are not seen: etcd does not tell of them.
type EtcdTaskHotKeys struct {
	// The prefix of the keys that are watched, of at most 1 KiB. Default: all keys.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 1024",message="hotKeys.prefix must be at most 1 KiB: write a shorter one"
	Prefix string `json:"prefix,omitempty"`
	// For how long, from 1s to 10m.
	// +optional
	// +kubebuilder:default="30s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('10m')",message="hotKeys.for must be a duration from 1s to 10m: write one such as 30s"
	For *metav1.Duration `json:"for,omitempty"`
	// How many keys are listed.
	// +optional
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=50
	Top int32 `json:"top,omitempty"`
}

// EtcdTaskPrunePrefix removes the keys under a prefix.
//
// +kubebuilder:validation:XValidation:rule="!has(self.dryRun) || self.dryRun || (has(self.token) && self.token.size() > 0)",message="prunePrefix with dryRun false needs the token of a dry run: make a task with dryRun true, read its result, and write its token here"
// +kubebuilder:validation:XValidation:rule="(has(self.dryRun) && !self.dryRun) || !has(self.token) || self.token.size() == 0",message="a dry run takes no token: remove token, or write dryRun: false"
type EtcdTaskPrunePrefix struct {
	// The prefix of the keys that are to go, from 1 byte to 1 KiB. What covers or lies within /gridrouter/, where the
	// routers' documents are, is refused.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.size() > 0",message="prunePrefix.prefix is empty, which is all keys: name the prefix of the keys that are to go"
	// +kubebuilder:validation:XValidation:rule="bytes(self).size() <= 1024",message="prunePrefix.prefix must be at most 1 KiB: write a shorter one"
	// +kubebuilder:validation:XValidation:rule="self.size() == 0 || !'/gridrouter/'.startsWith(self)",message="prunePrefix.prefix covers /gridrouter/, where the routers' documents are: name a longer prefix beside it"
	// +kubebuilder:validation:XValidation:rule="self == '/gridrouter/' || !self.startsWith('/gridrouter/')",message="prunePrefix.prefix lies within /gridrouter/, where the routers' documents are: remove them by gridctl delete"
	Prefix string `json:"prefix"`
	// Whether nothing is removed, and the result only says what would be, with a token.
	// +optional
	// +kubebuilder:default=true
	DryRun *bool `json:"dryRun,omitempty"`
	// The token in the result of a dry run of the same prefix, whose task must still be there. Keys that were written
	// since the dry run are kept.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:XValidation:rule="self.matches('^[0-9a-f]*$')",message="prunePrefix.token must be the token in the result of a dry run, of the digits 0-9 and a-f: copy it whole"
	Token string `json:"token,omitempty"`
}

// EtcdTaskDefragment gives back what is free in database files.
type EtcdTaskDefragment struct {
	// How much of a member's file must be free for it to be worth it, from 4Ki to 64Gi. Members with less are passed over.
	// +optional
	// +kubebuilder:default="1Mi"
	// +kubebuilder:validation:XValidation:rule="!isQuantity(string(self)) || (quantity(string(self)).compareTo(quantity('4Ki')) >= 0 && quantity(string(self)).compareTo(quantity('64Gi')) <= 0)",message="defragment.freeAbove must be from 4Ki to 64Gi: write one such as 200Mi"
	FreeAbove *resource.Quantity `json:"freeAbove,omitempty"`
}

// EtcdTaskCompact drops the history of keys.
type EtcdTaskCompact struct {
	// How many of the newest revisions stay readable.
	// +optional
	// +kubebuilder:default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	Keep int64 `json:"keep,omitempty"`
}

// EtcdTaskMoveLeader has another member lead.
type EtcdTaskMoveLeader struct {
	// The name of the member that is to lead.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*)-[0-9]+$')",message="moveLeader.to must be the name of a member, such as edge-etcd-1: kubectl get etcdmembers lists them"
	To string `json:"to"`
}

// EtcdTaskReplaceMember has a member replaced.
type EtcdTaskReplaceMember struct {
	// The name of the member that is to go. The new one has another name.
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z]([-a-z0-9]*)-[0-9]+$')",message="replaceMember.name must be the name of a member, such as edge-etcd-1: kubectl get etcdmembers lists them"
	Name string `json:"name"`
}

// EtcdTaskStatus is what came of a task.
type EtcdTaskStatus struct {
	// What is done: the name of the act's field in the spec.
	// +optional
	Act string `json:"act,omitempty"`
	// How far it is. Pending: it waits. Running: it is being done. Succeeded: it was done. Failed: it was begun, and could
	// not be done wholly. Rejected: it was not begun, since it does not fit the cluster.
	// +optional
	State EtcdTaskState `json:"state,omitempty"`
	// How often it was begun. It is more than once where an operator ended meanwhile; the result is of the last time.
	// +optional
	Attempts int32 `json:"attempts,omitempty"`
	// When it was begun, the last time.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// When it ended: succeeded, failed or was rejected.
	// +optional
	EndedAt *metav1.Time `json:"endedAt,omitempty"`
	// What came of it in a sentence; before its end, what it waits for.
	// +optional
	Message string `json:"message,omitempty"`
	// What came of it in full, of at most 16 KiB, by act. It has names of keys, and never a value.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	Result *runtime.RawExtension `json:"result,omitempty"`
}

// EtcdTaskState is how far a task is.
type EtcdTaskState string

// The states of a task. The last three are its end.
const (
	EtcdTaskPending   EtcdTaskState = "Pending"
	EtcdTaskRunning   EtcdTaskState = "Running"
	EtcdTaskSucceeded EtcdTaskState = "Succeeded"
	EtcdTaskFailed    EtcdTaskState = "Failed"
	EtcdTaskRejected  EtcdTaskState = "Rejected"
)
