package render_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"

	"gridrouter.io/deploy/api/v1alpha1"
)

// one is a spec with the keys that its etcd Secret has.
type one struct {
	name string
	keys []string
	edit func(*v1alpha1.GridRouterSpec)
}

// features has one spec for each thing that a spec may say.
func features() []one {
	text := func(s string) *intstr.IntOrString { v := intstr.FromString(s); return &v }
	return []one{
		{name: "least", edit: func(*v1alpha1.GridRouterSpec) {}},
		{name: "etcd-with-everything", keys: []string{"username", "password", "ca.crt", "tls.crt", "tls.key"}, edit: func(s *v1alpha1.GridRouterSpec) {
			s.Etcd = v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"https://a:2379", "https://[fd00::1]:2379"}, Secret: "etcd"}
		}},
		{name: "etcd-with-an-authority", keys: []string{"ca.crt"}, edit: func(s *v1alpha1.GridRouterSpec) { s.Etcd.Secret = "etcd" }},
		{name: "etcd-with-an-empty-secret", edit: func(s *v1alpha1.GridRouterSpec) { s.Etcd.Secret = "etcd" }},
		{name: "listeners", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Listeners = []v1alpha1.Listener{{Name: "http", Port: 80}, {Name: "https", Port: 443, TLSSecret: "shop"}, {Name: "admin", Port: 8444, TLSSecret: "other"}, {Name: "health", Port: 8445, TLSSecret: "shop"}}
		}},
		{name: "placement-strict", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Placement = v1alpha1.Placement{Zones: v1alpha1.ZonesStrict, NodeSelector: map[string]string{"b": "2", "a": "1"}, PriorityClass: "high", Tolerations: []corev1.Toleration{{Key: "only", Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoSchedule}}}
		}},
		{name: "placement-any", edit: func(s *v1alpha1.GridRouterSpec) { s.Placement.Zones = v1alpha1.ZonesAny }},
		{name: "resources", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Resources = corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("0.5"), "memory": resource.MustParse("256Mi")}, Limits: corev1.ResourceList{"memory": resource.MustParse("0.5Gi")}}
		}},
		{name: "autoscaling", edit: func(s *v1alpha1.GridRouterSpec) {
			percent, requests := int32(60), int32(5000)
			s.Replicas, s.Autoscaling = nil, &v1alpha1.Autoscaling{Min: 2, Max: 12, CPUPercent: &percent, RequestsPerSecond: &requests}
			s.Resources.Limits = corev1.ResourceList{"cpu": resource.MustParse("500m")}
		}},
		{name: "access", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Access = &v1alpha1.Access{CIDRs: []v1alpha1.CIDR{"10.9.0.0/16", "fd00::/64"}, Namespaces: metav1.LabelSelector{
				MatchLabels: map[string]string{"zone": "management"}, MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "tier", Operator: metav1.LabelSelectorOpIn, Values: []string{"a", "b"}}, {Key: "x", Operator: metav1.LabelSelectorOpExists}},
			}}
		}},
		{name: "access-for-all", edit: func(s *v1alpha1.GridRouterSpec) { s.Access = &v1alpha1.Access{} }},
		{name: "load-balancer", edit: func(s *v1alpha1.GridRouterSpec) { s.Exposure.Type = v1alpha1.ExposureLoadBalancer }},
		{name: "rollout", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Rollout.MaxSurge, s.Rollout.MaxUnavailable, s.Rollout.ProgressDeadline = text("25%"), text("0%"), &metav1.Duration{Duration: 90500 * time.Millisecond}
			s.Disruption.MaxUnavailable = text("30%")
		}},
		{name: "drain", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Drain = v1alpha1.Drain{Delay: &metav1.Duration{Duration: 1500 * time.Millisecond}, Timeout: &metav1.Duration{}}
		}},
		{name: "args-and-gslb", edit: func(s *v1alpha1.GridRouterSpec) {
			s.Args = []v1alpha1.Arg{"--access-log-sample=0.5", "--trusted-proxies=$(POD_IP)"}
			s.GSLB.Servers, s.Image, s.Prefix = []v1alpha1.DNSServer{"10.96.0.53:53", "fd00::53"}, "registry.example:5000/team/gridrouter", "/shop/eu/"
		}},
	}
}

// fleets are all specs of features, and those of the samples, as the API server has them: with its defaults.
func fleets(t *testing.T, withDefaults func(*v1alpha1.GridRouter)) map[string]*v1alpha1.GridRouter {
	t.Helper()
	all := map[string]*v1alpha1.GridRouter{}
	for _, f := range features() {
		replicas := int32(3)
		fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{Version: "1.4.0", Replicas: &replicas, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://etcd:2379"}}}}
		f.edit(&fleet.Spec)
		all[f.name] = fleet
	}
	samples, err := filepath.Glob("../../../samples/fleet/*.yaml")
	if err != nil || len(samples) == 0 {
		t.Fatal(samples, err)
	}
	for _, file := range samples {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for part := range strings.SplitSeq(string(text), "\n---\n") {
			fleet := &v1alpha1.GridRouter{}
			if err := yaml.UnmarshalStrict([]byte(part), fleet); err == nil {
				all["sample-"+fleet.Name] = fleet
			}
		}
	}
	for name, fleet := range all {
		fleet.Name, fleet.Namespace = strings.TrimPrefix(name, "sample-"), "default"
		withDefaults(fleet)
		fleet.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("GridRouter"))
	}
	return all
}

func keysOf(name string) []string {
	for _, f := range features() {
		if f.name == name {
			return f.keys
		}
	}
	return nil
}
