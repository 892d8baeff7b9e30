// Package tasks does what EtcdTask objects ask for: one act each on an etcd cluster, one at a time for a cluster, the
// oldest first. How an act is done is known by the packages under deploy/etcd/inspect; this one says when it may be done,
// has it done outside of the reconciler, and writes down what came of it.
package tasks

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect"
)

// Options is what a reconciler works with. All of it but Now is required.
type Options struct {
	// Client reads tasks and clusters from a cache, and writes; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Access says how the members of a cluster are reached, and their names by endpoint; an error: not yet.
	Access func(cluster types.NamespacedName) (inspect.Access, map[string]string, error)
	// Events tells of what came of tasks.
	Events events.EventRecorder
	// Now is the time; nil: the machine's.
	Now func() time.Time
}

// Reconciler does tasks. Its methods may be called at once for different clusters.
type Reconciler struct {
	options Options
	runs    *runs
	// queue is the controller's, once it has started.
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// When the tasks of a cluster are looked at again where nothing changes that is watched.
const (
	now  = 100 * time.Millisecond // what was read was old
	soon = 2 * time.Second        // places are given back, and addresses are found, without a word
)

// What tasks wait for that are not the first.
const (
	waitsForTurn  = "it waits for its turn: tasks of a cluster are done one at a time, the oldest first"
	waitsForPlace = "it waits for its turn: as many tasks of other clusters run as may at once"
)

// New returns a reconciler. It does nothing until it is given to a manager.
func New(options Options) *Reconciler {
	if options.Now == nil {
		options.Now = time.Now
	}
	return &Reconciler{options: options, runs: newRuns()}
}

// Start waits for the end of ctx, then ends all acts, so that none goes on where this operator does not lead. A task that
// ran is begun anew by the next one.
func (r *Reconciler) Start(ctx context.Context) error {
	<-ctx.Done()
	r.runs.close()
	return nil
}

// Reconcile looks at all tasks of one cluster, whose name the request has.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if r.runs.closed() {
		return ctrl.Result{}, nil
	}
	again, err := r.reconcile(ctx, request.NamespacedName)
	switch {
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return ctrl.Result{RequeueAfter: now}, nil // what was read was old
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil
	}
	return ctrl.Result{RequeueAfter: again}, err
}

func (r *Reconciler) reconcile(ctx context.Context, cluster types.NamespacedName) (time.Duration, error) {
	var list v1alpha1.EtcdTaskList
	if err := r.options.Client.List(ctx, &list, client.InNamespace(cluster.Namespace), client.MatchingFields{clusterField: cluster.Name}); err != nil {
		return 0, fmt.Errorf("list EtcdTasks: %w", err)
	}
	all := slices.DeleteFunc(list.Items, func(t v1alpha1.EtcdTask) bool { return t.DeletionTimestamp != nil })
	slices.SortFunc(all, func(a, b v1alpha1.EtcdTask) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	c, err := r.clusterOf(ctx, cluster, all)
	if err != nil {
		return 0, err
	}
	again, err := r.sweep(ctx, all)
	if err != nil {
		return 0, err
	}
	if going, err := r.tell(ctx, cluster, c, all); going || err != nil {
		return again, err
	}
	later, err := r.begin(ctx, cluster, c, all)
	return sooner(again, later), err
}

// clusterOf reads the cluster; nil: there is none. Before that is said of a task it is read from the API server: a cache
// may not have it yet.
func (r *Reconciler) clusterOf(ctx context.Context, cluster types.NamespacedName, all []v1alpha1.EtcdTask) (*v1alpha1.EtcdCluster, error) {
	c := &v1alpha1.EtcdCluster{}
	err := r.options.Client.Get(ctx, cluster, c)
	open := slices.ContainsFunc(all, func(t v1alpha1.EtcdTask) bool { return !over(&t) })
	if open && (apierrors.IsNotFound(err) || err == nil && c.Status.ClusterID == "") {
		c = &v1alpha1.EtcdCluster{}
		err = r.options.Live.Get(ctx, cluster, c)
	}
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read EtcdCluster %s: %w", cluster.Name, err)
	}
	return c, nil
}

// sweep deletes tasks whose time is over, and says when the next one's is; 0: never.
func (r *Reconciler) sweep(ctx context.Context, all []v1alpha1.EtcdTask) (time.Duration, error) {
	again := time.Duration(0)
	for i := range all {
		t := &all[i]
		if !over(t) || t.Spec.TTL == nil || t.Status.EndedAt == nil {
			continue
		}
		if left := t.Status.EndedAt.Add(t.Spec.TTL.Duration).Sub(r.options.Now()); left > 0 {
			again = sooner(again, left)
			continue
		}
		uid := t.UID
		if err := r.options.Client.Delete(ctx, t, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return 0, fmt.Errorf("delete EtcdTask %s, whose time is over: %w", t.Name, err)
		}
	}
	return again, nil
}

