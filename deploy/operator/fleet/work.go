package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/workflow"
)

// stored is a canary as it is kept in a fleet's status.
type stored = workflow.Stored[canary.State, canary.Event, canary.Plan]

// work is a canary that was begun.
type work struct{ stored }

// over says whether the canary has come to its end, and nothing of it is left to be done.
func (w *work) over() bool {
	return (w.State == canary.Promoted || w.State == canary.RolledBack) && len(w.Pending) == 0
}

// workOf reads the canary out of a fleet's status; nil: there was none.
func workOf(fleet *v1alpha1.GridRouter) (*work, error) {
	if fleet.Status.Canary == nil || fleet.Status.Canary.Work == nil {
		return nil, nil
	}
	var w work
	if err := json.Unmarshal(fleet.Status.Canary.Work.Raw, &w.stored); err != nil {
		return nil, fmt.Errorf("status.canary.work: %w", err)
	}
	return &w, nil
}

// takeUpWork reads the canary that goes on. One that cannot go on is given up, and told: its state was changed
// by somebody else, or one of its revisions deleted.
func (w *world) takeUpWork() {
	found, err := workOf(w.fleet)
	if err == nil && found != nil && !found.over() {
		for _, hash := range []string{found.Context.From, found.Context.To} {
			if byHash(w.revisions, hash) == nil {
				err = fmt.Errorf("its revision %s is not stored any more", hash)
			}
		}
	}
	if err == nil {
		w.work = found
		return
	}
	told := w.fleet.Status.Canary
	told.Work, told.State, told.Verdict = nil, string(canary.RolledBack), v1alpha1.VerdictFailed
	told.Why = clipped("the canary was given up: " + err.Error())
	showVerdict(w.fleet, canary.RollingBack, v1alpha1.ReasonRolledBack)
}

// statusStore keeps a canary in the status of its fleet, by compare-and-set over the resourceVersion of
// the object. Everything else of the status that was changed in the object is written with it.
type statusStore struct {
	client client.Client
	fleet  *v1alpha1.GridRouter
	// reason is that of the condition CanaryPassed, where an event decides it.
	reason v1alpha1.Reason
	// waiting is why pods do not get ready, which people are told when a time-out ends the canary.
	waiting string
	// revision is that of a canary that begins.
	revision int64
}

// Load returns the canary in the status.
func (s *statusStore) Load(context.Context) (stored, string, error) {
	w, err := workOf(s.fleet)
	switch {
	case err != nil:
		return stored{}, "", err
	case w == nil:
		return stored{}, "", workflow.ErrNotFound
	}
	return w.stored, s.fleet.ResourceVersion, nil
}

// Save writes the status. The version is not looked at: the object in hand has the one that it was read
// with, and the API server compares that.
func (s *statusStore) Save(ctx context.Context, value stored, _ string) (string, error) {
	raw, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	show(s.fleet, value, s.reason, s.waiting)
	if value.Sequence == 1 {
		s.fleet.Status.Canary.Revision = s.revision
	}
	s.fleet.Status.Canary.Work = &runtime.RawExtension{Raw: raw}
	err = s.client.Status().Update(ctx, s.fleet, client.FieldOwner(render.FieldOwner))
	if apierrors.IsConflict(err) {
		return "", fmt.Errorf("%w: %w", workflow.ErrConflict, err)
	}
	return s.fleet.ResourceVersion, err
}

// show puts into the status what people see of a canary. reason is why its last event came, waiting why pods
// do not get ready.
func show(fleet *v1alpha1.GridRouter, value stored, reason v1alpha1.Reason, waiting string) {
	if fleet.Status.Canary == nil || value.Sequence == 1 {
		fleet.Status.Canary = &v1alpha1.CanaryStatus{}
	}
	told := fleet.Status.Canary
	before := told.State
	told.State = string(value.State)
	told.Step, told.Percent = int32(min(value.Context.Step+1, len(value.Context.Steps))), int32(value.Context.Percent())
	told.Since = timeOf(value.Since)
	if before != told.State && value.State != canary.RolledBack {
		told.Why = ""
		if last := value.History[len(value.History)-1]; value.State == canary.RollingBack || last.By == byOperator {
			told.Why = clipped(last.Why) // that a time is over needs no words while all is well
			if value.State == canary.RollingBack && reason == "" {
				told.Why = clipped(withWhy(last.Why, waiting))
			}
		}
	}
	switch value.State {
	case canary.Promoting, canary.Promoted:
		told.Verdict = v1alpha1.VerdictPassed
	case canary.RollingBack, canary.RolledBack:
		told.Verdict = v1alpha1.VerdictFailed
		if reason == "" {
			reason = reasonOfTimeout(canary.State(before))
		}
	case canary.Deploying, canary.Holding, canary.Judging, canary.NextStep, canary.Paused:
		told.Verdict = v1alpha1.VerdictPending
	}
	if before != told.State {
		showVerdict(fleet, value.State, reason)
	}
}

// reasonOfTimeout is why a canary is taken back that was in a state for too long.
func reasonOfTimeout(state canary.State) v1alpha1.Reason {
	if state == canary.Judging {
		return v1alpha1.ReasonTooFewRequests
	}
	return v1alpha1.ReasonCanaryNotReady
}

// planOf is the plan of a canary by what the spec says now.
func planOf(fleet *v1alpha1.GridRouter, from, to string) canary.Plan {
	plan := canary.Plan{From: from, To: to, Deadline: durationOf(fleet.Spec.Rollout.ProgressDeadline, 10*time.Minute)}
	if fleet.Spec.Rollout.Canary == nil {
		return plan
	}
	for _, step := range fleet.Spec.Rollout.Canary.Steps {
		plan.Steps = append(plan.Steps, canary.Step{Percent: int(step.Percent), Hold: durationOf(step.Hold, time.Minute)})
	}
	return plan
}

func durationOf(d *metav1.Duration, absent time.Duration) time.Duration {
	if d == nil {
		return absent
	}
	return d.Duration
}

func timeOf(t time.Time) *metav1.Time {
	whole := metav1.NewTime(t.Truncate(time.Second))
	return &whole
}
