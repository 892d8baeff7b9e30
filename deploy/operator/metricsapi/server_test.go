package metricsapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/metrics/pkg/client/custom_metrics"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"k8s.io/apimachinery/pkg/api/meta"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/bench/testkit/routertest"
	"gridrouter.io/deploy/operator/metricsapi"
	"gridrouter.io/deploy/operator/routermetrics"
)

const documents = "kind: Deck\nname: d\ndomain: d.example\nattach: direct\naddresses: [\"127.0.0.1:1\"]\n"

// aggregating starts an API server that aggregates, and returns how to reach it and the authority of its
// aggregator.
func aggregating(t *testing.T) (*rest.Config, *testkit.Authority) {
	authority := testkit.NewAuthority(t, "aggregator")
	proxy := authority.IssueForm(testkit.Form{Name: "front-proxy"})
	return kubetest.Start(t, func(e *envtest.Environment) {
		flags := e.ControlPlane.GetAPIServer().Configure()
		flags.Set("requestheader-client-ca-file", authority.File).Set("requestheader-allowed-names", "front-proxy")
		flags.Set("requestheader-username-headers", "X-Remote-User").Set("requestheader-group-headers", "X-Remote-Group")
		flags.Set("requestheader-extra-headers-prefix", "X-Remote-Extra-")
		flags.Set("proxy-client-cert-file", proxy.CertFile).Set("proxy-client-key-file", proxy.KeyFile)
	}), authority
}

func TestAutoscalersGetTheRoutersNumbersThroughTheAPIServer(t *testing.T) {
	config, authority := aggregating(t)
	c, err := client.New(config, client.Options{Scheme: scheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	source := sampled(t)
	servers := []*replica{serve(t, c, source), serve(t, c, source)}
	for _, s := range servers {
		testkit.Eventually(t, "the certificate is there", func() bool { return s.Bundle() != nil })
	}
	if string(servers[0].Bundle()) != string(servers[1].Bundle()) {
		t.Error("two replicas have two CAs")
	}
	register(t, c, servers[0])
	direct(t, servers[0], authority)
	t.Run("as JSON", func(t *testing.T) { raw(t, config) })
	for _, contentType := range []string{"application/vnd.kubernetes.protobuf", "application/json"} {
		t.Run("by the client of autoscalers, which likes "+contentType, func(t *testing.T) {
			asking := rest.CopyConfig(config)
			asking.ContentType = contentType
			asClientOfAutoscalers(t, asking)
		})
	}
}

// sampled is two pods, of which one is a router that serves requests.
func sampled(t *testing.T) metricsapi.Source {
	router := routertest.Start(t, routertest.Build(t), documents)
	sampler := routermetrics.NewSampler(routermetrics.SamplerOptions{Every: 50 * time.Millisecond})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- sampler.Start(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	sampler.Set("shop/edge", map[string]routermetrics.Target{
		"uid-1": {Address: router.Admin, Token: routertest.Token}, "uid-2": {Address: testkit.FreeAddr(t)},
	})
	testkit.Eventually(t, "the requests are in the rate", func() bool {
		router.Get("nobody.example")
		rate, ok := sampler.Rate("uid-1")
		return ok && rate.RequestsPerSecond > 0
	})
	return metricsapi.Source{Rate: func(pod metricsapi.Pod) (routermetrics.Rate, bool) { return sampler.Rate(string(pod.UID)) }, Pods: func(_ context.Context, namespace string) ([]metricsapi.Pod, error) {
		if namespace != "shop" {
			return nil, nil
		}
		of := map[string]string{"gridrouter.io/fleet": "edge"}
		return []metricsapi.Pod{{Namespace: "shop", Name: "edge-1", UID: "uid-1", Labels: of}, {Namespace: "shop", Name: "edge-2", UID: "uid-2", Labels: of}}, nil
	}}
}

type replica struct {
	*metricsapi.Server
	address string
}

func serve(t *testing.T, c client.Client, source metricsapi.Source) *replica {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := metricsapi.New(metricsapi.Options{Listener: listener, Client: c, Namespace: "default", Service: "metrics", Source: source})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- server.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return &replica{server, listener.Addr().String()}
}

// register makes the Service and the APIServices, and waits until they are available.
func register(t *testing.T, c client.Client, s *replica) {
	t.Helper()
	service := &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost"}}
	service.Namespace, service.Name = "default", "metrics"
	if err := c.Create(t.Context(), service); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.address)
	var number int64
	fmt.Sscan(port, &number)
	for i, version := range []string{"v1beta1", "v1beta2"} {
		api := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
			"group": metricsapi.Group, "version": version, "groupPriorityMinimum": int64(100), "versionPriority": int64(100 + i),
			"service": map[string]any{"namespace": "default", "name": "metrics", "port": number},
		}}}
		api.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiregistration.k8s.io", Version: "v1", Kind: "APIService"})
		api.SetName(version + "." + metricsapi.Group)
		api.Object["spec"].(map[string]any)["caBundle"] = base64.StdEncoding.EncodeToString(s.Bundle())
		if err := c.Create(t.Context(), api); err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "the APIService is available", func() bool {
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(api), api); err != nil {
				t.Fatal(err)
			}
			conditions, _, _ := unstructured.NestedSlice(api.Object, "status", "conditions")
			return strings.Contains(fmt.Sprint(conditions), "status:True")
		})
	}
}

