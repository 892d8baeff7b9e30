// Package etcd keeps the etcd clusters that EtcdCluster objects ask for: it makes their members, and brings them to what
// is wanted one safe step at a time. What is to be done is decided by the package plan; this one looks, carries out, and
// tells.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
	"gridrouter.io/deploy/operator/objects"
)

// Options is what a reconciler works with. All of it is required.
type Options struct {
	// Client reads the kinds that clusters are made of from a cache, and writes them; Live reads from the API server.
	Client client.Client
	Live   client.Reader
	// Nodes reads nodes.
	Nodes client.Reader
	// Members asks etcd's members.
	Members *observe.Pool
	// Defaults are the images.
	Defaults render.Defaults
	// Namespace is where the operator runs.
	Namespace string
	// Events tells of what happens to clusters.
	Events events.EventRecorder
	// Now is the time.
	Now func() time.Time
}

// Reconciler keeps etcd clusters at what their specs say. Its methods may be called at once for different clusters.
type Reconciler struct {
	options Options
	trust   trust
	// queue is the controller's, once it has started.
	queue atomic.Pointer[workqueue.TypedRateLimitingInterface[reconcile.Request]]
}

// Bounds of how soon a cluster is looked at again where nothing changes that is watched.
const (
	now    = 100 * time.Millisecond // one change was made, and others may follow, once the cache has it
	soon   = 5 * time.Second        // something is on its way
	seldom = 5 * time.Minute
)

// Reconcile brings one cluster a step nearer to its spec, and its status up to date.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	c := &v1alpha1.EtcdCluster{}
	err := r.options.Client.Get(ctx, request.NamespacedName, c)
	switch {
	case apierrors.IsNotFound(err) || err == nil && c.DeletionTimestamp != nil:
		r.options.Members.Forget(request.String())
		r.trust.set(request.String(), nil)
		return ctrl.Result{}, r.letGo(ctx, request.NamespacedName)
	case err != nil:
		return ctrl.Result{}, err
	}
	before := c.Status.DeepCopy()
	again, err := r.reconcile(ctx, c)
	switch {
	case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
		return ctrl.Result{RequeueAfter: now}, nil // what was read was old: it is read anew
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		return ctrl.Result{}, nil // the cluster is about to be deleted with its namespace
	case err != nil:
		failedStatus(c, err)
	}
	failed := r.writeStatus(ctx, c, before)
	if err == nil && apierrors.IsConflict(failed) {
		return ctrl.Result{RequeueAfter: now}, nil
	}
	return ctrl.Result{RequeueAfter: again}, errors.Join(err, failed)
}

// reconcile looks, decides, carries one step out, and computes the status.
func (r *Reconciler) reconcile(ctx context.Context, c *v1alpha1.EtcdCluster) (time.Duration, error) {
	w, err := r.look(ctx, c, r.options.Client)
	if err != nil {
		return 0, err
	}
	if err := r.letFormerGo(ctx, w); err != nil {
		return now, err
	}
	var d done
	if err := r.keepCertificates(ctx, w, &d); err != nil || d.changed {
		return now, err
	}
	if !r.follow(w) {
		return soon, nil // its members are asked, and that will be told
	}
	if c.Status.ClusterID == "" && w.formed() {
		return now, nil // it is written down before anything is done by it
	}
	w.refuse()
	if w.recovery() {
		return now, nil // it is written down before anything is done by it
	}
	if wrote, err := r.noteMembers(ctx, w); err != nil || wrote {
		return now, err
	}
	err = r.keepObjects(ctx, w, &d)
	step := plan.Decide(w.plan())
	if c.Spec.Paused {
		step = plan.Step{Act: plan.Wait}
	}
	if !d.changed && !c.Spec.Paused {
		taken, acted := r.act(ctx, w, step, &d)
		step, err = taken, errors.Join(err, acted)
	}
	r.status(w, step, &d, err)
	r.pace(w, step, &d)
	return w.again(step, &d), err
}

// done is what a reconcile did.
type done struct {
	// changed says that something was written, so that the next reconcile comes at once.
	changed bool
	// conflicts lists objects that belong to somebody else.
	conflicts []string
}

