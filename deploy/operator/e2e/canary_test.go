package e2e

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

func TestE2EKubeAGoodCanaryIsPromotedAndABadOneTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	fleet, few := w.fleet("edge", 4), int64(30)
	fleet.Spec.Rollout = v1alpha1.Rollout{Strategy: v1alpha1.RolloutCanary, Canary: &v1alpha1.Canary{
		Steps:    []v1alpha1.CanaryStep{{Percent: 25, Hold: &metav1.Duration{Duration: 3 * time.Second}}, {Percent: 50, Hold: &metav1.Duration{Duration: 3 * time.Second}}},
		Analysis: v1alpha1.CanaryAnalysis{MinRequests: &few},
	}}
	w.create(fleet)
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered("edge")
	stop := w.load("edge", 8, 10*time.Millisecond)

	w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.Version = "v2" })
	w.awaits("edge", v1alpha1.ConditionCanaryPassed, v1alpha1.ReasonCanaryPassed)
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed while a good canary was promoted", failed)
	}
	if s := w.get("edge").Status; s.Versions.Current != "v2" || s.Canary.Verdict != v1alpha1.VerdictPassed {
		t.Errorf("status %+v", s)
	}

	// A real router that finds no deck, since it asks nobody for their addresses.
	stop = w.load("edge", 8, 10*time.Millisecond)
	w.change("edge", func(spec *v1alpha1.GridRouterSpec) {
		spec.Args = append(spec.Args, "--resolver=192.0.2.1:53", "--dns-timeout=100ms")
	})
	w.awaits("edge", v1alpha1.ConditionCanaryPassed, v1alpha1.ReasonTooManyErrors)
	after := w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonRolledBack)
	t.Logf("%d requests failed", stop())
	if c := meta.FindStatusCondition(after.Status.Conditions, string(v1alpha1.ConditionDegraded)); c == nil || c.Reason != string(v1alpha1.ReasonRolloutFailed) {
		t.Errorf("Degraded: %+v", c)
	}
	if after.Status.Replicas != 4 || after.Status.Canary.Why == "" || !strings.Contains(w.kubectl("get", "events.events.k8s.io"), "TooManyErrors") {
		t.Errorf("status %+v", after.Status)
	}
	w.answered("edge")
	t.Log(w.kubectl("describe", "gr", "edge"))
}
