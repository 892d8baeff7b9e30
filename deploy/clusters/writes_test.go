package clusters_test

import (
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	v1alpha1ac "gridrouter.io/deploy/api/applyconfiguration/api/v1alpha1"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

func deployment(namespace, name, fleet string) *appsv1.Deployment {
	labels := map[string]string{clusters.LabelFleet: fleet}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "router", Image: "gridrouter:1"}}},
			},
		},
	}
}

func testEvents(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	b.connected("west")
	b.reached("west")
	for _, in := range []client.Client{b.there, b.far} {
		fleet := "edge-near"
		if in == b.far {
			fleet = "edge-far"
		}
		d := deployment(b.namespace, "d", fleet)
		expect := func(what, fleet string, act func() error) {
			t.Helper()
			before := b.noted(&b.changed, b.namespace+"/"+fleet)
			if err := act(); err != nil {
				t.Fatal(err)
			}
			testkit.Eventually(t, what+" is told of "+fleet, func() bool { return b.noted(&b.changed, b.namespace+"/"+fleet) > before })
		}
		expect("an object that was made", fleet, func() error { return in.Create(t.Context(), d) })
		expect("an object that changed", fleet, func() error { d.Spec.Paused = true; return in.Update(t.Context(), d) })
		expect("the fleet that lost an object", fleet, func() error { d.Labels[clusters.LabelFleet] = fleet + "-2"; return in.Update(t.Context(), d) })
		expect("the object's new fleet", fleet+"-2", func() error { return in.Delete(t.Context(), d) })
	}
}

func testApply(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	b.connected("west")
	west := b.reached("west")
	labels := map[string]string{clusters.LabelFleet: "edge"}
	configuration := appsv1ac.Deployment("edge", b.namespace).WithSpec(appsv1ac.DeploymentSpec().
		WithReplicas(2).
		WithSelector(metav1ac.LabelSelector().WithMatchLabels(labels)).
		WithTemplate(corev1ac.PodTemplateSpec().WithLabels(labels).
			WithSpec(corev1ac.PodSpec().WithContainers(corev1ac.Container().WithName("router").WithImage("gridrouter:1")))))
	first, err := clusters.Apply[appsv1.Deployment](t.Context(), west.Client, "tester", configuration)
	if err != nil {
		t.Fatal(err)
	}
	if first.UID == "" || *first.Spec.Replicas != 2 || first.Spec.Strategy.Type == "" || first.ManagedFields[0].Manager != "tester" {
		t.Errorf("the answer is %+v", first)
	}
	if configuration.UID != nil || configuration.ResourceVersion != nil || configuration.Spec.Strategy != nil {
		t.Errorf("the server's answer was written into the configuration: %+v", configuration)
	}
	again, err := clusters.Apply[appsv1.Deployment](t.Context(), west.Client, "tester", configuration)
	if err != nil || again.ResourceVersion != first.ResourceVersion {
		t.Errorf("applied again, it is %v, %v", again, err)
	}
	other := appsv1ac.Deployment("edge", b.namespace).WithSpec(appsv1ac.DeploymentSpec().WithReplicas(3))
	if _, err := clusters.Apply[appsv1.Deployment](t.Context(), west.Client, "other", other); !apierrors.IsConflict(err) {
		t.Errorf("a field of another owner: %v", err)
	}
	if forced, err := clusters.Apply[appsv1.Deployment](t.Context(), west.Client, "other", other, client.ForceOwnership); err != nil || *forced.Spec.Replicas != 3 {
		t.Errorf("a field that is taken by force: %v, %v", forced, err)
	}
	if _, err := clusters.Apply[appsv1.Deployment](t.Context(), west.Client, "tester", &appsv1ac.DeploymentApplyConfiguration{}); err == nil {
		t.Error("a configuration without a kind was applied")
	}

	// A kind of ours, in the cluster of the operator.
	fleet := v1alpha1ac.GridRouter("edge", b.namespace).WithSpec(v1alpha1ac.GridRouterSpec().
		WithVersion("1.4.0").WithReplicas(2).WithEtcd(v1alpha1ac.EtcdSource().WithEndpoints("http://etcd:2379")))
	made, err := clusters.Apply[v1alpha1.GridRouter](t.Context(), b.there, "tester", fleet)
	if err != nil || made.Spec.Prefix != "/gridrouter/" || fleet.Spec.Prefix != nil {
		t.Errorf("a GridRouter is %+v, %v", made, err)
	}
	status := v1alpha1ac.GridRouter("edge", b.namespace).WithStatus(v1alpha1ac.GridRouterStatus().WithReady(1))
	if told, err := clusters.ApplyStatus[v1alpha1.GridRouter](t.Context(), b.there, "tester", status); err != nil || told.Status.Ready != 1 || *told.Spec.Replicas != 2 {
		t.Errorf("with a status it is %+v, %v", told, err)
	}
	if _, err := clusters.Get[v1alpha1.GridRouter](t.Context(), b.there, b.namespace, "none"); !apierrors.IsNotFound(err) {
		t.Errorf("what is not there: %v", err)
	}
}

