// Package fleet reconciles GridRouters: it keeps the Deployments, Services and other objects of router
// fleets at what their specs say, and tells in their statuses how far that is.
//
// A reconcile looks at everything anew (world), decides by pure code what is to be (revisions, rollout,
// conditions), makes at most one change of an object, and writes the status once, if it changed. What
// changed brings the next reconcile. So an operator that ends after any of its writes is followed by one
// that goes on from there.
//
// The pods of a fleet depend on nothing of the operator's version: what they are made from is rendered
// once for a revision, stored, and used as it was stored (package render).
package fleet
