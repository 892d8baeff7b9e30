package operator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
)

// counts are the requests of an operator to the API server: reads, and writes but those of its Lease.
type counts struct{ reads, writes atomic.Int64 }

func (c *counts) wrap(next http.RoundTripper) http.RoundTripper {
	return counted(func(r *http.Request) (*http.Response, error) {
		switch {
		case r.Method == http.MethodGet:
			c.reads.Add(1)
		case !strings.Contains(r.URL.Path, "/leases"):
			c.writes.Add(1)
		}
		return next.RoundTrip(r)
	})
}

// TestManyFleetsAndALargeOne has an operator make 500 fleets, or 150 in short, one of them of 100 routers that only pretend to run,
// and then wants it to do nothing.
func TestManyFleetsAndALargeOne(t *testing.T) {
	const routers = 100
	fleets := 500
	if testing.Short() {
		fleets = 150
	}
	config := kubetest.Start(t)
	c := installed(t, config)
	for i := range fleets {
		if err := c.Create(t.Context(), pretended(fmt.Sprintf("edge-%d", i))); err != nil {
			t.Fatal(err)
		}
	}
	pretendPods(t, c, "edge-0", routers)
	var made counts
	wrapped := rest.CopyConfig(config)
	wrapped.Wrap(made.wrap)
	cpu, began := processorTime(t), time.Now()
	var forbidden atomic.Int64
	o := run(t, wrapped, &forbidden)
	testkit.Eventually(t, "it leads", o.says(t, "leads"))
	for end := time.Now().Add(4 * time.Minute); !allSeen(t, c, fleets); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not all fleets have a status")
		}
	}
	rest := quiet(t, &made)
	writes, spent, took := made.writes.Load(), processorTime(t)-cpu, rest.Sub(began)
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	t.Logf("%d fleets, one with %d routers: at rest after %.0f s, with %d writes and %d reads, %.1f ms of processor time a write (the test's own included), %d MiB live",
		fleets, routers, took.Seconds(), writes, made.reads.Load(), spent.Seconds()*1000/float64(writes), memory.HeapAlloc>>20)
	if writes > int64(16*fleets) { // for each 8 objects and a revision, and the status as it changes
		t.Errorf("%d writes for %d fleets", writes, fleets)
	}
	reads, before, were := made.reads.Load(), processorTime(t), statuses(t, c)
	const still = 20 * time.Second // of a minute: what is due more rarely than that is not at rest either
	time.Sleep(still)              // nothing can be waited for where nothing is to happen
	t.Logf("at rest for %s: %d writes, %d reads, %.0f ms of processor time", still, made.writes.Load()-writes, made.reads.Load()-reads, (processorTime(t)-before).Seconds()*1000)
	if n := made.writes.Load() - writes; n > 0 {
		t.Errorf("%d writes at rest", n)
		for name, is := range statuses(t, c) {
			if is != were[name] {
				t.Logf("%s was\n%s\nand is\n%s", name, were[name], is)
			}
		}
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

func pretended(name string) *v1alpha1.GridRouter {
	one := int32(1)
	fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{
		Version: "v1", Replicas: &one, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://127.0.0.1:1"}},
	}}
	fleet.Namespace, fleet.Name = "default", name
	return fleet
}

// pretendPods makes pods that say that they are ready routers of a fleet.
func pretendPods(t *testing.T, c client.Client, fleet string, count int) {
	t.Helper()
	for i := range count {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("%s-%d", fleet, i), Labels: map[string]string{"gridrouter.io/fleet": fleet, "gridrouter.io/track": "stable"}},
			Spec:       corev1.PodSpec{NodeName: fmt.Sprintf("node-%d", i%7), Containers: []corev1.Container{{Name: "router", Image: "gridrouter:v1"}}},
		}
		if err := c.Create(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		pod.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.200.0.%d", i+1), PodIPs: []corev1.PodIP{{IP: fmt.Sprintf("10.200.0.%d", i+1)}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}},
		}
		if err := c.Status().Update(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
	}
}

// allSeen says whether all fleets have a status, and the large one all its routers.
func allSeen(t *testing.T, c client.Client, fleets int) bool {
	t.Helper()
	var list v1alpha1.GridRouterList
	if err := c.List(t.Context(), &list, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for i := range list.Items {
		if len(list.Items[i].Status.Conditions) > 0 {
			seen++
		}
	}
	return seen == fleets
}

// toldBy counts what an operator said of errors.
func toldBy(o *running) map[string]int {
	told := map[string]int{}
	for _, entry := range o.logs.All() {
		if entry.Level >= zap.WarnLevel {
			told[fmt.Sprintf("%s: %.300v", entry.Message, entry.ContextMap()["error"])]++
		}
	}
	return told
}

// statuses are the statuses of all fleets, by name.
func statuses(t *testing.T, c client.Client) map[string]string {
	t.Helper()
	var list v1alpha1.GridRouterList
	if err := c.List(t.Context(), &list, client.InNamespace("default")); err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for i := range list.Items {
		text, err := json.Marshal(list.Items[i].Status)
		if err != nil {
			t.Fatal(err)
		}
		all[list.Items[i].Name] = string(text)
	}
	return all
}

// quiet waits until an operator has written nothing for five seconds, and returns when that began.
func quiet(t *testing.T, made *counts) time.Time {
	t.Helper()
	end := time.Now().Add(5 * time.Minute)
	for last, since := made.writes.Load(), time.Now(); ; time.Sleep(100 * time.Millisecond) {
		switch now := made.writes.Load(); {
		case now != last:
			last, since = now, time.Now()
		case time.Since(since) > 5*time.Second:
			return since
		}
		if time.Now().After(end) {
			t.Fatalf("it writes on and on: %d writes so far", last)
		}
	}
}

func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
