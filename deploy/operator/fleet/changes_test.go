package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/vip"
)

// Specs of a rollout, in JSON.
const (
	rolling   = `"rollout": {"strategy": "Rolling", "canary": null}`
	longSteps = `"rollout": {"canary": {"steps": [{"percent": 25, "hold": "1h"}]}}`
)

// TestChangesInTheMidstOfOthers has people change fleets while canaries and rollouts go on, beside one API
// server, with the controllers of Kubernetes played by the test.
func TestChangesInTheMidstOfOthers(t *testing.T) {
	config := kubetest.Start(t)
	for name, try := range map[string]func(*stage){
		"a version is tried again after a rollback":        triedAgain,
		"a slow promotion goes on":                         slowPromotion,
		"a pause costs a promotion nothing":                pausedPromotion,
		"canaries that never get ready are taken back":     stuckCanaries,
		"a secret that is missing leaves canaries alone":   missingSecret,
		"a revision that was deleted ends its canary":      deletedRevision,
		"a revision that another operator stored comes on": foreignRevision,
		"no router is wanted during a canary":              zeroDuringCanary,
		"an autoscaler takes over a fleet of none":         autoscalingAfterZero,
		"rollbackTo ends a canary":                         rollbackDuringCanary,
		"an object that is refused holds up no other":      refusedObject,
		"a VIP that fails is tried again soon":             failingVIP,
		"a VIP has the ports of routers alone":             foreignPorts,
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			s := &stage{bench: &bench{T: t, ctx: ctx, operator: newOperator(t, config, 0)}, at: time.Now()}
			s.options.Now = func() time.Time { return s.at }
			fleet := canaried("edge")
			if err := s.live().Create(ctx, fleet); err != nil {
				t.Fatal(err)
			}
			s.key = client.ObjectKeyFromObject(fleet)
			t.Cleanup(func() { s.clear(context.WithoutCancel(ctx)) })
			try(s)
		})
	}
}

// stage is a fleet whose operator and clock are driven by hand.
type stage struct {
	*bench
	at    time.Time
	stuck bool // canaries do not get ready
}

// rounds has the operator and the controllers of Kubernetes work in turn, a second each time.
func (s *stage) rounds(n int) {
	s.Helper()
	for range n {
		s.once()
		playDeployments(s.ctx, s.T, s.live(), s.key, !s.stuck)
		s.at = s.at.Add(time.Second)
	}
}

func (s *stage) once() ctrl.Result {
	s.Helper()
	result, err := s.Reconcile(s.ctx, ctrl.Request{NamespacedName: s.key})
	if err != nil && !strings.Contains(err.Error(), "is invalid") {
		s.Fatal(err)
	}
	return result
}

// spec changes the spec by a JSON object's fields.
func (s *stage) spec(fields string) {
	s.Helper()
	if err := s.live().Patch(s.ctx, s.fleet(), client.RawPatch("application/merge-patch+json", []byte(`{"spec": {`+fields+`}}`))); err != nil {
		s.Fatal(err)
	}
}

// is wants the stable routers to be so many of a version, and Progressing to have a reason.
func (s *stage) is(routers int32, version string, reason v1alpha1.Reason) {
	s.Helper()
	var d appsv1.Deployment
	if err := s.live().Get(s.ctx, s.key, &d); err != nil {
		s.Fatal(err)
	}
	if image := d.Spec.Template.Spec.Containers[0].Image; *d.Spec.Replicas != routers || !strings.HasSuffix(image, ":"+version) {
		s.Errorf("%d routers of %s, want %d of %s", *d.Spec.Replicas, image, routers, version)
	}
	if got, message := s.reason(v1alpha1.ConditionProgressing); got != string(reason) {
		s.Errorf("Progressing is %s, %q, want %s", got, message, reason)
	}
}

