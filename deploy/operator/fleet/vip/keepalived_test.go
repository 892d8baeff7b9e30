package vip_test

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/vip"
)

func TestTheConfigMapIsWrittenWhenItChangesAndRemoved(t *testing.T) {
	c, err := client.New(kubetest.Start(t), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k := vip.Keepalived{
		Client: c, FieldOwner: "gridrouter-operator", Labels: map[string]string{"app.kubernetes.io/name": "gridrouter"},
		Owner: &metav1.OwnerReference{APIVersion: "gridrouter.io/v1alpha1", Kind: "GridRouter", Name: "edge", UID: "1234"},
	}
	v := vip.VIP{
		Namespace: "default", Fleet: "edge", Address: "10.9.0.10", Scheduler: v1alpha1.SchedulerRoundRobin, Mode: v1alpha1.LVSNAT,
		Servers: []v1alpha1.RealServer{{Address: "10.0.0.1:8080", Weight: 100}},
	}
	apply := func() *corev1.ConfigMap {
		t.Helper()
		if err := k.Apply(t.Context(), v); err != nil {
			t.Fatal(err)
		}
		there := &corev1.ConfigMap{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "edge-keepalived"}, there); err != nil {
			t.Fatal(err)
		}
		text, err := vip.Render(v)
		if err != nil || there.Data[vip.ConfigKey] != text || there.Labels["gridrouter.io/fleet"] != "edge" || there.Labels["app.kubernetes.io/name"] != "gridrouter" {
			t.Fatalf("%v: %+v", err, there)
		}
		return there
	}
	first := apply()
	if owner := metav1.GetControllerOf(first); owner == nil || owner.UID != "1234" {
		t.Errorf("%+v", first.OwnerReferences)
	}
	if again := apply(); again.ResourceVersion != first.ResourceVersion {
		t.Error("it was written without a change")
	}
	v.Servers[0].Weight = 0
	if changed := apply(); changed.ResourceVersion == first.ResourceVersion {
		t.Error("a change was not written")
	}
	changed := apply()
	changed.Data[vip.ConfigKey] = "edited"
	if err := c.Update(t.Context(), changed); err != nil {
		t.Fatal(err)
	}
	apply()

	// What cannot be rendered leaves in force what was.
	bad := v
	bad.Address = "10.9.0.10\n}"
	if err := k.Apply(t.Context(), bad); err == nil {
		t.Error("a hostile address was written")
	}
	apply()

	gone := func() bool {
		err := c.Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "edge-keepalived"}, &corev1.ConfigMap{})
		return apierrors.IsNotFound(err)
	}
	for range 2 {
		if err := k.Remove(t.Context(), "default", "edge"); err != nil || !gone() {
			t.Fatalf("%v, or it is still there", err)
		}
	}
	foreign := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "edge-keepalived"}, Data: map[string]string{"a": "b"}}
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if err := k.Apply(t.Context(), v); !errors.Is(err, vip.ErrConflict) {
		t.Errorf("over what is somebody else's: %v", err)
	}
	if err := k.Remove(t.Context(), "default", "edge"); err != nil || gone() {
		t.Errorf("what is somebody else's: %v, or it is gone", err)
	}
}
