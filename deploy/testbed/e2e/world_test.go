package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"gridrouter.io/deploy/testbed/bed"
)

// patience is how long a condition may take to come true. A test that passes takes far less.
const patience = 4 * time.Minute

// world is a namespace of the cluster that belongs to one test.
type world struct {
	*testing.T
	ctx       context.Context
	client    kubernetes.Interface
	namespace string
	http      *http.Client
}

// newWorld gives a test its namespace, which is deleted when the test ends.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(bed.Variable) == "" {
		t.Skip("not in a testbed: make e2e-kube runs this")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, ctx: context.Background(), client: client}
	// Each request has a connection of its own, which a Service gives to any of its pods.
	w.http = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	made, err := client.CoreV1().Namespaces().Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "e2e-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	w.namespace = made.Name
	t.Cleanup(func() {
		if t.Failed() {
			w.describe()
		}
		if err := client.CoreV1().Namespaces().Delete(w.ctx, w.namespace, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return w
}

// describe logs the pods and events of a test that failed.
func (w *world) describe() {
	pods, err := w.client.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{})
	if err != nil {
		w.Log(err)
		return
	}
	for _, pod := range pods.Items {
		status, _ := json.Marshal(pod.Status)
		w.Logf("pod %s on %q: %s", pod.Name, pod.Spec.NodeName, status)
	}
	events, err := w.client.CoreV1().Events(w.namespace).List(w.ctx, metav1.ListOptions{})
	if err != nil {
		w.Log(err)
		return
	}
	for _, e := range events.Items {
		w.Logf("event: %s %s %s %s", e.InvolvedObject.Name, e.Type, e.Reason, e.Message)
	}
}

// eventually asks until a condition holds, which says by an error why it does not.
func (w *world) eventually(what string, condition func() error) {
	w.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		switch {
		case err == nil:
			return
		case time.Now().After(deadline):
			w.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// deployment gives one of the test server, which is ready as soon as it serves.
func deployment(name, image string, replicas int32) *appsv1.Deployment {
	labels := map[string]string{"app": name}
	grace := int64(20)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas,
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{TerminationGracePeriodSeconds: &grace, Containers: []corev1.Container{server(image)}},
			},
		},
	}
}

func server(image string) corev1.Container {
	field := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}}
	}
	return corev1.Container{
		Name:  "echo",
		Image: image,
		Args:  []string{"--linger=1s"},
		Env:   []corev1.EnvVar{field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP"), field("NODE_NAME", "spec.nodeName")},
		Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("http")}},
			PeriodSeconds: 1, FailureThreshold: 2, TimeoutSeconds: 5,
		},
		// Until all that forward connections know that the pod ends.
		Lifecycle: &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 2}}},
	}
}

// deploy creates a deployment with a Service of the same name, and waits until it is rolled out.
func (w *world) deploy(d *appsv1.Deployment) {
	w.Helper()
	if _, err := w.client.AppsV1().Deployments(w.namespace).Create(w.ctx, d, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
	_, err := w.client.CoreV1().Services(w.namespace).Create(w.ctx, &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: d.Name},
		Spec: corev1.ServiceSpec{
			Selector: d.Spec.Selector.MatchLabels,
			Ports:    servicePorts(d.Spec.Template.Spec.Containers[0]),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		w.Fatal(err)
	}
	w.rolledOut(d.Name)
}

// servicePorts are the usual ones of the schemes that a container's ports are named by.
func servicePorts(container corev1.Container) (ports []corev1.ServicePort) {
	for _, port := range container.Ports {
		number := map[string]int32{"http": 80, "https": 443}[port.Name]
		ports = append(ports, corev1.ServicePort{Name: port.Name, Port: number, TargetPort: intstr.FromString(port.Name)})
	}
	return ports
}

// change changes a deployment.
func (w *world) change(name string, edit func(*appsv1.Deployment)) {
	w.Helper()
	w.eventually("the change of "+name, func() error {
		d, err := w.client.AppsV1().Deployments(w.namespace).Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		edit(d)
		_, err = w.client.AppsV1().Deployments(w.namespace).Update(w.ctx, d, metav1.UpdateOptions{})
		return err
	})
}

// rolledOut waits until a deployment is what it should be, with no pod of another kind left.
func (w *world) rolledOut(name string) {
	w.Helper()
	w.eventually("the rollout of "+name, func() error {
		d, err := w.client.AppsV1().Deployments(w.namespace).Get(w.ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		s, want := d.Status, *d.Spec.Replicas
		if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want {
			return fmt.Errorf("status %+v", s)
		}
		if pods := w.pods(name); len(pods) != int(want) {
			return fmt.Errorf("%d pods", len(pods))
		}
		return nil
	})
}

func (w *world) pods(app string) []corev1.Pod {
	w.Helper()
	list, err := w.client.CoreV1().Pods(w.namespace).List(w.ctx, metav1.ListOptions{LabelSelector: "app=" + app})
	if err != nil {
		w.Fatal(err)
	}
	return list.Items
}

// create creates a pod and gives its form as it is then.
func (w *world) create(pod *corev1.Pod) {
	w.Helper()
	if _, err := w.client.CoreV1().Pods(w.namespace).Create(w.ctx, pod, metav1.CreateOptions{}); err != nil {
		w.Fatal(err)
	}
}

// awaitPod waits for a state of a pod and returns the pod in it.
func (w *world) awaitPod(name, what string, holds func(*corev1.Pod) bool) *corev1.Pod {
	w.Helper()
	var found *corev1.Pod
	w.eventually(name+": "+what, func() (err error) {
		if found, err = w.client.CoreV1().Pods(w.namespace).Get(w.ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		if !holds(found) {
			return fmt.Errorf("statuses %+v", found.Status.ContainerStatuses)
		}
		return nil
	})
	return found
}

func ready(pod *corev1.Pod) bool {
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

func (w *world) url(service, path string) string {
	return "http://" + service + "." + w.namespace + ".svc.cluster.local" + path
}

var errStatus = errors.New("not the status 200")

// fetch makes a request, and gives the body of an answer with status 200.
func (w *world) fetch(method, url string) (string, error) {
	request, err := http.NewRequestWithContext(w.ctx, method, url, http.NoBody)
	if err != nil {
		return "", err
	}
	response, err := w.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%w: %s: %s", errStatus, response.Status, bytes.TrimSpace(body))
	}
	return string(body), err
}

// identity is what the test server tells of itself.
type identity struct {
	Version, Pod, Node, Address, Hostname string
	PID, UID                              int
}

func (w *world) ask(url string) (who identity, err error) {
	body, err := w.fetch(http.MethodGet, url)
	if err != nil {
		return who, err
	}
	return who, json.NewDecoder(strings.NewReader(body)).Decode(&who)
}
