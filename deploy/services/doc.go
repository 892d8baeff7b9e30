// Package services is what people and their tools do with fleets of routers: provision, scale, upgrade, roll
// back, pause, resume, delete, and look at them. Callers give the parameters that matter and nothing else:
//
//	fleets := services.NewFleets(client)
//	change, err := fleets.Upgrade(ctx, services.Ref{Namespace: "prod", Name: "edge"}, "1.5.0")
//	...
//	err = fleets.Await(ctx, change, func(p services.Progress) { fmt.Println(p.Line) })
//
// The methods write the spec of a GridRouter and nothing else; the operator does the work. So they need no
// state of their own, and any number of callers may use them beside each other, kubectl and GitOps.
//
// # How fields are written
//
// Each method changes the few fields that it is about by a merge patch, as field owner [FieldOwner], with the
// resource version that it has read: no other field changes, nor its owner. Server-side apply would be wrong
// here. An applier states all that it owns, and what it leaves out is removed: a Scale after an Upgrade would
// take the version away.
//
// A patch takes a field over from its owner in silence, so the methods look first. A field that another owner
// keeps by server-side apply (kubectl apply --server-side, Argo CD, Flux) would be put back at its next sync:
// the change is refused and names that owner, unless [ForceConflicts] is given. Whether client-side kubectl
// apply keeps the fleet is told as a note, since people do both.
//
// If the object changed between reading and writing, as it does whenever the operator writes its status, it is
// read again and the change is made of the new form. If a field that is to be written was changed meanwhile by
// somebody else, nothing is written and the error says so.
package services
