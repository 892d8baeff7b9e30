package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// canaryFleet creates a fleet of four routers of which one, then two are tried with each new version.
func (w *world) canaryFleet(name string) {
	w.Helper()
	fleet, few := w.fleet(name, 4), int64(30)
	hold := &metav1.Duration{Duration: 3 * time.Second}
	fleet.Spec.Rollout = v1alpha1.Rollout{Strategy: v1alpha1.RolloutCanary, Canary: &v1alpha1.Canary{
		Steps:    []v1alpha1.CanaryStep{{Percent: 25, Hold: hold}, {Percent: 50, Hold: hold}},
		Analysis: v1alpha1.CanaryAnalysis{MinRequests: &few},
	}}
	w.create(fleet)
	w.awaits(name, v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered(name)
}

func TestE2EKubeAGoodCanaryIsPromotedWithoutAFailedRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.canaryFleet("edge")
	traffic := w.traffic("edge")
	w.step("canary", traffic, func() {
		w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.Version = "v2" })
		w.awaits("edge", v1alpha1.ConditionCanaryPassed, v1alpha1.ReasonCanaryPassed)
		w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	})
	traffic.end()
	if n := traffic.failed.Load(); n > 0 {
		t.Errorf("%d requests failed while a good canary was promoted:\n%s", n, strings.Join(traffic.why, "\n"))
	}
	if s := w.get("edge").Status; s.Versions.Current != "v2" || s.Canary.Verdict != v1alpha1.VerdictPassed {
		t.Errorf("status %+v", s)
	}
}

// TestE2EKubeABadCanaryIsTakenBack tries a real router that answers 502, since it asks nobody for the
// addresses of decks.
func TestE2EKubeABadCanaryIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.canaryFleet("edge")
	w.takenBack("edge", v1alpha1.ReasonTooManyErrors, "--resolver=192.0.2.1:53", "--dns-timeout=100ms")
}

// TestE2EKubeASlowCanaryIsTakenBack tries a real router whose answers take long, since the DNS server that it
// asks sends it to a deck that does.
func TestE2EKubeASlowCanaryIsTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.program("slow", 1, 8080, &corev1.Container{Image: "echo:v1", Args: []string{"--delay=150ms"}})
	var slow corev1.Service
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "slow"}, &slow); err != nil {
		t.Fatal(err)
	}
	w.documents(fmt.Sprintf("{kind: Gslb, name: %s, vips: [{address: %s}]}", w.host("deck"), slow.Spec.ClusterIP))
	w.program("dns", 1, 5300, &corev1.Container{Image: "gridrouter:v1", Args: []string{
		"gslb", "--etcd=" + w.etcd(), "--listen=:5300", "--snapshot=off",
	}})
	w.canaryFleet("edge")
	w.takenBack("edge", v1alpha1.ReasonTooSlow, v1alpha1.Arg("--resolver="+w.podIP("dns")+":5300"))
}

// podIP waits until the one pod of a program is ready, and returns its address.
func (w *world) podIP(program string) (address string) {
	w.Helper()
	w.eventually(program+" is ready", func() error {
		var pods corev1.PodList
		if err := w.client.List(w.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app": program}); err != nil {
			return err
		}
		if len(pods.Items) != 1 || pods.Items[0].Status.PodIP == "" {
			return fmt.Errorf("%d pods", len(pods.Items))
		}
		address = pods.Items[0].Status.PodIP
		return nil
	})
	return address
}

// takenBack has a fleet try routers with more arguments, which must be found to be bad for a reason and be
// taken back, while requests come in: of them no larger share may fail than the canary has of all routers.
func (w *world) takenBack(name string, reason v1alpha1.Reason, args ...v1alpha1.Arg) {
	w.Helper()
	traffic := w.traffic(name)
	w.step("canary", traffic, func() {
		w.change(name, func(spec *v1alpha1.GridRouterSpec) { spec.Args = append(spec.Args, args...) })
		w.awaits(name, v1alpha1.ConditionCanaryPassed, reason)
		w.awaits(name, v1alpha1.ConditionProgressing, v1alpha1.ReasonRolledBack)
	})
	traffic.end()
	const most = 1.0 / 5 // one canary beside four routers
	if share := float64(traffic.failed.Load()) / float64(traffic.asked.Load()); share > most {
		w.Errorf("%.3f of all requests failed, want %.3f at most:\n%s", share, most, strings.Join(traffic.why, "\n"))
	}
	after := w.get(name)
	if c := meta.FindStatusCondition(after.Status.Conditions, string(v1alpha1.ConditionDegraded)); c == nil || c.Reason != string(v1alpha1.ReasonRolloutFailed) {
		w.Errorf("Degraded: %+v", c)
	}
	if after.Status.Replicas != 4 || after.Status.Canary.Why == "" || !strings.Contains(w.kubectl("get", "events.events.k8s.io"), string(reason)) {
		w.Errorf("status %+v", after.Status)
	}
	w.answered(name)
	w.Log(w.kubectl("describe", "gr", name))
}
