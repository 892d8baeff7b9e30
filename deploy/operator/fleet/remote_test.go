package fleet

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/render"
)

// away is a registry whose clusters cannot be reached.
type away struct{}

func (away) Cluster(_ context.Context, namespace, connection string) (clusters.Cluster, error) {
	return clusters.Cluster{}, &clusters.UnreachableError{Namespace: namespace, Name: connection, Reason: v1alpha1.ReasonUnreachable, Why: "it is away"}
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
	// An operator that comes late, after the time is over, has tried nothing yet.
	const away = 2 * mostCleaning
	for _, after := range []time.Duration{away, away + mostCleaning - time.Minute} {
		if result, err := look(after); err != nil || result.RequeueAfter == 0 {
			t.Errorf("before its time is over: %v, %v", result, err)
		}
	}
	if err := o.direct().Get(ctx, key, fleet); err != nil {
		t.Errorf("before its time is over: %v", err)
	}
	c := meta.FindStatusCondition(fleet.Status.Conditions, string(v1alpha1.ConditionDegraded))
	if c == nil || c.Reason != string(v1alpha1.ReasonClusterUnreachable) || !strings.Contains(c.Message, "is deleted once") || !strings.Contains(c.Message, "it is away") {
		t.Errorf("what is waited for is told as %+v", c)
	}
	if _, err := look(away + mostCleaning + time.Second); err != nil {
		t.Error(err)
	}
	if err := o.direct().Get(ctx, key, fleet); !gone(err) {
		t.Errorf("it is held up: %v, %v", err, fleet.Finalizers)
	}
	event := ""
	for len(told.Events) > 0 && !strings.Contains(event, "ObjectsLeft") {
		event = <-told.Events
	}
	for _, want := range []string{"ObjectsLeft", "gridrouter.io/fleet=edge", "it is away"} {
		if !strings.Contains(event, want) {
			t.Errorf("the last event is %q, and lacks %q", event, want)
		}
	}
}

// remotely has an operator look at fleets as those of another cluster, which is the same one.
func remotely(t *testing.T, config *rest.Config, killAfter int) *operator {
	t.Helper()
	o := newOperator(t, config, killAfter)
	one, ok := o.options.Clusters.(only)
	if !ok {
		t.Fatalf("%T", o.options.Clusters)
	}
	one.one.Remote = true
	o.options.Clusters = one
	return o
}

// placed is a fleet with every object in another cluster.
func placed(name string) *v1alpha1.GridRouter {
	fleet := whole(name)
	fleet.Spec.Cluster = "west"
	return fleet
}

