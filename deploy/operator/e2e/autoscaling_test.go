package e2e

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/render"
)

// TestE2EKubeAFleetFollowsItsLoad has load come and go, while the operator reconciles the fleet again and again.
func TestE2EKubeAFleetFollowsItsLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	fleet, each := w.fleet("edge", 0), int32(40)
	fleet.Spec.Replicas, fleet.Spec.Autoscaling = nil, &v1alpha1.Autoscaling{Min: 2, Max: 6, RequestsPerSecond: &each}
	w.create(fleet)
	w.awaits("edge", v1alpha1.ConditionAvailable, v1alpha1.ReasonReplicasReady)
	w.answered("edge")
	w.replicas("edge", 2)
	stop := w.load("edge", 8, 25*time.Millisecond)
	w.replicasWhileReconciled("edge", 6)
	if failed := stop(); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	w.replicasWhileReconciled("edge", 2)
	var d appsv1.Deployment
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "edge"}, &d); err != nil {
		t.Fatal(err)
	}
	for _, entry := range d.ManagedFields {
		if owns := strings.Contains(entry.FieldsV1.GetRawString(), `"f:replicas"`) && entry.Subresource != "status"; owns && entry.Manager == render.FieldOwner {
			t.Errorf("the operator has set the number of routers: %+v", entry)
		}
	}
}

// replicasWhileReconciled waits until a fleet has so many routers, all ready, and has the operator reconcile it
// at least 25 times meanwhile by changes of the spec that concern no router.
func (w *world) replicasWhileReconciled(name string, want int32) {
	w.Helper()
	seen := map[int32]bool{}
	pause := time.NewTicker(200 * time.Millisecond)
	defer pause.Stop()
	for times, end := 0, time.Now().Add(patience); ; times++ {
		deadline := &metav1.Duration{Duration: time.Duration(600+times) * time.Second}
		w.change(name, func(spec *v1alpha1.GridRouterSpec) { spec.Rollout.ProgressDeadline = deadline })
		w.eventually("the operator has reconciled "+name, func() error {
			fleet := w.get(name)
			seen[fleet.Status.Replicas] = true
			if fleet.Status.ObservedGeneration != fleet.Generation {
				return fmt.Errorf("generation %d of %d", fleet.Status.ObservedGeneration, fleet.Generation)
			}
			return nil
		})
		if s := w.get(name).Status; s.Replicas == want && s.Ready == want && times >= 25 {
			w.Logf("%d routers after %d changes; on the way there were %v", want, times, slices.Sorted(maps.Keys(seen)))
			return
		}
		if time.Now().After(end) {
			w.Fatalf("not %d routers: %+v\n%s", want, w.get(name).Status, w.kubectl("describe", "hpa"))
		}
		<-pause.C
	}
}

// replicas waits until a fleet has so many routers, all ready.
func (w *world) replicas(name string, want int32) {
	w.Helper()
	w.eventually(fmt.Sprintf("%s has %d routers", name, want), func() error {
		if s := w.get(name).Status; s.Replicas != want || s.Ready != want {
			return fmt.Errorf("%d routers, %d ready\n%s", s.Replicas, s.Ready, w.kubectl("describe", "hpa"))
		}
		return nil
	})
}

// load has clients make requests on connections that stay open, each after a pause, until the returned
// function is called, which gives how many failed.
func (w *world) load(fleet string, clients int, pause time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(w.Context())
	var mu sync.Mutex
	var running sync.WaitGroup
	failed := 0
	for range clients {
		running.Go(func() {
			for ctx.Err() == nil {
				if err := w.once(ctx, fleet); err != nil && ctx.Err() == nil {
					mu.Lock()
					failed++
					w.Log(err)
					mu.Unlock()
				}
				select {
				case <-ctx.Done():
				case <-time.After(pause):
				}
			}
		})
	}
	return func() int {
		cancel()
		running.Wait()
		return failed
	}
}

// once makes a request over any connection.
func (w *world) once(ctx context.Context, fleet string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.host(fleet)+":8080/", http.NoBody)
	if err != nil {
		return err
	}
	request.Host = "acme.test"
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err = io.Copy(io.Discard, response.Body); err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %s", response.Status)
	}
	return err
}
