package services

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"gridrouter.io/deploy/api/v1alpha1"
)

// RollbackPlan is which revision a rollback goes to, and from which.
type RollbackPlan struct {
	From v1alpha1.Revision // the one that the spec describes now; its number is 0 where it is not known
	To   v1alpha1.Revision
}

// What says it in words.
func (p RollbackPlan) What() string {
	if p.From.Revision == 0 {
		return fmt.Sprintf("roll back to revision %d (%s)", p.To.Revision, p.To.Version)
	}
	return fmt.Sprintf("roll back from revision %d (%s) to %d (%s)", p.From.Revision, p.From.Version, p.To.Revision, p.To.Version)
}

func (p RollbackPlan) notes() []string {
	notes := []string{fmt.Sprintf("while rollbackTo is %d, routers run that revision whole: version, image, etcd, prefix, listeners, gslb, resources, placement, drain and args of the spec do not apply; an upgrade ends it", p.To.Revision)}
	if p.To.Outcome == v1alpha1.RevisionRolledBack || p.To.Outcome == v1alpha1.RevisionFailed {
		notes = append(notes, fmt.Sprintf("revision %d did not do well when it was tried (%s): %s", p.To.Revision, p.To.Outcome, cmp.Or(p.To.Why, "no reason is kept")))
	}
	return notes
}

// PlanRollback chooses the revision that a rollback goes to. to is one of the fleet's history, and 0 the newest
// complete one before that which the spec describes now. So after a canary that failed, which the operator took
// back itself, it is the revision that runs; a second rollback goes further back. It is pure.
func PlanRollback(fleet *v1alpha1.GridRouter, to int64) (RollbackPlan, error) {
	history := newestFirst(fleet)
	p := RollbackPlan{From: currentRevision(fleet, history)}
	if len(history) == 0 {
		return p, refusef("%s has no history yet: there is nothing to go back to", RefOf(fleet).what())
	}
	if to != 0 {
		at := slices.IndexFunc(history, func(r v1alpha1.Revision) bool { return r.Revision == to })
		if at < 0 {
			return p, refusef("revision %d is not in the history of %s: choose one of %s", to, RefOf(fleet).what(), revisionList(history))
		}
		p.To = history[at]
		return p, nil
	}
	for i := range history {
		otherPods := history[i].Hash == "" || history[i].Hash != p.From.Hash
		if history[i].Revision < p.From.Revision && history[i].Outcome == v1alpha1.RevisionComplete && otherPods {
			p.To = history[i]
			return p, nil
		}
	}
	return p, refusef("%s has no complete revision before %d: choose one of %s (--to)", RefOf(fleet).what(), p.From.Revision, revisionList(history))
}

func newestFirst(fleet *v1alpha1.GridRouter) []v1alpha1.Revision {
	history := slices.Clone(fleet.Status.History)
	slices.SortStableFunc(history, func(a, b v1alpha1.Revision) int { return cmp.Compare(b.Revision, a.Revision) })
	return history
}

// currentRevision is the revision that the spec describes: the one it is rolled back to, else the newest of its
// version, else the newest.
func currentRevision(fleet *v1alpha1.GridRouter, history []v1alpha1.Revision) v1alpha1.Revision {
	for i := range history {
		if to := fleet.Spec.RollbackTo; to != 0 && history[i].Revision == to || to == 0 && history[i].Version == fleet.Spec.Version {
			return history[i]
		}
	}
	if len(history) == 0 {
		return v1alpha1.Revision{}
	}
	return history[0]
}

func newestRevision(fleet *v1alpha1.GridRouter) int64 {
	newest := int64(0)
	for i := range fleet.Status.History {
		newest = max(newest, fleet.Status.History[i].Revision)
	}
	return newest
}

// runningVersion is the version that a fleet has, as far as it is known.
func runningVersion(fleet *v1alpha1.GridRouter) string {
	return cmp.Or(fleet.Status.Versions.Current, fleet.Spec.Version)
}

// revisionList names revisions with what became of them, at most ten.
func revisionList(history []v1alpha1.Revision) string {
	var names []string
	for i := range history {
		if i == 10 {
			names = append(names, fmt.Sprintf("and %d older ones", len(history)-i))
			break
		}
		names = append(names, fmt.Sprintf("%d (%s, %s)", history[i].Revision, history[i].Version, cmp.Or(string(history[i].Outcome), "no outcome yet")))
	}
	return strings.Join(names, ", ")
}

// Revisions returns the revisions of a fleet, newest first, and the number of the one that the spec describes
// now; 0: not known.
func Revisions(fleet *v1alpha1.GridRouter) (newest []v1alpha1.Revision, current int64) {
	newest = newestFirst(fleet)
	return newest, currentRevision(fleet, newest).Revision
}
