package tasks

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"gridrouter.io/deploy/api/v1alpha1"
)

// atOnce is of how many clusters the tasks are looked at at once.
const atOnce = 4

// clusterField is by which field tasks are found.
const clusterField = "spec.cluster"

// SetupWithManager adds the reconciler to a manager, which starts it once it leads. from is the cache that the client of
// its options reads from, which the manager has to run.
func (r *Reconciler) SetupWithManager(m manager.Manager, from cache.Cache) error {
	// The context is that of the wait for the kind to be known, which is known already where the CRDs are.
	within, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := from.IndexField(within, &v1alpha1.EtcdTask{}, clusterField, func(o client.Object) []string {
		return []string{o.(*v1alpha1.EtcdTask).Spec.Cluster}
	})
	if err != nil {
		return fmt.Errorf("index EtcdTasks by their cluster: %w", err)
	}
	if err := m.Add(r); err != nil {
		return err
	}
	byTask := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		t := o.(*v1alpha1.EtcdTask)
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: t.Namespace, Name: t.Spec.Cluster}}}
	})
	return ctrl.NewControllerManagedBy(m).Named("etcdtask").
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.queue.Store(&queue)
			return nil
		})).
		WatchesRawSource(source.Kind[client.Object](from, &v1alpha1.EtcdTask{}, byTask)).
		WatchesRawSource(source.Kind[client.Object](from, &v1alpha1.EtcdCluster{}, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: atOnce, ReconciliationTimeout: time.Minute}).Complete(r)
}
