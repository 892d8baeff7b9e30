package fleet

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// TestObjectsOfAFleet tries what people may do to the objects of fleets, beside one API server.
func TestObjectsOfAFleet(t *testing.T) {
	config := kubetest.Start(t)
	for name, try := range map[string]func(*testing.T, *bench){
		"objects of others are left alone":       othersAreLeftAlone,
		"what leaves the spec is deleted":        whatLeavesTheSpecIsDeleted,
		"changes by hand are undone":             changesByHandAreUndone,
		"foreign labels and annotations stay":    foreignFieldsStay,
		"what is deleted by hand is made again":  deletedObjectsComeBack,
		"the autoscaler's number is not touched": theAutoscalersNumberStays,
		"no two revisions have one number":       revisionsHaveTheirOwnNumbers,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			b := &bench{T: t, ctx: ctx, operator: newOperator(t, config, 0)}
			fleet := whole("edge")
			if err := b.direct().Create(ctx, fleet); err != nil {
				t.Fatal(err)
			}
			b.key = client.ObjectKeyFromObject(fleet)
			t.Cleanup(func() { b.clear(context.WithoutCancel(ctx)) })
			try(t, b)
		})
	}
}

// bench is a fleet with an operator that is driven by hand.
type bench struct {
	*testing.T
	*operator
	ctx context.Context
	key client.ObjectKey
}

func (b *bench) settled() {
	b.Helper()
	b.writes = 0
	if err := b.settle(b.ctx, b.key); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) fleet() *v1alpha1.GridRouter {
	b.Helper()
	fleet := &v1alpha1.GridRouter{}
	if err := b.direct().Get(b.ctx, b.key, fleet); err != nil {
		b.Fatal(err)
	}
	return fleet
}

// reason is that of a condition.
func (b *bench) reason(kind v1alpha1.ConditionType) (reason, message string) {
	b.Helper()
	c := meta.FindStatusCondition(b.fleet().Status.Conditions, string(kind))
	if c == nil {
		return "", ""
	}
	return c.Reason, c.Message
}

// oneOfEach returns one of each kind that a fleet has, by what people call them.
func oneOfEach() map[string]client.Object {
	names := render.NamesOf("edge")
	about := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "default", Name: name} }
	one := map[string]string{"app": "stranger"}
	pod := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: one}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "c"}}}}
	return map[string]client.Object{
		"ServiceAccount":      &corev1.ServiceAccount{ObjectMeta: about(names.ServiceAccount)},
		"Secret":              &corev1.Secret{ObjectMeta: about(names.AdminSecret), Data: map[string][]byte{"token": []byte("theirs")}},
		"Deployment":          &appsv1.Deployment{ObjectMeta: about(names.Stable), Spec: appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: one}, Template: pod}},
		"Service":             &corev1.Service{ObjectMeta: about(names.Service), Spec: corev1.ServiceSpec{Selector: one, Ports: []corev1.ServicePort{{Port: 1, TargetPort: intstr.FromInt32(1)}}}},
		"PodDisruptionBudget": &policyv1.PodDisruptionBudget{ObjectMeta: about(names.DisruptionBudget), Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: one}}},
		"HorizontalPodAutoscaler": &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: about(names.Autoscaler), Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			MaxReplicas: 3, ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: "theirs"},
		}},
		"NetworkPolicy": &networkingv1.NetworkPolicy{ObjectMeta: about(names.NetworkPolicy), Spec: networkingv1.NetworkPolicySpec{PodSelector: metav1.LabelSelector{MatchLabels: one}}},
		"ConfigMap":     &corev1.ConfigMap{ObjectMeta: about(names.Keepalived), Data: map[string]string{"theirs": "yes"}},
	}
}

// clear deletes the fleet and all that it has, which the controllers of a whole Kubernetes would do.
func (b *bench) clear(ctx context.Context) {
	fleet := &v1alpha1.GridRouter{}
	fleet.Namespace, fleet.Name = b.key.Namespace, b.key.Name
	all := append(slices.Collect(maps.Values(oneOfEach())), client.Object(fleet))
	for _, o := range all {
		if err := client.IgnoreNotFound(b.direct().Delete(ctx, o)); err != nil {
			b.Error(err)
		}
	}
	for _, kind := range []client.Object{&appsv1.ControllerRevision{}, &appsv1.Deployment{}} {
		if err := b.live().DeleteAllOf(ctx, kind, client.InNamespace(b.key.Namespace)); err != nil {
			b.Error(err)
		}
	}
}

