// Package objects brings single objects of Kubernetes to what they are to be, by server-side apply: it looks
// whether there is anything to write, leaves alone what belongs to somebody else, and writes no more than
// is needed.
package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Scope is where objects lie, and whose they are.
type Scope struct {
	Namespace string
	// FieldOwner owns what is applied.
	FieldOwner string
	// Client reads from a cache, where it has one, and writes; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Owns says whether an object belongs to whom this scope is of.
	Owns func(client.Object) bool
}

// Object is one object that there may be: as it is, and as it is to be.
type Object struct {
	// Kind and Name are for people.
	Kind, Name string
	// Live is the object as it is; nil: there is none.
	Live client.Object
	// Wanted is the object as it is to be; nil: there is to be none.
	Wanted runtime.ApplyConfiguration
	// owned is what of the live object was applied by the operator and is still as it was applied.
	owned func() (any, error)
}

// Change is what has to be done with an object.
type Change string

// The changes.
const (
	Nothing  Change = ""
	Apply    Change = "apply"
	Remove   Change = "delete"
	Conflict Change = "conflict" // it is somebody else's
)

// Read reads an object. The cache may not know an object that lacks the owner's labels; so what is to be made
// and is not in the cache is asked for once more, past it.
func Read[L client.Object, C any](ctx context.Context, s Scope, kind, name string, live L, wanted *C, extract func(L, string) (*C, error)) (Object, error) {
	o := Object{Kind: kind, Name: name}
	if wanted != nil {
		configuration, ok := any(wanted).(runtime.ApplyConfiguration)
		if !ok {
			return o, fmt.Errorf("%s %s: %T is no apply configuration", kind, name, wanted)
		}
		o.Wanted = configuration
	}
	key := client.ObjectKey{Namespace: s.Namespace, Name: name}
	err := s.Client.Get(ctx, key, live)
	if apierrors.IsNotFound(err) && wanted != nil {
		err = s.Live.Get(ctx, key, live)
	}
	switch {
	case apierrors.IsNotFound(err):
		return o, nil
	case err != nil:
		return o, fmt.Errorf("read %s %s: %w", kind, name, err)
	}
	o.Live = live
	o.owned = func() (any, error) { return extract(live, s.FieldOwner) }
	return o, nil
}

// Needs says what has to be done.
func (o *Object) Needs(s Scope) (Change, error) {
	switch {
	case o.Live == nil && o.Wanted == nil:
		return Nothing, nil
	case o.Live == nil:
		return Apply, nil
	case !s.Owns(o.Live) && o.Wanted == nil:
		return Nothing, nil
	case !s.Owns(o.Live):
		return Conflict, nil
	case o.Live.GetDeletionTimestamp() != nil:
		return Nothing, nil // it can only go; its end brings the next reconcile
	case o.Wanted == nil:
		return Remove, nil
	}
	owned, err := o.owned()
	if err != nil {
		return Nothing, fmt.Errorf("what was applied of %s %s: %w", o.Kind, o.Name, err)
	}
	same, err := sameJSON(owned, o.Wanted)
	if err != nil || same {
		return Nothing, err
	}
	return Apply, nil
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

// CarryOut does what has to be done with one object.
func (o *Object) CarryOut(ctx context.Context, s Scope, what Change) error {
	switch what {
	case Apply:
		if err := s.Client.Apply(ctx, o.Wanted, client.FieldOwner(s.FieldOwner), client.ForceOwnership); err != nil {
			return fmt.Errorf("apply %s %s: %w", o.Kind, o.Name, err)
		}
	case Remove:
		uid, version := o.Live.GetUID(), o.Live.GetResourceVersion()
		err := s.Client.Delete(ctx, o.Live, client.Preconditions{UID: &uid, ResourceVersion: &version}, client.PropagationPolicy(metav1.DeletePropagationBackground))
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s %s: %w", o.Kind, o.Name, err)
		}
	case Nothing, Conflict:
	}
	return nil
}
