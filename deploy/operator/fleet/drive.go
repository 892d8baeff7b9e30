package fleet

import (
	"context"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/objects"
	"gridrouter.io/deploy/workflow"
)

// machine is the state machine that canaries follow.
type machine = workflow.Machine[canary.State, canary.Event, canary.Plan]

// Who fires an event, in the history of a canary.
const (
	byOperator = "operator"
	bySpec     = "spec"
)

// event is something that happened to a canary, with what people are to be told of it.
type event struct {
	name canary.Event
	by   string
	why  string
	// reason is that of the condition CanaryPassed, where the event decides it.
	reason v1alpha1.Reason
}

// drive begins a canary, or brings one a step on: by an event that was seen, or by its own time-outs.
func (r *Reconciler) drive(ctx context.Context, w *world, to target, i intent, v verdict, d *done) error {
	running := w.work != nil && !w.work.over()
	if !running && !i.begin || !running && w.fleet.Spec.Paused {
		return nil
	}
	store := &statusStore{client: r.options.Client, fleet: w.fleet, waiting: w.whyWaiting(), revision: to.number}
	runner, err := workflow.NewRunner(r.machine, store, r.actions(w))
	if err != nil {
		return err
	}
	var after stored
	happened := r.eventOf(w, to, v)
	if running && happened.name == "" {
		over, left := r.overdue(w)
		happened = over
		d.within(left)
	}
	switch {
	case !running:
		why := fmt.Sprintf("the spec asks for revision %d, version %s", to.number, to.input.Version)
		after, err = runner.Start(ctx, fmt.Sprintf("r%d-%s-g%d", to.number, to.hash, w.fleet.Generation), planOf(w.fleet, i.stable.hash, to.hash), bySpec, why, w.now)
	case happened.name != "":
		store.reason = happened.reason
		after, err = runner.Fire(ctx, workflow.Event[canary.Event, canary.Plan]{Name: happened.name, By: happened.by, Why: happened.why}, w.now)
	case w.fleet.Spec.Paused:
		return nil
	default:
		after, err = runner.Resume(ctx, w.now)
	}
	var failed *workflow.ActionError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	d.changed = !running || after.Sequence != w.work.Sequence || len(after.Pending) != len(w.work.Pending)
	if _, due, ok := r.machine.Deadline(after); ok {
		d.within(max(due.Sub(w.now), now))
	}
	return err
}

// eventOf says what happened to a canary since it was looked at last; no name: nothing.
func (r *Reconciler) eventOf(w *world, to target, v verdict) event {
	if w.work == nil || w.work.over() {
		return event{}
	}
	spec, state := &w.fleet.Spec, w.work.State
	ongoing := state == canary.Deploying || state == canary.Holding || state == canary.Judging
	if spec.Paused {
		if ongoing {
			return event{name: canary.Pause, by: bySpec, why: "spec.paused is true"}
		}
		return event{}
	}
	switch begun := ongoing || state == canary.Paused; {
	case to.hash == w.work.Context.From && (begun || state == canary.Promoting):
		return event{name: canary.Rollback, by: bySpec, why: "the spec asks for the former revision", reason: v1alpha1.ReasonRolledBack}
	case to.rollback && to.hash != w.work.Context.To && (begun || state == canary.Promoting):
		return event{name: canary.Rollback, by: bySpec, why: fmt.Sprintf("spec.rollbackTo asks for revision %d", to.number), reason: v1alpha1.ReasonRolledBack}
	case to.rollback && to.hash == w.work.Context.To && begun:
		return event{name: canary.Promote, by: bySpec, why: "spec.rollbackTo asks for this revision"}
	case w.wantedReplicas() == 0 && begun:
		return event{name: canary.Promote, by: bySpec, why: "no router is wanted, so that there is nothing to try"}
	}
	switch state {
	case canary.Paused:
		return event{name: canary.Resume, by: bySpec, why: "spec.paused is false"}
	case canary.Deploying:
		want := share(w.work.Context.Percent(), w.wantedReplicas())
		if w.canary.settled && w.canary.hash == w.work.Context.To && w.canary.wanted == want {
			return event{name: canary.PodsReady, by: byOperator, why: fmt.Sprintf("canaries that are ready: %d", want)}
		}
	case canary.Holding:
		if v.event == canary.Failed {
			return event{name: canary.Failed, by: byOperator, why: v.why, reason: v.reason}
		}
	case canary.Judging:
		// What is good is good only while there is a canary: one that went says nothing.
		if v.event == canary.Failed || v.event == canary.Passed && w.canary.settled {
			return event{name: v.event, by: byOperator, why: v.why, reason: v.reason}
		}
	case canary.Promoting:
		if w.stable.settled && w.stable.hash == w.work.Context.To {
			return event{name: canary.RolledOut, by: byOperator, why: fmt.Sprintf("all %d routers are of the new revision", w.stable.wanted)}
		}
	case canary.RollingBack:
		// Whether all of them are ready is not waited for: a spec that mends what keeps them from it
		// would wait for the end of this.
		if w.stable.hash == w.work.Context.From && uniform(w.stable.deployment) && w.canary.deployment == nil {
			return event{name: canary.RolledOut, by: byOperator, why: "no router of the new revision is left"}
		}
	case canary.NextStep, canary.Promoted, canary.RolledBack:
	}
	return event{}
}

