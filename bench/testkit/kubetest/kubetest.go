// Package kubetest gives tests the API server of a real Kubernetes, without nodes: objects are checked,
// stored and watched, and no pod runs. The binaries are those that make testbed builds.
package kubetest

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// Assets is the environment variable that names the folder with kube-apiserver, etcd and kubectl, such as
// bin/testbed/assets.
const Assets = "KUBEBUILDER_ASSETS"

// Start starts an API server with the project's CRDs, which ends with the test, and returns how to reach it
// with all rights. The test is skipped where [Assets] is not set. It takes about 5 s and 0.5 GB of memory, so
// tests of one package are to share one. Whoever needs other flags of the API server sets them by configure,
// which is called before it starts.
func Start(t testing.TB, configure ...func(*envtest.Environment)) *rest.Config {
	t.Helper()
	if os.Getenv(Assets) == "" {
		t.Skip("this needs an API server of Kubernetes: make testbed builds one, then set " + Assets + "=bin/testbed/assets (make e2e-kube does both)")
	}
	_, here, _, _ := runtime.Caller(0)
	environment := &envtest.Environment{
		CRDDirectoryPaths:     []string{filepath.Join(filepath.Dir(here), "..", "..", "..", "deploy", "manifests", "crds")},
		ErrorIfCRDPathMissing: true,
	}
	// Room for the Services of many fleets, of which the default has 254.
	environment.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.64.0.0/16")
	for _, c := range configure {
		c(environment)
	}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	config.QPS = -1
	return config
}
