package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestE2EKubeAVersionThatDoesNotStart rolls versions out that cannot run, which the deadline ends, while the
// routers that are there go on.
func TestE2EKubeAVersionThatDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	fleet := w.fleet("edge", 3)
	fleet.Spec.Rollout.ProgressDeadline = &metav1.Duration{Duration: 20 * time.Second}
	w.create(fleet)
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered("edge")
	good := *w.get("edge").Spec.DeepCopy()
	f := func(what, why string, edit func(*v1alpha1.GridRouterSpec)) {
		t.Helper()
		w.change("edge", edit)
		w.says("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonDeadlineExceeded, why)
		w.says("edge", v1alpha1.ConditionDegraded, v1alpha1.ReasonRolloutFailed, why)
		w.says("edge", v1alpha1.ConditionAvailable, v1alpha1.ReasonReplicasReady, "")
		if events := w.kubectl("get", "events.events.k8s.io", "--field-selector=reason=DeadlineExceeded"); !strings.Contains(events, why) {
			t.Errorf("%s: the events say\n%s", what, events)
		}
		w.answered("edge")
		w.change("edge", func(spec *v1alpha1.GridRouterSpec) { *spec = good })
		w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
		w.awaits("edge", v1alpha1.ConditionDegraded, v1alpha1.ReasonAsExpected)
	}
	f("an image that does not exist", "ImagePull", func(s *v1alpha1.GridRouterSpec) { s.Version = "v0-missing" })
	f("a flag that is refused", "CrashLoopBackOff", func(s *v1alpha1.GridRouterSpec) { s.Args = append(s.Args, "--log-level=none") })
	f("a router that never gets ready", "is not ready", func(s *v1alpha1.GridRouterSpec) {
		s.Etcd.Endpoints = []v1alpha1.EtcdEndpoint{"http://192.0.2.1:2379"}
	})
}

func TestE2EKubeAQuotaThatForbidsRouters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.create(&corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Name: "few"}, Spec: corev1.ResourceQuotaSpec{
		Hard: corev1.ResourceList{corev1.ResourcePods: resource.MustParse("4")}, // three of them are the etcd and the decks
	}})
	fleet := w.fleet("edge", 3)
	fleet.Spec.Rollout.ProgressDeadline = &metav1.Duration{Duration: 20 * time.Second}
	w.create(fleet)
	w.says("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonDeadlineExceeded, "exceeded quota: few")
	w.says("edge", v1alpha1.ConditionAvailable, v1alpha1.ReasonTooFewReady, "1 of 3 routers are ready")
	w.answered("edge")
	if err := w.client.Delete(t.Context(), &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "few"}}); err != nil {
		t.Fatal(err)
	}
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
}

// TestE2EKubeANamespaceIsDeletedWithItsFleets deletes one with a fleet at rest, one that rolls out, and one with
// a VIP in it.
func TestE2EKubeANamespaceIsDeletedWithItsFleets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.create(w.fleet("rests", 1))
	withVIP := w.fleet("vip", 1)
	withVIP.Spec.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureLVS, VIP: "10.9.0.77"}
	w.create(withVIP)
	w.awaits("rests", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.awaits("vip", v1alpha1.ConditionVIPBound, v1alpha1.ReasonBound)
	w.create(w.fleet("begins", 2))
	w.change("rests", func(s *v1alpha1.GridRouterSpec) { s.Version = "v2" })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if err := w.client.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.eventually("the namespace is gone", func() error {
		err := w.client.Get(t.Context(), client.ObjectKeyFromObject(namespace), namespace)
		if client.IgnoreNotFound(err) == nil && err != nil {
			return nil
		}
		return fmt.Errorf("%w: %+v", err, namespace.Status.Conditions)
	})
	t.Logf("gone after %.1f s", time.Since(began).Seconds())
}

// says waits until a condition of a fleet has a reason and a message that holds a text, for the present spec.
func (w *world) says(name string, kind v1alpha1.ConditionType, reason v1alpha1.Reason, text string) {
	w.Helper()
	w.eventually(fmt.Sprintf("%s of %s is %s, with %q", kind, name, reason, text), func() error {
		fleet := w.get(name)
		c := meta.FindStatusCondition(fleet.Status.Conditions, string(kind))
		if c == nil || c.Reason != string(reason) || c.ObservedGeneration != fleet.Generation || !strings.Contains(c.Message, text) {
			return fmt.Errorf("generation %d, condition %+v", fleet.Generation, c)
		}
		return nil
	})
}
