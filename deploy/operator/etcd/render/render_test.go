package render

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"gridrouter.io/deploy/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

func cluster(edit func(*v1alpha1.EtcdClusterSpec)) *v1alpha1.EtcdCluster {
	three := int32(3)
	c := &v1alpha1.EtcdCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: "grid", Name: "edge", UID: "0ef9680b-b977-4259-b920-ae8d1e12f169"},
		Spec: v1alpha1.EtcdClusterSpec{
			Version: "3.7.3", Replicas: &three, Storage: v1alpha1.EtcdStorage{Size: resource.MustParse("8Gi")},
			TLS: v1alpha1.EtcdTLS{Mode: v1alpha1.EtcdTLSOperator}, Placement: v1alpha1.Placement{Zones: v1alpha1.ZonesSpread},
			Options: v1alpha1.EtcdOptions{AutoCompaction: v1alpha1.EtcdAutoCompaction{Mode: v1alpha1.CompactByRevision, Retention: "10000"}},
		},
	}
	if edit != nil {
		edit(&c.Spec)
	}
	return c
}

func memberOf(c *v1alpha1.EtcdCluster, name string, seed bool) *v1alpha1.EtcdMember {
	return &v1alpha1.EtcdMember{
		ObjectMeta: metav1.ObjectMeta{Namespace: c.Namespace, Name: name},
		Spec:       v1alpha1.EtcdMemberSpec{Cluster: c.Name, Seed: seed, Template: TemplateOf(c)},
		Status:     v1alpha1.EtcdMemberStatus{Peers: []string{"edge-0=https://edge-0.edge-peers.grid.svc:2380", name + "=" + PeerURL(c, name)}},
	}
}

// TestAHashIsTheSameForEver holds the hashes of templates: another one would restart all members of all clusters.
func TestAHashIsTheSameForEver(t *testing.T) {
	quota, many := resource.MustParse("8Gi"), int64(5000)
	for want, edit := range map[string]func(*v1alpha1.EtcdClusterSpec){
		"54litsmv2d": nil,
		"16v8dta2xt": func(s *v1alpha1.EtcdClusterSpec) { s.TLS.Mode = v1alpha1.EtcdTLSOff },
		"3mpbcqc1s3": func(s *v1alpha1.EtcdClusterSpec) { s.Version = "3.6.16" },
		"31grry715k": func(s *v1alpha1.EtcdClusterSpec) {
			s.Image = "registry.example/etcd"
			s.Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi")}
			s.Options = v1alpha1.EtcdOptions{
				QuotaBytes: &quota, SnapshotCount: &many, Heartbeat: &metav1.Duration{Duration: 50 * time.Millisecond}, Election: &metav1.Duration{Duration: time.Second},
				AutoCompaction: v1alpha1.EtcdAutoCompaction{Mode: v1alpha1.CompactByTime, Retention: "1h"},
			}
			s.Placement = v1alpha1.Placement{Zones: v1alpha1.ZonesStrict, NodeSelector: map[string]string{"disk": "fast"}, PriorityClass: "grid"}
		},
	} {
		template := TemplateOf(cluster(edit))
		if got := Hash(&template); got != want {
			t.Errorf("the hash is %s and was %s", got, want)
		}
	}
}

func TestStorageAndTheNumberOfMembersChangeNoHash(t *testing.T) {
	a, seven := TemplateOf(cluster(nil)), int32(7)
	b := TemplateOf(cluster(func(s *v1alpha1.EtcdClusterSpec) { s.Storage.Size, s.Replicas = resource.MustParse("16Gi"), &seven }))
	if Hash(&a) != Hash(&b) {
		t.Error("members would be restarted for it")
	}
}

