package fleet

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
)

// world is what a reconcile sees, and nothing of it changes while it lasts but the status of the fleet.
type world struct {
	fleet   *v1alpha1.GridRouter
	owner   render.Owner
	cluster clusters.Cluster
	now     time.Time

	stable, canary track
	revisions      []revision
	pods           []corev1.Pod
	zones          map[string]string // by node
	secrets        secrets
	tables         tables.Report
	tablesKnown    bool
	judgement      tables.Judgement
	synced         tables.Condition
	work           *work
}

// track is one of the fleet's two Deployments, as it is.
type track struct {
	// deployment is nil where there is none.
	deployment *appsv1.Deployment
	// hash is the revision that it makes pods of.
	hash string
	// wanted is how many pods it is to have.
	wanted int32
	// settled says that all its pods are of that revision, available, and as many as wanted.
	settled bool
	// refused is what the cluster said to pods that it let nobody make, by a quota for example.
	refused string
}

func trackOf(d *appsv1.Deployment) track {
	if d == nil {
		return track{}
	}
	t := track{deployment: d, hash: d.Spec.Template.Labels[render.LabelRevision], wanted: 1}
	if d.Spec.Replicas != nil {
		t.wanted = *d.Spec.Replicas
	}
	s := d.Status
	t.settled = s.ObservedGeneration >= d.Generation && s.UpdatedReplicas == t.wanted && s.Replicas == t.wanted && s.AvailableReplicas == t.wanted
	for _, c := range d.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			t.refused = c.Message
		}
	}
	return t
}

// look reads everything that a reconcile decides by, apart from the secrets that the spec names.
func (r *Reconciler) look(ctx context.Context, fleet *v1alpha1.GridRouter, cluster clusters.Cluster) (*world, error) {
	w := &world{fleet: fleet, cluster: cluster, owner: render.Owner{Fleet: fleet, Remote: cluster.Remote}, now: r.options.Now()}
	names := render.NamesOf(fleet.Name)
	for name, into := range map[string]*track{names.Stable: &w.stable, names.Canary: &w.canary} {
		deployment := &appsv1.Deployment{}
		err := cluster.Client.Get(ctx, client.ObjectKey{Namespace: fleet.Namespace, Name: name}, deployment)
		if client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("read Deployment %s: %w", name, err)
		}
		if err == nil && w.owns(deployment) {
			*into = trackOf(deployment)
		}
	}
	var err error
	if w.revisions, err = readRevisions(ctx, w); err != nil {
		return nil, err
	}
	w.takeUpWork()
	if err = w.readPods(ctx, r.zones); err != nil {
		return nil, err
	}
	w.tables, w.tablesKnown = r.options.Tables.Latest(idOf(fleet))
	return w, nil
}

// readPods reads the fleet's pods, and the zones of their nodes.
func (w *world) readPods(ctx context.Context, zones *zones) error {
	var list corev1.PodList
	err := w.cluster.Client.List(ctx, &list, client.InNamespace(w.fleet.Namespace), client.MatchingLabels{render.LabelFleet: w.fleet.Name})
	if err != nil {
		return fmt.Errorf("list pods: %w", err)
	}
	w.pods, w.zones = list.Items, map[string]string{}
	for i := range w.pods {
		node := w.pods[i].Spec.NodeName
		if _, known := w.zones[node]; known || node == "" {
			continue
		}
		if w.zones[node], err = zones.of(ctx, w, node); err != nil {
			return err
		}
	}
	return nil
}

// wantedReplicas is how many stable routers there are to be: what the spec says, or, under autoscaling,
// what the autoscaler said last.
func (w *world) wantedReplicas() int32 {
	switch auto := w.fleet.Spec.Autoscaling; {
	case auto == nil && w.fleet.Spec.Replicas != nil:
		return *w.fleet.Spec.Replicas
	case w.stable.deployment != nil:
		return w.stable.wanted
	case auto != nil:
		return auto.Min
	}
	return 1
}

// idOf names a fleet among all.
func idOf(fleet *v1alpha1.GridRouter) string {
	return types.NamespacedName{Namespace: fleet.Namespace, Name: fleet.Name}.String()
}

// gone says whether an object was not there.
func gone(err error) bool { return apierrors.IsNotFound(err) }
