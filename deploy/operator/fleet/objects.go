package fleet

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/fleet/render"
)

// object is one object that a fleet may have: as it is, and as it is to be.
type object struct {
	// kind and name are for people.
	kind, name string
	// live is the object as it is; nil: there is none.
	live client.Object
	// wanted is the object as it is to be; nil: there is to be none.
	wanted runtime.ApplyConfiguration
	// owned is what of the live object was applied by the operator and is still as it was applied.
	owned func() (any, error)
}

// change is what has to be done with an object.
type change string

const (
	nothing  change = ""
	apply    change = "apply"
	remove   change = "delete"
	conflict change = "conflict" // it is somebody else's
)

// read reads an object that a fleet may have. The cache may not know an object that lacks the fleet's
// labels; so what is to be made and is not in the cache is asked for once more, past it.
func read[L client.Object, C any](ctx context.Context, w *world, kind, name string, live L, wanted *C, extract func(L, string) (*C, error)) (object, error) {
	o := object{kind: kind, name: name}
	if wanted != nil {
		configuration, ok := any(wanted).(runtime.ApplyConfiguration)
		if !ok {
			return o, fmt.Errorf("%s %s: %T is no apply configuration", kind, name, wanted)
		}
		o.wanted = configuration
	}
	key := client.ObjectKey{Namespace: w.fleet.Namespace, Name: name}
	err := w.cluster.Client.Get(ctx, key, live)
	if apierrors.IsNotFound(err) && wanted != nil {
		err = w.cluster.Live.Get(ctx, key, live)
	}
	switch {
	case apierrors.IsNotFound(err):
		return o, nil
	case err != nil:
		return o, fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	o.live = live
	o.owned = func() (any, error) { return extract(live, render.FieldOwner) }
	return o, nil
}

// needs says what has to be done.
func (o *object) needs(w *world) (change, error) {
	switch {
	case o.live == nil && o.wanted == nil:
		return nothing, nil
	case o.live == nil:
		return apply, nil
	case !w.owns(o.live) && o.wanted == nil:
		return nothing, nil
	case !w.owns(o.live):
		return conflict, nil
	case o.live.GetDeletionTimestamp() != nil:
		return nothing, nil // it can only go; its end brings the next reconcile
	case o.wanted == nil:
		return remove, nil
	}
	owned, err := o.owned()
	if err != nil {
		return nothing, fmt.Errorf("what was applied of %s %s: %w", o.kind, o.name, err)
	}
	same, err := sameJSON(owned, o.wanted)
	if err != nil || same {
		return nothing, err
	}
	return apply, nil
}

// sameJSON compares two values as they are written. Of an object that was applied, the API server remembers
// which fields are the operator's and still have its values: a field that somebody else has changed is not
// among them, and one that left the spec still is.
func sameJSON(a, b any) (bool, error) {
	left, err := json.Marshal(a)
	if err != nil {
		return false, err
	}
	right, err := json.Marshal(b)
	if err != nil {
		return false, err
	}
	return bytes.Equal(left, right), nil
}

// owns says whether an object belongs to the fleet.
func (w *world) owns(o client.Object) bool {
	if o.GetLabels()[render.LabelFleet] != w.fleet.Name {
		return false
	}
	controller := metav1.GetControllerOf(o)
	return w.cluster.Remote && controller == nil || controller != nil && controller.UID == w.fleet.UID
}

// carryOut does what has to be done with one object.
func (o *object) carryOut(ctx context.Context, w *world, what change) error {
	switch what {
	case apply:
		if err := w.cluster.Client.Apply(ctx, o.wanted, client.FieldOwner(render.FieldOwner), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.kind, o.name, err)
		}
	case remove:
		uid, version := o.live.GetUID(), o.live.GetResourceVersion()
		err := w.cluster.Client.Delete(ctx, o.live, client.Preconditions{UID: &uid, ResourceVersion: &version}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s %s: %w", o.kind, o.name, err)
		}
	case nothing, conflict:
	}
	return nil
}
