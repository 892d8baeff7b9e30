package fleet

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/render"
)

// Finalizer keeps a fleet whose routers run in another cluster until they are deleted there. Fleets in the
// operator's own cluster have none: their objects go with them by owner references.
const Finalizer = "gridrouter.io/remote-objects"

// mostCleaning is how long a fleet that is deleted waits for the other cluster at most, so that one that
// is gone for good holds up no namespace.
const mostCleaning = 5 * time.Minute

// keepFinalizer sets the finalizer before there is anything that it is for.
func (r *Reconciler) keepFinalizer(ctx context.Context, w *world, _ target, _ intent, _ verdict, d *done) error {
	if !w.cluster.Remote || controllerutil.ContainsFinalizer(w.fleet, Finalizer) {
		return nil
	}
	d.changed = true
	return r.setFinalizer(ctx, w.fleet, controllerutil.AddFinalizer)
}

func (r *Reconciler) setFinalizer(ctx context.Context, fleet *v1alpha1.GridRouter, change func(client.Object, string) bool) error {
	changed := fleet.DeepCopy()
	change(changed, Finalizer)
	patch := client.MergeFromWithOptions(fleet, client.MergeFromWithOptimisticLock{})
	if err := r.options.Client.Patch(ctx, changed, patch, client.FieldOwner(render.FieldOwner)); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("change the finalizers: %w", err)
	}
	fleet.ResourceVersion, fleet.Finalizers = changed.ResourceVersion, changed.Finalizers
	return nil
}

// clean deletes what a fleet that is being deleted has in another cluster, and lets it go then.
func (r *Reconciler) clean(ctx context.Context, fleet *v1alpha1.GridRouter, cluster clusters.Cluster, unreachable error) (ctrl.Result, error) {
	if !controllerutil.ContainsFinalizer(fleet, Finalizer) {
		r.leaving.forget(idOf(fleet))
		return ctrl.Result{}, nil
	}
	failed := unreachable
	if failed == nil {
		failed = deleteAll(ctx, fleet, cluster)
		if lost := clusters.Lost(fleet.Namespace, fleet.Spec.Cluster, failed); lost != nil {
			failed = lost
		}
	}
	if failed != nil {
		// Counted from the first try of this operator: one that comes after a while may have to reach the
		// cluster first, and an operator that was away has tried nothing.
		if over, _ := r.leaving.overdue(idOf(fleet), string(fleet.UID), r.options.Now(), mostCleaning); !over {
			before := fleet.Status.DeepCopy()
			leavingStatus(fleet, failed)
			err := r.writeStatus(ctx, fleet, before)
			if apierrors.IsConflict(err) {
				return ctrl.Result{RequeueAfter: now}, nil
			}
			return ctrl.Result{RequeueAfter: unreached}, err
		}
		r.options.Events.Eventf(fleet, nil, corev1.EventTypeWarning, "ObjectsLeft", "Delete",
			"after %s the objects in the cluster of connection %s could not be deleted, and are left there, with the label %s=%s: %v",
			mostCleaning, fleet.Spec.Cluster, render.LabelFleet, fleet.Name, failed)
		// The log has it too: no event can be written into a namespace that is being deleted.
		log.FromContext(ctx).Error(failed, "the objects of a deleted fleet are left in another cluster", "connection", fleet.Spec.Cluster, "label", render.LabelFleet+"="+fleet.Name)
	}
	if err := r.setFinalizer(ctx, fleet, controllerutil.RemoveFinalizer); err != nil {
		if apierrors.IsConflict(err) {
			return ctrl.Result{RequeueAfter: now}, nil
		}
		return ctrl.Result{}, err
	}
	r.leaving.forget(idOf(fleet))
	return ctrl.Result{}, nil
}

// deleteAll deletes all objects of a fleet in a cluster. They are listed past the cache, which may not know yet
// what was made last: nobody would look for that again.
func deleteAll(ctx context.Context, fleet *v1alpha1.GridRouter, cluster clusters.Cluster) error {
	w := &world{fleet: fleet, cluster: cluster}
	lists := []client.ObjectList{
		&autoscalingv2.HorizontalPodAutoscalerList{}, &appsv1.DeploymentList{}, &corev1.ServiceList{}, &policyv1.PodDisruptionBudgetList{},
		&networkingv1.NetworkPolicyList{}, &corev1.ConfigMapList{}, &corev1.ServiceAccountList{}, &appsv1.ControllerRevisionList{},
	}
	for _, list := range lists {
		if err := cluster.Live.List(ctx, list, client.InNamespace(fleet.Namespace), client.MatchingLabels{render.LabelFleet: fleet.Name}); err != nil {
			return err
		}
		objects, err := itemsOf(list)
		if err != nil {
			return err
		}
		for _, o := range objects {
			if err := deleteOwn(ctx, w, o); err != nil {
				return err
			}
		}
	}
	// Secrets are never listed.
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = fleet.Namespace, render.NamesOf(fleet.Name).AdminSecret
	if err := cluster.Live.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return client.IgnoreNotFound(err)
	}
	return deleteOwn(ctx, w, secret)
}

// deleteOwn deletes an object as it was read, if it is the fleet's, and not another of its name that came meanwhile.
func deleteOwn(ctx context.Context, w *world, o client.Object) error {
	if !w.owns(o) || o.GetDeletionTimestamp() != nil {
		return nil
	}
	uid := o.GetUID()
	err := w.cluster.Client.Delete(ctx, o, client.Preconditions{UID: &uid}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete %T %s: %w", o, o.GetName(), err)
	}
	return nil
}
