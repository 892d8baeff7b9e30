package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/testbed/cluster"
)

func TestADeploymentIsReachedThroughItsServiceByName(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 2))
	seen := map[string]bool{}
	w.eventually("both pods answer", func() error {
		who, err := w.ask(w.url("web", "/"))
		if err != nil {
			return err
		}
		if who.Version != "v1" || who.Hostname != who.Pod || who.PID != 1 || !strings.HasPrefix(who.Address, "10.88.") || who.Node == "" {
			t.Fatalf("the answer was %+v", who)
		}
		if seen[who.Pod] = true; len(seen) < 2 {
			return fmt.Errorf("only %v", seen)
		}
		return nil
	})
	// A pod finds it as well, by the short name.
	body, err := w.fetch(http.MethodGet, w.url("web", "/resolve?name=web"))
	if err != nil || !strings.HasPrefix(body, "[10.96.") {
		t.Errorf("a pod resolved the name web to %s: %v", body, err)
	}
	if body, err := w.fetch(http.MethodGet, w.url("web", "/resolve?name=nobody")); err == nil {
		t.Errorf("a pod resolved the name nobody to %s", body)
	}
}

func TestARollingUpdateAndARestartLoseNoRequest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := deployment("web", "echo:v1", 3)
	w.deploy(d)
	before := names(w.pods("web"))
	stop := w.traffic("web")

	w.change("web", func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "echo:v2" })
	w.rolledOut("web")
	if who, err := w.ask(w.url("web", "/")); err != nil || who.Version != "v2" {
		t.Errorf("after the update: %+v, %v", who, err)
	}
	updated := names(w.pods("web"))

	w.change("web", func(d *appsv1.Deployment) {
		d.Spec.Template.Annotations = map[string]string{"kubectl.kubernetes.io/restartedAt": time.Now().Format(time.RFC3339)}
	})
	w.rolledOut("web")
	restarted := names(w.pods("web"))

	for name := range restarted {
		if before[name] || updated[name] {
			t.Errorf("pod %s is still there", name)
		}
	}
	answered, failed := stop()
	if len(failed) > 0 || answered < 20 {
		t.Errorf("%d requests were answered, %d failed: %v", answered, len(failed), failed)
	}
}

func TestAScaleChangesTheEndpointsAndADeletionEndsAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	for _, replicas := range []int32{4, 2} {
		w.change("web", func(d *appsv1.Deployment) { d.Spec.Replicas = &replicas })
		w.rolledOut("web")
		w.eventually("the endpoints", func() error {
			if ready, all := w.endpoints("web"); ready != int(replicas) || all != int(replicas) {
				return fmt.Errorf("%d of %d are ready", ready, all)
			}
			return nil
		})
	}
	if err := w.client.AppsV1().Deployments(w.namespace).Delete(w.ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.eventually("all pods are gone", func() error {
		if left := w.pods("web"); len(left) > 0 {
			return fmt.Errorf("%d pods", len(left))
		}
		return nil
	})
	if body, err := w.fetch(http.MethodGet, w.url("web", "/")); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("a Service without pods answered %q, %v", body, err)
	}
}

func TestPodsOnAPretendNodeOnlySayThatTheyRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := deployment("fleet", "echo:v1", 30)
	d.Spec.Template.Spec.Tolerations = []corev1.Toleration{{Key: cluster.PretendLabel, Operator: corev1.TolerationOpExists}}
	d.Spec.Template.Spec.NodeSelector = map[string]string{cluster.PretendLabel: "true"}
	w.deploy(d)
	for _, pod := range w.pods("fleet") {
		if !strings.HasPrefix(pod.Status.PodIP, "10.88.") {
			t.Errorf("pod %s has the address %q", pod.Name, pod.Status.PodIP)
		}
	}
	if body, err := w.fetch(http.MethodGet, "http://"+w.pods("fleet")[0].Status.PodIP+":8080/"); err == nil {
		t.Errorf("a pod that pretends answered %q", body)
	}
}

func names(pods []corev1.Pod) map[string]bool {
	all := map[string]bool{}
	for _, pod := range pods {
		all[pod.Name] = true
	}
	return all
}

// traffic makes requests one after the other until the returned function is called, which gives
// how many were answered and how the others failed.
func (w *world) traffic(service string) func() (answered int, failed []error) {
	var answered int
	var failed []error
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			if _, err := w.ask(w.url(service, "/")); err != nil {
				failed = append(failed, err)
			} else {
				answered++
			}
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	return func() (int, []error) {
		close(stop)
		running.Wait()
		return answered, failed
	}
}

// endpoints counts those of a Service.
func (w *world) endpoints(service string) (ready, all int) {
	w.Helper()
	slices, err := w.client.DiscoveryV1().EndpointSlices(w.namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		w.Fatal(err)
	}
	for _, slice := range slices.Items {
		for _, endpoint := range slice.Endpoints {
			all++
			if endpoint.Conditions.Ready != nil && *endpoint.Conditions.Ready {
				ready++
			}
		}
	}
	return ready, all
}
