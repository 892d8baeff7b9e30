package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EtcdMember is one member of an EtcdCluster. The operator makes and changes it; its pod and the claim of its
// volume have the same name. To have a member replaced, delete it: the operator removes it from the cluster as
// soon as the others have a majority, and makes another one.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:categories=grid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=".spec.cluster",description="The EtcdCluster that it belongs to."
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=".status.id",description="The id that etcd gave it."
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=".spec.template.version",description="The version that it is to run."
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=".status.state",description="How far it is: New, Joining, Joined, Leaving."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type EtcdMember struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the member is to be.
	// +required
	Spec EtcdMemberSpec `json:"spec"`
	// What the member is, as the operator saw it last.
	// +optional
	Status EtcdMemberStatus `json:"status,omitzero"`
}

// EtcdMemberList is a list of members.
//
// +kubebuilder:object:root=true
type EtcdMemberList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EtcdMember `json:"items"`
}

// EtcdMemberSpec is what a member is to be. The operator writes it alone.
type EtcdMemberSpec struct {
	// The EtcdCluster, in the same namespace, that the member belongs to. It cannot be changed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="cluster cannot be changed: members are made by the operator alone"
	Cluster string `json:"cluster"`
	// Whether it is the one that forms the cluster. There is one such member in the life of a cluster. It cannot be
	// changed.
	// +optional
	// +kubebuilder:default=false
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="seed cannot be changed: members are made by the operator alone"
	Seed bool `json:"seed,omitempty"`
	// What it runs.
	// +required
	Template EtcdMemberTemplate `json:"template"`
}

// EtcdMemberTemplate is what a member runs. A member whose pod was made from another one is replaced by a new pod with
// the same volume.
//
// Since its hash must never change for a cluster whose spec has not, a field may be added here only if it is left out
// where it is empty, and none may be renamed, moved or removed.
type EtcdMemberTemplate struct {
	// The version of etcd.
	// +required
	Version string `json:"version"`
	// The image without a tag; empty: that of the operator's flag --etcd-image.
	// +optional
	Image string `json:"image,omitempty"`
	// What it requests and may use.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitzero"`
	// Whether members and clients use TLS.
	// +optional
	TLS bool `json:"tls,omitempty"`
	// Flags of etcd that follow from spec.options.
	// +optional
	// +listType=atomic
	Args []string `json:"args,omitempty"`
	// Where it runs.
	// +optional
	Placement Placement `json:"placement,omitzero"`
	// The size of its volume. It is no part of the hash, since volumes grow under a running member.
	// +optional
	Storage resource.Quantity `json:"storage,omitzero"`
}

// EtcdMemberStatus is what a member is, as the operator saw it last.
type EtcdMemberStatus struct {
	// The id that etcd gave the member, in hexadecimal digits. A volume with another one is never taken for its own.
	// +optional
	ID string `json:"id,omitempty"`
	// How far it is. New: it was made. Joining: etcd knows it, and it may not have begun yet. Joined: it has begun, and
	// must not lose its data. Leaving: it is removed.
	// +optional
	State EtcdMemberState `json:"state,omitempty"`
	// The members, as etcd's flag --initial-cluster names them, with which it joins.
	// +optional
	// +kubebuilder:validation:MaxItems=32
	// +listType=atomic
	Peers []string `json:"peers,omitempty"`
	// Since when it is not healthy.
	// +optional
	UnhealthySince *metav1.Time `json:"unhealthySince,omitempty"`
	// The hash of what it ran when it was healthy last.
	// +optional
	HealthyHash string `json:"healthyHash,omitempty"`
	// What is wrong with it, in words.
	// +optional
	Problem string `json:"problem,omitempty"`
}

// EtcdMemberState is how far a member is.
type EtcdMemberState string

// The states of a member.
const (
	MemberNew     EtcdMemberState = "New"
	MemberJoining EtcdMemberState = "Joining"
	MemberJoined  EtcdMemberState = "Joined"
	MemberLeaving EtcdMemberState = "Leaving"
)
