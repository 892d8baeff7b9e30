package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// KubeconfigLabel is the label, with the value "true", that a Secret must have to be used as a
// kubeconfig. The operator reads no other Secrets for that purpose.
const KubeconfigLabel = "gridrouter.io/kubeconfig"

// ClusterConnection is a way to a Kubernetes cluster. Specs of other kinds name it; they hold neither
// addresses nor credentials of clusters.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=cc,categories=grid
// +kubebuilder:subresource:status
// +kubebuilder:printcolumn:name="Reachable",type=boolean,JSONPath=".status.reachable",description="Whether the cluster answered last time."
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=".status.version",description="The version of the cluster's API server."
// +kubebuilder:printcolumn:name="Latency",type=string,JSONPath=".status.latency",description="How long the API server takes to answer, rounded up."
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=".status.conditions[?(@.type==\"Available\")].reason",description="Why it is reachable, or is not."
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=".metadata.creationTimestamp"
type ClusterConnection struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// How the cluster is reached.
	// +required
	Spec ClusterConnectionSpec `json:"spec"`
	// What the operator found.
	// +optional
	Status ClusterConnectionStatus `json:"status,omitzero"`
}

// ClusterConnectionList is a list of connections.
//
// +kubebuilder:object:root=true
type ClusterConnectionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterConnection `json:"items"`
}

// ClusterConnectionSpec is how a cluster is reached.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) || (has(self.inCluster) && self.inCluster)",message="no cluster is named: set secretRef, or inCluster: true"
// +kubebuilder:validation:XValidation:rule="!(has(self.secretRef) && has(self.inCluster) && self.inCluster)",message="secretRef and inCluster exclude each other: remove one of them"
type ClusterConnectionSpec struct {
	// The Secret that holds a kubeconfig. It must have the label gridrouter.io/kubeconfig: "true"; when it
	// changes, the connection is made anew. Excludes inCluster.
	// +optional
	SecretRef *KubeconfigRef `json:"secretRef,omitempty"`
	// The cluster where the operator runs, with the operator's own rights. Excludes secretRef.
	// +optional
	InCluster bool `json:"inCluster,omitempty"`
}

// KubeconfigRef names a kubeconfig in a Secret of the same namespace.
type KubeconfigRef struct {
	// The name of the Secret.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",message="secretRef.name must be the name of a Secret: lower-case letters, digits, '-' and '.'"
	Name string `json:"name"`
	// The key in it.
	// +optional
	// +kubebuilder:default=kubeconfig
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self.matches('^[A-Za-z0-9._-]+$')",message="secretRef.key must be a key of a Secret: letters, digits, '-', '_' and '.'"
	Key string `json:"key,omitempty"`
}

// ClusterConnectionStatus is what the operator found of a cluster.
type ClusterConnectionStatus struct {
	// The generation of the spec that this status answers.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Whether the cluster answered last time.
	// +optional
	Reachable bool `json:"reachable"`
	// The version of its API server.
	// +optional
	Version string `json:"version,omitempty"`
	// How long its API server takes to answer, rounded up to 10ms, 100ms, 1s and so on, so that the
	// status changes seldom.
	// +optional
	Latency *metav1.Duration `json:"latency,omitempty"`
	// Since when reachable is as it is.
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Available, Degraded.
	// +optional
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