// TestAHashOutlivesTheAPIServer writes a template and reads it again, as it is kept.
func TestAHashOutlivesTheAPIServer(t *testing.T) {
	a := TemplateOf(cluster(func(s *v1alpha1.EtcdClusterSpec) {
		s.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("4096Mi")}
	}))
	text, err := json.Marshal(&a)
	if err != nil {
		t.Fatal(err)
	}
	var b v1alpha1.EtcdMemberTemplate
	if err := json.Unmarshal(text, &b); err != nil {
		t.Fatal(err)
	}
	if Hash(&a) != Hash(&b) {
		t.Error("it has another hash after it was stored")
	}
}

// TestObjectsAreAsInTheirGoldenFiles shows whole what a spec means.
func TestObjectsAreAsInTheirGoldenFiles(t *testing.T) {
	c := cluster(func(s *v1alpha1.EtcdClusterSpec) {
		s.Access = &v1alpha1.Access{Namespaces: metav1.LabelSelector{MatchLabels: map[string]string{"zone": "management"}}, CIDRs: []v1alpha1.CIDR{"10.9.0.0/16"}}
	})
	defaults := Defaults{EtcdImage: "etcd", ToolsImage: "gridrouter:1.4.0"}
	template := TemplateOf(c)
	for name, object := range map[string]any{
		"seed.yaml": Pod(c, memberOf(c, "edge-0", true), defaults, PodFacts{Trust: "8f2d"}), "joined.yaml": Pod(c, memberOf(c, "edge-1", false), defaults, PodFacts{Joined: "a/b", Trust: "8f2d"}),
		"plain.yaml": Pod(cluster(func(s *v1alpha1.EtcdClusterSpec) { s.TLS.Mode = v1alpha1.EtcdTLSOff }), memberOf(cluster(func(s *v1alpha1.EtcdClusterSpec) { s.TLS.Mode = v1alpha1.EtcdTLSOff }), "edge-0", true), defaults, PodFacts{}),
		"around.yaml": []any{
			ClientService(c), PeerService(c), DisruptionBudget(c, 2), NetworkPolicy(c, "gridrouter-system"), Claim(c, memberOf(c, "edge-0", true), time.Time{}), Member(c, "edge-0", true, &template),
		},
	} {
		got, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(want) {
			t.Errorf("%s is now\n%s", name, got)
		}
	}
}

func TestNamesOfMembersAreReadBack(t *testing.T) {
	c := cluster(nil)
	for _, number := range []int64{0, 7, 10, 1234567890} {
		name := MemberName(c.Name, number)
		if got, ok := NumberOf(c.Name, name); !ok || got != number {
			t.Errorf("%s is read as %d, %t", name, got, ok)
		}
		if got := MemberOf(c, PeerURL(c, name)); got != name {
			t.Errorf("%s is read as %q", PeerURL(c, name), got)
		}
	}
	for _, name := range []string{"", "edge", "edge-", "edge-01", "edge--1", "edge-+1", "edge-1x", "edge-0-1", "other-1", "edge-99999999999999999999"} {
		if _, ok := NumberOf(c.Name, name); ok {
			t.Errorf("%q is taken for a member", name)
		}
	}
	for _, url := range []string{
		"", "https://edge-0.edge-peers.grid.svc", "https://edge-0.edge-peers.other.svc:2380", "https://edge-0.edge-peers.grid.svc:2380.example:2380", "ftp://edge-0.edge-peers.grid.svc:2380",
		"https://10.0.0.1:2380", "https://edge-x.edge-peers.grid.svc:2380",
	} {
		if got := MemberOf(c, url); got != "" {
			t.Errorf("%q is taken for %q", url, got)
		}
	}
}

// FuzzMemberOf reads peer URLs, which foreign members may have chosen.
func FuzzMemberOf(f *testing.F) {
	c := cluster(nil)
	for _, url := range []string{PeerURL(c, "edge-0"), "http://[::1]:2380", "https://edge-1.", "edge-1.edge-peers.grid.svc:2380"} {
		f.Add(url)
	}
	f.Fuzz(func(t *testing.T, url string) {
		if name := MemberOf(c, url); name != "" && url != PeerURL(c, name) && url != "http"+PeerURL(c, name)[5:] {
			t.Errorf("%q is taken for %q", url, name)
		}
	})
}
