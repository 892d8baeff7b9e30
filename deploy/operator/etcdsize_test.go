package operator_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
)

// TestManyEtcdClusters has an operator make 200 etcd clusters, or 60 in short: half of them hibernate, half wait for a
// first member that nobody starts, since there are no nodes. Then it wants nothing to be written.
func TestManyEtcdClusters(t *testing.T) {
	many := 200
	if testing.Short() {
		many = 60
	}
	config := kubetest.Start(t)
	c := installed(t, config)
	for i := range many {
		replicas := int32(i % 2)
		etcd := &v1alpha1.EtcdCluster{Spec: v1alpha1.EtcdClusterSpec{Version: "3.7.3", Replicas: &replicas, Storage: v1alpha1.EtcdStorage{Size: resource.MustParse("1Gi")}}}
		etcd.Namespace, etcd.Name = "default", fmt.Sprintf("store-%d", i)
		if err := c.Create(t.Context(), etcd); err != nil {
			t.Fatal(err)
		}
	}
	var made counts
	wrapped := rest.CopyConfig(config)
	wrapped.Wrap(made.wrap)
	var forbidden atomic.Int64
	begin := measured(t, &made)
	o := run(t, wrapped, &forbidden)
	testkit.Eventually(t, "it leads", o.says(t, "leads"))
	var pods corev1.PodList
	for end := time.Now().Add(time.Minute); len(pods.Items) < many/2; time.Sleep(200 * time.Millisecond) {
		if err := c.List(t.Context(), &pods, client.InNamespace("default")); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatalf("%d of %d first members have a pod; the operator said %v", len(pods.Items), many/2, toldBy(o))
		}
	}
	settled := quiet(t, &made)
	t.Logf("%d etcd clusters: at rest after %.0f s: %s", many, settled.Sub(begin.at).Seconds(), measured(t, &made).since(begin))
	logMemory(t)
	rests := measured(t, &made)
	const still = 10 * time.Second // nothing can be waited for where nothing is to happen
	time.Sleep(still)
	after := measured(t, &made).since(rests)
	t.Logf("at rest for %s: %s", still, after)
	if after.writes > 0 {
		t.Errorf("%d writes at rest", after.writes)
	}
	if n := forbidden.Load(); n > 0 {
		t.Errorf("%d requests were forbidden", n)
	}
	for message, n := range toldBy(o) {
		t.Logf("the operator said %d times: %s", n, message)
	}
	o.stop()
	if err := <-o.ended; err != nil {
		t.Error(err)
	}
}
