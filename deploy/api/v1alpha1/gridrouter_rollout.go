package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Rollout says how a change of the routers is brought to the fleet.
//
// +kubebuilder:validation:XValidation:rule="!has(self.strategy) || self.strategy != 'Canary' || has(self.canary)",message="strategy Canary needs steps: set rollout.canary.steps, or strategy Rolling"
// +kubebuilder:validation:XValidation:rule="!has(self.canary) || self.strategy == 'Canary'",message="rollout.canary is followed by strategy Canary alone: set that strategy, or remove canary"
// +kubebuilder:validation:XValidation:rule="!(has(self.maxSurge) && has(self.maxUnavailable) && string(self.maxSurge) in ['0', '0%'] && string(self.maxUnavailable) in ['0', '0%'])",message="with maxSurge 0 and maxUnavailable 0 no router could ever be replaced: set one of them to 1"
type Rollout struct {
	// Rolling: router by router. Canary: first a share of them, step by step, each judged beside the rest
	// of the fleet; then Rolling. A canary that fails is taken back.
	// +optional
	// +kubebuilder:default=Rolling
	Strategy RolloutStrategy `json:"strategy,omitempty"`
	// How many routers more than wanted there may be meanwhile, a number from 0 to 1000 or a share from
	// 0% to 100%.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 0 && int(self) <= 1000 : string(self).matches('^([1-9]?[0-9]|100)%$')",message="maxSurge must be a number from 0 to 1000, or a share such as 25%: write one of them"
	MaxSurge *intstr.IntOrString `json:"maxSurge,omitempty"`
	// How many of the wanted routers may be missing meanwhile, a number from 0 to 1000 or a share from 0%
	// to 100%.
	// +optional
	// +kubebuilder:default=0
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 0 && int(self) <= 1000 : string(self).matches('^([1-9]?[0-9]|100)%$')",message="maxUnavailable must be a number from 0 to 1000, or a share such as 25%: write one of them"
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// The steps of strategy Canary, and how canaries are judged.
	// +optional
	Canary *Canary `json:"canary,omitempty"`
	// How long a rollout may make no progress before it counts as failed, from 10s to 24h. The holds of a
	// canary's steps do not count.
	// +optional
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) >= duration('10s') && duration(self) <= duration('24h')",message="progressDeadline must be a duration from 10s to 24h: write one such as 10m"
	ProgressDeadline *metav1.Duration `json:"progressDeadline,omitempty"`
	// How many revisions are kept to go back to, from 1 to 100.
	// +optional
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	History int32 `json:"history,omitempty"`
}

// RolloutStrategy is the way in which a change is brought to a fleet.
//
// +kubebuilder:validation:Enum=Rolling;Canary
type RolloutStrategy string

// The strategies of a rollout.
const (
	RolloutRolling RolloutStrategy = "Rolling" // router by router
	RolloutCanary  RolloutStrategy = "Canary"  // a share first, judged beside the rest
)

// Canary is how a change is tried on a share of the fleet.
type Canary struct {
	// The shares, growing from step to step; from 1 to 20 steps. What is left after the last is rolled
	// over router by router.
	// +required
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:XValidation:rule="self.map(s, s.percent).isSorted() && self.all(s, self.exists_one(other, other.percent == s.percent))",message="each step must have a greater percent than the one before: put them in ascending order"
	// +listType=atomic
	Steps []CanaryStep `json:"steps"`
	// How canaries are judged at each step.
	// +optional
	// +kubebuilder:default={}
	Analysis CanaryAnalysis `json:"analysis,omitzero"`
}

// CanaryStep is a share of the fleet, and how long it is watched.
type CanaryStep struct {
	// How many canaries there are, in percent of the routers that the spec wants, from 1 to 100, rounded up
	// to whole routers. They run beside the wanted ones: 25 percent of 4 routers is 1 canary of then 5.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Percent int32 `json:"percent"`
	// How long the canaries of this step serve before they are judged, from 0s to 24h.
	// +optional
	// +kubebuilder:default="60s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]{1,5}([.][0-9]{1,3})?(ms|s|m|h))+$') && duration(self) <= duration('24h')",message="hold must be a duration from 0s to 24h: write one such as 60s"
	Hold *metav1.Duration `json:"hold,omitempty"`
}