// tell writes down what came of the act that was done on the cluster, and says whether one is being done still. It ends
// one that nobody waits for.
func (r *Reconciler) tell(ctx context.Context, cluster types.NamespacedName, c *v1alpha1.EtcdCluster, all []v1alpha1.EtcdTask) (bool, error) {
	one, there := r.runs.of(cluster)
	if !there {
		return false, nil
	}
	at := slices.IndexFunc(all, func(t v1alpha1.EtcdTask) bool { return t.UID == one.uid })
	switch {
	case !one.ended:
		if at < 0 || c == nil || ownerOf(&all[at]) != "" && ownerOf(&all[at]) != c.UID {
			r.runs.stop(cluster)
			return true, nil
		}
		return true, r.waitAll(ctx, all, one.uid)
	case r.runs.closed():
		return true, nil // the next operator begins it anew
	case at >= 0 && !over(&all[at]):
		if err := r.end(ctx, &all[at], one.done, one.err); err != nil {
			return true, err
		}
	}
	r.runs.forget(cluster)
	return false, nil
}

// waitAll writes down that all tasks but one wait for their turn.
func (r *Reconciler) waitAll(ctx context.Context, all []v1alpha1.EtcdTask, but types.UID) error {
	for i := range all {
		if t := &all[i]; t.UID != but && !over(t) && t.Status.State == "" {
			if err := r.pending(ctx, t, waitsForTurn); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin begins the oldest task that may be, and writes down what others wait for. Those that only read pass those that
// wait for the cluster, since they may tell why it is not settled.
func (r *Reconciler) begin(ctx context.Context, cluster types.NamespacedName, c *v1alpha1.EtcdCluster, all []v1alpha1.EtcdTask) (time.Duration, error) {
	blocked := false
	for i := range all {
		t := &all[i]
		if over(t) {
			continue
		}
		if blocked && actOf(&t.Spec).changes {
			if err := r.pending(ctx, t, waitsForTurn); err != nil {
				return 0, err
			}
			continue
		}
		switch f := fits(t, c, all); {
		case f.rejected != "":
			if err := r.reject(ctx, t, f.rejected); err != nil {
				return 0, err
			}
		case f.waits != "":
			blocked = true
			if err := r.pending(ctx, t, f.waits); err != nil {
				return 0, err
			}
		default:
			again, err := r.run(ctx, cluster, c, t, all)
			if err == nil {
				err = r.waitAll(ctx, all, t.UID)
			}
			return again, err
		}
	}
	return 0, nil
}

// run begins a task, and says when to try again if it cannot yet.
func (r *Reconciler) run(ctx context.Context, cluster types.NamespacedName, c *v1alpha1.EtcdCluster, t *v1alpha1.EtcdTask, all []v1alpha1.EtcdTask) (time.Duration, error) {
	access, names, err := r.options.Access(cluster)
	if err != nil {
		return soon, r.pending(ctx, t, err.Error())
	}
	if !r.runs.take(cluster, t.UID) {
		return soon, r.pending(ctx, t, waitsForPlace)
	}
	if err := r.running(ctx, t, c); err != nil {
		r.runs.giveBack(cluster)
		return 0, err
	}
	what := actOf(&t.Spec)
	j := &job{task: t.DeepCopy(), cluster: c.DeepCopy(), access: access, names: names, client: r.options.Client, live: r.options.Live}
	if t.Spec.PrunePrefix != nil && !dry(t.Spec.PrunePrefix) {
		j.seen, _ = dryRunOf(t, all)
	}
	r.runs.begin(cluster, what.within, func(ctx context.Context) (done, error) {
		came, err := what.do(j, ctx)
		return j.named(came), j.namedError(err)
	}, func() { r.changed(cluster) })
	return 0, nil
}

// changed has the tasks of a cluster looked at.
func (r *Reconciler) changed(cluster types.NamespacedName) {
	if queue := r.queue.Load(); queue != nil {
		(*queue).Add(reconcile.Request{NamespacedName: cluster})
	}
}

// over says whether a task has ended.
func over(t *v1alpha1.EtcdTask) bool {
	switch t.Status.State {
	case v1alpha1.EtcdTaskSucceeded, v1alpha1.EtcdTaskFailed, v1alpha1.EtcdTaskRejected:
		return true
	case v1alpha1.EtcdTaskPending, v1alpha1.EtcdTaskRunning:
	}
	return false
}

// sooner is the lesser of two times; 0 is never.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// stamp is the time as an object has it.
func (r *Reconciler) stamp() *metav1.Time {
	at := metav1.NewTime(r.options.Now().Truncate(time.Second))
	return &at
}
