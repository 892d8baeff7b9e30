package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// What a server that adds the API of custom metrics is made of, and an autoscaler that asks it.
const metricsManifest = `apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1beta2.custom.metrics.k8s.io}
spec:
  group: custom.metrics.k8s.io
  version: v1beta2
  groupPriorityMinimum: 100
  versionPriority: 200
  insecureSkipTLSVerify: true
  service: {name: metrics, namespace: %[1]s, port: 443}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: %[1]s}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 1
  maxReplicas: 3
  metrics:
  - type: Pods
    pods:
      metric: {name: load}
      target: {type: AverageValue, averageValue: "10"}
  behavior:
    scaleDown: {stabilizationWindowSeconds: 0}
`

const metricsAPI = "/apis/custom.metrics.k8s.io/v1beta2"

func TestAnAPIThatAPodAddsDrivesTheAutoscaler(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	metrics := deployment("metrics", "echo:v1", 1)
	container := &metrics.Spec.Template.Spec.Containers[0]
	container.Args = append(container.Args, "--listen-tls=:8443")
	container.Ports[0].Name = "http"
	container.Ports = append(container.Ports, container.Ports[0])
	container.Ports[1].Name, container.Ports[1].ContainerPort = "https", 8443
	w.deploy(metrics)
	w.storeAnswer(metricsAPI, map[string]any{
		"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "custom.metrics.k8s.io/v1beta2",
		"resources": []any{map[string]any{"name": "pods/load", "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": []string{"get"}}},
	})
	w.kustomize(fmt.Sprintf(metricsManifest, w.namespace))
	for _, c := range []struct {
		load     string
		replicas int32
	}{{"25", 3}, {"1", 1}} {
		w.eventually("the load "+c.load, func() error {
			w.storeLoad(c.load)
			d, err := w.client.AutoscalingV2().HorizontalPodAutoscalers(w.namespace).Get(w.ctx, "web", metav1.GetOptions{})
			if err == nil && d.Status.CurrentReplicas != c.replicas {
				err = fmt.Errorf("status %+v", d.Status)
			}
			return err
		})
	}
	w.asked()
}

// kustomize applies a manifest as people apply a folder.
func (w *world) kustomize(manifest string) {
	w.Helper()
	folder := w.TempDir()
	for name, text := range map[string]string{
		"manifest.yaml":      manifest,
		"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [manifest.yaml]\n",
	} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			w.Fatal(err)
		}
	}
	if _, err := w.kubectl("apply", "-k", folder); err != nil {
		w.Fatal(err)
	}
	// Before the namespace, which could not be deleted while an API does not answer.
	w.Cleanup(func() {
		if _, err := w.kubectl("delete", "-k", folder); err != nil {
			w.Error(err)
		}
	})
}

// storeAnswer has the server answer a path of its API.
func (w *world) storeAnswer(path string, answer any) {
	w.Helper()
	text, err := json.Marshal(answer)
	if err != nil {
		w.Fatal(err)
	}
	if _, err := w.fetch(http.MethodPost, w.url("metrics", "/answers?"+url.Values{"path": {path}, "text": {string(text)}}.Encode())); err != nil {
		w.Fatal(err)
	}
}

func (w *world) loadPath() string { return metricsAPI + "/namespaces/" + w.namespace + "/pods/*/load" }

// storeLoad says that each pod of web has a load.
func (w *world) storeLoad(load string) {
	w.Helper()
	items := []any{}
	for _, pod := range w.pods("web") {
		items = append(items, map[string]any{
			"describedObject": map[string]string{"kind": "Pod", "apiVersion": "v1", "namespace": w.namespace, "name": pod.Name},
			"metric":          map[string]any{"name": "load"}, "timestamp": time.Now().UTC().Format(time.RFC3339), "value": load,
		})
	}
	w.storeAnswer(w.loadPath(), map[string]any{"kind": "MetricValueList", "apiVersion": "custom.metrics.k8s.io/v1beta2", "metadata": map[string]any{}, "items": items})
}

// asked makes sure that the API server tells who asks, and shows by its certificate that it may.
func (w *world) asked() {
	w.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		w.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		w.Fatal(err)
	}
	response, err := client.Get(config.Host + strings.ReplaceAll(w.loadPath(), "*", "%2A"))
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	if user, peer := response.Header.Get("X-Asked-By"), response.Header.Get("X-Peer"); response.StatusCode != http.StatusOK || user != "admin" || peer != "aggregator" {
		w.Errorf("%s: it was asked by %q, through %q", response.Status, user, peer)
	}
}