// othersAreLeftAlone puts an object of somebody else where the fleet needs one, for each kind in turn.
func othersAreLeftAlone(t *testing.T, b *bench) {
	for kind, theirs := range oneOfEach() {
		if err := b.direct().Create(b.ctx, theirs); err != nil {
			t.Fatal(err)
		}
		b.settled()
		after, ok := theirs.DeepCopyObject().(client.Object)
		if !ok {
			t.Fatalf("%T", theirs)
		}
		if err := b.live().Get(b.ctx, client.ObjectKeyFromObject(theirs), after); err != nil || after.GetResourceVersion() != theirs.GetResourceVersion() {
			t.Errorf("%s of somebody else: %v, version %s, was %s", kind, err, after.GetResourceVersion(), theirs.GetResourceVersion())
		}
		where, want := v1alpha1.ConditionDegraded, v1alpha1.ReasonConflict
		if kind == "ConfigMap" {
			where, want = v1alpha1.ConditionVIPBound, v1alpha1.ReasonProviderFailed
		}
		if reason, message := b.reason(where); reason != string(want) || !strings.Contains(message, kind+" "+theirs.GetName()) || !strings.Contains(message, "belongs to somebody else") {
			t.Errorf("%s of somebody else: %s is %s, %q", kind, where, reason, message)
		}
		if err := b.direct().Delete(b.ctx, theirs); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if reason, message := b.reason(where); reason == string(want) {
			t.Errorf("%s of somebody else is gone: %s is %s, %q", kind, where, reason, message)
		}
		for _, o := range oneOfEach() {
			if err := client.IgnoreNotFound(b.direct().Delete(b.ctx, o)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// whatLeavesTheSpecIsDeleted takes away one section of the spec after the other.
func whatLeavesTheSpecIsDeleted(t *testing.T, b *bench) {
	b.settled()
	f := func(kind string, edit func(*v1alpha1.GridRouterSpec)) {
		t.Helper()
		gone := oneOfEach()[kind]
		if err := b.live().Get(b.ctx, client.ObjectKeyFromObject(gone), gone); err != nil {
			t.Errorf("%s before: %v", kind, err)
		}
		fleet := b.fleet()
		edit(&fleet.Spec)
		if err := b.options.Client.Update(b.ctx, fleet); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if err := b.live().Get(b.ctx, client.ObjectKeyFromObject(gone), gone); !isGone(err) {
			t.Errorf("%s is still there: %v", kind, err)
		}
	}
	three := int32(3)
	f("HorizontalPodAutoscaler", func(s *v1alpha1.GridRouterSpec) { s.Autoscaling, s.Replicas = nil, &three })
	f("ConfigMap", func(s *v1alpha1.GridRouterSpec) { s.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureClusterIP} })
	f("NetworkPolicy", func(s *v1alpha1.GridRouterSpec) { s.Access = nil })
	if c := meta.FindStatusCondition(b.fleet().Status.Conditions, string(v1alpha1.ConditionVIPBound)); c != nil {
		t.Errorf("a fleet without a VIP says %+v", c)
	}
	var d appsv1.Deployment
	if err := b.live().Get(b.ctx, b.key, &d); err != nil || *d.Spec.Replicas != three {
		t.Errorf("%v, %v routers", err, d.Spec.Replicas)
	}
}

func isGone(err error) bool { return err != nil && client.IgnoreNotFound(err) == nil }

// edits are changes by hand of a field of each object that the operator has set.
func edits() map[string]string {
	return map[string]string{
		"ServiceAccount":          `{"automountServiceAccountToken": true}`,
		"Deployment":              `{"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}`,
		"Service":                 `{"spec": {"selector": {"gridrouter.io/fleet": "another"}}}`,
		"PodDisruptionBudget":     `{"spec": {"maxUnavailable": 3}}`,
		"HorizontalPodAutoscaler": `{"spec": {"maxReplicas": 50}}`,
		"NetworkPolicy":           `{"spec": {"ingress": [{}]}}`,
		"ConfigMap":               `{"data": {"keepalived.conf": "mine"}}`,
	}
}

func (b *bench) patch(kind, patch string) {
	b.Helper()
	if err := b.direct().Patch(b.ctx, oneOfEach()[kind], client.RawPatch("application/merge-patch+json", []byte(patch)), client.FieldOwner("somebody")); err != nil {
		b.Fatalf("%s: %v", kind, err)
	}
}

// text is an object as it is, without what every write changes.
func (b *bench) text(kind string) string {
	b.Helper()
	o := oneOfEach()[kind]
	if err := b.live().Get(b.ctx, client.ObjectKeyFromObject(o), o); err != nil {
		b.Fatalf("%s: %v", kind, err)
	}
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	o.SetGeneration(0)
	return jsonOf(b.T, o)
}

func changesByHandAreUndone(t *testing.T, b *bench) {
	b.settled()
	for kind, edit := range edits() {
		want := b.text(kind)
		b.patch(kind, edit)
		if b.text(kind) == want {
			t.Errorf("%s: %s changes nothing", kind, edit)
		}
		b.settled()
		if got := b.text(kind); got != want {
			t.Errorf("%s is\n%s\nafter %s, want\n%s", kind, got, edit, want)
		}
	}
}

func foreignFieldsStay(t *testing.T, b *bench) {
	b.settled()
	for kind := range oneOfEach() {
		b.patch(kind, `{"metadata": {"labels": {"team": "shop"}, "annotations": {"note": "ours"}}}`)
		b.settled()
		if b.writes > 0 {
			t.Errorf("%s: %d writes because of foreign fields; the last: %s", kind, b.writes, b.last)
		}
		if got := b.text(kind); !strings.Contains(got, `"team":"shop"`) || !strings.Contains(got, `"note":"ours"`) {
			t.Errorf("%s has lost foreign fields: %s", kind, got)
		}
	}
	// They stay when the operator writes the object, too.
	fleet := b.fleet()
	fleet.Spec.Version, fleet.Spec.Listeners = "v2", []v1alpha1.Listener{{Name: "web", Port: 8081}}
	if err := b.options.Client.Update(b.ctx, fleet); err != nil {
		t.Fatal(err)
	}
	b.settled()
	for _, kind := range []string{"Deployment", "Service"} {
		if got := b.text(kind); !strings.Contains(got, `"team":"shop"`) || !strings.Contains(got, "8081") {
			t.Errorf("%s after a change of the spec: %s", kind, got)
		}
	}
}

func deletedObjectsComeBack(t *testing.T, b *bench) {
	b.settled()
	for kind, o := range oneOfEach() {
		if err := b.direct().Delete(b.ctx, o); err != nil {
			t.Fatal(err)
		}
		b.settled()
		if err := b.live().Get(b.ctx, client.ObjectKeyFromObject(o), o); err != nil {
			t.Errorf("%s does not come back: %v", kind, err)
		}
	}
}

// theAutoscalersNumberStays writes what an autoscaler would, and has the operator write the object.
func theAutoscalersNumberStays(t *testing.T, b *bench) {
	b.settled()
	b.patch("Deployment", `{"spec": {"replicas": 4}}`)
	for _, version := range []string{"v2", "v3"} {
		fleet := b.fleet()
		fleet.Spec.Version = version
		if err := b.options.Client.Update(b.ctx, fleet); err != nil {
			t.Fatal(err)
		}
		b.settled()
		var d appsv1.Deployment
		if err := b.live().Get(b.ctx, b.key, &d); err != nil || *d.Spec.Replicas != 4 || !strings.HasSuffix(d.Spec.Template.Spec.Containers[0].Image, version) {
			t.Errorf("%v: %d routers of %s", err, *d.Spec.Replicas, d.Spec.Template.Spec.Containers[0].Image)
		}
	}
}

// revisionsHaveTheirOwnNumbers changes the spec while the operator's cache does not know what was stored last.
func revisionsHaveTheirOwnNumbers(t *testing.T, b *bench) {
	b.settled()
	var known appsv1.ControllerRevisionList
	if err := b.live().List(b.ctx, &known, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	b.behind = &known
	for _, version := range []string{"v2", "v3"} {
		fleet := b.fleet()
		fleet.Spec.Version = version
		if err := b.options.Client.Update(b.ctx, fleet); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := b.Reconcile(b.ctx, ctrl.Request{NamespacedName: b.key}); err != nil {
				t.Fatal(err)
			}
		}
	}
	b.behind = nil
	b.settled()
	var all appsv1.ControllerRevisionList
	if err := b.live().List(b.ctx, &all, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	numbers := map[int64]string{}
	for _, r := range all.Items {
		if other := numbers[r.Revision]; other != "" {
			t.Errorf("%s and %s are both revision %d", other, r.Name, r.Revision)
		}
		numbers[r.Revision] = r.Name
	}
	if len(numbers) != 3 {
		t.Errorf("revisions %v, want three", numbers)
	}
}

func jsonOf(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