// TestAnOperatorThatIsKilledWhileItDeletesARemoteFleetIsFollowedByOneThatGoesOn kills the operator after each
// write of a deletion, and looks for what is left in the other cluster.
func TestAnOperatorThatIsKilledWhileItDeletesARemoteFleetIsFollowedByOneThatGoesOn(t *testing.T) {
	config := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := func(killAfter int) (writes int) {
		t.Helper()
		maker, fleet := remotely(t, config, 0), placed(fmt.Sprintf("killed-%d", killAfter))
		if err := maker.direct().Create(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		key := client.ObjectKeyFromObject(fleet)
		if err := maker.settle(ctx, key); err != nil {
			t.Fatal(err)
		}
		if left := leftOf(ctx, t, maker, key); len(left) < 9 {
			t.Fatalf("the fleet has only %v", left)
		}
		if err := maker.direct().Delete(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		first := remotely(t, config, killAfter)
		err := first.settle(ctx, key)
		if killAfter > 0 {
			// What fails is tried again by the same operator, which cannot write any more.
			if last := remotely(t, config, 0); last.settle(ctx, key) != nil {
				t.Fatalf("after a kill at write %d: %v", killAfter, err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		if left := leftOf(ctx, t, maker, key); len(left) > 0 {
			t.Errorf("killed after write %d: these are left: %v", killAfter, left)
		}
		if err := maker.live().Get(ctx, key, fleet); !gone(err) {
			t.Errorf("killed after write %d: the fleet is still there: %v, %v", killAfter, err, fleet.Finalizers)
		}
		return first.writes
	}
	writes := run(0)
	t.Logf("%d writes to delete a fleet", writes)
	if writes < 10 {
		t.Errorf("only %d writes", writes)
	}
	for kill := 1; kill <= writes; kill += everyWrite() {
		run(kill)
	}
}

// leftOf lists what of a fleet is in its cluster.
func leftOf(ctx context.Context, t *testing.T, o *operator, key client.ObjectKey) (left []string) {
	t.Helper()
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.ControllerRevisionList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{}, &corev1.SecretList{},
		&policyv1.PodDisruptionBudgetList{}, &autoscalingv2.HorizontalPodAutoscalerList{}, &networkingv1.NetworkPolicyList{},
	} {
		if err := o.live().List(ctx, list, client.InNamespace(key.Namespace), client.MatchingLabels{render.LabelFleet: key.Name}); err != nil {
			t.Fatal(err)
		}
		items, err := itemsOf(list)
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range items {
			left = append(left, fmt.Sprintf("%T %s", item, item.GetName()))
		}
	}
	return left
}

// TestWhatTheCacheDoesNotKnowYetIsDeletedToo deletes a fleet whose objects were made a moment ago.
func TestWhatTheCacheDoesNotKnowYetIsDeletedToo(t *testing.T) {
	config := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	o, fleet := remotely(t, config, 0), placed("edge")
	if err := o.direct().Create(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	key := client.ObjectKeyFromObject(fleet)
	if err := o.settle(ctx, key); err != nil {
		t.Fatal(err)
	}
	strangers := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "strangers"}}
	if err := o.live().Create(ctx, strangers); err != nil {
		t.Fatal(err)
	}
	if err := o.direct().Delete(ctx, fleet); err != nil {
		t.Fatal(err)
	}
	one, direct := o.options.Clusters.(only), o.live().(client.WithWatch) //nolint:forcetypeassert // as made
	one.one.Client = interceptor.NewClient(direct, interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
			return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
		},
		List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error { return nil },
	})
	o.options.Clusters = one
	if err := o.settle(ctx, key); err != nil {
		t.Fatal(err)
	}
	if left := leftOf(ctx, t, o, key); len(left) > 0 {
		t.Errorf("these are left: %v", left)
	}
	if err := o.live().Get(ctx, client.ObjectKeyFromObject(strangers), strangers); err != nil {
		t.Errorf("what is somebody else's: %v", err)
	}
}

// busy is a registry whose clusters answer no sooner than they are let, but for the local one.
type busy struct {
	entered chan string
	let     chan struct{}
}

func (b busy) Cluster(_ context.Context, namespace, connection string) (clusters.Cluster, error) {
	if connection != "" {
		b.entered <- connection
		<-b.let
	}
	return clusters.Cluster{}, &clusters.UnreachableError{Namespace: namespace, Name: connection, Reason: v1alpha1.ReasonUnreachable, Why: "it is away"}
}

// TestClustersThatDoNotAnswerHoldUpOnlyTheirOwnFleets has more fleets looked at than there are workers, in clusters
// that take requests and answer none.
func TestClustersThatDoNotAnswerHoldUpOnlyTheirOwnFleets(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	made := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.GridRouter{})
	connections := []string{"north", "east", "south", "west", "centre"}
	var requests []ctrl.Request
	for _, connection := range connections {
		for i := range atOnce {
			fleet := placed(fmt.Sprintf("%s-%d", connection, i))
			fleet.Spec.Cluster = connection
			made.WithObjects(fleet)
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(fleet)})
		}
	}
	local := whole("local")
	made.WithObjects(local)
	registry := busy{entered: make(chan string, len(requests)), let: make(chan struct{})}
	r := New(Options{Client: made.Build(), Clusters: registry, Events: events.NewFakeRecorder(1000)})
	queue := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	r.queue.Store(&queue)
	var running sync.WaitGroup
	work := make(chan ctrl.Request, 2*len(requests)) // the workers' queue
	for range atOnce {
		running.Go(func() {
			for request := range work {
				if _, err := r.Reconcile(ctx, request); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for _, request := range requests {
		work <- request
	}
	if _, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(local)}); err != nil {
		t.Fatal(err)
	}
	// Workers are left that come to the end of all that was asked for.
	testkit.Eventually(t, "a worker is free", func() bool { return len(work) == 0 })
	held := map[string]int{}
	for len(registry.entered) > 0 {
		connection := <-registry.entered
		if held[connection]++; held[connection] > atOnce/4 {
			t.Errorf("%s holds %d workers", connection, held[connection])
		}
	}
	close(registry.let)
	// Who was sent away is called again, one by one.
	close(work)
	running.Wait()
	for n := queue.Len(); n > 0; n = queue.Len() {
		request, _ := queue.Get()
		queue.Done(request)
		if _, err := r.Reconcile(ctx, request); err != nil {
			t.Error(err)
		}
	}
	for _, request := range requests {
		fleet := &v1alpha1.GridRouter{}
		if err := r.options.Client.Get(ctx, request.NamespacedName, fleet); err != nil || len(fleet.Status.Conditions) == 0 {
			t.Errorf("%s was not looked at: %v", request, err)
		}
	}
}
