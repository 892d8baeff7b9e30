package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/analysis"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
	"gridrouter.io/deploy/operator/fleet/vip"
	"gridrouter.io/deploy/operator/objects"
	"gridrouter.io/deploy/operator/routermetrics"
	"gridrouter.io/deploy/workflow"
)

// Options is what a reconciler works with. All of it is required.
type Options struct {
	// Client reads GridRouters, from a cache that may be behind, and writes them.
	Client client.Client
	// Clusters says how the cluster of a fleet is reached.
	Clusters interface {
		Cluster(ctx context.Context, namespace, connection string) (clusters.Cluster, error)
	}
	// Image is what fleets run that name no image: the operator's own, without a tag.
	Image string
	// Namespace is where the operator runs.
	Namespace string
	// Tables reads what routers tell of themselves in etcd.
	Tables *tables.Pool
	// Metrics reads the routers' own metrics.
	Metrics *routermetrics.Sampler
	// VIP returns what programs LVS for a fleet in a cluster.
	VIP func(clusters.Cluster, *v1alpha1.GridRouter) vip.Provider
	// Events tells of what happens to fleets.
	Events events.EventRecorder
	// Now is the time.
	Now func() time.Time
}

// Reconciler keeps fleets at what their specs say. Its methods may be called at once for different
// fleets.
type Reconciler struct {
	options  Options
	machine  *machine
	progress *progress
	// leaving remembers since when fleets that are deleted wait for their cluster.
	leaving *progress
	lanes   *lanes
	zones   *zones
	pace    *pace
	windows analysis.Windows
	// queue is the controller's, once it has started.
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// Bounds of how soon a fleet is looked at again where nothing changes that is watched.
const (
	soon      = 5 * time.Second        // something is on its way that is not watched, such as the metrics of canaries
	now       = 100 * time.Millisecond // one change was made, and others may follow, once the cache has it
	seldom    = 5 * time.Minute
	unreached = 15 * time.Second
)

// Reconcile brings one fleet a step nearer to its spec, and its status up to date.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	fleet := &v1alpha1.GridRouter{}
	if err := r.options.Client.Get(ctx, request.NamespacedName, fleet); err != nil {
		if gone(err) {
			r.forget(request.String())
			r.leaving.forget(request.String())
			return ctrl.Result{}, nil
		}
		return ctrl.Result{}, err
	}
	if connection := fleet.Spec.Cluster; connection != "" {
		lane := types.NamespacedName{Namespace: fleet.Namespace, Name: connection}
		if !r.lanes.enter(lane, request) {
			return ctrl.Result{RequeueAfter: unreached}, nil // or sooner, once there is room
		}
		defer r.leaveLane(lane)
	}
	before := fleet.Status.DeepCopy()
	cluster, err := r.options.Clusters.Cluster(ctx, fleet.Namespace, fleet.Spec.Cluster)
	unreachable := (*clusters.UnreachableError)(nil)
	if errors.As(err, &unreachable) && unreachable.Reason == "" {
		return ctrl.Result{RequeueAfter: soon}, nil // nothing is known yet
	}
	if fleet.DeletionTimestamp != nil {
		r.forget(request.String())
		return r.clean(ctx, fleet, cluster, err)
	}
	var result ctrl.Result
	if err == nil {
		result, err = r.reconcile(ctx, fleet, cluster)
		if lost := clusters.Lost(fleet.Namespace, fleet.Spec.Cluster, err); cluster.Remote && lost != nil {
			err = lost // seen before a probe has
		}
	}
	switch {
	case errors.As(err, &unreachable) && unreachable.Reason == "":
		return ctrl.Result{RequeueAfter: soon}, nil // the connection was replaced meanwhile
	case errors.As(err, &unreachable):
		unreachableStatus(fleet, unreachable)
		result.RequeueAfter, err = unreached, nil
	case errors.Is(err, workflow.ErrConflict) || apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: now}, nil // what was read was old: it is read anew
	case !cluster.Remote && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil // the fleet is about to be deleted with its namespace
	case err != nil:
		failedStatus(fleet, err)
	}
	if wait := r.pace.wait(request.String(), before, &fleet.Status, r.options.Now()); err == nil && wait > 0 {
		if result.RequeueAfter == 0 || wait < result.RequeueAfter {
			result.RequeueAfter = wait
		}
		return result, nil
	}
	failed := r.writeStatus(ctx, fleet, before)
	if err == nil && apierrors.IsConflict(failed) {
		return ctrl.Result{RequeueAfter: now}, nil
	}
	return result, errors.Join(err, failed)
}

