package etcd

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
)

// etcdWithin is how long one request to etcd may take.
const etcdWithin = 5 * time.Second

// disruptive are the acts that take something away, or would add it twice. They are decided once more, by what the API server and the members
// say at that moment, since a cache may be behind.
var disruptive = map[plan.Act]bool{
	plan.MakeMember: true, plan.StopPod: true, plan.MoveLeader: true, plan.Remove: true, plan.RemoveFromEtcd: true, plan.RemoveStray: true, plan.Promote: true, plan.Release: true,
}

// act carries a step out, and returns the one that was.
func (r *Reconciler) act(ctx context.Context, w *world, step plan.Step, d *done) (plan.Step, error) {
	if step.Act == plan.Wait {
		return step, nil
	}
	if disruptive[step.Act] {
		current := &v1alpha1.EtcdCluster{}
		if err := r.options.Live.Get(ctx, client.ObjectKeyFromObject(w.c), current); client.IgnoreNotFound(err) != nil {
			return step, err
		}
		if current.UID != w.c.UID || current.Generation != w.c.Generation || current.DeletionTimestamp != nil {
			d.changed = true // the spec was old
			return plan.Step{Act: plan.Wait, Why: "looks again"}, nil
		}
		r.options.Members.AskNow(ctx, idOf(w.c))
		fresh, err := r.look(ctx, w.c, r.options.Live)
		if err != nil {
			return step, err
		}
		fresh.certificates = w.certificates
		again := plan.Decide(fresh.plan())
		if again.Act != step.Act || again.Member != step.Member || again.ID != step.ID {
			d.changed = true // what was seen was old
			return plan.Step{Act: plan.Wait, Why: "looks again"}, nil
		}
		w.members, w.report = fresh.members, fresh.report
	}
	d.changed = true
	ctx, cancel := context.WithTimeout(ctx, 2*etcdWithin)
	defer cancel()
	m := w.named(step.Member)
	var err error
	switch step.Act {
	case plan.MakeSeed, plan.MakeMember:
		if step.Member, err = r.makeMember(ctx, w, step.Act == plan.MakeSeed); err == nil && step.Member == "" {
			d.changed = false
			return plan.Step{Act: plan.Wait, Why: "EtcdMembers of a former cluster of this name are still there: remove them, if they do not go by themselves"}, nil
		}
	case plan.Update:
		err = r.update(ctx, w, m)
	case plan.AddLearner:
		err = r.addLearner(ctx, w, m)
	case plan.StartPod:
		err = r.startPod(ctx, w, m)
	case plan.StopPod:
		uid := m.pod.UID
		err = client.IgnoreNotFound(r.options.Client.Delete(ctx, m.pod, client.Preconditions{UID: &uid}))
	case plan.MarkJoined:
		err = r.markJoined(ctx, w, m)
	case plan.Promote:
		err = r.promote(ctx, w, m, &step)
	case plan.MoveLeader:
		err = r.moveLeader(ctx, w, m, w.named(step.To))
	case plan.Remove:
		uid := m.o.UID
		err = client.IgnoreNotFound(r.options.Client.Delete(ctx, m.o, client.Preconditions{UID: &uid}))
	case plan.RemoveFromEtcd:
		err = r.removeFromEtcd(ctx, w, m.listed.ID)
	case plan.RemoveStray:
		err = r.removeFromEtcd(ctx, w, step.ID)
	case plan.Release:
		err = r.finish(ctx, w, m)
	case plan.Wait:
	}
	if notYet(err) {
		d.changed = false
		return plan.Step{Act: plan.Wait, Why: fmt.Sprintf("etcd takes no change of its members until all have been connected for five seconds: then the operator %s", sentence(step))}, nil
	}
	if err != nil {
		return step, fmt.Errorf("%s: %w", sentence(step), err)
	}
	r.options.Members.Ask(idOf(w.c))
	r.tellStep(w.c, step)
	return step, nil
}

// notYet says whether etcd refuses a change of its members for now.
func notYet(err error) bool {
	return errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, rpctypes.ErrMemberNotEnoughStarted) || errors.Is(err, rpctypes.ErrTooManyLearners)
}