// follow has the members asked; false: they were not yet, though there are some to ask.
func (r *Reconciler) follow(w *world) bool {
	target := r.targetOf(w)
	namespace, name := w.c.Namespace, w.c.Name
	every := observe.Hurry
	if w.c.Status.Step == "" && w.c.Status.ObservedGeneration == w.c.Generation {
		every = observe.Rest
	}
	r.options.Members.Follow(idOf(w.c), target, every, func() { r.Changed(namespace, name) })
	return w.asked || len(target.Endpoints) == 0
}

func (r *Reconciler) targetOf(w *world) observe.Target {
	target := observe.Target{Endpoints: map[string]string{}, ClusterID: w.c.Status.ClusterID}
	if w.c.Spec.TLS.Mode != v1alpha1.EtcdTLSOff {
		if w.certificates == nil || w.certificates.dial == nil {
			return target
		}
		target.TLS, target.Secret = w.certificates.dial, w.certificates.secret
	}
	for _, m := range w.members {
		if url := clientURL(w.c, m.pod); url != "" {
			target.Endpoints[m.o.Name] = url
		}
	}
	return target
}

// pace has members asked often while something is going on, and seldom at rest.
func (r *Reconciler) pace(w *world, step plan.Step, d *done) {
	every := observe.Rest
	if step.Act != plan.Wait || step.Why != "" || d.changed {
		every = observe.Hurry
	}
	namespace, name := w.c.Namespace, w.c.Name
	r.options.Members.Follow(idOf(w.c), r.targetOf(w), every, func() { r.Changed(namespace, name) })
}

// formed notes that the cluster was formed: the member that forms it says its id.
func (w *world) formed() bool {
	for _, m := range w.members {
		if m.o.Spec.Seed && m.healthy && m.seen.ClusterID != 0 {
			w.c.Status.ClusterID = hex(m.seen.ClusterID)
			return true
		}
	}
	return false
}

// refuse takes a change back that keeps its first member from being healthy for too long.
func (w *world) refuse() {
	if !w.changing() {
		return
	}
	deadline := durationOf(w.c.Spec.SelfHeal.ProgressDeadline, 10*time.Minute)
	var failing *member
	for _, m := range w.members {
		switch {
		case m.o.Status.HealthyHash == w.hash:
			return // it came up under it once
		case w.trying(m) && !m.healthy && m.o.Status.UnhealthySince != nil && w.now.Sub(m.o.Status.UnhealthySince.Time) > deadline:
			failing = m
		}
	}
	if failing == nil {
		return
	}
	w.c.Status.Refused = &v1alpha1.EtcdRefusedChange{
		Hash: w.hash, Version: w.target.Version, At: metav1.NewTime(w.now.Truncate(time.Second)),
		Why: clipped(fmt.Sprintf("%s was not healthy for %s: %s", failing.o.Name, deadline, failing.problem)),
	}
	w.choose()
}

// noteMembers writes down since when members are not healthy, and what they ran when they were.
func (r *Reconciler) noteMembers(ctx context.Context, w *world) (bool, error) {
	wrote := false
	for _, m := range w.members {
		before := m.o.Status.DeepCopy()
		s := &m.o.Status
		switch {
		case m.healthy:
			s.UnhealthySince, s.Problem = nil, ""
			if m.pod != nil {
				s.HealthyHash = m.pod.Annotations[render.AnnotationTemplate]
			}
			if s.ID == "" && m.seen.ID != 0 {
				s.ID = hex(m.seen.ID)
			}
		case replicasOf(w.c) == 0:
			s.UnhealthySince, s.Problem = nil, ""
		default:
			if s.UnhealthySince == nil {
				at := metav1.NewTime(w.now.Truncate(time.Second))
				s.UnhealthySince = &at
			}
			s.Problem = clipped(m.problem)
		}
		if s.State == "" {
			s.State = v1alpha1.MemberNew
			if m.o.Spec.Seed {
				s.State = v1alpha1.MemberJoining
			}
		}
		if m.o.DeletionTimestamp != nil && s.State == v1alpha1.MemberJoined {
			s.State = v1alpha1.MemberLeaving
		}
		if equality.Semantic.DeepEqual(before, s) {
			continue
		}
		if err := r.options.Client.Status().Update(ctx, m.o, client.FieldOwner(render.FieldOwner)); client.IgnoreNotFound(err) != nil {
			return wrote, fmt.Errorf("write the status of EtcdMember %s: %w", m.o.Name, err)
		}
		wrote = true
	}
	return wrote, nil
}

