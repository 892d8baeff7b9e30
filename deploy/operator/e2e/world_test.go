package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
)

// What make e2e-kube sets: the testbed's folder, and where the project's binaries are.
const (
	testbed = "GRIDROUTER_TESTBED"
	bin     = "GRIDROUTER_BIN"
)

// patience is how long a condition may take to come true. A test that passes takes far less.
const patience = 4 * time.Minute

// world is a namespace with an etcd and decks that belongs to one test.
type world struct {
	*testing.T
	client    client.Client
	namespace string
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		v1alpha1.AddToScheme, appsv1.AddToScheme, autoscalingv2.AddToScheme, coordinationv1.AddToScheme, corev1.AddToScheme, eventsv1.AddToScheme, policyv1.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// newWorld gives a test a namespace, which is deleted when the test ends.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv(testbed) == "" {
		t.Skip("not in a testbed: make e2e-kube runs this")
	}
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, client: c}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "fleet-"}}
	if err := c.Create(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	w.namespace = namespace.Name
	t.Cleanup(func() {
		if t.Failed() {
			w.describe()
		}
		if err := c.Delete(context.WithoutCancel(t.Context()), namespace); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return w
}

// describe logs what a person would look at after a failure.
func (w *world) describe() {
	for _, args := range [][]string{
		{"get", "gridrouters,deployments,pods,hpa,pdb", "-o", "wide"}, {"get", "gridrouters", "-o", "yaml"},
		{"get", "events.events.k8s.io", "--sort-by=.metadata.creationTimestamp"},
		{"logs", "-n", "gridrouter-system", "-l", "app.kubernetes.io/name=gridrouter-operator", "--tail=60", "--prefix"},
	} {
		out, err := exec.Command("kubectl", append([]string{"-n", w.namespace}, args...)...).CombinedOutput()
		w.Logf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
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

// kubectl runs kubectl in the test's namespace.
func (w *world) kubectl(args ...string) string {
	w.Helper()
	out, err := exec.CommandContext(w.Context(), "kubectl", append([]string{"-n", w.namespace}, args...)...).CombinedOutput()
	if err != nil {
		w.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// create creates an object in the test's namespace.
func (w *world) create(o client.Object) {
	w.Helper()
	o.SetNamespace(w.namespace)
	if err := w.client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

// host is the name of a Service of the test within the cluster.
func (w *world) host(service string) string {
	return service + "." + w.namespace + ".svc.cluster.local"
}

// program is a Deployment of one container with a Service of its name.
func (w *world) program(name string, replicas, port int32, container *corev1.Container) {
	w.Helper()
	labels := map[string]string{"app": name}
	container.Name = name
	container.Ports = []corev1.ContainerPort{{Name: "main", ContainerPort: port}}
	w.create(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{*container}}},
		},
	})
	w.create(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: port, TargetPort: intstr.FromString("main")}}},
	})
}

// grid gives the test an etcd with the documents of one tenant, acme.test, whose requests go to one deck
// of two pods.
func (w *world) grid() {
	w.Helper()
	w.program("etcd", 1, 2379, &corev1.Container{Image: "etcd", Args: []string{
		"--data-dir=/data", "--listen-client-urls=http://0.0.0.0:2379", "--advertise-client-urls=http://" + w.host("etcd") + ":2379",
	}, VolumeMounts: nil})
	w.program("deck", 2, 8080, &corev1.Container{Image: "echo:v1", ReadinessProbe: &corev1.Probe{
		ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/ready", Port: intstr.FromString("main")}}, PeriodSeconds: 1,
	}})
	w.documents(fmt.Sprintf(`{kind: Deck, name: d1, domain: d1.test, attach: direct, addresses: ["%s:8080"]}
---
{kind: Tenant, name: acme, hosts: [acme.test], rules: [{name: all, deck: d1}]}
`, w.host("deck")))
}

// documents writes documents of the grid into the test's etcd.
func (w *world) documents(documents string) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "documents.yaml")
	if err := os.WriteFile(file, []byte(documents), 0o600); err != nil {
		w.Fatal(err)
	}
	w.eventually("the documents are in etcd", func() error {
		out, err := exec.CommandContext(w.Context(), filepath.Join(os.Getenv(bin), "gridctl"), "--etcd", w.etcd(), "apply", "-f", file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return nil
	})
}

func (w *world) etcd() string { return "http://" + w.host("etcd") + ":2379" }

// fleet returns the spec of a fleet that follows the test's etcd.
func (w *world) fleet(name string, replicas int32) *v1alpha1.GridRouter {
	return &v1alpha1.GridRouter{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.GridRouterSpec{
			Version: "v1", Replicas: &replicas, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{v1alpha1.EtcdEndpoint(w.etcd())}},
			Drain: v1alpha1.Drain{Delay: &metav1.Duration{Duration: 2 * time.Second}, Timeout: &metav1.Duration{Duration: 10 * time.Second}},
			Args:  []v1alpha1.Arg{"--access-log=off"},
		},
	}
}

// get reads a fleet.
func (w *world) get(name string) *v1alpha1.GridRouter {
	w.Helper()
	fleet := &v1alpha1.GridRouter{}
	if err := w.client.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, fleet); err != nil {
		w.Fatal(err)
	}
	return fleet
}

// change changes the spec of a fleet.
func (w *world) change(name string, edit func(*v1alpha1.GridRouterSpec)) {
	w.Helper()
	w.eventually("the change of "+name, func() error {
		fleet := w.get(name)
		edit(&fleet.Spec)
		return w.client.Update(w.Context(), fleet)
	})
}

// awaits waits until a condition of a fleet has a reason, for the present spec.
func (w *world) awaits(name string, kind v1alpha1.ConditionType, reason v1alpha1.Reason) *v1alpha1.GridRouter {
	w.Helper()
	var fleet *v1alpha1.GridRouter
	w.eventually(fmt.Sprintf("%s of %s is %s", kind, name, reason), func() error {
		fleet = w.get(name)
		c := meta.FindStatusCondition(fleet.Status.Conditions, string(kind))
		if c == nil || c.Reason != string(reason) || c.ObservedGeneration != fleet.Generation {
			return fmt.Errorf("generation %d, condition %+v", fleet.Generation, c)
		}
		return nil
	})
	return fleet
}

// ask makes one request for acme.test to a fleet, over a connection of its own.
func (w *world) ask(fleet string) (status int, body string, err error) {
	ctx, cancel := context.WithTimeout(w.Context(), 20*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+w.host(fleet)+":8080/", http.NoBody)
	if err != nil {
		return 0, "", err
	}
	request.Host = "acme.test"
	once := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := once.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(bytes.TrimSpace(text)), err
}

// answered waits until a fleet answers from a deck.
func (w *world) answered(fleet string) {
	w.Helper()
	w.eventually("a request through the Service of "+fleet, func() error {
		status, body, err := w.ask(fleet)
		if err != nil {
			return err
		}
		var who struct{ Version string }
		if json.Unmarshal([]byte(body), &who) != nil || status != http.StatusOK || who.Version != "v1" {
			return fmt.Errorf("status %d: %s", status, body)
		}
		return nil
	})
}
