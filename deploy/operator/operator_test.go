package operator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/manifests"
	"gridrouter.io/deploy/operator"
)

// installed applies what the binary prints, and returns who may do all.
func installed(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	c := newClient(t, config)
	text, err := manifests.Render(manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, c, text)
	return c
}

func newClient(t *testing.T, config *rest.Config) client.Client {
	t.Helper()
	scheme, err := operator.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// apply applies a stream of YAML, each object by its own request.
func apply(t *testing.T, c client.Client, text []byte) {
	t.Helper()
	for decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096); ; {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
		if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object), client.FieldOwner("test"), client.ForceOwnership); err != nil {
			t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
}

// asOperator returns config with the rights that are shipped, and no others.
func asOperator(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:gridrouter-system:gridrouter-operator",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:gridrouter-system", "system:authenticated"},
	}
	return config
}

// running is an operator with the shipped rights.
type running struct {
	health string
	stop   context.CancelFunc
	ended  chan error
	logs   *observer.ObservedLogs
}

func run(t *testing.T, config *rest.Config, forbidden *atomic.Int64) *running {
	t.Helper()
	config = asOperator(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return counted(func(r *http.Request) (*http.Response, error) {
			answer, err := next.RoundTrip(r)
			if err == nil && answer.StatusCode == http.StatusForbidden {
				forbidden.Add(1)
			}
			return answer, err
		})
	})
	health, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.DebugLevel)
	ctx, stop := context.WithCancel(t.Context())
	r := &running{health: "http://" + health.Addr().String(), stop: stop, ended: make(chan error, 1), logs: logs}
	go func() {
		r.ended <- operator.Run(ctx, operator.Config{
			Kubernetes: config, Namespace: manifests.Namespace, Image: manifests.Image, EtcdImage: "etcd", ToolsImage: "gridrouter:test", Health: health, Log: zap.New(core),
			Election: operator.Election{Duration: 15 * time.Second, Renew: 10 * time.Second, Retry: 200 * time.Millisecond},
		})
	}()
	t.Cleanup(stop)
	return r
}

type counted func(*http.Request) (*http.Response, error)

func (c counted) RoundTrip(r *http.Request) (*http.Response, error) { return c(r) }

// says tells whether /readyz answers with a text.
func (r *running) says(t *testing.T, want string) func() bool {
	return func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.health+"/readyz", nil)
		if err != nil {
			return false
		}
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return false
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(text), want)
	}
}

// TestOneOfTwoOperatorsLeadsWithTheShippedRights starts two, ends the leader, and sees the other lead long
// before the Lease would have run out.
func TestOneOfTwoOperatorsLeadsWithTheShippedRights(t *testing.T) {
	config := kubetest.Start(t)
	c := installed(t, config)
	t.Run("rights", func(t *testing.T) { testRights(t, newClient(t, asOperator(config))) })
	t.Run("management zone", func(t *testing.T) { apply(t, c, kustomized(t, "../manifests/overlays/management-zone")) })
	var forbidden atomic.Int64
	first := run(t, config, &forbidden)
	testkit.Eventually(t, "the first leads", first.says(t, "leads"))
	second := run(t, config, &forbidden)
	testkit.Eventually(t, "the second stands by", second.says(t, "stands by"))
	holder := holderOf(t, c)
	first.stop()
	if err := <-first.ended; err != nil {
		t.Errorf("the first ended with %v", err)
	}
	if again := holderOf(t, c); again == holder {
		t.Errorf("the Lease was not released by %s", holder)
	}
	testkit.Eventually(t, "the second leads", second.says(t, "leads"))
	second.stop()
	if err := <-second.ended; err != nil {
		t.Errorf("the second ended with %v", err)
	}
	if holder := holderOf(t, c); holder != "" {
		t.Errorf("%s still holds the Lease", holder)
	}
	if n := forbidden.Load(); n > 0 {
		t.Errorf("%d requests were forbidden: %v", n, first.logs.FilterLevelExact(zap.ErrorLevel).All())
	}
}

func holderOf(t *testing.T, c client.Client) string {
	t.Helper()
	var lease coordinationv1.Lease
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: manifests.Namespace, Name: operator.LeaseName}, &lease); err != nil {
		t.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// testRights reads all that the operator watches, and is refused what it has no business with.
func testRights(t *testing.T, c client.Client) {
	for _, list := range []client.ObjectList{
		&v1alpha1.GridRouterList{}, &v1alpha1.ClusterConnectionList{}, &v1alpha1.EtcdClusterList{}, &v1alpha1.EtcdMemberList{}, &corev1.PersistentVolumeClaimList{}, &appsv1.DeploymentList{}, &appsv1.ReplicaSetList{},
		&appsv1.ControllerRevisionList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.ServiceAccountList{}, &corev1.PodList{},
		&corev1.NodeList{}, &discoveryv1.EndpointSliceList{}, &policyv1.PodDisruptionBudgetList{},
		&autoscalingv2.HorizontalPodAutoscalerList{}, &networkingv1.NetworkPolicyList{},
	} {
		if err := c.List(t.Context(), list); err != nil {
			t.Errorf("%T: %v", list, err)
		}
	}
	authority := types.NamespacedName{Namespace: "kube-system", Name: "extension-apiserver-authentication"}
	if err := c.Get(t.Context(), authority, &corev1.ConfigMap{}); err != nil {
		t.Error(err)
	}
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: "default", Name: "none"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
		t.Errorf("a secret by its name: %v", err)
	}
	if err := c.List(t.Context(), &coordinationv1.LeaseList{}); !apierrors.IsForbidden(err) {
		t.Errorf("the Leases of others can be listed: %v", err)
	}
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "none"}}
	if err := c.Delete(t.Context(), node); !apierrors.IsForbidden(err) {
		t.Errorf("nodes can be deleted: %v", err)
	}
}

// kustomized returns what kubectl makes of a folder.
func kustomized(t *testing.T, folder string) []byte {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), filepath.Join(os.Getenv(kubetest.Assets), "kubectl"), "kustomize", folder).Output()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
