// Package render says what a fleet's spec means in objects of Kubernetes. It is pure: the same spec gives
// the same objects, which golden files show whole.
//
// What the pods of a fleet are made from is chosen out of the spec as an [Input]; its hash names the
// revision, and [Template] renders it. The template is stored with the revision and used as it was stored,
// so that another version of this package, which renders otherwise, restarts no pod.
package render

// Ports of a router that its listeners may not have.
const (
	AdminPort  = 9901 // the admin endpoints, with a token
	HealthPort = 9902 // readiness and health, without
)

// FieldOwner owns what the operator applies.
const FieldOwner = "gridrouter-operator"

// Container is the name of the container of a pod that the router runs in.
const Container = "router"

// Labels of a fleet's objects. They are part of selectors, and never change.
const (
	LabelFleet    = "gridrouter.io/fleet"
	LabelTrack    = "gridrouter.io/track"
	LabelRevision = "gridrouter.io/revision-hash"
)

// AdminTokenKey is the key of the admin token in the Secret that has it.
const AdminTokenKey = "token"

// Track says which of the two Deployments of a fleet a router belongs to.
type Track string

// The tracks.
const (
	TrackStable Track = "stable" // the fleet itself
	TrackCanary Track = "canary" // routers of a revision that is tried
)

// Names are the names of a fleet's objects.
type Names struct {
	Stable, Canary                                                          string // Deployments
	Service, ServiceAccount, AdminSecret                                    string
	DisruptionBudget, Autoscaler, NetworkPolicy, Keepalived, RevisionPrefix string
}

// NamesOf returns the names of the objects of a fleet. A fleet's name has at most 50 characters, so that
// all of them are names of 63 at most.
func NamesOf(fleet string) Names {
	return Names{
		Stable: fleet, Canary: fleet + "-canary", Service: fleet, ServiceAccount: fleet, AdminSecret: fleet + "-admin",
		DisruptionBudget: fleet, Autoscaler: fleet, NetworkPolicy: fleet, Keepalived: fleet + "-keepalived", RevisionPrefix: fleet + "-",
	}
}

// labels are on every object of a fleet.
func labels(fleet string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "gridrouter",
		"app.kubernetes.io/instance":   fleet,
		"app.kubernetes.io/component":  "router",
		"app.kubernetes.io/managed-by": FieldOwner,
		LabelFleet:                     fleet,
	}
}

// LabelsOf are the labels that every object of a fleet has.
func LabelsOf(fleet string) map[string]string { return labels(fleet) }
