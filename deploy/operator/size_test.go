package operator_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
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
	"sigs.k8s.io/controller-runtime/pkg/metrics"

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

// TestManyFleetsAndALargeOne has an operator make 500 fleets, or 150 in short, one of them of 100 routers that only
// pretend to run, and then wants it to write nothing, though it is made to look at all of them once more.
func TestManyFleetsAndALargeOne(t *testing.T) {
	const routers = 100
	fleets := 500
	if testing.Short() {
		fleets = 150
	}
	config := kubetest.Start(t)
	c := installed(t, config)
	for i := range fleets {
		fleet := pretended(nameOf(i))
		if i%2 == 1 { // whose VIP is compared with those of all others
			fleet.Spec.Exposure = v1alpha1.Exposure{Type: v1alpha1.ExposureLVS, VIP: fmt.Sprintf("10.9.%d.%d", i/250, i%250+1)}
		}
		if err := c.Create(t.Context(), fleet); err != nil {
			t.Fatal(err)
		}
	}
	pretendPods(t, c, nameOf(1), routers)
	var made counts
	wrapped := rest.CopyConfig(config)
	wrapped.Wrap(made.wrap)
	var forbidden atomic.Int64
	begin := measured(t, &made)
	o := run(t, wrapped, &forbidden)
	testkit.Eventually(t, "it leads", o.says(t, "leads"))
	for end := time.Now().Add(4 * time.Minute); !allSeen(t, c, fleets); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not all fleets have a status")
		}
	}
	settled := quiet(t, &made)
	done := measured(t, &made).since(begin)
	t.Logf("%d fleets, one with %d routers: at rest after %.0f s: %s", fleets, routers, settled.Sub(begin.at).Seconds(), done)
	logMemory(t)
	if done.writes > int64(16*fleets) { // for each 8 objects and a revision, and the status as it changes
		t.Errorf("%d writes for %d fleets", done.writes, fleets)
	}
	if done.reconciles > int64(60*fleets) {
		t.Errorf("%d reconciles for %d fleets", done.reconciles, fleets)
	}
	were := statuses(t, c)
	rests := measured(t, &made)
	const still = 10 * time.Second // nothing can be waited for where nothing is to happen
	time.Sleep(still)
	t.Logf("at rest for %s: %s", still, measured(t, &made).since(rests))
	again := measured(t, &made)
	for i := range fleets {
		nudge(t, c, nameOf(i))
	}
	testkit.Eventually(t, "all are looked at once more", func() bool { return measured(t, &made).since(again).reconciles >= int64(fleets) })
	quiet(t, &made)
	t.Logf("all looked at once more: %s", measured(t, &made).since(again))
	if n := measured(t, &made).since(rests).writes; n > 0 {
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

func nameOf(fleet int) string { return fmt.Sprintf("edge-%d", fleet) }

// nudge has a fleet looked at, by a change of one of its objects that is none of the operator's business.
func nudge(t *testing.T, c client.Client, fleet string) {
	t.Helper()
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fleet}}
	if err := c.Patch(t.Context(), account, client.RawPatch("application/merge-patch+json", []byte(`{"metadata": {"annotations": {"example.com/note": "seen"}}}`))); err != nil {
		t.Fatal(err)
	}
}

// measure is what an operator has done, and what that took of the whole process, which is the test's own as well.
type measure struct {
	at                        time.Time
	processor                 time.Duration
	reconciles, reads, writes int64
}

func measured(t *testing.T, made *counts) measure {
	t.Helper()
	m := measure{at: time.Now(), processor: processorTime(t), reads: made.reads.Load(), writes: made.writes.Load()}
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == "controller_runtime_reconcile_total" {
			for _, one := range family.GetMetric() {
				m.reconciles += int64(one.GetCounter().GetValue())
			}
		}
	}
	return m
}

func (m measure) since(before measure) measure {
	return measure{
		at: m.at, processor: m.processor - before.processor,
		reconciles: m.reconciles - before.reconciles, reads: m.reads - before.reads, writes: m.writes - before.writes,
	}
}

func (m measure) String() string {
	return fmt.Sprintf("%d reconciles, %d reads, %d writes, %.2f s of processor time, %.2f ms a reconcile",
		m.reconciles, m.reads, m.writes, m.processor.Seconds(), m.processor.Seconds()*1000/float64(max(m.reconciles, 1)))
}

func logMemory(t *testing.T) {
	t.Helper()
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	resident := "unknown"
	if status, err := os.ReadFile("/proc/self/status"); err == nil {
		for line := range strings.Lines(string(status)) {
			if strings.HasPrefix(line, "VmRSS:") {
				resident = strings.TrimSpace(strings.TrimPrefix(line, "VmRSS:"))
			}
		}
	}
	t.Logf("%d MiB live, %s resident", memory.HeapAlloc>>20, resident)
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