// canaryIs wants the last canary to be in a state.
func (s *stage) canaryIs(state canary.State) {
	s.Helper()
	if c := s.fleet().Status.Canary; c == nil || c.State != string(state) {
		s.Errorf("the canary is %+v, want %s", c, state)
	}
}

func triedAgain(s *stage) {
	s.rounds(12)
	s.spec(`"version": "v2"`)
	s.rounds(40)
	s.is(4, "v2", v1alpha1.ReasonComplete)
	s.spec(`"rollbackTo": 1`)
	s.rounds(12)
	s.is(4, "v1", v1alpha1.ReasonComplete)
	s.spec(`"rollbackTo": 0`)
	s.rounds(40)
	s.is(4, "v2", v1alpha1.ReasonComplete)
	s.spec(`"replicas": 7`)
	s.rounds(5)
	s.is(7, "v2", v1alpha1.ReasonComplete)
}

// untilPromotion stops when the stable routers have begun to be replaced.
func untilPromotion(s *stage) {
	s.Helper()
	s.rounds(12)
	s.spec(`"version": "v2"`)
	for range 60 {
		s.once()
		s.at = s.at.Add(time.Second)
		if c := s.fleet().Status.Canary; c != nil && c.State == string(canary.Promoting) {
			return
		}
		playDeployments(s.ctx, s.T, s.live(), s.key, true)
	}
	s.Fatal("it is not promoted")
}

func slowPromotion(s *stage) {
	untilPromotion(s)
	for updated := int32(1); updated <= 3; updated++ {
		var d appsv1.Deployment
		if err := s.live().Get(s.ctx, s.key, &d); err != nil {
			s.Fatal(err)
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: 4, UpdatedReplicas: updated, ReadyReplicas: 4, AvailableReplicas: 4}
		if err := s.live().Status().Update(s.ctx, &d); err != nil {
			s.Fatal(err)
		}
		s.at = s.at.Add(4 * time.Minute)
		s.once()
	}
	s.canaryIs(canary.Promoting)
	for range 4 { // and no longer
		s.at = s.at.Add(4 * time.Minute)
		s.once()
	}
	if c := s.fleet().Status.Canary; c.State == string(canary.Promoting) {
		s.Error("a promotion without progress goes on for ever")
	}
}

func pausedPromotion(s *stage) {
	untilPromotion(s)
	s.spec(`"paused": true`)
	for range 5 {
		s.once()
		s.at = s.at.Add(4 * time.Minute)
	}
	s.spec(`"paused": false`)
	s.once()
	s.canaryIs(canary.Promoting)
	s.rounds(10)
	s.is(4, "v2", v1alpha1.ReasonComplete)
}

func stuckCanaries(s *stage) {
	s.rounds(12)
	s.stuck = true
	s.spec(`"version": "v2"`)
	for range 20 {
		s.rounds(3)
		s.at = s.at.Add(time.Minute)
	}
	s.is(4, "v1", v1alpha1.ReasonRolledBack)
	s.canaryIs(canary.RolledBack)
	if history := s.fleet().Status.History; history[0].Outcome != v1alpha1.RevisionRolledBack || history[0].Why == "" {
		s.Errorf("the history says %+v", history)
	}
	writes := s.writes
	s.rounds(5)
	if s.writes > writes {
		s.Error("what was taken back is tried again")
	}
}

func missingSecret(s *stage) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "etcd-login"}, Data: map[string][]byte{"ca.crt": []byte("x")}}
	if err := s.live().Create(s.ctx, secret); err != nil {
		s.Fatal(err)
	}
	s.spec(`"etcd": {"secret": "etcd-login"}, ` + longSteps)
	s.rounds(12)
	s.spec(`"version": "v2"`)
	s.rounds(12)
	s.canaryIs(canary.Holding)
	if err := s.live().Delete(s.ctx, secret); err != nil {
		s.Fatal(err)
	}
	s.rounds(6)
	s.canaryIs(canary.Holding)
	var d appsv1.Deployment
	if err := s.live().Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "edge-canary"}, &d); err != nil {
		s.Errorf("the canaries are gone: %v", err)
	}
	if reason, _ := s.reason(v1alpha1.ConditionDegraded); reason != string(v1alpha1.ReasonSecretMissing) {
		s.Errorf("Degraded is %s", reason)
	}
}

