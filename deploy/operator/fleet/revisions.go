package fleet

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// revision is one form that the fleet's pods had or are to have.
type revision struct {
	number   int64
	hash     string
	input    render.Input
	template corev1.PodTemplateSpec
	made     time.Time
	// stored is the object that keeps it; nil: it is not kept yet.
	stored *appsv1.ControllerRevision
}

// readRevisions reads the revisions of the fleet, newest first. One that cannot be read is an error: to
// go on without it could give its number to another.
func readRevisions(ctx context.Context, w *world) ([]revision, error) {
	var list appsv1.ControllerRevisionList
	err := w.cluster.Client.List(ctx, &list, client.InNamespace(w.fleet.Namespace), client.MatchingLabels{render.LabelFleet: w.fleet.Name})
	if err != nil {
		return nil, fmt.Errorf("list ControllerRevisions: %w", err)
	}
	var all []revision
	for i := range list.Items {
		stored := &list.Items[i]
		if !w.owns(stored) || stored.DeletionTimestamp != nil {
			continue
		}
		input, template, err := render.ReadRevision(stored)
		if err != nil {
			return nil, fmt.Errorf("ControllerRevision %s: %w", stored.Name, err)
		}
		all = append(all, revision{
			number: stored.Revision, hash: stored.Labels[render.LabelRevision], input: input, template: template,
			made: stored.CreationTimestamp.Time, stored: stored,
		})
	}
	slices.SortFunc(all, func(a, b revision) int {
		return cmp.Or(cmp.Compare(b.number, a.number), cmp.Compare(a.hash, b.hash))
	})
	return all, nil
}

// byHash returns the revision with a hash, or nil.
func byHash(all []revision, hash string) *revision {
	for i := range all {
		if all[i].hash == hash {
			return &all[i]
		}
	}
	return nil
}

// byNumber returns the revision with a number, or nil.
func byNumber(all []revision, number int64) *revision {
	for i := range all {
		if all[i].number == number {
			return &all[i]
		}
	}
	return nil
}

// target is the revision that the spec asks for.
type target struct {
	revision
	// store says that the revision has to be stored, or stored with a new number, before pods are made
	// from it.
	store bool
	// rollback says that spec.rollbackTo chose it: it is a form that was known to be good, and is rolled
	// out at once, without a canary.
	rollback bool
	// unknown says that spec.rollbackTo names a revision that is not there; then the fleet stays as it is.
	unknown bool
}

// chooseTarget finds the revision that a spec asks for among those that are stored, newest first. A spec
// that goes back to an earlier form makes that the newest revision again, as a Deployment does. running is
// the hash of what the stable routers are of; empty: there are none.
func chooseTarget(fleet *v1alpha1.GridRouter, all []revision, input render.Input, running string) target {
	if to := fleet.Spec.RollbackTo; to != 0 {
		if found := byNumber(all, to); found != nil {
			return target{revision: *found, rollback: true}
		}
		if stays := byHash(all, running); stays != nil {
			return target{revision: *stays, unknown: true}
		}
	}
	hash, newest := input.Hash(), int64(0)
	if len(all) > 0 {
		newest = all[0].number
	}
	unknown := fleet.Spec.RollbackTo != 0
	found := byHash(all, hash)
	switch {
	case found == nil:
		return target{
			revision: revision{number: newest + 1, hash: hash, input: input, template: render.Template(fleet.Name, input)},
			store:    true, unknown: unknown,
		}
	case found.number < newest && fleet.Spec.RollbackTo == 0:
		again := *found
		again.number = newest + 1
		return target{revision: again, store: true}
	}
	return target{revision: *found, unknown: unknown}
}

// surplus returns the stored revisions beyond those that are to be kept, oldest first. Those in use are
// kept and counted.
func surplus(all []revision, keep int, used ...string) []revision {
	var over []revision
	for i := len(all) - 1; i >= 0 && len(all)-len(over) > keep; i-- {
		if !slices.Contains(used, all[i].hash) {
			over = append(over, all[i])
		}
	}
	return over
}

// history brings the list of revisions in a status to what is stored. What was said of a revision before
// stays, unless something new is known of it.
func history(all []revision, before []v1alpha1.Revision, news func(revision) (v1alpha1.RevisionOutcome, string)) []v1alpha1.Revision {
	told := make([]v1alpha1.Revision, 0, len(all))
	for _, r := range all {
		entry := v1alpha1.Revision{Revision: r.number, Hash: r.hash, Version: r.input.Version, Image: r.input.ImageName()}
		if !r.made.IsZero() {
			entry.Since = timeOf(r.made)
		}
		for _, known := range before {
			if known.Revision == r.number && known.Hash == r.hash {
				entry.Outcome, entry.Why = known.Outcome, known.Why
			}
		}
		if outcome, why := news(r); outcome != "" {
			entry.Outcome, entry.Why = outcome, why
		} else if entry.Outcome == v1alpha1.RevisionProgressing {
			entry.Outcome = v1alpha1.RevisionSuperseded
		}
		told = append(told, entry)
	}
	return told[:min(len(told), 100)]
}

// outcomeOf returns how the rollout of a revision ended, as the status says.
func outcomeOf(fleet *v1alpha1.GridRouter, r *revision) (outcome v1alpha1.RevisionOutcome, why string) {
	for _, known := range fleet.Status.History {
		if known.Revision == r.number && known.Hash == r.hash {
			return known.Outcome, known.Why
		}
	}
	return "", ""
}
