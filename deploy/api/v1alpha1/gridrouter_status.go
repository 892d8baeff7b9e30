package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// MaxInstances is how many routers are listed in a status at most; those with something to tell come
// first.
const MaxInstances = 100

// GridRouterStatus is what a fleet is, as the operator saw it last.
type GridRouterStatus struct {
	// The generation of the spec that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// How many routers there are, canaries included.
	// +optional
	Replicas int32 `json:"replicas"`
	// How many of them are ready.
	// +optional
	Ready int32 `json:"ready"`
	// How many of them are of the target revision.
	// +optional
	Updated int32 `json:"updated"`
	// The label selector of the routers' pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`
	// The versions that the fleet has and gets.
	// +optional
	Versions FleetVersions `json:"versions,omitzero"`
	// The canary that is going on, or the last one. Absent: there was none.
	// +optional
	Canary *CanaryStatus `json:"canary,omitempty"`
	// What the routers' tables reflect, by their own status keys in etcd.
	// +optional
	Table *TableStatus `json:"table,omitempty"`
	// What LVS forwards to; with exposure LVS alone.
	// +optional
	// +kubebuilder:validation:MaxItems=1000
	// +listType=map
	// +listMapKey=address
	RealServers []RealServer `json:"realServers,omitempty"`
	// The routers, at most 100; those that are not ready or lag behind come first.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=name
	Instances []Instance `json:"instances,omitempty"`
	// The revisions of the fleet that can be gone back to, newest first; as many as spec.rollout.history.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	// +listType=map
	// +listMapKey=revision
	History []Revision `json:"history,omitempty"`
	// Available, Progressing, Degraded, ConfigSynced, VIPBound, CanaryPassed.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// FleetVersions are the versions that a fleet has and gets.
type FleetVersions struct {
	// The version of the last rollout that was completed.
	// +optional
	Current string `json:"current,omitempty"`
	// The version that is being rolled out; equal to current when nothing is.
	// +optional
	Target string `json:"target,omitempty"`
}

// CanaryStatus is how far a canary is, and how it was judged.
type CanaryStatus struct {
	// The revision that is tried.
	// +optional
	Revision int64 `json:"revision,omitempty"`
	// Where the rollout stands (docs/WORKFLOWS.md).
	// +optional
	State string `json:"state,omitempty"`
	// The step that is going on, from 1; 0: before the first.
	// +optional
	Step int32 `json:"step"`
	// The share of the fleet that the step asks for, in percent.
	// +optional
	Percent int32 `json:"percent"`
	// When the step began.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// What was found.
	// +optional
	Verdict CanaryVerdict `json:"verdict,omitempty"`
	// Why, with the numbers that were compared.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Why string `json:"why,omitempty"`
	// The stored state machine of the rollout, with its plan, what is still to be done, and its latest
	// events. It belongs to the operator, which goes on with it after a restart.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	Work *runtime.RawExtension `json:"work,omitempty"`
}

// CanaryVerdict is what was found of a canary.
//
// +kubebuilder:validation:Enum=Pending;Passed;Failed
type CanaryVerdict string

// The verdicts on a canary.
const (
	VerdictPending CanaryVerdict = "Pending" // it is being watched
	VerdictPassed  CanaryVerdict = "Passed"  // all steps were passed
	VerdictFailed  CanaryVerdict = "Failed"  // it is being taken back, or was
)

// TableStatus is what the tables of a fleet's routers reflect.
type TableStatus struct {
	// The least revision of a router's table; it lags behind most.
	// +optional
	RevisionLow int64 `json:"revisionLow,omitempty"`
	// The greatest revision of a router's table.
	// +optional
	RevisionHigh int64 `json:"revisionHigh,omitempty"`
	// The hashes of the tables, at most 100; more than one at one revision means that routers disagree.
	// +optional
	// +kubebuilder:validation:MaxItems=100
	// +listType=set
	Hashes []string `json:"hashes,omitempty"`
}

// RealServer is a router as LVS sees it.
type RealServer struct {
	// IP:port that is forwarded to.
	// +required
	Address string `json:"address"`
	// The weight, from 0 on; 0 gets no new connections.
	// +optional
	Weight int32 `json:"weight"`
	// Where it stands between coming and leaving.
	// +optional
	State RealServerState `json:"state,omitempty"`
}

// RealServerState is where a real server stands between coming and leaving.
//
// +kubebuilder:validation:Enum=Active;Lagging;Draining
type RealServerState string

// The states of a real server.
const (
	RealServerActive   RealServerState = "Active"   // gets its share
	RealServerLagging  RealServerState = "Lagging"  // its table lags behind its peers': it gets less
	RealServerDraining RealServerState = "Draining" // weight 0, until its router has drained
)

// Instance is one router of a fleet.
type Instance struct {
	// The name of its pod.
	// +required
	Name string `json:"name"`
	// The node that it runs on.
	// +optional
	Node string `json:"node,omitempty"`
	// The zone of that node.
	// +optional
	Zone string `json:"zone,omitempty"`
	// The address of its pod.
	// +optional
	Address string `json:"address,omitempty"`
	// The version that it runs.
	// +optional
	Version string `json:"version,omitempty"`
	// The revision of the fleet that it is of.
	// +optional
	Revision int64 `json:"revision,omitempty"`
	// Whether it is a canary.
	// +optional
	Canary bool `json:"canary,omitempty"`
	// Whether it is ready.
	// +optional
	Ready bool `json:"ready"`
	// The revision of its table.
	// +optional
	TableRevision int64 `json:"tableRevision,omitempty"`
	// The hash of its table.
	// +optional
	TableHash string `json:"tableHash,omitempty"`
	// Why it is not ready, in the pod's own words.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Why string `json:"why,omitempty"`
}

// Revision is one form that the fleet's routers had: each change of what a pod is made from makes a new
// one.
type Revision struct {
	// Its number, from 1; the newest has the greatest.
	// +required
	Revision int64 `json:"revision"`
	// The hash of the pod template; equal hashes, equal pods.
	// +optional
	Hash string `json:"hash,omitempty"`
	// The version of its routers.
	// +optional
	Version string `json:"version,omitempty"`
	// The image of its routers, without the tag.
	// +optional
	Image string `json:"image,omitempty"`
	// When it was made.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// How its rollout ended.
	// +optional
	Outcome RevisionOutcome `json:"outcome,omitempty"`
	// Why it was taken back or failed.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Why string `json:"why,omitempty"`
}

// RevisionOutcome is how the rollout of a revision ended.
//
// +kubebuilder:validation:Enum=Progressing;Complete;RolledBack;Failed;Superseded
type RevisionOutcome string

// The outcomes of a rollout.
const (
	RevisionProgressing RevisionOutcome = "Progressing" // it is going on
	RevisionComplete    RevisionOutcome = "Complete"    // all routers were of this revision
	RevisionRolledBack  RevisionOutcome = "RolledBack"  // its canary failed, and it was taken back
	RevisionFailed      RevisionOutcome = "Failed"      // it made no progress until the deadline
	RevisionSuperseded  RevisionOutcome = "Superseded"  // another change came before it was complete
)