// direct asks the server itself: only the aggregator's certificate of the allowed name, with a user, is let in.
func direct(t *testing.T, s *replica, authority *testkit.Authority) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.Bundle())
	proxy, other := authority.IssueForm(testkit.Form{Name: "front-proxy"}), authority.IssueForm(testkit.Form{Name: "other"})
	foreign := testkit.NewAuthority(t, "foreign").IssueForm(testkit.Form{Name: "front-proxy"})
	for name, row := range map[string]struct {
		pair *testkit.Pair
		user string
		want int
	}{
		"no certificate": {nil, "admin", 401}, "another CA": {foreign, "admin", 401}, "another name": {other, "admin", 401},
		"no user": {proxy, "", 401}, "nobody": {proxy, "system:anonymous", 401}, "the aggregator": {proxy, "admin", 200},
	} {
		settings := &tls.Config{RootCAs: roots, ServerName: "metrics.default.svc"}
		if row.pair != nil {
			settings.Certificates = []tls.Certificate{row.pair.TLS}
		}
		transport := &http.Transport{TLSClientConfig: settings}
		request, _ := http.NewRequest(http.MethodGet, "https://"+s.address+"/apis/custom.metrics.k8s.io/v1beta2", nil)
		request.Header.Set("X-Remote-User", row.user)
		answer, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, _ := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		transport.CloseIdleConnections()
		if answer.StatusCode != row.want || row.want == 401 && !strings.Contains(string(body), `"kind":"Status"`) {
			t.Errorf("%s: %d %s", name, answer.StatusCode, body)
		}
	}
}

func raw(t *testing.T, config *rest.Config) {
	asking, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (string, error) {
		text, err := asking.RESTClient().Get().AbsPath("/apis/custom.metrics.k8s.io/v1beta2").Suffix(path).Do(t.Context()).Raw()
		return string(text), err
	}
	for path, says := range map[string]string{
		"": "pods/gridrouter_cpu_cores",
		"namespaces/shop/pods/*/gridrouter_requests_per_second":      `"name":"edge-1"`,
		"namespaces/shop/pods/edge-1/gridrouter_requests_per_second": `"metric":{"name":"gridrouter_requests_per_second"`,
		"namespaces/empty/pods/*/gridrouter_cpu_cores":               `"items":[]`,
	} {
		if text, err := get(path); err != nil || !strings.Contains(text, says) || strings.Contains(text, "edge-2") {
			t.Errorf("%s: %s, %v", path, text, err)
		}
	}
	for _, path := range []string{"namespaces/shop/pods/edge-2/gridrouter_cpu_cores", "namespaces/shop/pods/*/other", "pods/*/gridrouter_cpu_cores"} {
		if text, err := get(path); err == nil {
			t.Errorf("%s: %s", path, text)
		}
	}
}

func asClientOfAutoscalers(t *testing.T, config *rest.Config) {
	asking, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{corev1.SchemeGroupVersion})
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	metrics := custom_metrics.NewForConfig(config, mapper, custom_metrics.NewAvailableAPIsGetter(asking))
	edge, err := labels.Parse("gridrouter.io/fleet=edge")
	if err != nil {
		t.Fatal(err)
	}
	for _, metric := range []string{metricsapi.RequestsPerSecond, metricsapi.CPUCores} {
		values, err := metrics.NamespacedMetrics("shop").GetForObjects(schema.GroupKind{Kind: "Pod"}, edge, metric, labels.Everything())
		if err != nil || len(values.Items) != 1 || values.Items[0].DescribedObject.Name != "edge-1" || values.Items[0].WindowSeconds == nil {
			t.Errorf("%s: %+v, %v", metric, values, err)
		}
	}
}