// writeStatus writes the status if it changed, and tells of what changed.
func (r *Reconciler) writeStatus(ctx context.Context, c *v1alpha1.EtcdCluster, before *v1alpha1.EtcdClusterStatus) error {
	if equality.Semantic.DeepEqual(before, &c.Status) {
		return nil
	}
	err := r.options.Client.Status().Update(ctx, c, client.FieldOwner(render.FieldOwner))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return fmt.Errorf("write the status: %w", err)
	}
	r.tell(c, before)
	return nil
}

// letGo lets go of the members of a cluster that is deleted: etcd goes with it, so nobody is to be taken out of it.
func (r *Reconciler) letGo(ctx context.Context, cluster types.NamespacedName) error {
	c := &v1alpha1.EtcdCluster{}
	switch err := r.options.Live.Get(ctx, cluster, c); {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err == nil && c.DeletionTimestamp == nil:
		return nil // it was made anew: that is told by itself
	}
	var records v1alpha1.EtcdMemberList
	if err := r.options.Live.List(ctx, &records, client.InNamespace(cluster.Namespace)); err != nil {
		return fmt.Errorf("list EtcdMembers: %w", err)
	}
	var problems []error
	for i := range records.Items {
		if records.Items[i].Spec.Cluster == cluster.Name { // which nobody can change, unlike the label
			problems = append(problems, r.release(ctx, &records.Items[i]))
		}
	}
	return errors.Join(problems...)
}

// letFormerGo lets go of the members of a former cluster of the same name. Nobody else does once there is another one.
func (r *Reconciler) letFormerGo(ctx context.Context, w *world) error {
	if len(w.former) == 0 {
		return nil
	}
	current := &v1alpha1.EtcdCluster{}
	if err := r.options.Live.Get(ctx, client.ObjectKeyFromObject(w.c), current); err != nil || current.UID != w.c.UID {
		return client.IgnoreNotFound(err)
	}
	var problems []error
	for _, o := range w.former {
		problems = append(problems, r.release(ctx, o))
	}
	return errors.Join(problems...)
}

// release takes the finalizer of a member away.
func (r *Reconciler) release(ctx context.Context, o *v1alpha1.EtcdMember) error {
	without := o.DeepCopy()
	without.Finalizers = nil
	for _, f := range o.Finalizers {
		if f != render.Finalizer {
			without.Finalizers = append(without.Finalizers, f)
		}
	}
	if len(without.Finalizers) == len(o.Finalizers) {
		return nil
	}
	err := r.options.Client.Patch(ctx, without, client.MergeFromWithOptions(o, client.MergeFromWithOptimisticLock{}))
	return client.IgnoreNotFound(err)
}

// scope is where a cluster's objects lie.
func (r *Reconciler) scope(c *v1alpha1.EtcdCluster) objects.Scope {
	return objects.Scope{
		Namespace: c.Namespace, FieldOwner: render.FieldOwner, Client: r.options.Client, Live: r.options.Live,
		Owns: func(o client.Object) bool {
			if claim, ok := o.(*corev1.PersistentVolumeClaim); ok {
				return claim.Labels[render.LabelOwner] == string(c.UID)
			}
			return metav1.IsControlledBy(o, c)
		},
	}
}

// again says when to look at the cluster again.
func (w *world) again(step plan.Step, d *done) time.Duration {
	switch {
	case d.changed || step.Act != plan.Wait:
		return now
	case step.Why != "" || len(d.conflicts) > 0:
		return soon
	}
	wait := seldom
	for i := range w.claims {
		if left, removed := w.keepsFor(&w.claims[i]); removed && w.report.Known {
			wait = min(wait, max(left, now))
		}
	}
	return wait
}

// idOf names a cluster among all.
func idOf(c *v1alpha1.EtcdCluster) string {
	return types.NamespacedName{Namespace: c.Namespace, Name: c.Name}.String()
}

// zoneOf is the zone of the node that a pod is on; empty: it is on none, or that has none.
func (r *Reconciler) zoneOf(ctx context.Context, pod *corev1.Pod) string {
	if pod.Spec.NodeName == "" {
		return ""
	}
	about := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Node"}}
	if err := r.options.Nodes.Get(ctx, client.ObjectKey{Name: pod.Spec.NodeName}, about); err != nil {
		return "" // who goes first is then decided without it
	}
	return about.Labels[corev1.LabelTopologyZone]
}
