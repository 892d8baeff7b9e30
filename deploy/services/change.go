package services

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// Option says how a change is written.
type Option func(*options)

type options struct {
	dryRun   bool
	force    bool
	revision string
	uid      types.UID
}

// DryRun has the API server check a change, and not store it.
func DryRun() Option { return func(o *options) { o.dryRun = true } }

// ForceConflicts writes fields that others keep by server-side apply. Their next sync puts them back, or is a
// conflict to them.
func ForceConflicts() Option { return func(o *options) { o.force = true } }

// IfResourceVersion writes only if the fleet still has this resource version: it is what If-Match means.
func IfResourceVersion(version string) Option { return func(o *options) { o.revision = version } }

// IfUID writes only if the fleet is still that object, and not another of its name.
func IfUID(uid types.UID) Option { return func(o *options) { o.uid = uid } }

func optionsOf(given []Option) options {
	var o options
	for _, option := range given {
		option(&o)
	}
	return o
}

// Change is a change that was written.
type Change struct {
	// Fleet is the fleet as it was stored after it; of a deletion: before it.
	Fleet *v1alpha1.GridRouter
	// What says it in words: "upgrade 1.4.0 -> 1.5.0".
	What string
	// Changed is false where the fleet was so already.
	Changed bool
	// DryRun: it was checked, and nothing was stored.
	DryRun bool
	// Notes are what people should know about it, a sentence each.
	Notes []string

	goal goal
}

// setting is a field of the spec, by its path, and its new value.
type setting struct {
	path  string // such as autoscaling.min
	value any    // as in JSON: string, int64 or bool
}

// plan is what a change does to a fleet as it is.
type plan struct {
	what     string
	settings []setting
	notes    []string
	goal     goal
}

// maxTries is how often a change is made anew because the object changed meanwhile. The operator's status is
// written once a second or so at most.
const maxTries = 10

// change reads a fleet, has decided what is to become of it, and writes that. The decision is made anew where
// the object changed before it was written.
func (f *Fleets) change(ctx context.Context, ref Ref, given []Option, decide func(*v1alpha1.GridRouter) (plan, error)) (*Change, error) {
	o := optionsOf(given)
	var seen map[string]any // what the fields had that are to be written, when they were read first
	for try := 1; ; try++ {
		fleet, err := f.Get(ctx, ref)
		if err != nil {
			return nil, err
		}
		if err := changeable(fleet, o); err != nil {
			return nil, err
		}
		p, err := decide(fleet)
		if err != nil {
			return nil, err
		}
		spec, err := specOf(fleet)
		if err != nil {
			return nil, err
		}
		if seen == nil {
			seen = valuesOf(spec, p.settings)
		} else if err := overtaken(fleet, seen, spec, p.settings); err != nil {
			return nil, err
		}
		p.settings = slices.DeleteFunc(p.settings, func(s setting) bool { return same(valueAt(spec, s.path), s.value) })
		notes, err := checkOwners(fleet, p.settings, o.force)
		if err != nil {
			return nil, err
		}
		p.notes = append(p.notes, notes...)
		change, err := f.write(ctx, fleet, p, o)
		if apierrors.IsConflict(err) && try < maxTries && o.revision == "" {
			continue
		}
		return change, explain(err, "patch", Resource, ref.what())
	}
}

// changeable says whether a fleet can be changed at all.
func changeable(fleet *v1alpha1.GridRouter, o options) error {
	if fleet.DeletionTimestamp != nil {
		return refusef("%s is being deleted: wait for the end, then create it anew", RefOf(fleet).what())
	}
	if o.uid != "" && fleet.UID != o.uid {
		return &Error{Kind: KindConflict, text: fmt.Sprintf("%s was deleted and made anew meanwhile: look at it, then try again", RefOf(fleet).what())}
	}
	if o.revision != "" && fleet.ResourceVersion != o.revision {
		return &Error{Kind: KindConflict, text: fmt.Sprintf("%s was changed since it was read: look at it, then try again", RefOf(fleet).what())}
	}
	return nil
}