func (w *world) named(name string) *member {
	if i := slices.IndexFunc(w.members, func(m *member) bool { return m.o.Name == name }); i >= 0 {
		return w.members[i]
	}
	return nil
}

// makeMember makes the record of a new member. Its number is one that no object has had: a volume of a former member
// must never become this one's.
func (r *Reconciler) makeMember(ctx context.Context, w *world, seed bool) (string, error) {
	if seed {
		var others v1alpha1.EtcdMemberList
		if err := r.options.Live.List(ctx, &others, client.InNamespace(w.c.Namespace), client.MatchingLabels{render.LabelCluster: w.c.Name}); err != nil {
			return "", err
		}
		current := &v1alpha1.EtcdCluster{}
		if err := r.options.Live.Get(ctx, client.ObjectKeyFromObject(w.c), current); err != nil {
			return "", err
		}
		if len(others.Items) > 0 || current.UID != w.c.UID || current.Status.ClusterID != "" {
			return "", nil // or the cache is behind
		}
	}
	for number := w.c.Status.NextMember; ; number++ {
		name := render.MemberName(w.c.Name, number)
		free, err := r.isFree(ctx, w.c.Namespace, name)
		if err != nil {
			return name, err
		}
		if free {
			return name, r.options.Client.Apply(ctx, render.Member(w.c, name, seed, &w.target), client.FieldOwner(render.FieldOwner), client.ForceOwnership)
		}
		if number > w.c.Status.NextMember+100 {
			return name, fmt.Errorf("%s and a hundred names after it are taken by pods or claims of others: remove those, or rename the cluster", name)
		}
	}
}

// isFree says whether no member, pod or claim has a name.
func (r *Reconciler) isFree(ctx context.Context, namespace, name string) (bool, error) {
	for _, o := range []client.Object{&v1alpha1.EtcdMember{}, &corev1.PersistentVolumeClaim{}, &corev1.Pod{}} {
		err := r.options.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, o)
		if err == nil || client.IgnoreNotFound(err) != nil {
			return false, err
		}
	}
	return true, nil
}

// update has a member run what is wanted. It writes the template whole: what somebody else has added to it goes. How long
// the member may take to get healthy begins anew.
func (r *Reconciler) update(ctx context.Context, w *world, m *member) error {
	o := m.o.DeepCopy()
	if o.Status.UnhealthySince != nil {
		o.Status.UnhealthySince = &metav1.Time{Time: w.now.Truncate(time.Second)}
		if err := r.options.Client.Status().Update(ctx, o, client.FieldOwner(render.FieldOwner)); err != nil {
			return err
		}
	}
	before := o.DeepCopy()
	o.Spec.Template = *w.target.DeepCopy()
	return r.options.Client.Patch(ctx, o, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(render.FieldOwner))
}

// startPod makes the pod of a member, and before that the claim of its volume.
func (r *Reconciler) startPod(ctx context.Context, w *world, m *member) error {
	return r.options.Client.Apply(ctx, render.Pod(w.c, m.o, r.options.Defaults, w.podFacts(m)), client.FieldOwner(render.FieldOwner), client.ForceOwnership)
}

// podFacts are what a member's pod is told besides its template.
func (w *world) podFacts(m *member) render.PodFacts {
	var facts render.PodFacts
	if stateOf(m.o) == plan.Joined && m.o.Status.ID != "" {
		facts.Joined = m.o.Status.ID + "/" + w.c.Status.ClusterID
	}
	if recovery := w.c.Status.Recovery; recovery != nil && recovery.Survivor == m.o.Name && !w.report.Known {
		facts.Alone = recovery.Token
	}
	if w.certificates != nil {
		facts.Trust = w.certificates.plan.Bundle
	}
	return facts
}

