package etcd

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/plan"
	"gridrouter.io/deploy/operator/etcd/render"
	"gridrouter.io/deploy/operator/objects"
)

// clientMember is a member as etcd's client has it.
type clientMember = pb.Member

func listedOf(l *clientMember) *observe.Listed {
	return &observe.Listed{ID: l.ID, Name: l.Name, PeerURLs: l.PeerURLs, Learner: l.IsLearner}
}

// keepObjects brings the first object that is not as it should be to that: what members need and what leads to them.
func (r *Reconciler) keepObjects(ctx context.Context, w *world, d *done) error {
	if w.c.Spec.Paused {
		return nil
	}
	s, names := r.scope(w.c), render.NamesOf(w.c.Name)
	all := []func() (objects.Object, error){
		func() (objects.Object, error) {
			return objects.Read(ctx, s, "Service", names.Peers, &corev1.Service{}, render.PeerService(w.c), corev1ac.ExtractService)
		},
		func() (objects.Object, error) {
			return objects.Read(ctx, s, "Service", names.Client, &corev1.Service{}, render.ClientService(w.c), corev1ac.ExtractService)
		},
		func() (objects.Object, error) {
			budget := render.DisruptionBudget(w.c, plan.MinAvailable(w.plan()))
			return objects.Read(ctx, s, "PodDisruptionBudget", names.DisruptionBudget, &policyv1.PodDisruptionBudget{}, budget, policyv1ac.ExtractPodDisruptionBudget)
		},
		func() (objects.Object, error) {
			policy := render.NetworkPolicy(w.c, r.options.Namespace)
			return objects.Read(ctx, s, "NetworkPolicy", names.NetworkPolicy, &networkingv1.NetworkPolicy{}, policy, networkingv1ac.ExtractNetworkPolicy)
		},
	}
	for _, m := range w.members {
		if m.o.DeletionTimestamp == nil {
			all = append(all, func() (objects.Object, error) {
				return objects.Read(ctx, s, "PersistentVolumeClaim", m.o.Name, &corev1.PersistentVolumeClaim{}, render.Claim(w.c, m.o, time.Time{}), corev1ac.ExtractPersistentVolumeClaim)
			})
		}
	}
	var refused error
	for _, one := range all {
		o, err := one()
		if err != nil {
			return errors.Join(refused, err)
		}
		what, err := o.Needs(s)
		switch {
		case err != nil:
			return errors.Join(refused, err)
		case what == objects.Conflict:
			d.conflicts = append(d.conflicts, o.Kind+" "+o.Name)
		case what != objects.Nothing:
			err := o.CarryOut(ctx, s, what)
			if err == nil || apierrors.IsConflict(err) {
				d.changed = true
				return errors.Join(refused, err)
			}
			refused = errors.Join(refused, err) // the others need not wait for this one
		}
	}
	return errors.Join(refused, r.sweep(ctx, w, d))
}
