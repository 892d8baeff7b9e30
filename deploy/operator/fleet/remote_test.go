package fleet

import (
	"context"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

// away is a registry whose clusters cannot be reached.
type away struct{}

func (away) Cluster(_ context.Context, namespace, connection string) (clusters.Cluster, error) {
	return clusters.Cluster{}, &clusters.UnreachableError{Namespace: namespace, Name: connection, Why: "it is away"}
}

// TestAFleetWhoseClusterIsGoneForGoodIsLetGo deletes a fleet in another cluster, which goes away first.
func TestAFleetWhoseClusterIsGoneForGoodIsLetGo(t *testing.T) {
	config := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o := newOperator(t, config, 0)
	one, ok := o.options.Clusters.(only)
	if !ok {
		t.Fatalf("%T", o.options.Clusters)
	}
	one.one.Remote = true
	o.options.Clusters = one
	fleet := whole("edge")
	fleet.Spec.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureClusterIP}
	if err := o.direct().Create(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKeyFromObject(fleet)
	if err := o.settle(ctx, key); err != nil {
		t.Fatal(err)
	}
	if err := o.direct().Delete(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	o.options.Clusters = away{}
	told := events.NewFakeRecorder(10)
	o.options.Events = told
	look := func(after time.Duration) (ctrl.Result, error) {
		o.options.Now = func() time.Time { return time.Now().Add(after) }
		return o.Reconcile(ctx, ctrl.Request{NamespacedName: key})
	}
	if result, err := look(mostCleaning - time.Minute); err != nil || result.RequeueAfter == 0 {
		t.Errorf("before its time is over: %v, %v", result, err)
	}
	if err := o.direct().Get(ctx, key, fleet); err != nil {
		t.Errorf("before its time is over: %v", err)
	}
	if _, err := look(mostCleaning + time.Second); err != nil {
		t.Error(err)
	}
	if err := o.direct().Get(ctx, key, fleet); !gone(err) {
		t.Errorf("it is held up: %v, %v", err, fleet.Finalizers)
	}
	select {
	case event := <-told.Events:
		for _, want := range []string{"ObjectsLeft", "gridrouter.io/fleet=edge", "it is away"} {
			if !strings.Contains(event, want) {
				t.Errorf("the event is %q, and lacks %q", event, want)
			}
		}
	default:
		t.Error("nobody is told what is left")
	}
}
