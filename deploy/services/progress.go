package services

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/api/v1alpha1"
)

// silentAfter is how long the operator may take to note a change before people are told.
const silentAfter = 10 * time.Second

// Progress is how far a change is.
type Progress struct {
	// Line says it in words, without a line's end.
	Line string
	// Done: it came to the end that was asked for.
	Done bool
	// Failed: it came to another end, or will come to none by itself; Line says why.
	Failed bool
}

// goalKind is what a change is to end with.
type goalKind int

const (
	goalReady    goalKind = iota // all routers that are wanted are ready, and of the newest revision
	goalVersion                  // and have a version
	goalRevision                 // and are of a revision
	goalNoted                    // the operator has taken note
	goalGone                     // the fleet is gone
)

// goal is what a change is to end with, and what was known when it was written.
type goal struct {
	kind       goalKind
	what       string
	written    time.Time
	uid        types.UID
	generation int64
	version    string // of goalVersion and goalRevision
	revision   int64  // of goalRevision
	newest     int64  // the newest revision in the history when it was written
}

func (g *goal) waiting(format string, args ...any) Progress {
	return Progress{Line: g.what + ": " + fmt.Sprintf(format, args...)}
}

func (g *goal) done(format string, args ...any) Progress {
	return Progress{Line: g.what + ": " + fmt.Sprintf(format, args...), Done: true}
}

func (g *goal) failed(format string, args ...any) Progress {
	return Progress{Line: g.what + ": " + fmt.Sprintf(format, args...), Failed: true}
}

// judge says how far a change is. It is pure.
func (g *goal) judge(sight Sight, now time.Time) Progress {
	fleet := sight.Fleet
	gone := fleet == nil || !sameObject(fleet, g.uid)
	switch {
	case sight.Away != nil:
		return g.waiting("%v; trying again", sight.Away)
	case g.kind == goalGone && gone:
		return g.done("it is gone")
	case gone:
		return g.failed("the fleet was deleted meanwhile")
	case g.kind == goalGone:
		return g.waiting("%s", leaving(fleet, now))
	case fleet.DeletionTimestamp != nil:
		return g.failed("the fleet is being deleted")
	}
	if end, replaced := g.replaced(fleet); replaced {
		return end
	}
	if fleet.Status.ObservedGeneration < g.generation {
		return g.unnoted(now)
	}
	if g.kind == goalNoted {
		return g.done("the operator has taken note")
	}
	if fleet.Spec.Paused {
		return g.failed("written, but the fleet is paused: nothing happens until it is resumed (gridctl fleets resume %s)", fleet.Name)
	}
	return g.outcome(fleet, now)
}

// unnoted is the state of a change that the operator has not seen yet.
func (g *goal) unnoted(now time.Time) Progress {
	silent := now.Sub(g.written)
	if silent < silentAfter {
		return g.waiting("waiting for the operator")
	}
	return g.waiting("the operator has taken no note of it for %s: does one run (gridrouter operator), and is it the leader?", seconds(silent))
}

// replaced says whether somebody else asks for something else by now.
func (g *goal) replaced(fleet *v1alpha1.GridRouter) (Progress, bool) {
	s := &fleet.Spec
	switch {
	case g.kind == goalVersion && s.Version != g.version:
		return g.failed("somebody else asked for version %s meanwhile%s", s.Version, by(lastWriter(fleet, "version"))), true
	case g.kind == goalVersion && s.RollbackTo != 0:
		return g.failed("somebody else rolled back to revision %d meanwhile%s", s.RollbackTo, by(lastWriter(fleet, "rollbackTo"))), true
	case g.kind == goalRevision && s.RollbackTo != g.revision:
		return g.failed("somebody else set rollbackTo to %d meanwhile%s", s.RollbackTo, by(lastWriter(fleet, "rollbackTo"))), true
	}
	return Progress{}, false
}

