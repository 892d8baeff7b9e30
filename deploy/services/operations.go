package services

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Provision creates a fleet. Await ends when all its routers are ready.
func (f *Fleets) Provision(ctx context.Context, fleet *v1alpha1.GridRouter, given ...Option) (*Change, error) {
	o := optionsOf(given)
	created := fleet.DeepCopy()
	all := []client.CreateOption{client.FieldOwner(FieldOwner), client.FieldValidation(metav1.FieldValidationStrict)}
	if o.dryRun {
		all = append(all, client.DryRunAll)
	}
	called, cancel := f.call(ctx)
	defer cancel()
	if err := f.client.Create(called, created, all...); err != nil {
		return nil, explain(err, "create", Resource, RefOf(fleet).what())
	}
	change := &Change{Fleet: named(created), What: "create " + created.Name, Changed: true, DryRun: o.dryRun}
	change.goal = goal{kind: goalReady, what: change.What, written: time.Now(), uid: created.UID, generation: created.Generation}
	if created.Spec.Paused {
		change.Notes = append(change.Notes, "the fleet is paused: nothing is deployed until it is resumed")
	}
	return change, nil
}

// Scale sets the number of routers. It is refused for a fleet that follows its load: [Fleets.ScaleBetween] is
// for those. Await ends when all routers are ready, and those too many are gone.
func (f *Fleets) Scale(ctx context.Context, ref Ref, replicas int32, given ...Option) (*Change, error) {
	return f.change(ctx, ref, given, func(fleet *v1alpha1.GridRouter) (plan, error) {
		if a := fleet.Spec.Autoscaling; a != nil {
			return plan{}, refusef("%s follows its load, between %d and %d routers: change these bounds instead (gridctl fleets scale %s --min N --max N)",
				ref.what(), a.Min, a.Max, ref.Name)
		}
		return plan{
			what:     fmt.Sprintf("scale from %s to %s", counted(deref(fleet.Spec.Replicas)), routers(replicas)),
			settings: []setting{{"replicas", int64(replicas)}},
			goal:     goal{kind: goalReady}, notes: pausedNote(fleet),
		}, nil
	})
}

// Bounds are those of a fleet that follows its load; what is nil stays as it is.
type Bounds struct{ Min, Max *int32 }

// ScaleBetween sets the bounds between which a fleet follows its load. It is refused for one with a fixed number
// of routers.
func (f *Fleets) ScaleBetween(ctx context.Context, ref Ref, bounds Bounds, given ...Option) (*Change, error) {
	return f.change(ctx, ref, given, func(fleet *v1alpha1.GridRouter) (plan, error) {
		a := fleet.Spec.Autoscaling
		if a == nil {
			return plan{}, refusef("%s does not follow its load, it has a fixed number of routers, %d: change that (gridctl fleets scale %s N), or set spec.autoscaling in its document",
				ref.what(), deref(fleet.Spec.Replicas), ref.Name)
		}
		after := *a
		var settings []setting
		if bounds.Min != nil {
			after.Min, settings = *bounds.Min, append(settings, setting{"autoscaling.min", int64(*bounds.Min)})
		}
		if bounds.Max != nil {
			after.Max, settings = *bounds.Max, append(settings, setting{"autoscaling.max", int64(*bounds.Max)})
		}
		return plan{
			what:     fmt.Sprintf("scale between %d and %d routers (before: %d and %d)", after.Min, after.Max, a.Min, a.Max),
			settings: settings, goal: goal{kind: goalReady}, notes: pausedNote(fleet),
		}, nil
	})
}