// markJoined writes down that a member has begun: first where what starts its container reads it, then where the operator
// does.
func (r *Reconciler) markJoined(ctx context.Context, w *world, m *member) error {
	joined := m.o.Status.ID + "/" + w.c.Status.ClusterID
	if m.pod.Annotations[render.AnnotationJoined] != joined {
		patch := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:%q}}}`, m.pod.UID, render.AnnotationJoined, joined)
		pod := &corev1.Pod{}
		pod.Namespace, pod.Name = m.pod.Namespace, m.pod.Name
		if err := r.options.Client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(render.FieldOwner+"-joined")); err != nil {
			return err
		}
	}
	m.o.Status.State = v1alpha1.MemberJoined
	return r.options.Client.Status().Update(ctx, m.o, client.FieldOwner(render.FieldOwner))
}

// ask does something through a member of which a majority is reachable.
func (r *Reconciler) ask(ctx context.Context, w *world, do func(context.Context, *clientv3.Client) error) error {
	err := errors.New("no voter is healthy")
	for _, m := range w.members {
		if !m.healthy || m.listed == nil || m.listed.Learner {
			continue
		}
		var to *clientv3.Client
		if to, err = r.options.Members.Client(idOf(w.c), m.o.Name); err != nil {
			continue
		}
		return within(ctx, func(ctx context.Context) error { return do(ctx, to) })
	}
	return err
}

func within(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, etcdWithin)
	defer cancel()
	return do(ctx)
}

// addLearner tells etcd of a member, and writes down the id that it gave, and whom the member joins.
func (r *Reconciler) addLearner(ctx context.Context, w *world, m *member) error {
	url := render.PeerURL(w.c, m.o.Name)
	return r.ask(ctx, w, func(ctx context.Context, etcd *clientv3.Client) error {
		list, err := etcd.MemberList(ctx)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(list.Members, func(l *clientMember) bool { return slices.Contains(l.PeerURLs, url) })
		members := list.Members
		if at < 0 {
			added, err := etcd.MemberAddAsLearner(ctx, []string{url})
			if err != nil {
				return err
			}
			members = added.Members
			at = slices.IndexFunc(members, func(l *clientMember) bool { return l.ID == added.Member.ID })
		}
		m.o.Status.ID, m.o.Status.State, m.o.Status.Peers = hex(members[at].ID), v1alpha1.MemberJoining, w.peers(members, m)
		return r.options.Client.Status().Update(ctx, m.o, client.FieldOwner(render.FieldOwner))
	})
}

// peers lists members as etcd's flag --initial-cluster does. One that has not begun has no name in etcd yet.
func (w *world) peers(list []*clientMember, joining *member) []string {
	var all []string
	for _, l := range list {
		name := l.Name
		if name == "" {
			name = w.nameOf(listedOf(l))
		}
		if slices.Contains(l.PeerURLs, render.PeerURL(w.c, joining.o.Name)) {
			name = joining.o.Name
		}
		for _, url := range l.PeerURLs {
			all = append(all, name+"="+url)
		}
	}
	slices.Sort(all)
	return all
}

// promote makes a learner a voter. That it lags is no fault: etcd says so, and it is tried again.
func (r *Reconciler) promote(ctx context.Context, w *world, m *member, step *plan.Step) error {
	err := r.ask(ctx, w, func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.MemberPromote(ctx, m.listed.ID)
		return err
	})
	switch {
	case errors.Is(err, rpctypes.ErrMemberNotLearner):
		return nil
	case errors.Is(err, rpctypes.ErrMemberLearnerNotReady):
		*step = plan.Step{Act: plan.Wait, Member: m.o.Name, Why: m.o.Name + " gets what the others have"}
		return nil
	}
	return err
}

// moveLeader has another member lead.
func (r *Reconciler) moveLeader(ctx context.Context, w *world, from, to *member) error {
	etcd, err := r.options.Members.Client(idOf(w.c), from.o.Name)
	if err != nil {
		return err
	}
	err = within(ctx, func(ctx context.Context) error {
		_, err := etcd.MoveLeader(ctx, to.seen.ID)
		return err
	})
	if errors.Is(err, rpctypes.ErrNotLeader) {
		return nil // somebody else leads already
	}
	return err
}

// removeFromEtcd takes a member out of etcd's list.
func (r *Reconciler) removeFromEtcd(ctx context.Context, w *world, id uint64) error {
	err := r.ask(ctx, w, func(ctx context.Context, etcd *clientv3.Client) error {
		_, err := etcd.MemberRemove(ctx, id)
		return err
	})
	if errors.Is(err, rpctypes.ErrMemberNotFound) {
		return nil
	}
	return err
}

// finish lets a member go that was taken out of etcd and has ended. Its volume is kept for a while.
func (r *Reconciler) finish(ctx context.Context, w *world, m *member) error {
	if w.c.Status.NextMember <= m.number {
		return nil // its number is written down first, so that nobody gets it again
	}
	return r.release(ctx, m.o)
}

// keepsFor says for how long the volume of a member that was removed is still kept; false: it was not removed.
func (w *world) keepsFor(claim *corev1.PersistentVolumeClaim) (time.Duration, bool) {
	at, err := time.Parse(time.RFC3339, claim.Annotations[render.AnnotationRemoved])
	if err != nil || w.named(claim.Name) != nil {
		return 0, false
	}
	return durationOf(w.c.Spec.Storage.KeepRemoved, time.Hour) - w.now.Sub(at), true
}

// sweep marks the volumes of members that are gone, and removes them when their time is over. While no majority answers,
// nobody knows what the data is still needed for.
func (r *Reconciler) sweep(ctx context.Context, w *world, d *done) error {
	for i := range w.claims {
		claim := &w.claims[i]
		left, removed := w.keepsFor(claim)
		there := w.named(claim.Name) != nil
		switch {
		case claim.DeletionTimestamp != nil:
			continue
		case there && claim.Annotations[render.AnnotationRemoved] == "" || !there && removed && (left > 0 || !w.report.Known):
			continue
		case there: // the next removal must not take its time from that
			d.changed = true
			return r.markRemoved(ctx, claim, "null")
		}
		if gone, err := r.isGone(ctx, claim); err != nil || !gone {
			return err // the cache is behind
		}
		d.changed = true
		if !removed {
			return r.markRemoved(ctx, claim, strconv.Quote(w.now.UTC().Format(time.RFC3339)))
		}
		uid, version := claim.UID, claim.ResourceVersion
		return client.IgnoreNotFound(r.options.Client.Delete(ctx, claim, client.Preconditions{UID: &uid, ResourceVersion: &version}))
	}
	return nil
}

// markRemoved writes when the member of a claim was removed, as JSON.
func (r *Reconciler) markRemoved(ctx context.Context, claim *corev1.PersistentVolumeClaim, when string) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:%s}}}`, claim.UID, render.AnnotationRemoved, when)
	err := r.options.Client.Patch(ctx, claim, client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner(render.FieldOwner+"-removed"))
	return client.IgnoreNotFound(err)
}

