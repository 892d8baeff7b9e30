package clusters

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	v1alpha1ac "gridrouter.io/deploy/api/applyconfiguration/api/v1alpha1"
	"gridrouter.io/deploy/api/v1alpha1"
)

// FieldOwner owns the status of ClusterConnections.
const FieldOwner = "gridrouter-clusters"

// A Secret's label cannot be asked for by RBAC; the registry's cache asks for it, and one Secret is read by
// name where a connection names it and the cache lacks it.
//
// +kubebuilder:rbac:groups=gridrouter.io,resources=clusterconnections,verbs=get;list;watch
// +kubebuilder:rbac:groups=gridrouter.io,resources=clusterconnections/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconciler writes what a [Registry] knows of each ClusterConnection into its status, and by that has every
// connection probed. It writes only what changed.
type Reconciler struct {
	registry *Registry
	client   client.Client
	events   events.EventRecorder
}

// NewReconciler returns a reconciler for the connections of a registry, to be set up with the manager that
// is the registry's local cluster. The manager runs the registry, not the reconciler.
func NewReconciler(registry *Registry) *Reconciler { return &Reconciler{registry: registry} }

// SetupWithManager adds the reconciler to a manager.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.client = mgr.GetClient()
	r.events = mgr.GetEventRecorder("gridrouter-clusters")
	changes := source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		r.registry.onChange(func(key types.NamespacedName) { queue.Add(reconcile.Request{NamespacedName: key}) })
		return nil
	})
	return ctrl.NewControllerManagedBy(mgr).
		Named("clusterconnection").
		For(&v1alpha1.ClusterConnection{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WatchesRawSource(changes).
		Complete(r)
}

// Reconcile writes the status of one connection.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	connection, err := Get[v1alpha1.ClusterConnection](ctx, r.client, request.Namespace, request.Name)
	if err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	state, known := r.registry.State(ctx, request.Namespace, request.Name)
	if !known {
		// The first probe will tell; this is for the case that the registry has not been started.
		return reconcile.Result{RequeueAfter: 5 * time.Second}, nil
	}
	status := statusOf(connection, state)
	if equality.Semantic.DeepEqual(status, connection.Status) {
		return reconcile.Result{}, nil
	}
	if _, err := ApplyStatus[v1alpha1.ClusterConnection](ctx, r.client, FieldOwner, statusConfiguration(request.NamespacedName, status), client.ForceOwnership); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	r.tell(connection, state)
	return reconcile.Result{}, nil
}

// statusOf returns the status that a connection ought to have.
func statusOf(connection *v1alpha1.ClusterConnection, state State) v1alpha1.ClusterConnectionStatus {
	before := connection.Status
	status := v1alpha1.ClusterConnectionStatus{
		ObservedGeneration: connection.Generation,
		Reachable:          state.Reachable, Version: state.Version, Since: before.Since,
		Conditions: append([]metav1.Condition(nil), before.Conditions...),
	}
	if before.Since == nil || before.Reachable != state.Reachable {
		since := metav1.NewTime(state.Since.Truncate(time.Second))
		status.Since = &since
	}
	if state.Latency > 0 {
		status.Latency = &metav1.Duration{Duration: state.Latency}
	}
	available, degraded, why, message := metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.ReasonAsExpected, ""
	if !state.Reachable {
		available, degraded, why, message = metav1.ConditionFalse, metav1.ConditionTrue, state.Reason, state.Message
	}
	v1alpha1.SetCondition(&status.Conditions, connection.Generation, v1alpha1.ConditionAvailable, available, state.Reason, state.Message)
	v1alpha1.SetCondition(&status.Conditions, connection.Generation, v1alpha1.ConditionDegraded, degraded, why, message)
	return status
}

// statusConfiguration is a status in the form that is applied.
func statusConfiguration(key types.NamespacedName, status v1alpha1.ClusterConnectionStatus) *v1alpha1ac.ClusterConnectionApplyConfiguration {
	s := v1alpha1ac.ClusterConnectionStatus().
		WithObservedGeneration(status.ObservedGeneration).
		WithReachable(status.Reachable).
		WithSince(*status.Since)
	if status.Version != "" {
		s.WithVersion(status.Version)
	}
	if status.Latency != nil {
		s.WithLatency(*status.Latency)
	}
	for _, c := range status.Conditions {
		s.WithConditions(metav1ac.Condition().WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).WithMessage(c.Message).
			WithObservedGeneration(c.ObservedGeneration).WithLastTransitionTime(c.LastTransitionTime))
	}
	return v1alpha1ac.ClusterConnection(key.Name, key.Namespace).WithStatus(s)
}

// tell records an event where a cluster came or went.
func (r *Reconciler) tell(connection *v1alpha1.ClusterConnection, state State) {
	if len(connection.Status.Conditions) > 0 && connection.Status.Reachable == state.Reachable {
		return
	}
	kind := corev1.EventTypeNormal
	if !state.Reachable {
		kind = corev1.EventTypeWarning
	}
	r.events.Eventf(connection, nil, kind, string(state.Reason), "Probe", "%s", state.Message)
}