// Upgrade sets the version of a fleet, an older one as well. A rollback that is in force ends with it
// (rollbackTo 0). Await ends when all routers run that version, or says why they do not.
func (f *Fleets) Upgrade(ctx context.Context, ref Ref, version string, given ...Option) (*Change, error) {
	return f.change(ctx, ref, given, func(fleet *v1alpha1.GridRouter) (plan, error) {
		p := plan{
			what:     fmt.Sprintf("upgrade %s -> %s", runningVersion(fleet), version),
			settings: []setting{{"version", version}, {"rollbackTo", int64(0)}},
			goal:     goal{kind: goalVersion, version: version},
			notes:    pausedNote(fleet),
		}
		if to := fleet.Spec.RollbackTo; to != 0 {
			p.notes = append(p.notes, fmt.Sprintf("the fleet was rolled back to revision %d; that ends (rollbackTo: 0), and all of the spec applies again", to))
		}
		return p, nil
	})
}

// Rollback has a fleet run a revision of its history; 0: the one that [PlanRollback] chooses. Await ends when
// all routers run it.
func (f *Fleets) Rollback(ctx context.Context, ref Ref, to int64, given ...Option) (*Change, error) {
	return f.change(ctx, ref, given, func(fleet *v1alpha1.GridRouter) (plan, error) {
		chosen, err := PlanRollback(fleet, to)
		if err != nil {
			return plan{}, err
		}
		return plan{
			what:     chosen.What(),
			settings: []setting{{"rollbackTo", chosen.To.Revision}},
			goal:     goal{kind: goalRevision, version: chosen.To.Version, revision: chosen.To.Revision},
			notes:    append(chosen.notes(), pausedNote(fleet)...),
		}, nil
	})
}

// Pause has the operator change nothing of a fleet, and only report. Routers go on serving. Await ends when the
// operator has taken note.
func (f *Fleets) Pause(ctx context.Context, ref Ref, given ...Option) (*Change, error) {
	return f.setPaused(ctx, ref, "pause "+ref.Name, true, given)
}

// Resume ends a pause: the operator carries out what was changed meanwhile.
func (f *Fleets) Resume(ctx context.Context, ref Ref, given ...Option) (*Change, error) {
	return f.setPaused(ctx, ref, "resume "+ref.Name, false, given)
}

func (f *Fleets) setPaused(ctx context.Context, ref Ref, what string, paused bool, given []Option) (*Change, error) {
	return f.change(ctx, ref, given, func(*v1alpha1.GridRouter) (plan, error) {
		return plan{what: what, settings: []setting{{"paused", paused}}, goal: goal{kind: goalNoted}}, nil
	})
}

// Delete deletes a fleet with all that belongs to it. Await ends when it is gone.
func (f *Fleets) Delete(ctx context.Context, ref Ref, given ...Option) (*Change, error) {
	o := optionsOf(given)
	fleet, err := f.Get(ctx, ref)
	if err != nil {
		return nil, err
	}
	change := &Change{Fleet: fleet, What: "delete " + ref.Name, DryRun: o.dryRun}
	change.goal = goal{kind: goalGone, what: change.What, written: time.Now(), uid: fleet.UID}
	if fleet.DeletionTimestamp != nil {
		return change, nil
	}
	if err := changeable(fleet, o); err != nil {
		return nil, err
	}
	// In the foreground: the object goes last, so that who waits for it knows that its routers are gone.
	all := []client.DeleteOption{client.Preconditions{UID: &fleet.UID}, client.PropagationPolicy(metav1.DeletePropagationForeground)}
	if o.revision != "" {
		all[0] = client.Preconditions{UID: &fleet.UID, ResourceVersion: &o.revision}
	}
	if o.dryRun {
		all = append(all, client.DryRunAll)
	}
	called, cancel := f.call(ctx)
	defer cancel()
	if err := f.client.Delete(called, fleet.DeepCopy(), all...); err != nil {
		return nil, explain(err, "delete", Resource, ref.what())
	}
	change.Changed = true
	return change, nil
}

func pausedNote(fleet *v1alpha1.GridRouter) []string {
	if !fleet.Spec.Paused {
		return nil
	}
	return []string{"the fleet is paused: nothing of this happens until it is resumed"}
}

func deref(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}