// isGone asks the API server whether there is no member of the name of a claim.
func (r *Reconciler) isGone(ctx context.Context, claim *corev1.PersistentVolumeClaim) (bool, error) {
	err := r.options.Live.Get(ctx, client.ObjectKeyFromObject(claim), &v1alpha1.EtcdMember{})
	return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
}

// sentence says a step in words.
func sentence(s plan.Step) string {
	verbs := map[plan.Act]string{
		plan.MakeSeed: "makes the first member", plan.MakeMember: "makes a member", plan.AddLearner: "adds %s as a learner", plan.StartPod: "starts the pod of %s",
		plan.StopPod: "stops the pod of %s", plan.MarkJoined: "notes that %s has joined", plan.Promote: "makes %s a voter", plan.MoveLeader: "has %s hand over its leadership",
		plan.Remove: "removes %s", plan.RemoveFromEtcd: "takes %s out of etcd's list", plan.RemoveStray: "takes %s out of etcd's list", plan.Release: "lets %s go", plan.Update: "changes %s",
	}
	text, acts := verbs[s.Act]
	switch {
	case !acts:
		return s.Why
	case strings.Contains(text, "%s"):
		text = fmt.Sprintf(text, s.Member)
	}
	if s.To != "" {
		text += " to " + s.To
	}
	return text
}
