package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/operator/fleet/tables"
	"gridrouter.io/deploy/operator/routermetrics"
)

var errKilled = errors.New("the operator was killed")

// only is a registry of one cluster.
type only struct{ one clusters.Cluster }

func (o only) Cluster(context.Context, string, string) (clusters.Cluster, error) { return o.one, nil }

// operator is a reconciler that is killed after some writes; 0: never.
type operator struct {
	*Reconciler
	writes, killAfter int
	last              string // what was written last, for people
	// uncounted writes for everybody else, and reads past the cache.
	uncounted client.Client
	// after is called after each reconcile; nil: nothing.
	after func()
	// behind is what the cache knows of revisions; nil: all.
	behind *appsv1.ControllerRevisionList
}

func newOperator(t *testing.T, config *rest.Config, killAfter int) *operator {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	direct, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{killAfter: killAfter, uncounted: direct}
	// wrote lets a write through, or not any more; what it did is done when the operator is killed.
	wrote := func(what any, write func() error) error {
		text, _ := json.Marshal(what)
		o.last = fmt.Sprintf("%T %.3000s", what, text)
		if o.killAfter > 0 && o.writes >= o.killAfter {
			return errKilled
		}
		o.writes++
		if err := write(); err != nil || o.writes != o.killAfter {
			return err
		}
		return errKilled
	}
	counted := interceptor.NewClient(direct, interceptor.Funcs{
		// The operator's caches know nothing that lacks the fleet's label.
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, options ...client.GetOption) error {
			err := c.Get(ctx, key, obj, options...)
			if _, isFleet := obj.(*v1alpha1.GridRouter); err == nil && !isFleet && obj.GetLabels()[render.LabelFleet] == "" {
				return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
			}
			return err
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, options ...client.ListOption) error {
			if revisions, ok := list.(*appsv1.ControllerRevisionList); ok && o.behind != nil {
				o.behind.DeepCopyInto(revisions)
				return nil
			}
			return c.List(ctx, list, options...)
		},
		Apply: func(ctx context.Context, c client.WithWatch, a runtime.ApplyConfiguration, options ...client.ApplyOption) error {
			return wrote(a, func() error { return c.Apply(ctx, a, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, options ...client.DeleteOption) error {
			return wrote(obj, func() error { return c.Delete(ctx, obj, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, p client.Patch, options ...client.PatchOption) error {
			return wrote(obj, func() error { return c.Patch(ctx, obj, p, options...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, sub string, obj client.Object, options ...client.SubResourceUpdateOption) error {
			return wrote(obj, func() error { return c.SubResource(sub).Update(ctx, obj, options...) })
		},
	})
	pool := tables.NewPool(nil, tables.Options{})
	pool.Close() // nothing of etcd, whose answers come when they come
	o.Reconciler = New(Options{
		Client: counted, Clusters: only{clusters.Cluster{Client: counted, Live: direct}}, Image: "gridrouter", Namespace: "gridrouter-system",
		Tables: pool, Metrics: routermetrics.NewSampler(routermetrics.SamplerOptions{}), Events: events.NewFakeRecorder(100000),
		VIP: Keepalived,
	})
	return o
}

// settle reconciles until there is nothing more to be written; errKilled: it was killed before.
func (o *operator) settle(ctx context.Context, name types.NamespacedName) error {
	for quiet := 0; quiet < 2; {
		before := o.writes
		result, err := o.Reconcile(ctx, ctrl.Request{NamespacedName: name})
		if err != nil {
			return err
		}
		if o.after != nil {
			o.after()
		}
		if o.writes == before && result.RequeueAfter != now {
			quiet++
		} else {
			quiet = 0
		}
		if o.writes > 100 {
			return fmt.Errorf("%d writes, and no end; the last: %s", o.writes, o.last)
		}
	}
	return nil
}

// whole is a fleet that has every object.
func whole(name string) *v1alpha1.GridRouter {
	requests := int32(100)
	fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{
		Version: "v1", Autoscaling: &v1alpha1.Autoscaling{Min: 2, Max: 4, RequestsPerSecond: &requests},
		Etcd:     v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://127.0.0.1:1"}},
		Access:   &v1alpha1.Access{Namespaces: metav1.LabelSelector{MatchLabels: map[string]string{"zone": "management"}}},
		Exposure: v1alpha1.Exposure{Type: v1alpha1.ExposureLVS, VIP: "10.9.0.10"},
	}}
	fleet.Name, fleet.Namespace = name, "default"
	return fleet
}

// TestAnOperatorThatIsKilledAfterAnyWriteIsFollowedByOneThatGoesOn walks all writes that a fleet takes from
// its object to rest, kills the operator after each, and compares what the next one makes of it.
func TestAnOperatorThatIsKilledAfterAnyWriteIsFollowedByOneThatGoesOn(t *testing.T) {
	config := kubetest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := func(name string, killAfter int) (writes int, made string) {
		t.Helper()
		first := newOperator(t, config, killAfter)
		fleet := whole(name)
		// One VIP for all: each fleet is gone before the next.
		if err := first.options.Client.Create(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		key := client.ObjectKeyFromObject(fleet)
		err := first.settle(ctx, key)
		if killAfter > 0 {
			if !errors.Is(err, errKilled) {
				t.Fatalf("killed after %d writes: %v", killAfter, err)
			}
			next := newOperator(t, config, 0)
			if err := next.settle(ctx, key); err != nil {
				t.Fatalf("after a kill at write %d: %v", killAfter, err)
			}
		} else if err != nil {
			t.Fatal(err)
		}
		made = shape(ctx, t, first, key)
		last := newOperator(t, config, 0)
		if err := last.settle(ctx, key); err != nil || last.writes != 0 {
			t.Errorf("killed after %d writes: at rest another operator makes %d writes: %v", killAfter, last.writes, err)
		}
		if err := last.options.Client.Delete(ctx, fleet); err != nil {
			t.Fatal(err)
		}
		return first.writes, made
	}
	writes, want := run("whole", 0)
	t.Logf("%d writes from the object to rest:\n%s", writes, want)
	if writes < 10 {
		t.Errorf("only %d writes", writes)
	}
	for kill := 1; kill <= writes; kill += everyWrite() {
		name := fmt.Sprintf("killed-%d", kill)
		if _, got := run(name, kill); got != want {
			t.Errorf("killed after write %d of %d:\n%s\nwant\n%s", kill, writes, got, want)
		}
	}
}

// everyWrite is after how many writes the operator is killed again: each of them, or each third in short.
func everyWrite() int {
	if testing.Short() {
		return 3
	}
	return 1
}

// shape tells which objects a fleet has, and the reasons of its conditions.
func shape(ctx context.Context, t *testing.T, o *operator, key types.NamespacedName) string {
	t.Helper()
	text := ""
	for _, list := range []client.ObjectList{
		&appsv1.DeploymentList{}, &appsv1.ControllerRevisionList{}, &corev1.ServiceList{}, &corev1.ServiceAccountList{}, &corev1.ConfigMapList{}, &corev1.SecretList{},
		&policyv1.PodDisruptionBudgetList{}, &autoscalingv2.HorizontalPodAutoscalerList{}, &networkingv1.NetworkPolicyList{},
	} {
		if err := o.direct().List(ctx, list, client.InNamespace(key.Namespace), client.MatchingLabels{"gridrouter.io/fleet": key.Name}); err != nil {
			t.Fatal(err)
		}
		items, err := itemsOf(list)
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintf("%T %d\n", list, len(items))
	}
	fleet := &v1alpha1.GridRouter{}
	if err := o.direct().Get(ctx, key, fleet); err != nil {
		t.Fatal(err)
	}
	reasons := map[string]string{}
	for _, c := range fleet.Status.Conditions {
		reasons[c.Type] = c.Reason
	}
	told, err := json.Marshal(reasons)
	if err != nil {
		t.Fatal(err)
	}
	return text + string(told) + fmt.Sprintf(" history %d", len(fleet.Status.History))
}

// live reads without the operator's caches, and writes what is not the operator's.
func (o *operator) live() client.Client { return o.uncounted }

// direct reads, which a kill does not keep anybody from.
func (o *operator) direct() client.Client { return o.options.Client }
