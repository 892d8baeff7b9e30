package etcd

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
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
	"gridrouter.io/deploy/operator/etcd/render"
)

// atOnce is how many clusters are reconciled at once.
const atOnce = 8

// againWithin is the longest time until a reconcile that failed is tried again. Members are healed meanwhile, though a
// quota or a class of storage refuses something for days.
const againWithin = 15 * time.Second

// startsWithin is how long a member may take to start before that is told as a fault.
const startsWithin = time.Minute

// New returns a reconciler. It does nothing until it is given to a manager.
func New(options Options) *Reconciler {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Reconciler{options: options}
}

// kinds are the kinds of objects that clusters have, and that are watched.
func kinds() []client.Object {
	return []client.Object{
		&v1alpha1.EtcdMember{}, &corev1.Pod{}, &corev1.PersistentVolumeClaim{}, &corev1.Service{}, &policyv1.PodDisruptionBudget{}, &networkingv1.NetworkPolicy{},
	}
}

// NewCache returns a cache of what etcd clusters are made of, and a client that reads from it.
func NewCache(m manager.Manager, namespaces map[string]cache.Config) (cache.Cache, client.Client, error) {
	labelled, err := labels.NewRequirement(render.LabelCluster, selection.Exists, nil)
	if err != nil {
		return nil, nil, err
	}
	narrow := map[client.Object]cache.ByObject{}
	for _, kind := range kinds() {
		narrow[kind] = cache.ByObject{Label: labels.NewSelector().Add(*labelled)}
	}
	kept, err := cache.New(m.GetConfig(), cache.Options{Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(), DefaultNamespaces: namespaces, ByObject: narrow})
	if err != nil {
		return nil, nil, err
	}
	reads, err := client.New(m.GetConfig(), client.Options{
		Scheme: m.GetScheme(), Mapper: m.GetRESTMapper(), HTTPClient: m.GetHTTPClient(),
		Cache: &client.CacheOptions{Reader: kept, DisableFor: []client.Object{&corev1.Secret{}}},
	})
	return kept, reads, err
}

// SetupWithManager adds the reconciler to a manager, which starts it once it leads. from is the cache of NewCache, which
// the manager has to run.
func (r *Reconciler) SetupWithManager(m manager.Manager, from cache.Cache) error {
	b := ctrl.NewControllerManagedBy(m).Named("etcdcluster").
		WatchesRawSource(source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			r.queue.Store(&queue)
			return nil
		})).
		WatchesRawSource(source.Kind[client.Object](from, &v1alpha1.EtcdCluster{}, &handler.EnqueueRequestForObject{}, specChanged()))
	for _, kind := range kinds() {
		b.WatchesRawSource(source.Kind(from, kind, handler.EnqueueRequestsFromMapFunc(clusterOf)))
	}
	return b.WithOptions(controller.Options{
		MaxConcurrentReconciles: atOnce, ReconciliationTimeout: time.Minute,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](now, againWithin),
	}).Complete(r)
}

// clusterOf is the cluster that an object belongs to by its label.
func clusterOf(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[render.LabelCluster]
	if name == "" {
		return nil // whoever wrote that
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
}

// Changed says that something of a cluster has changed, such as what its members answer. It returns at once. Before the
// reconciler has started it does nothing, since every cluster is looked at then.
func (r *Reconciler) Changed(namespace, name string) {
	if queue := r.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}})
	}
}
