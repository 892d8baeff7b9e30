package fleet

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// step is what somebody asks of a fleet.
type step struct {
	patch string // of the spec
	// stuck says that canaries do not get ready meanwhile.
	stuck bool
}

// TestAnOperatorThatIsKilledDuringACanaryIsFollowedByOneThatGoesOn kills the operator after each write of a fleet
// whose second version passes a canary, and whose third is given up in the midst of one.
func TestAnOperatorThatIsKilledDuringACanaryIsFollowedByOneThatGoesOn(t *testing.T) {
	walk(t, 40, step{patch: `{}`}, step{patch: `{"version": "v2"}`}, step{patch: `{"version": "v3"}`, stuck: true}, step{patch: `{"version": "v2"}`})
}

// TestAnOperatorThatIsKilledWhileAFleetChangesIsFollowedByOneThatGoesOn kills the operator after each write of a
// fleet that gets an autoscaler and a VIP, loses both, and goes back to an earlier revision.
func TestAnOperatorThatIsKilledWhileAFleetChangesIsFollowedByOneThatGoesOn(t *testing.T) {
	walk(t, 25, step{patch: `{"rollout": {"strategy": "Rolling", "canary": null}}`},
		step{patch: `{"replicas": null, "autoscaling": {"min": 2, "max": 6, "requestsPerSecond": 100}, "version": "v2"}`},
		step{patch: `{"exposure": {"type": "LVS", "vip": "10.9.0.11"}, "access": {"namespaces": {"matchLabels": {"zone": "management"}}}}`},
		step{patch: `{"replicas": 4, "autoscaling": null, "exposure": {"type": "ClusterIP", "vip": null}, "access": null, "rollbackTo": 1}`})
}

// walk has a fleet go through changes, once for each write that they take, after which the operator is killed and
// followed by another one. All must come to the same end.
func walk(t *testing.T, atLeast int, changes ...step) {
	t.Helper()
	config := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	run := func(name string, killAfter int) (writes int, made string) {
		t.Helper()
		o := newOperator(t, config, killAfter)
		direct := o.live()
		fleet := canaried(name)
		if err := direct.Create(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		key := client.ObjectKeyFromObject(fleet)
		for _, c := range changes {
			if err := direct.Patch(ctx, fleet, client.RawPatch("application/merge-patch+json", []byte(`{"spec": `+c.patch+`}`))); err != nil {
				t.Fatal(err)
			}
			play := func() { playDeployments(ctx, t, direct, key, !c.stuck) }
			o.after = play
			err := o.settle(ctx, key)
			if errors.Is(err, errKilled) {
				writes += o.writes
				o = newOperator(t, config, 0)
				o.after = play
				err = o.settle(ctx, key)
			}
			if err != nil {
				t.Fatalf("%s, killed after %d writes: %v", c.patch, killAfter, err)
			}
		}
		made = shape(ctx, t, o, key) + told(ctx, t, o, key)
		last := newOperator(t, config, 0)
		if err := last.settle(ctx, key); err != nil || last.writes != 0 {
			t.Errorf("killed after %d writes: at rest another operator makes %d writes: %v; the last: %s", killAfter, last.writes, err, last.last)
		}
		if err := direct.Delete(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		return writes + o.writes, made
	}
	writes, want := run("whole", 0)
	t.Logf("%d writes:\n%s", writes, want)
	if writes < atLeast {
		t.Errorf("only %d writes", writes)
	}
	for kill := 1; kill <= writes; kill += everyWrite() {
		if _, got := run(fmt.Sprintf("killed-%d", kill), kill); got != want {
			t.Errorf("killed after write %d of %d:\n%s\nwant\n%s", kill, writes, got, want)
		}
	}
}

// canaried is a fleet whose versions are tried in two steps, which pass without traffic.
func canaried(name string) *v1alpha1.GridRouter {
	four, none := int32(4), int64(0)
	at := &metav1.Duration{}
	fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{
		Version: "v1", Replicas: &four, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://127.0.0.1:1"}},
		Rollout: v1alpha1.Rollout{Strategy: v1alpha1.RolloutCanary, Canary: &v1alpha1.Canary{
			Steps: []v1alpha1.CanaryStep{{Percent: 25, Hold: at}, {Percent: 50, Hold: at}}, Analysis: v1alpha1.CanaryAnalysis{MinRequests: &none},
		}},
	}}
	fleet.Name, fleet.Namespace = name, "default"
	return fleet
}

// playDeployments does what the controllers of a whole Kubernetes would: all pods of the Deployments are there,
// and those of canaries ready if they are to get so.
func playDeployments(ctx context.Context, t *testing.T, direct client.Client, key types.NamespacedName, canariesGetReady bool) {
	t.Helper()
	names := render.NamesOf(key.Name)
	for _, name := range []string{names.Stable, names.Canary} {
		var d appsv1.Deployment
		switch err := direct.Get(ctx, client.ObjectKey{Namespace: key.Namespace, Name: name}, &d); {
		case gone(err):
			continue
		case err != nil:
			t.Fatal(err)
		}
		wanted := *d.Spec.Replicas
		if name == names.Stable && wanted < 2 {
			t.Errorf("%s is to have %d routers", key.Name, wanted)
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: wanted, UpdatedReplicas: wanted}
		if name == names.Stable || canariesGetReady {
			d.Status.ReadyReplicas, d.Status.AvailableReplicas = wanted, wanted
		}
		if err := direct.Status().Update(ctx, &d); err != nil {
			t.Fatal(err)
		}
	}
}

// told is what the status says of revisions and of the last canary.
func told(ctx context.Context, t *testing.T, o *operator, key types.NamespacedName) string {
	t.Helper()
	fleet := &v1alpha1.GridRouter{}
	if err := o.direct().Get(ctx, key, fleet); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(" versions %+v", fleet.Status.Versions)
	for _, r := range fleet.Status.History {
		text += fmt.Sprintf("; %d %s %s", r.Revision, r.Version, r.Outcome)
	}
	if c := fleet.Status.Canary; c != nil {
		text += fmt.Sprintf("; canary of %d: %s %s", c.Revision, c.State, c.Verdict)
	}
	return text
}