func deletedRevision(s *stage) {
	s.spec(longSteps)
	s.rounds(12)
	s.spec(`"version": "v2"`)
	s.rounds(12)
	s.canaryIs(canary.Holding)
	var all appsv1.ControllerRevisionList
	if err := s.live().List(s.ctx, &all, client.InNamespace("default")); err != nil {
		s.Fatal(err)
	}
	for i := range all.Items {
		if all.Items[i].Revision == 2 {
			if err := s.live().Delete(s.ctx, &all.Items[i]); err != nil {
				s.Fatal(err)
			}
		}
	}
	s.rounds(1)
	s.spec(`"version": "v1"`)
	s.rounds(8)
	s.is(4, "v1", v1alpha1.ReasonComplete)
	s.spec(`"version": "v3", ` + rolling)
	s.rounds(8)
	s.is(4, "v3", v1alpha1.ReasonComplete)
}

// foreignRevision goes back to a revision whose template has a field that this version does not know.
func foreignRevision(s *stage) {
	s.spec(rolling)
	s.rounds(10)
	s.spec(`"version": "v2"`)
	s.rounds(10)
	var all appsv1.ControllerRevisionList
	if err := s.live().List(s.ctx, &all, client.InNamespace("default")); err != nil {
		s.Fatal(err)
	}
	for i := range all.Items {
		r := &all.Items[i]
		if r.Revision != 1 {
			continue
		}
		var data map[string]any
		if err := json.Unmarshal(r.Data.Raw, &data); err != nil {
			s.Fatal(err)
		}
		template, ok := data["template"].(map[string]any)
		if !ok {
			s.Fatalf("the data are %s", r.Data.Raw)
		}
		template["fieldOfAnotherVersion"] = true
		again := &appsv1.ControllerRevision{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: r.Name, Labels: r.Labels, OwnerReferences: r.OwnerReferences},
			Revision:   1, Data: runtime.RawExtension{Raw: []byte(jsonOf(s.T, data))},
		}
		if err := errors.Join(s.live().Delete(s.ctx, r), s.live().Create(s.ctx, again, client.FieldOwner(render.FieldOwner))); err != nil {
			s.Fatal(err)
		}
	}
	s.spec(`"version": "v1"`)
	s.rounds(10)
	s.is(4, "v1", v1alpha1.ReasonComplete)
}

func zeroDuringCanary(s *stage) {
	s.spec(longSteps)
	s.rounds(12)
	s.spec(`"version": "v2"`)
	s.rounds(12)
	s.canaryIs(canary.Holding)
	s.spec(`"replicas": 0`)
	for range 10 { // with none, nothing is to be played
		s.once()
		s.playAll()
	}
	s.is(0, "v2", v1alpha1.ReasonComplete)
	if err := s.live().Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "edge-canary"}, &appsv1.Deployment{}); !gone(err) {
		s.Errorf("canaries are left: %v", err)
	}
}

func autoscalingAfterZero(s *stage) {
	s.spec(`"replicas": 0, ` + rolling)
	for range 8 {
		s.once()
		s.playAll()
	}
	s.spec(`"replicas": null, "autoscaling": {"min": 2, "max": 5, "requestsPerSecond": 10}`)
	for range 8 {
		s.once()
		s.playAll()
	}
	s.is(2, "v1", v1alpha1.ReasonComplete)
}

// playAll plays the controllers, for Deployments of none as well.
func (s *stage) playAll() {
	s.Helper()
	var all appsv1.DeploymentList
	if err := s.live().List(s.ctx, &all, client.InNamespace("default")); err != nil {
		s.Fatal(err)
	}
	for i := range all.Items {
		d := &all.Items[i]
		n := *d.Spec.Replicas
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
		if err := s.live().Status().Update(s.ctx, d); err != nil {
			s.Fatal(err)
		}
	}
}

