package fleet

import (
	"context"
	"iter"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingv2ac "k8s.io/client-go/applyconfigurations/autoscaling/v2"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"

	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/objects"
)

// objectsOf lists all objects that the fleet may have, in the order in which they are brought to what they
// should be: what pods need, pods, what leads to them. Revisions are stored before. Each is read when it comes
// to its turn, since what is not there yet is looked for past the cache.
func (r *Reconciler) objectsOf(ctx context.Context, w *world, i intent) iter.Seq2[objects.Object, error] {
	names := render.NamesOf(w.fleet.Name)
	all := []func() (objects.Object, error){
		func() (objects.Object, error) {
			return objects.Read(ctx, w.scope(), "ServiceAccount", names.ServiceAccount, &corev1.ServiceAccount{}, render.ServiceAccount(w.owner), corev1ac.ExtractServiceAccount)
		},
		func() (objects.Object, error) { return w.adminSecret(ctx) },
		// Before the Deployment, so that the autoscaler does not undo a number that the spec has now.
		func() (objects.Object, error) {
			return objects.Read(ctx, w.scope(), "HorizontalPodAutoscaler", names.Autoscaler, &autoscalingv2.HorizontalPodAutoscaler{}, render.Autoscaler(w.owner), autoscalingv2ac.ExtractHorizontalPodAutoscaler)
		},
		func() (objects.Object, error) {
			return w.deployment(ctx, names.Stable, render.TrackStable, i.stable, w.stableReplicas())
		},
		func() (objects.Object, error) {
			return w.deployment(ctx, names.Canary, render.TrackCanary, i.canary, &i.share)
		},
		func() (objects.Object, error) {
			return objects.Read(ctx, w.scope(), "Service", names.Service, &corev1.Service{}, render.Service(w.owner, w.pods), corev1ac.ExtractService)
		},
		func() (objects.Object, error) {
			return objects.Read(ctx, w.scope(), "PodDisruptionBudget", names.DisruptionBudget, &policyv1.PodDisruptionBudget{}, render.DisruptionBudget(w.owner), policyv1ac.ExtractPodDisruptionBudget)
		},
		func() (objects.Object, error) {
			return objects.Read(ctx, w.scope(), "NetworkPolicy", names.NetworkPolicy, &networkingv1.NetworkPolicy{}, render.NetworkPolicy(w.owner, r.options.Namespace), networkingv1ac.ExtractNetworkPolicy)
		},
	}
	return func(yield func(objects.Object, error) bool) {
		for _, one := range all {
			if !yield(one()) {
				return
			}
		}
	}
}

// adminSecret was read past the cache, as all Secrets are.
func (w *world) adminSecret(ctx context.Context) (objects.Object, error) {
	cached := w.cluster.Client
	defer func() { w.cluster.Client = cached }()
	w.cluster.Client = readBefore{Client: cached, secret: w.secrets.admin}
	return objects.Read(ctx, w.scope(), "Secret", render.NamesOf(w.fleet.Name).AdminSecret, &corev1.Secret{}, render.AdminSecret(w.owner, w.secrets.token), corev1ac.ExtractSecret)
}

// deployment is one of the two Deployments; without a revision there is to be none.
func (w *world) deployment(ctx context.Context, name string, track render.Track, of *revision, replicas *int32) (objects.Object, error) {
	var wanted *appsv1ac.DeploymentApplyConfiguration
	if of != nil {
		wanted = render.Deployment(w.owner, track, of.template, replicas)
	}
	return objects.Read(ctx, w.scope(), "Deployment", name, &appsv1.Deployment{}, wanted, appsv1ac.ExtractDeployment)
}

// stableReplicas is the number to apply; nil: it is the autoscaler's. A Deployment that is made anew begins
// with the least number, since it would begin with one.
func (w *world) stableReplicas() *int32 {
	switch {
	case w.fleet.Spec.Autoscaling == nil:
		return w.fleet.Spec.Replicas
	case w.stable.deployment == nil || w.stable.wanted == 0:
		return &w.fleet.Spec.Autoscaling.Min // an autoscaler leaves alone what has none
	}
	return nil
}
