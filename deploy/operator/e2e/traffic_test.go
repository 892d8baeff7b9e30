package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// traffic is requests to a fleet, half of them over connections that stay open and half over new ones. No
// request may be made twice: each has a body that cannot be sent again, so that Go's client does not hide
// a connection that was closed under it.
type traffic struct {
	asked, failed atomic.Int64
	mu            sync.Mutex
	why           []string // of the first that failed
	stop          context.CancelFunc
	running       sync.WaitGroup
}

const (
	trafficClients = 40                    // half of which keep their connections
	trafficPause   = 80 * time.Millisecond // between two requests of a client: 500 a second of all
	trafficAtLeast = 20_000                // requests of a test
)

// traffic starts requests to a fleet, and ends them with the test at the latest.
func (w *world) traffic(fleet string) *traffic {
	ctx, cancel := context.WithCancel(w.Context())
	t := &traffic{stop: cancel}
	for i := range trafficClients {
		transport := &http.Transport{DisableKeepAlives: i%2 == 0, MaxIdleConnsPerHost: 1}
		t.running.Go(func() {
			defer transport.CloseIdleConnections()
			tick := time.NewTicker(trafficPause)
			defer tick.Stop()
			for ctx.Err() == nil {
				t.note(w.askOnce(transport, fleet))
				select {
				case <-ctx.Done():
				case <-tick.C:
				}
			}
		})
	}
	w.Cleanup(t.end)
	return t
}

func (t *traffic) note(err error) {
	t.asked.Add(1)
	if err == nil {
		return
	}
	t.failed.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.why) < 10 {
		t.why = append(t.why, time.Now().Format("15:04:05.000 ")+err.Error())
	}
}

func (t *traffic) end() {
	t.stop()
	t.running.Wait()
}

// askOnce makes a request that is never made twice.
func (w *world) askOnce(transport http.RoundTripper, fleet string) error {
	// Longer than the test's waits, and shorter than the test: a request that hangs is one that failed.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.Context()), time.Minute)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.host(fleet)+":8080/", io.NopCloser(strings.NewReader("x")))
	if err != nil {
		return err
	}
	request.Host = "acme.test"
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s: %s", response.Status, text)
	}
	return err
}

// TestE2EKubeNoRequestFailsWhileRoutersAreReplaced upgrades a fleet, takes two of its routers away, drains a
// node and gives the routers back, again and again until enough requests were made.
func TestE2EKubeNoRequestFailsWhileRoutersAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.create(w.fleet("edge", 4))
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered("edge")
	traffic := w.traffic("edge")
	for round := 0; traffic.asked.Load() < trafficAtLeast && !t.Failed(); round++ {
		w.step("upgrade", traffic, func() {
			w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.Version = []string{"v2", "v1"}[round%2] })
			w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
		})
		w.step("scale-in", traffic, func() { w.scale("edge", 2) })
		w.step("node drain", traffic, func() { w.drainANode("edge") })
		w.step("scale-out", traffic, func() { w.scale("edge", 4) })
	}
	traffic.end()
	t.Logf("%d of %d requests failed", traffic.failed.Load(), traffic.asked.Load())
	if traffic.failed.Load() > 0 {
		t.Errorf("requests failed:\n%s", strings.Join(traffic.why, "\n"))
	}
}

// TestE2EKubeARenamedListenerKeepsItsClients changes the name of a port, which Services find pods by.
func TestE2EKubeARenamedListenerKeepsItsClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.create(w.fleet("edge", 3))
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.answered("edge")
	traffic := w.traffic("edge")
	w.step("renaming", traffic, func() {
		w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.Listeners[0].Name = "web" })
		w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	})
	w.step("ends", traffic, func() { w.scale("edge", 3) })
	traffic.end()
	if n := traffic.failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed:\n%s", n, traffic.asked.Load(), strings.Join(traffic.why, "\n"))
	}
}

// scale gives a fleet so many routers, and waits until it has them and no other.
func (w *world) scale(fleet string, routers int32) {
	w.Helper()
	w.change(fleet, func(spec *v1alpha1.GridRouterSpec) { spec.Replicas = &routers })
	w.awaits(fleet, v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.eventually("routers that left have ended", func() error {
		var pods corev1.PodList
		if err := w.client.List(w.Context(), &pods, client.InNamespace(w.namespace), client.MatchingLabels{"app.kubernetes.io/instance": fleet}); err != nil {
			return err
		}
		if n := len(pods.Items); n != int(routers) {
			return fmt.Errorf("%d pods", n)
		}
		return nil
	})
}

// drainANode drains the node of a fleet's first router of this fleet alone, since the routers of other tests
// have tests of their own, and gives the node back.
func (w *world) drainANode(fleet string) {
	w.Helper()
	node := w.get(fleet).Status.Instances[0].Node
	w.kubectl("cordon", node)
	defer w.kubectl("uncordon", node)
	w.kubectl("drain", node, "--pod-selector=app.kubernetes.io/instance="+fleet, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=2m")
	w.awaits(fleet, v1alpha1.ConditionAvailable, v1alpha1.ReasonReplicasReady)
	w.eventually("no router of the fleet is on "+node, func() error {
		for _, one := range w.get(fleet).Status.Instances {
			if one.Node == node {
				return fmt.Errorf("%s is", one.Name)
			}
		}
		return nil
	})
}

// step does one thing, and says how many requests were made and failed meanwhile.
func (w *world) step(name string, t *traffic, do func()) {
	w.Helper()
	began, asked, failed := time.Now(), t.asked.Load(), t.failed.Load()
	do()
	w.Logf("%s: %.1f s, %d requests, %d failed", name, time.Since(began).Seconds(), t.asked.Load()-asked, t.failed.Load()-failed)
}
