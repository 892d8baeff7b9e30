package render_test

import (
	"encoding/json"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	autoscalingv2ac "k8s.io/client-go/applyconfigurations/autoscaling/v2"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// TestWhatIsAppliedIsWhatTheAPIServerRemembers applies every object of every spec, and reads back what the
// API server holds to be the operator's: the operator decides by that whether there is anything to do, so a
// difference would be applied for ever.
func TestWhatIsAppliedIsWhatTheAPIServerRemembers(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(kubetest.Start(t), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	all := fleets(t, func(fleet *v1alpha1.GridRouter) {
		if err := c.Create(t.Context(), fleet); err != nil {
			t.Fatalf("%s: %v", fleet.Name, err)
		}
	})
	for name, fleet := range all {
		in := render.InputOf(fleet, render.EtcdLogin{Keys: keysOf(name)}, render.Defaults{Image: "gridrouter"})
		pods, o, replicas := render.Template(fleet.Name, in), render.Owner{Fleet: fleet}, int32(3)
		check(t, c, name, render.ServiceAccount(o), &corev1.ServiceAccount{}, corev1ac.ExtractServiceAccount)
		check(t, c, name, render.AdminSecret(o, "token"), &corev1.Secret{}, corev1ac.ExtractSecret)
		if err := c.Apply(t.Context(), render.Revision(o, 7, in, pods), client.FieldOwner(render.FieldOwner)); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		check(t, c, name, render.Deployment(o, render.TrackStable, pods, nil), &appsv1.Deployment{}, appsv1ac.ExtractDeployment)
		check(t, c, name, render.Deployment(o, render.TrackCanary, pods, &replicas), &appsv1.Deployment{}, appsv1ac.ExtractDeployment)
		check(t, c, name, render.Service(o, nil), &corev1.Service{}, corev1ac.ExtractService)
		check(t, c, name, render.DisruptionBudget(o), &policyv1.PodDisruptionBudget{}, policyv1ac.ExtractPodDisruptionBudget)
		check(t, c, name, render.Autoscaler(o), &autoscalingv2.HorizontalPodAutoscaler{}, autoscalingv2ac.ExtractHorizontalPodAutoscaler)
		check(t, c, name, render.NetworkPolicy(o, "gridrouter-system"), &networkingv1.NetworkPolicy{}, networkingv1ac.ExtractNetworkPolicy)
		readBack(t, c, fleet, in, pods)
	}
}

// check applies one object, and compares what the API server remembers.
func check[L client.Object, C any](t *testing.T, c client.Client, name string, wanted *C, live L, extract func(L, string) (*C, error)) {
	t.Helper()
	if wanted == nil {
		return
	}
	configuration, ok := any(wanted).(runtime.ApplyConfiguration)
	if !ok {
		t.Fatalf("%T is no apply configuration", wanted)
	}
	text := written(t, wanted)
	var about struct {
		Metadata struct{ Name, Namespace string }
	}
	if err := json.Unmarshal([]byte(text), &about); err != nil {
		t.Fatal(err)
	}
	if err := c.Apply(t.Context(), configuration, client.FieldOwner(render.FieldOwner), client.ForceOwnership); err != nil {
		t.Errorf("%s: %T: %v", name, live, err)
		return
	}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: about.Metadata.Namespace, Name: about.Metadata.Name}, live); err != nil {
		t.Fatal(err)
	}
	remembered, err := extract(live, render.FieldOwner)
	if err != nil {
		t.Fatal(err)
	}
	if got := written(t, remembered); got != text {
		t.Errorf("%s: %T was applied as\n%s\nand is remembered as\n%s", name, live, text, got)
	}
}

func written(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readBack reads a stored revision, which must give the same hash and the same pods.
func readBack(t *testing.T, c client.Client, fleet *v1alpha1.GridRouter, in render.Input, pods corev1.PodTemplateSpec) {
	t.Helper()
	var stored appsv1.ControllerRevision
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: fleet.Namespace, Name: fleet.Name + "-" + in.Hash()}, &stored); err != nil {
		t.Fatal(err)
	}
	again, template, err := render.ReadRevision(&stored)
	if err != nil || again.Hash() != in.Hash() || written(t, template) != written(t, pods) || stored.Revision != 7 {
		t.Errorf("%s: revision %d reads as %s\n%s\n%v", fleet.Name, stored.Revision, again.Hash(), written(t, template), err)
	}
	read := &v1alpha1.GridRouter{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(fleet), read); err != nil {
		t.Fatal(err)
	}
	fresh := render.InputOf(read, render.EtcdLogin{Keys: keysOf(fleet.Name)}, render.Defaults{Image: "registry.example/another"})
	if fresh.Hash() != in.Hash() {
		t.Errorf("%s: the stored fleet has the hash %s, the made one %s", fleet.Name, fresh.Hash(), in.Hash())
	}
}
