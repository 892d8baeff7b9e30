package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
	"gridrouter.io/discovery/catalog"
)

// TestTablesThatChangeAllTheTimeAreToldSeldom has a router go from revision to revision, as it does while
// documents are written, and counts how often its fleet's status is written for that.
func TestTablesThatChangeAllTheTimeAreToldSeldom(t *testing.T) {
	var environment *envtest.Environment
	config := kubetest.Start(t, func(e *envtest.Environment) { environment = e })
	ctx, cancel := context.WithTimeout(t.Context(), 2*testkit.Patience)
	defer cancel()
	endpoint := environment.ControlPlane.Etcd.URL.String()
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Context: ctx})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = etcd.Close() }()
	o := newOperator(t, config, 0)
	pool := tables.NewPool(nil, tables.Options{Every: 20 * time.Millisecond})
	defer pool.Close()
	o.options.Tables = pool
	fleet := whole("edge")
	fleet.Spec.Etcd.Endpoints = []v1alpha1.EtcdEndpoint{v1alpha1.EtcdEndpoint(endpoint)}
	if err := o.direct().Create(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	readyPod(ctx, t, o.live(), fleet)
	key := client.ObjectKeyFromObject(fleet)
	late := time.Duration(0)
	o.options.Now = func() time.Time { return time.Now().Add(late) }
	shown := func() int64 {
		if _, err := o.Reconcile(ctx, ctrl.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
		if err := o.live().Get(ctx, key, fleet); err != nil {
			t.Fatal(err)
		}
		if fleet.Status.Table == nil {
			return 0
		}
		return fleet.Status.Table.RevisionHigh
	}
	known := func(revision int64) func() bool {
		return func() bool {
			report, _ := pool.Latest(idOf(fleet))
			return report.Routers["edge-1"].Revision == revision
		}
	}
	tell(ctx, t, etcd, 1)
	testkit.Eventually(t, "the first table is told", func() bool { return shown() == 1 && o.settle(ctx, key) == nil })
	writes := o.writes
	for revision := int64(2); revision < 10; revision++ {
		tell(ctx, t, etcd, revision)
		testkit.Eventually(t, fmt.Sprintf("revision %d is known", revision), known(revision))
		if got := shown(); got != 1 {
			t.Errorf("revision %d is shown at once, of which nobody needs to know", got)
		}
	}
	result, err := o.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	if err != nil || result.RequeueAfter == 0 || result.RequeueAfter > tablesEvery {
		t.Errorf("what was not written comes after %s: %v", result.RequeueAfter, err)
	}
	if o.writes != writes {
		t.Errorf("%d writes meanwhile, the last: %s", o.writes-writes, o.last)
	}
	late = tablesEvery
	if got := shown(); got != 9 || o.writes != writes+1 {
		t.Errorf("later revision %d is shown, after %d writes", got, o.writes-writes)
	}
}

// tell has the router edge-1 tell of its table.
func tell(ctx context.Context, t *testing.T, etcd *clientv3.Client, revision int64) {
	t.Helper()
	text, err := json.Marshal(catalog.Status{ID: "edge-1", Revision: revision, Hash: fmt.Sprintf("hash-%d", revision), EffectiveHash: "same"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd.Put(ctx, "/gridrouter/fleet/edge-1", string(text)); err != nil {
		t.Fatal(err)
	}
}

// readyPod makes a pod that says that it is a ready router of a fleet.
func readyPod(ctx context.Context, t *testing.T, c client.Client, fleet *v1alpha1.GridRouter) {
	t.Helper()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: fleet.Namespace, Name: "edge-1", Labels: map[string]string{render.LabelFleet: fleet.Name}},
		Spec:       corev1.PodSpec{NodeName: "node", Containers: []corev1.Container{{Name: "router", Image: "gridrouter:v1"}}},
	}
	if err := c.Create(ctx, pod); err != nil {
		t.Fatal(err)
	}
	pod.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.200.0.1", PodIPs: []corev1.PodIP{{IP: "10.200.0.1"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
	}
	if err := c.Status().Update(ctx, pod); err != nil {
		t.Fatal(err)
	}
}
