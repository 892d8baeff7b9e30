package fleet

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
)

// atOnce is how many fleets are reconciled at once.
const atOnce = 8

// New returns a reconciler. It does nothing until it is given to a manager.
func New(options Options) *Reconciler {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Reconciler{
		options: options, machine: canary.New(),
		progress: &progress{marks: map[string]mark{}},
	}
}

// SetupWithManager adds the reconciler to a manager, which starts it once it leads. Changes of a fleet's
// objects are told by [Reconciler.Changed].
func (r *Reconciler) SetupWithManager(m manager.Manager) error {
	return ctrl.NewControllerManagedBy(m).
		Named("gridrouter").
		For(&v1alpha1.GridRouter{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, deletionChanged()))).
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.queue.Store(&queue)
			return nil
		})).
		WithOptions(controller.Options{MaxConcurrentReconciles: atOnce, ReconciliationTimeout: time.Minute}).
		Complete(r)
}

// deletionChanged lets a fleet through that is being deleted: its generation changes with that, but not
// with the finalizers that others remove.
func deletionChanged() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool { return o.GetDeletionTimestamp() != nil })
}

// Changed says that something of a fleet has changed: an object with its label, its connection, its
// tables. It returns at once. Before the reconciler has started it does nothing, since every fleet is
// looked at then.
func (r *Reconciler) Changed(namespace, name string) {
	if queue := r.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
}

// ConnectionChanged says that a connection has changed, so that all fleets that use it are looked at.
func (r *Reconciler) ConnectionChanged(ctx context.Context, namespace, name string) error {
	var fleets v1alpha1.GridRouterList
	if err := r.options.Client.List(ctx, &fleets, client.InNamespace(namespace)); err != nil {
		return err
	}
	for i := range fleets.Items {
		if fleets.Items[i].Spec.Cluster == name {
			r.Changed(namespace, fleets.Items[i].Name)
		}
	}
	return nil
}

// forget lets go of what is kept of a fleet in memory.
func (r *Reconciler) forget(id string) {
	r.options.Tables.Forget(id)
	r.progress.forget(id)
	r.windows.Forget(id)
	r.options.Metrics.Set(id, nil)
}