func testRest(t *testing.T, s *servers) {
	b := newBench(t, s, clusters.Options{})
	g := b.connected("west")
	b.reached("west")
	b.secret("nowhere", b.kubeconfig("127.0.0.1:1", "wrong"), true)
	b.connection("nowhere", "nowhere")
	b.connection("here", "")
	versions := func() (all []string) {
		list, err := clusters.List[v1alpha1.ClusterConnectionList](t.Context(), b.there, b.namespace)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range list.Items {
			all = append(all, c.Name+" "+c.ResourceVersion)
		}
		return all
	}
	b.status("west", v1alpha1.ReasonReachable)
	b.status("nowhere", v1alpha1.ReasonUnreachable)
	b.status("here", v1alpha1.ReasonReachable)
	// Latency may take another value once or twice. After that, many probes write nothing: the registry
	// probes every 200 ms here, and a probe that fails takes a second and more.
	testkit.Eventually(t, "30 probes leave the statuses as they are", func() bool {
		before := versions()
		begun := g.answered()
		testkit.Eventually(t, "there are 30 probes", func() bool { return g.answered() >= begun+30 })
		return slices.Equal(before, versions())
	})
	for _, name := range []string{"west", "nowhere"} {
		testkit.Eventually(t, "an event tells of "+name, func() bool {
			list, err := clusters.List[eventsv1.EventList](t.Context(), b.there, b.namespace)
			if err != nil {
				t.Fatal(err)
			}
			return slices.ContainsFunc(list.Items, func(e eventsv1.Event) bool {
				return e.Regarding.Name == name && e.Action == "Probe"
			})
		})
	}
}

var marker = regexp.MustCompile(`(?m)^// \+kubebuilder:rbac:groups="?([^",]*)"?,resources=([^,]*),verbs=(.*)$`)

// shippedRules are the rights that the reconciler's markers ask for.
func shippedRules(t *testing.T) (rules []rbacv1.PolicyRule) {
	t.Helper()
	text, err := os.ReadFile("reconciler.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range marker.FindAllStringSubmatch(string(text), -1) {
		rules = append(rules, rbacv1.PolicyRule{APIGroups: []string{m[1]}, Resources: []string{m[2]}, Verbs: strings.Split(m[3], ";")})
	}
	if len(rules) != 4 {
		t.Fatalf("%d markers were read: %v", len(rules), rules)
	}
	return rules
}

// testRights runs the registry and the reconciler with the rights of their markers, and those to watch what
// the test has them watch.
func testRights(t *testing.T, s *servers) {
	there := (&bench{servers: s, t: t}).clientOf(s.local)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{GenerateName: "operator-", Namespace: "default"}}
	if err := there.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	rules := append(shippedRules(t), rbacv1.PolicyRule{APIGroups: []string{"", "apps"}, Resources: []string{"pods", "deployments"}, Verbs: []string{"list", "watch"}})
	token := &authenticationv1.TokenRequest{}
	for _, err := range []error{
		there.SubResource("token").Create(t.Context(), account, token),
		there.Create(t.Context(), &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: account.Name}, Rules: rules}),
		there.Create(t.Context(), &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: account.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: account.Name, Namespace: "default"}},
		}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	limited := *s
	limited.operator = &rest.Config{Host: s.local.Host, TLSClientConfig: rest.TLSClientConfig{CAData: s.local.CAData}, BearerToken: token.Status.Token, QPS: -1}
	b := newBench(t, &limited, clusters.Options{})
	b.connected("west")
	b.reached("west")
	b.status("west", v1alpha1.ReasonReachable)
	b.secret("plain", []byte("x"), false)
	b.connection("plain", "plain")
	b.status("plain", v1alpha1.ReasonSecretUnlabelled)
	testkit.Eventually(t, "an event is recorded", func() bool {
		list, err := clusters.List[eventsv1.EventList](t.Context(), b.there, b.namespace)
		return err == nil && len(list.Items) > 1
	})
	b.log.mu.Lock()
	defer b.log.mu.Unlock()
	for _, line := range b.log.text {
		if strings.Contains(line, "forbidden") {
			t.Errorf("a right is missing: %s", line)
		}
	}
}

// testFields reads the schema from a cluster, by a client whose scheme does not know of CRDs.
func testFields(t *testing.T, s *servers) {
	there := (&bench{servers: s, t: t}).clientOf(s.local)
	crd, err := clusters.GetCRD(t.Context(), there, "gridrouters.gridrouter.io")
	if err != nil {
		t.Fatal(err)
	}
	served, err := clusters.Fields(crd, "v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(served, fieldsOf(t, "gridrouters")) {
		t.Error("the fields that the cluster serves are not those of the file")
	}
	if _, err := clusters.GetCRD(t.Context(), there, "nothing.gridrouter.io"); !apierrors.IsNotFound(err) {
		t.Errorf("what is not there: %v", err)
	}
}

// testNamespaces has an operator that keeps the fleets of a few namespaces read Secrets of these alone.
func testNamespaces(t *testing.T, s *servers) {
	limited := *s
	limited.operator = rest.CopyConfig(s.local)
	var everywhere, asked atomic.Bool
	limited.operator.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			everywhere.CompareAndSwap(false, r.URL.Path == "/api/v1/secrets")
			asked.CompareAndSwap(false, strings.HasSuffix(r.URL.Path, "/secrets"))
			return next.RoundTrip(r)
		})
	})
	b := newBench(t, &limited, clusters.Options{Namespaces: map[string]cache.Config{"default": {}}})
	b.connected("west")
	b.reached("west")
	if everywhere.Load() || !asked.Load() {
		t.Errorf("Secrets were asked for: %t, in all namespaces: %t", asked.Load(), everywhere.Load())
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
