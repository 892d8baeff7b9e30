// Package v1alpha1 holds the kinds of the group gridrouter.io as Go types: what people state about router
// fleets, and what the operator answers in their status.
//
// The types are the one source. From them and from the markers in their comments are generated, by
// make generate: the CRDs in deploy/manifests/crds, which hold every rule that the API server checks; deep
// copies; and the apply configurations in deploy/api/applyconfiguration, by which controllers write with
// server-side apply.
//
// Objects that come from the API server have their defaults filled in. Fields that are pointers are those
// whose zero value is not their default, or means something else than their absence.
//
// Markers must not hold two apostrophes in a row, the empty string of CEL: gofmt makes a quotation mark of
// them. Write size() == 0 instead.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package="../applyconfiguration"
// +groupName=gridrouter.io
package v1alpha1