// writeStatus writes the status if it changed, and tells of what changed.
func (r *Reconciler) writeStatus(ctx context.Context, fleet *v1alpha1.GridRouter, before *v1alpha1.GridRouterStatus) error {
	if equality.Semantic.DeepEqual(before, &fleet.Status) { // to which an empty list is none
		return nil
	}
	err := r.options.Client.Status().Update(ctx, fleet, client.FieldOwner(render.FieldOwner))
	switch {
	case gone(err):
		return nil
	case err != nil:
		return fmt.Errorf("write the status: %w", err)
	}
	r.pace.note(idOf(fleet), r.options.Now())
	r.tell(fleet, before)
	return nil
}

// reconcile looks, decides, makes one change, and computes the status.
func (r *Reconciler) reconcile(ctx context.Context, fleet *v1alpha1.GridRouter, cluster clusters.Cluster) (ctrl.Result, error) {
	w, err := r.look(ctx, fleet, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.readEtcdCluster(ctx, w); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.readSecrets(ctx, w); err != nil {
		return ctrl.Result{}, err
	}
	r.follow(w)
	to := r.targetOf(w)
	i, err := intend(fleet, w.revisions, to, w.work, w.stable.hash, w.wantedReplicas())
	if err != nil {
		return ctrl.Result{}, err
	}
	if to.store && w.secrets.unusable && (w.work == nil || w.work.over()) {
		i = intent{stable: byHash(w.revisions, w.stable.hash)}
	}
	v := r.judge(w)
	done, actErr := r.act(ctx, w, to, i, v)
	w.compare(&done)
	vipErr := r.forward(ctx, w, &done)
	r.status(w, to, i, &done, v, errors.Join(actErr, vipErr))
	return ctrl.Result{RequeueAfter: r.again(w, done)}, errors.Join(actErr, vipErr)
}

// targetOf finds the revision that the spec asks for.
func (r *Reconciler) targetOf(w *world) target {
	input := render.InputOf(w.fleet, w.secrets.login, render.Defaults{Image: r.options.Image})
	return chooseTarget(w.fleet, w.revisions, input, w.stable.hash)
}

// done is what a reconcile did.
type done struct {
	// changed says that something was written, so that the next reconcile comes at once.
	changed bool
	// conflicts lists objects that belong to somebody else.
	conflicts []string
	// again is when to look again at the latest; 0: seldom.
	again time.Duration
}

func (d *done) within(again time.Duration) {
	if again > 0 && (d.again == 0 || again < d.again) {
		d.again = again
	}
}

// act makes at most one change.
func (r *Reconciler) act(ctx context.Context, w *world, to target, i intent, v verdict) (done, error) {
	var d done
	steps := []func(context.Context, *world, target, intent, verdict, *done) error{
		r.keepFinalizer, r.storeRevision, r.drive, r.applyObjects, r.removeSurplus,
	}
	if w.fleet.Spec.Paused {
		steps = []func(context.Context, *world, target, intent, verdict, *done) error{r.drive}
	}
	for _, step := range steps {
		if err := step(ctx, w, to, i, v, &d); err != nil || d.changed {
			return d, err
		}
	}
	return d, nil
}

// storeRevision stores the target before pods are made from it.
func (r *Reconciler) storeRevision(ctx context.Context, w *world, to target, _ intent, _ verdict, d *done) error {
	if !to.store || w.secrets.unusable || w.work != nil && !w.work.over() {
		return nil
	}
	revision := render.Revision(w.owner, to.number, to.input, to.template)
	if to.stored != nil {
		// As it was stored, perhaps by another version of the operator: it cannot be changed.
		revision.WithData(runtime.RawExtension{Raw: to.stored.Data.Raw})
	}
	// Past the cache, which may be behind what was stored last, and does not know what others have stored.
	there := &appsv1.ControllerRevision{}
	switch err := w.cluster.Live.Get(ctx, client.ObjectKey{Namespace: w.fleet.Namespace, Name: *revision.Name}, there); {
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("read ControllerRevision %s: %w", *revision.Name, err)
	case err == nil && !w.owns(there):
		d.conflicts = append(d.conflicts, "ControllerRevision "+there.Name)
		return nil
	}
	var stored appsv1.ControllerRevisionList
	if err := w.cluster.Live.List(ctx, &stored, client.InNamespace(w.fleet.Namespace), client.MatchingLabels{render.LabelFleet: w.fleet.Name}); err != nil {
		return fmt.Errorf("list ControllerRevisions: %w", err)
	}
	for i := range stored.Items {
		if there := &stored.Items[i]; w.owns(there) && there.Revision >= to.number {
			d.changed = true // by an earlier reconcile: the number is another's, and the cache will say so
			return nil
		}
	}
	if err := w.cluster.Client.Apply(ctx, revision, client.FieldOwner(render.FieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("store revision %d: %w", to.number, err)
	}
	d.changed = true
	return nil
}

// applyObjects brings the first object that is not as it should be to that.
func (r *Reconciler) applyObjects(ctx context.Context, w *world, _ target, i intent, _ verdict, d *done) error {
	if i.stable == nil {
		return nil // nothing to make pods from: what is there stays
	}
	var refused error
	for o, err := range r.objectsOf(ctx, w, i) {
		if err != nil {
			return errors.Join(refused, err)
		}
		what, err := o.Needs(w.scope())
		switch {
		case err != nil:
			return errors.Join(refused, err)
		case what == objects.Conflict:
			d.conflicts = append(d.conflicts, o.Kind+" "+o.Name)
		case what != objects.Nothing:
			if o.Live != nil && o.Live.GetName() == w.fleet.Name && o.Kind == "Deployment" {
				if err := releaseReplicas(ctx, w); err != nil {
					return err
				}
			}
			err := o.CarryOut(ctx, w.scope(), what)
			if err == nil || apierrors.IsConflict(err) {
				d.changed = true
				return errors.Join(refused, err)
			}
			if w.cluster.Remote && clusters.Lost(w.fleet.Namespace, w.fleet.Spec.Cluster, err) != nil {
				return err // nor will it answer to the others
			}
			refused = errors.Join(refused, err) // the others need not wait for this one
		}
	}
	return refused
}

// removeSurplus removes the oldest revision that is not to be kept.
func (r *Reconciler) removeSurplus(ctx context.Context, w *world, to target, i intent, _ verdict, d *done) error {
	if i.stable == nil || w.work != nil && !w.work.over() {
		return nil
	}
	used := []string{to.hash, w.stable.hash, w.canary.hash, i.stable.hash}
	keep := 10
	if w.fleet.Spec.Rollout.History > 0 {
		keep = int(w.fleet.Spec.Rollout.History)
	}
	over := surplus(w.revisions, keep, used...)
	if len(over) == 0 {
		return nil
	}
	d.changed = true
	return client.IgnoreNotFound(w.cluster.Client.Delete(ctx, over[0].stored))
}

// again says when to look at the fleet again.
func (r *Reconciler) again(w *world, d done) time.Duration {
	if d.changed {
		return now
	}
	d.within(seldom)
	if w.work != nil && !w.work.over() || w.secrets.missing != "" || len(d.conflicts) > 0 {
		d.within(soon)
	}
	if slices.ContainsFunc(w.pods, func(pod corev1.Pod) bool { return counts(&pod) && !isReady(&pod) }) {
		d.within(slowStart) // what is told of it changes with time alone
	}
	return d.again
}

// follow says whose tables and metrics are to be read meanwhile.
func (r *Reconciler) follow(w *world) {
	id := idOf(w.fleet)
	namespace, name := w.fleet.Namespace, w.fleet.Name // the object is written to meanwhile
	r.options.Tables.Follow(id, w.secrets.etcd, func() { r.Changed(namespace, name) })
	r.sample(w)
}