func rollbackDuringCanary(s *stage) {
	s.rounds(12)
	s.spec(`"version": "v2"`)
	s.rounds(40)
	s.is(4, "v2", v1alpha1.ReasonComplete)
	s.spec(`"version": "v3", ` + longSteps)
	s.rounds(12)
	s.canaryIs(canary.Holding)
	s.spec(`"rollbackTo": 1`)
	s.rounds(10)
	s.is(4, "v1", v1alpha1.ReasonComplete)
	s.canaryIs(canary.RolledBack)
}

func refusedObject(s *stage) {
	s.spec(rolling)
	s.rounds(12)
	s.spec(`"placement": {"nodeSelector": {"a": "b c"}}, "access": {"namespaces": {"matchLabels": {"a": "b"}}}`)
	s.rounds(5)
	if err := s.live().Get(s.ctx, s.key, &networkingv1.NetworkPolicy{}); err != nil {
		s.Errorf("the NetworkPolicy: %v", err)
	}
	if reason, message := s.reason(v1alpha1.ConditionDegraded); reason != string(v1alpha1.ReasonApplyFailed) || !strings.Contains(message, "nodeSelector") {
		s.Errorf("Degraded is %s, %q", reason, message)
	}
}

// refusing is a provider of VIPs that fails.
type refusing struct{}

func (refusing) Apply(context.Context, vip.VIP) error         { return errors.New("a quota") }
func (refusing) Remove(context.Context, string, string) error { return nil }

func failingVIP(s *stage) {
	s.options.VIP = func(clusters.Cluster, *v1alpha1.GridRouter) vip.Provider { return refusing{} }
	s.spec(`"exposure": {"type": "LVS", "vip": "10.9.0.77"}, ` + rolling)
	s.rounds(12)
	if again := s.once().RequeueAfter; again > soon {
		s.Errorf("looked at again after %s", again)
	}
	if reason, _ := s.reason(v1alpha1.ConditionVIPBound); reason != string(v1alpha1.ReasonProviderFailed) {
		s.Errorf("VIPBound is %s", reason)
	}
}

// foreignPorts has a pod of the fleet with another container beside the router.
func foreignPorts(s *stage) {
	s.spec(`"exposure": {"type": "LVS", "vip": "10.9.0.78"}, ` + rolling)
	s.rounds(12)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "edge-1", Labels: map[string]string{render.LabelFleet: "edge"}}}
	pod.Spec.Containers = []corev1.Container{
		{Name: render.Container, Image: "c", Ports: []corev1.ContainerPort{{ContainerPort: 8080}, {ContainerPort: 8081, Protocol: corev1.ProtocolUDP}}},
		{Name: "sidecar", Image: "c", Ports: []corev1.ContainerPort{{ContainerPort: 22}}},
	}
	no := false
	pod.Spec.AutomountServiceAccountToken = &no
	if err := s.live().Create(s.ctx, pod); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = s.live().Delete(context.WithoutCancel(s.ctx), pod, client.GracePeriodSeconds(0)) })
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.1.2.3", PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	if err := s.live().Status().Update(s.ctx, pod); err != nil {
		s.Fatal(err)
	}
	s.rounds(4)
	var config corev1.ConfigMap
	if err := s.live().Get(s.ctx, client.ObjectKey{Namespace: "default", Name: "edge-keepalived"}, &config); err != nil {
		s.Fatal(err)
	}
	text := config.Data[vip.ConfigKey]
	if !strings.Contains(text, "10.9.0.78 8080") || strings.Contains(text, "10.9.0.78 22 ") || strings.Contains(text, "8081") {
		s.Errorf("the VIP forwards\n%s", text)
	}
}