// overdue says whether a canary has made no progress for its deadline, or else how much of that is left. Only time
// in which this operator has looked counts, and none while the spec is paused.
func (r *Reconciler) overdue(w *world) (event, time.Duration) {
	what, state := "", w.work.State
	switch {
	case w.fleet.Spec.Paused || w.work.Context.Deadline == 0:
	case state == canary.Deploying, state == canary.Judging:
		what = fmt.Sprintf("%s %s %d %d", w.work.ID, state, w.work.Context.Step, available(w.canary.deployment))
	case state == canary.Promoting:
		what = fmt.Sprintf("%s %s %d %d", w.work.ID, state, updated(w.stable.deployment), available(w.stable.deployment))
	}
	over, left := r.progress.overdue(idOf(w.fleet)+" canary", what, w.now, w.work.Context.Deadline)
	if !over {
		return event{}, left
	}
	why := fmt.Sprintf("no progress was made for %s", w.work.Context.Deadline)
	return event{name: canary.DeadlineExceeded, by: byOperator, why: withWhy(why, w.whyWaiting()), reason: reasonOfTimeout(state)}, 0
}

func available(d *appsv1.Deployment) int32 {
	if d == nil {
		return 0
	}
	return d.Status.AvailableReplicas
}

func updated(d *appsv1.Deployment) int32 {
	if d == nil || d.Status.ObservedGeneration < d.Generation {
		return 0
	}
	return d.Status.UpdatedReplicas
}

// uniform says whether all pods of a Deployment are of its present template.
func uniform(d *appsv1.Deployment) bool {
	return d != nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == d.Status.Replicas
}

// actions are how the actions of a canary are carried out: by the same objects that later reconciles keep
// as they should be.
func (r *Reconciler) actions(w *world) map[workflow.Action]workflow.Do[canary.Plan] {
	names := render.NamesOf(w.fleet.Name)
	stable := func(ctx context.Context, hash string) error {
		of := byHash(w.revisions, hash)
		if of == nil {
			return fmt.Errorf("revision %s is not stored any more", hash)
		}
		return w.bring(ctx, names.Stable, render.TrackStable, of, w.stableReplicas())
	}
	return map[workflow.Action]workflow.Do[canary.Plan]{
		canary.SetShare: func(ctx context.Context, _ workflow.Step, plan canary.Plan) error {
			of := byHash(w.revisions, plan.To)
			if of == nil {
				return fmt.Errorf("revision %s is not stored any more", plan.To)
			}
			count := share(plan.Percent(), w.wantedReplicas())
			return w.bring(ctx, names.Canary, render.TrackCanary, of, &count)
		},
		canary.RollOutTarget: func(ctx context.Context, _ workflow.Step, plan canary.Plan) error { return stable(ctx, plan.To) },
		canary.RestoreStable: func(ctx context.Context, _ workflow.Step, plan canary.Plan) error { return stable(ctx, plan.From) },
		canary.RemoveCanary: func(ctx context.Context, _ workflow.Step, _ canary.Plan) error {
			return w.bring(ctx, names.Canary, render.TrackCanary, nil, nil)
		},
	}
}

// bring brings one Deployment to what it should be.
func (w *world) bring(ctx context.Context, name string, track render.Track, of *revision, replicas *int32) error {
	o, err := w.deployment(ctx, name, track, of, replicas)
	if err != nil {
		return err
	}
	what, err := o.Needs(w.scope())
	if err != nil {
		return err
	}
	if what == objects.Conflict {
		return fmt.Errorf("%s %s belongs to somebody else: remove it, or rename the fleet", o.Kind, o.Name)
	}
	return o.CarryOut(ctx, w.scope(), what)
}
