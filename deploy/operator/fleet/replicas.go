package fleet

import (
	"context"
	"fmt"

	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/operator/fleet/render"
)

// replicasOwner owns the number of routers from when the operator lets go of it until the autoscaler
// writes it. Without it the API server would set what nobody owns any more to its default, which is 1.
const replicasOwner = render.FieldOwner + "-replicas"

// releaseReplicas prepares the stable Deployment for a form without a number: whoever applies a
// form that lacks a field which nobody else has takes the field away.
func releaseReplicas(ctx context.Context, w *world) error {
	d := w.stable.deployment
	if d == nil || w.fleet.Spec.Autoscaling == nil {
		return nil
	}
	owned, err := appsv1ac.ExtractDeployment(d, render.FieldOwner)
	if err != nil || owned.Spec == nil || owned.Spec.Replicas == nil {
		return err
	}
	keep := appsv1ac.Deployment(d.Name, d.Namespace).WithSpec(appsv1ac.DeploymentSpec().WithReplicas(w.stable.wanted))
	if err := w.cluster.Client.Apply(ctx, keep, client.FieldOwner(replicasOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("hand the number of routers over to the autoscaler: %w", err)
	}
	return nil
}