// CanaryAnalysis is how canaries are judged, by the routers' own metrics, beside the rest of the fleet.
// The numbers are fractions only to be compared; nothing is computed from them and stored.
type CanaryAnalysis struct {
	// How many percent of its requests a canary may answer by a fault of its own, beyond what the others
	// do; from 0 to 100, fractions allowed.
	// +optional
	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MaxErrorPercent *float64 `json:"maxErrorPercent,omitempty"`
	// How many times as long as the others' the canaries' 99th percentile of answer times may be; from 1
	// to 100, fractions allowed.
	// +optional
	// +kubebuilder:default=1.5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxP99Ratio *float64 `json:"maxP99Ratio,omitempty"`
	// How many requests canaries must have served before they are judged; with fewer, the step waits. From
	// 0 to 1000000000; 0: judged without traffic.
	// +optional
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	MinRequests *int64 `json:"minRequests,omitempty"`
}

// Exposure says how clients reach the fleet.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'LVS' || has(self.vip)",message="exposure LVS needs an address: set exposure.vip"
// +kubebuilder:validation:XValidation:rule="!has(self.vip) || self.type == 'LVS'",message="exposure.vip is for LVS alone: set type LVS, or remove vip"
type Exposure struct {
	// ClusterIP: a Service within the cluster. LoadBalancer: a Service that the cloud exposes. LVS: a
	// virtual IP whose real servers are the fleet's ready routers.
	// +optional
	// +kubebuilder:default=ClusterIP
	Type ExposureType `json:"type,omitempty"`
	// The virtual IP of type LVS. It cannot be changed while the type is LVS.
	// +optional
	// +kubebuilder:validation:MaxLength=45
	// +kubebuilder:validation:XValidation:rule="isIP(self) && ip.isCanonical(self) && !ip(self).isUnspecified() && !ip(self).isLoopback()",message="vip must be an IP address in its usual form that hosts can reach: write one such as 10.9.0.10 or fd00::10"
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="vip cannot be changed: make a new GridRouter with the new address, move the clients to it, and delete this one"
	VIP string `json:"vip,omitempty"`
	// How LVS chooses among routers; read with type LVS alone. wrr: in turn, by weight. wlc: the fewest
	// connections, by weight. mh: by the client's address, changing as few as possible.
	// +optional
	// +kubebuilder:default=wrr
	Scheduler LVSScheduler `json:"scheduler,omitempty"`
	// How LVS forwards; read with type LVS alone. DR: direct routing, answers go past LVS. NAT: both ways
	// through it. TUN: through a tunnel, answers go past LVS.
	// +optional
	// +kubebuilder:default=DR
	Mode LVSMode `json:"mode,omitempty"`
}

// ExposureType is the way in which clients reach a fleet.
//
// +kubebuilder:validation:Enum=ClusterIP;LoadBalancer;LVS
type ExposureType string

// The ways to expose a fleet.
const (
	ExposureClusterIP    ExposureType = "ClusterIP"    // a Service within the cluster
	ExposureLoadBalancer ExposureType = "LoadBalancer" // a Service that the cloud exposes
	ExposureLVS          ExposureType = "LVS"          // a virtual IP of LVS
)

// LVSScheduler is how LVS chooses among real servers.
//
// +kubebuilder:validation:Enum=wrr;wlc;mh
type LVSScheduler string

// The schedulers of LVS that heed weights, which draining needs.
const (
	SchedulerRoundRobin       LVSScheduler = "wrr" // in turn, by weight
	SchedulerLeastConnections LVSScheduler = "wlc" // the fewest connections, by weight
	SchedulerMaglev           LVSScheduler = "mh"  // by the client's address
)

// LVSMode is how LVS forwards to real servers.
//
// +kubebuilder:validation:Enum=DR;NAT;TUN
type LVSMode string

// The modes of LVS.
const (
	LVSDirectRouting LVSMode = "DR"  // answers go past LVS
	LVSNAT           LVSMode = "NAT" // both ways through LVS
	LVSTunnel        LVSMode = "TUN" // through a tunnel, answers go past LVS
)
