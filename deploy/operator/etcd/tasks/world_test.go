package tasks_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/operator/etcd"
	"gridrouter.io/deploy/operator/etcd/tasks"
)

// world is a namespace of a real API server, and one real etcd, which all clusters in the namespace are said to be. No
// operator of clusters runs: what it would say of them is written here.
type world struct {
	*testing.T

	config    *rest.Config
	scheme    *runtime.Scheme
	client    client.Client
	namespace string
	etcd      *etcdtest.Server
}

func newWorld(t *testing.T, config *rest.Config, namespace string) *world {
	t.Helper()
	w := &world{T: t, config: config, scheme: runtime.NewScheme(), namespace: namespace, etcd: etcdtest.Start(t)}
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(w.scheme); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if w.client, err = client.New(config, client.Options{Scheme: w.scheme}); err != nil {
		t.Fatal(err)
	}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	return w
}

// operate has tasks done until the test ends, or stop is called, which waits for it.
func (w *world) operate() (stop func()) {
	w.Helper()
	m, err := ctrl.NewManager(w.config, manager.Options{
		Scheme: w.scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		w.Fatal(err)
	}
	kept, reads, err := etcd.NewCache(m, nil)
	if err != nil {
		w.Fatal(err)
	}
	if err := m.Add(kept); err != nil {
		w.Fatal(err)
	}
	r := tasks.New(tasks.Options{Client: reads, Live: m.GetAPIReader(), Access: w.access, Events: m.GetEventRecorder("tasks")})
	if err := r.SetupWithManager(m, kept); err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := m.Start(ctx); err != nil {
			w.Errorf("the manager: %v", err)
		}
	})
	stop = func() { cancel(); ended.Wait() }
	w.Cleanup(stop)
	return stop
}

func (w *world) access(cluster types.NamespacedName) (inspect.Access, map[string]string, error) {
	if cluster.Namespace != w.namespace {
		return inspect.Access{}, nil, fmt.Errorf("%s is of another test", cluster)
	}
	return inspect.Access{Endpoints: []string{w.etcd.URL}}, map[string]string{w.etcd.URL: cluster.Name + "-0"}, nil
}

func (w *world) create(o client.Object) {
	w.Helper()
	if o.GetNamespace() == "" && w.namespace != o.GetName() {
		o.SetNamespace(w.namespace)
	}
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

// cluster makes an EtcdCluster which its operator is done with.
func (w *world) cluster(name string, edit func(*v1alpha1.EtcdCluster)) *v1alpha1.EtcdCluster {
	w.Helper()
	c := &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       v1alpha1.EtcdClusterSpec{Version: "3.7.3", Replicas: new(int32(1)), Storage: v1alpha1.EtcdStorage{Size: resource.MustParse("1Gi")}},
	}
	w.create(c)
	c.Status.ClusterID = "abc"
	c.Status.Members = []v1alpha1.EtcdMemberSummary{{Name: name + "-0", Healthy: true, Role: v1alpha1.EtcdLeader}}
	says(c, v1alpha1.ReasonComplete)
	if edit != nil {
		edit(c)
	}
	w.status(c)
	return c
}

func says(c *v1alpha1.EtcdCluster, reason v1alpha1.Reason) {
	v1alpha1.SetCondition(&c.Status.Conditions, c.Generation, v1alpha1.ConditionProgressing, metav1.ConditionFalse, reason, "")
}

func (w *world) status(o client.Object) {
	w.Helper()
	if err := w.client.Status().Update(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

// task makes a task of a cluster.
func (w *world) task(name, cluster string, edit func(*v1alpha1.EtcdTaskSpec)) *v1alpha1.EtcdTask {
	w.Helper()
	t := &v1alpha1.EtcdTask{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.EtcdTaskSpec{Cluster: cluster}}
	edit(&t.Spec)
	w.create(t)
	return t
}

// get returns a task; nil: it is gone.
func (w *world) get(name string) *v1alpha1.EtcdTask {
	w.Helper()
	t := &v1alpha1.EtcdTask{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, t); client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	} else if err != nil {
		return nil
	}
	return t
}

// until waits until a task is in a state, and returns it.
func (w *world) until(name string, state v1alpha1.EtcdTaskState) *v1alpha1.EtcdTask {
	w.Helper()
	var t *v1alpha1.EtcdTask
	w.eventually(func() string { return fmt.Sprintf("%s is %s; it is %+v", name, state, t) }, func() bool {
		t = w.get(name)
		return t != nil && t.Status.State == state
	})
	return t
}

// eventually is testkit.Eventually with a text that is made at the end.
func (w *world) eventually(what func() string, holds func() bool) {
	w.Helper()
	held := false
	w.Cleanup(func() {
		if !held {
			w.Log("waited until " + what())
		}
	})
	testkit.Eventually(w.T, "what is waited for", func() bool { held = holds(); return held })
}

func (w *world) remove(o client.Object) {
	w.Helper()
	if err := w.client.Delete(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

// The acts that tests use.
func looks(s *v1alpha1.EtcdTaskSpec) { s.Inspect = &v1alpha1.EtcdTaskInspect{} }

func watches(s *v1alpha1.EtcdTaskSpec) {
	s.HotKeys = &v1alpha1.EtcdTaskHotKeys{Prefix: "/", For: new(metav1.Duration{Duration: 600e9})}
}

func compacts(s *v1alpha1.EtcdTaskSpec) { s.Compact = &v1alpha1.EtcdTaskCompact{Keep: 1} }
