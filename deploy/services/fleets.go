package services

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// FieldOwner is whose the fields are that this package writes, in metadata.managedFields.
const FieldOwner = "gridctl"

// Resource names the kind of fleets, for messages about rights.
const Resource = "gridrouters.gridrouter.io"

const eventResource = "events.events.k8s.io"

// defaultCallTimeout is how long one call to the API server may take.
const defaultCallTimeout = 30 * time.Second

// Ref names a fleet.
type Ref struct{ Namespace, Name string }

// String is the fleet as people write it: NAMESPACE/NAME.
func (r Ref) String() string { return r.Namespace + "/" + r.Name }

func (r Ref) key() client.ObjectKey { return client.ObjectKey{Namespace: r.Namespace, Name: r.Name} }

func (r Ref) what() string { return fmt.Sprintf("fleet %s in namespace %s", r.Name, r.Namespace) }

// RefOf returns the name of a fleet.
func RefOf(fleet *v1alpha1.GridRouter) Ref {
	return Ref{Namespace: fleet.Namespace, Name: fleet.Name}
}

// Fleets are the fleets of one cluster. All methods may be called at once.
type Fleets struct {
	client      client.WithWatch
	callTimeout time.Duration
}

// NewFleets returns the fleets that a client reaches. The client must know what [Scheme] holds, and read from
// the API server, not from a cache.
func NewFleets(c client.WithWatch) *Fleets {
	return &Fleets{client: c, callTimeout: defaultCallTimeout}
}

// WithCallTimeout returns the same fleets, with another bound on each call to the API server (30 s otherwise).
func (f *Fleets) WithCallTimeout(d time.Duration) *Fleets {
	return &Fleets{client: f.client, callTimeout: d}
}

// Scheme returns the kinds that a client for [NewFleets] must know.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, eventsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	return scheme, nil
}

// Mapper returns where the API server has those kinds, so that a client needs no discovery: that would be some
// calls before the first, and the right to make them.
func Mapper() meta.RESTMapper {
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(v1alpha1.SchemeGroupVersion.WithKind("GridRouter"), meta.RESTScopeNamespace)
	mapper.Add(eventsv1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	return mapper
}

func (f *Fleets) call(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, f.callTimeout)
}

// Get returns a fleet as it is stored.
func (f *Fleets) Get(ctx context.Context, ref Ref) (*v1alpha1.GridRouter, error) {
	ctx, cancel := f.call(ctx)
	defer cancel()
	fleet := &v1alpha1.GridRouter{}
	if err := f.client.Get(ctx, ref.key(), fleet); err != nil {
		return nil, explain(err, "get", Resource, ref.what())
	}
	return named(fleet), nil
}

// named gives an object the kind that clients take off it.
func named(fleet *v1alpha1.GridRouter) *v1alpha1.GridRouter {
	fleet.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("GridRouter"))
	return fleet
}

// pageSize is how many fleets one call returns at most.
const pageSize = 500

// List returns the fleets of a namespace, or of all if it is empty, sorted by namespace and name.
func (f *Fleets) List(ctx context.Context, namespace string) ([]v1alpha1.GridRouter, error) {
	var all []v1alpha1.GridRouter
	for next := ""; ; {
		page, err := f.page(ctx, namespace, next)
		if err != nil {
			return nil, err
		}
		all = append(all, page.Items...)
		if next = page.Continue; next == "" {
			break
		}
	}
	for i := range all {
		named(&all[i])
	}
	slices.SortFunc(all, func(a, b v1alpha1.GridRouter) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return all, nil
}

func (f *Fleets) page(ctx context.Context, namespace, next string) (*v1alpha1.GridRouterList, error) {
	ctx, cancel := f.call(ctx)
	defer cancel()
	page := &v1alpha1.GridRouterList{}
	err := f.client.List(ctx, page, client.InNamespace(namespace), client.Limit(pageSize), client.Continue(next))
	where := "namespace " + namespace
	if namespace == corev1.NamespaceAll {
		where = "all namespaces"
	}
	return page, explain(err, "list", Resource, where)
}

// Event is something that the operator told of a fleet.
type Event struct {
	// Last is when it happened last.
	Last time.Time `json:"last"`
	// Count is how often it happened, from 1.
	Count int `json:"count"`
	// Type is Normal or Warning.
	Type   string `json:"type"`
	Reason string `json:"reason"`
	Note   string `json:"note"`
	// Reporter is who tells it.
	Reporter string `json:"reporter,omitempty"`
}

// Events returns what was told of a fleet, the oldest first. Kubernetes forgets events after an hour or so.
func (f *Fleets) Events(ctx context.Context, ref Ref) ([]Event, error) {
	ctx, cancel := f.call(ctx)
	defer cancel()
	list := &eventsv1.EventList{}
	err := f.client.List(ctx, list, client.InNamespace(ref.Namespace),
		client.MatchingFields{"regarding.kind": "GridRouter", "regarding.name": ref.Name})
	if err != nil {
		return nil, explain(err, "list", eventResource, ref.what())
	}
	all := make([]Event, 0, len(list.Items))
	for i := range list.Items {
		all = append(all, eventOf(&list.Items[i]))
	}
	slices.SortStableFunc(all, func(a, b Event) int { return a.Last.Compare(b.Last) })
	return all, nil
}

// eventOf reads an event, whichever of the two forms its writer uses.
func eventOf(e *eventsv1.Event) Event {
	event := Event{
		Last: e.EventTime.Time, Count: 1, Type: e.Type, Reason: e.Reason, Note: e.Note,
		Reporter: e.ReportingController,
	}
	if event.Last.IsZero() {
		event.Last = e.DeprecatedLastTimestamp.Time
	}
	if event.Last.IsZero() {
		event.Last = e.CreationTimestamp.Time
	}
	if e.Series != nil {
		event.Count, event.Last = int(e.Series.Count), e.Series.LastObservedTime.Time
	} else if e.DeprecatedCount > 1 {
		event.Count = int(e.DeprecatedCount)
	}
	return event
}