// write writes the settings of a plan, if there are any.
func (f *Fleets) write(ctx context.Context, fleet *v1alpha1.GridRouter, p plan, o options) (*Change, error) {
	change := &Change{Fleet: fleet, What: p.what, DryRun: o.dryRun, Notes: p.notes, goal: p.goal}
	change.goal.what, change.goal.written = p.what, time.Now()
	change.goal.uid, change.goal.newest = fleet.UID, newestRevision(fleet)
	if len(p.settings) > 0 {
		body, err := patchOf(fleet.ResourceVersion, p.settings)
		if err != nil {
			return nil, err
		}
		after := &v1alpha1.GridRouter{}
		after.Namespace, after.Name = fleet.Namespace, fleet.Name
		called, cancel := f.call(ctx)
		defer cancel()
		if err := f.client.Patch(called, after, client.RawPatch(types.MergePatchType, body), patchOptions(o)...); err != nil {
			return nil, err
		}
		change.Fleet, change.Changed = named(after), true
	}
	change.goal.generation = change.Fleet.Generation
	return change, nil
}

func patchOptions(o options) []client.PatchOption {
	all := []client.PatchOption{client.FieldOwner(FieldOwner)}
	if o.dryRun {
		all = append(all, client.DryRunAll)
	}
	return all
}

// patchOf is a merge patch that the API server takes only while the object is as it was read.
func patchOf(resourceVersion string, settings []setting) ([]byte, error) {
	spec := map[string]any{}
	for _, s := range settings {
		at := spec
		parts := strings.Split(s.path, ".")
		for _, part := range parts[:len(parts)-1] {
			inner, found := at[part].(map[string]any)
			if !found {
				inner = map[string]any{}
				at[part] = inner
			}
			at = inner
		}
		at[parts[len(parts)-1]] = s.value
	}
	return json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": resourceVersion}, "spec": spec})
}

// specOf is the spec as a tree of JSON.
func specOf(fleet *v1alpha1.GridRouter) (map[string]any, error) {
	return runtime.DefaultUnstructuredConverter.ToUnstructured(&fleet.Spec)
}

// valueAt is the value at a path, nil if there is none.
func valueAt(tree map[string]any, path string) any {
	var at any = tree
	for part := range strings.SplitSeq(path, ".") {
		inner, isMap := at.(map[string]any)
		if !isMap {
			return nil
		}
		at = inner[part]
	}
	return at
}

// same compares two values of a field. A switch that is absent is off, and a rollbackTo that is absent is 0;
// no other field that is written here is ever absent and set to nothing.
func same(a, b any) bool {
	if a == nil || b == nil {
		return isNothing(a) && isNothing(b)
	}
	return reflect.DeepEqual(a, b)
}

func isNothing(value any) bool { return value == nil || value == false || value == int64(0) }

func valuesOf(spec map[string]any, settings []setting) map[string]any {
	values := map[string]any{}
	for _, s := range settings {
		values[s.path] = valueAt(spec, s.path)
	}
	return values
}

// overtaken says whether somebody else changed a field that is to be written since it was read first.
func overtaken(fleet *v1alpha1.GridRouter, seen, spec map[string]any, settings []setting) error {
	for _, s := range settings {
		before, known := seen[s.path]
		now := valueAt(spec, s.path)
		if !known || same(before, now) || same(now, s.value) {
			continue
		}
		return &Error{Kind: KindConflict, text: fmt.Sprintf("spec.%s of %s was changed meanwhile, from %v to %v%s: look at it, then try again",
			s.path, RefOf(fleet).what(), shown(before), shown(now), by(lastWriter(fleet, s.path)))}
	}
	return nil
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}

func shown(value any) any {
	if value == nil {
		return "nothing"
	}
	return value
}
