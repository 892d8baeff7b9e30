package e2e

import (
	"testing"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
)

func TestE2EKubeAFleetServesSoonAfterItWasApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	began := time.Now()
	w.create(w.fleet("edge", 3))
	fleet := w.awaits("edge", v1alpha1.ConditionAvailable, v1alpha1.ReasonReplicasReady)
	w.answered("edge")
	t.Logf("from the fleet to a request through it: %.1f s (bar 20 s)", time.Since(began).Seconds())
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.awaits("edge", v1alpha1.ConditionConfigSynced, v1alpha1.ReasonInSync)
	t.Log(w.kubectl("get", "gr", "-o", "wide"))
	t.Log(w.kubectl("describe", "gr", fleet.Name))
}
