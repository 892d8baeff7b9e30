package tasks

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect/brief"
)

// fieldOwner owns what this package writes.
const fieldOwner = client.FieldOwner("gridrouter-operator")

// pending writes down what a task waits for, if that is news.
func (r *Reconciler) pending(ctx context.Context, t *v1alpha1.EtcdTask, why string) error {
	why = brief.Text(why)
	if t.Status.State == v1alpha1.EtcdTaskPending && t.Status.Message == why {
		return nil
	}
	t.Status.State, t.Status.Message, t.Status.Act = v1alpha1.EtcdTaskPending, why, actOf(&t.Spec).name
	return r.write(ctx, t)
}

// running has a task go with its cluster, and writes down that it is begun, before it is.
func (r *Reconciler) running(ctx context.Context, t *v1alpha1.EtcdTask, c *v1alpha1.EtcdCluster) error {
	if ownerOf(t) == "" {
		before := t.DeepCopy()
		t.OwnerReferences = append(t.OwnerReferences, metav1.OwnerReference{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "EtcdCluster", Name: c.Name, UID: c.UID,
		})
		if err := r.options.Client.Patch(ctx, t, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), fieldOwner); err != nil {
			return fmt.Errorf("have EtcdTask %s go with its cluster: %w", t.Name, err)
		}
	}
	s := &t.Status
	s.Act, s.State, s.Attempts, s.StartedAt, s.Message = actOf(&t.Spec).name, v1alpha1.EtcdTaskRunning, s.Attempts+1, r.stamp(), ""
	if s.Attempts > 1 {
		s.Message = "it was begun anew, since the operator that did it ended"
	}
	return r.write(ctx, t)
}

// reject ends a task that does not fit its cluster. One that was begun has failed by that.
func (r *Reconciler) reject(ctx context.Context, t *v1alpha1.EtcdTask, why string) error {
	t.Status.State = v1alpha1.EtcdTaskRejected
	if t.Status.Attempts > 0 {
		t.Status.State, why = v1alpha1.EtcdTaskFailed, "the operator that did it ended, and it cannot go on: "+why
	}
	t.Status.Act, t.Status.Message, t.Status.EndedAt = actOf(&t.Spec).name, brief.Text(why), r.stamp()
	return r.finish(ctx, t)
}

// end writes down what came of a task.
func (r *Reconciler) end(ctx context.Context, t *v1alpha1.EtcdTask, came done, failed error) error {
	s := &t.Status
	s.State, s.Message, s.EndedAt, s.Result = v1alpha1.EtcdTaskSucceeded, came.message, r.stamp(), nil
	if failed != nil {
		s.State, s.Message = v1alpha1.EtcdTaskFailed, failed.Error()
		if came.message != "" {
			s.Message += "; " + came.message
		}
	}
	if came.result != nil {
		text, err := json.Marshal(came.result)
		switch {
		case err != nil:
			s.Message += "; the result cannot be written: " + err.Error()
		case len(text) > brief.MostBytes:
			s.Message += fmt.Sprintf("; the result of %d bytes is too large to be kept", len(text))
		default:
			s.Result = &runtime.RawExtension{Raw: text}
		}
	}
	s.Message = brief.Text(s.Message)
	return r.finish(ctx, t)
}

// finish writes the status of a task that has ended, and tells of it.
func (r *Reconciler) finish(ctx context.Context, t *v1alpha1.EtcdTask) error {
	if err := r.write(ctx, t); err != nil {
		return err
	}
	kind := corev1.EventTypeNormal
	if t.Status.State != v1alpha1.EtcdTaskSucceeded {
		kind = corev1.EventTypeWarning
	}
	r.options.Events.Eventf(t, nil, kind, string(t.Status.State), t.Status.Act, "%s", t.Status.Message)
	return nil
}

func (r *Reconciler) write(ctx context.Context, t *v1alpha1.EtcdTask) error {
	if err := r.options.Client.Status().Update(ctx, t, fieldOwner); err != nil {
		return fmt.Errorf("write the status of EtcdTask %s: %w", t.Name, err)
	}
	return nil
}

// named has the sentence about what came of an act name members, and not where they listen.
func (j *job) named(came done) done {
	came.message = j.replacer().Replace(came.message)
	return came
}

func (j *job) namedError(err error) error {
	if err == nil {
		return nil
	}
	return &namedError{error: err, text: j.replacer().Replace(err.Error())}
}

func (j *job) replacer() *strings.Replacer {
	pairs := make([]string, 0, 2*len(j.names))
	for endpoint, name := range j.names {
		pairs = append(pairs, endpoint, name)
	}
	return strings.NewReplacer(pairs...)
}

// namedError is an error in other words.
type namedError struct {
	error

	text string
}

// Error is the other words.
func (e *namedError) Error() string { return e.text }

// Unwrap is the error itself.
func (e *namedError) Unwrap() error { return e.error }