// outcome judges by the status, which answers the change.
func (g *goal) outcome(fleet *v1alpha1.GridRouter, now time.Time) Progress {
	progressing := condition(fleet, v1alpha1.ConditionProgressing)
	if progressing == nil || progressing.ObservedGeneration < g.generation {
		return g.unnoted(now)
	}
	degraded := condition(fleet, v1alpha1.ConditionDegraded)
	if degraded != nil && degraded.Reason == string(v1alpha1.ReasonRevisionUnknown) && degraded.ObservedGeneration >= g.generation {
		return g.failed("the operator does not have that revision any more: %s", degraded.Message)
	}
	if progressing.Status == metav1.ConditionFalse && g.reached(fleet, v1alpha1.Reason(progressing.Reason)) {
		return g.done("done, %s", readiness(fleet))
	}
	if why, ended := g.endedBadly(fleet, progressing); ended {
		return g.failed("%s", why)
	}
	if before := g.canaryBefore(fleet); before != 0 {
		return g.waiting("it begins when the canary of revision %d has ended, which a rollback does at once; %s", before, Describe(fleet, now))
	}
	if g.version != "" && g.revisionOf(fleet) == nil {
		return g.waiting("its rollout begins")
	}
	return g.waiting("%s", Describe(fleet, now))
}

// canaryBefore is the revision of another canary that goes on, which is brought to its end first; 0: none does.
func (g *goal) canaryBefore(fleet *v1alpha1.GridRouter) int64 {
	c := fleet.Status.Canary
	if g.kind != goalVersion || c == nil || c.Verdict == v1alpha1.VerdictFailed || c.State == "Promoted" {
		return 0
	}
	if ours := g.revisionOf(fleet); ours != nil && ours.Revision == c.Revision {
		return 0
	}
	return c.Revision
}

// reached says whether a fleet that rests is what the change asked for. What became of its last rollout does
// not matter to one that was scaled.
func (g *goal) reached(fleet *v1alpha1.GridRouter, reason v1alpha1.Reason) bool {
	if g.kind == goalReady {
		allReady := fleet.Status.Ready == wanted(fleet) && fleet.Status.Replicas == wanted(fleet)
		return reason == v1alpha1.ReasonComplete || allReady
	}
	return reason == v1alpha1.ReasonComplete && fleet.Status.Versions.Current == g.version
}

// endedBadly says whether the rollout that the change began was taken back or failed, and why. A rollout that
// was going on when the change was written comes to its own end first, which says nothing of this one.
func (g *goal) endedBadly(fleet *v1alpha1.GridRouter, progressing *metav1.Condition) (why string, ended bool) {
	reason := v1alpha1.Reason(progressing.Reason)
	rests := progressing.Status == metav1.ConditionFalse && (reason == v1alpha1.ReasonRolledBack || reason == v1alpha1.ReasonDeadlineExceeded)
	ours := g.revisionOf(fleet)
	if ours == nil {
		return progressing.Message, g.kind == goalReady && rests && reason == v1alpha1.ReasonDeadlineExceeded
	}
	mine := rests || ours.Revision > g.newest
	reasons := cmp.Or(ours.Why, progressing.Message, "no reason is told")
	switch {
	case mine && ours.Outcome == v1alpha1.RevisionRolledBack && rests:
		return fmt.Sprintf("taken back, the routers run %s: %s", orUnknown(fleet.Status.Versions.Current), reasons), true
	case mine && ours.Outcome == v1alpha1.RevisionFailed:
		return fmt.Sprintf("failed: %s", reasons), true
	case ours.Revision > g.newest && ours.Outcome == v1alpha1.RevisionSuperseded:
		return "another change came before it was complete", true
	}
	return "", false
}

// revisionOf is the revision that a change made or chose, nil where the history does not have it yet.
func (g *goal) revisionOf(fleet *v1alpha1.GridRouter) *v1alpha1.Revision {
	history := newestFirst(fleet)
	for i := range history {
		if g.kind == goalRevision && history[i].Revision == g.revision || g.kind == goalVersion && history[i].Version == g.version {
			return &history[i]
		}
	}
	return nil
}

func condition(fleet *v1alpha1.GridRouter, kind v1alpha1.ConditionType) *metav1.Condition {
	return meta.FindStatusCondition(fleet.Status.Conditions, string(kind))
}

// leaving says what a deletion waits for.
func leaving(fleet *v1alpha1.GridRouter, now time.Time) string {
	if fleet.DeletionTimestamp == nil {
		return "waiting for the API server"
	}
	held := make([]string, 0, len(fleet.Finalizers))
	for _, finalizer := range fleet.Finalizers {
		if finalizer == metav1.FinalizerDeleteDependents {
			finalizer = "the garbage collector, to take away what belongs to it"
		}
		held = append(held, finalizer)
	}
	return fmt.Sprintf("for %s, waiting for %s", seconds(now.Sub(fleet.DeletionTimestamp.Time)), cmp.Or(strings.Join(held, ", "), "the API server"))
}

func orUnknown(version string) string { return cmp.Or(version, "another version") }
