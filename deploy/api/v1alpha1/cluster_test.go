package v1alpha1_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"
)

// kubectl names the variable of the environment that holds the path of kubectl, for a cluster that has
// the CRDs and that KUBECONFIG names: make e2e-kube sets it. Where it is set, every row of these tests is
// tried on that cluster as well.
const kubectl = "GRIDROUTER_TESTBED_KUBECTL"

// inCluster returns what the API server of the cluster answers to an object, without storing it; empty:
// it takes it. tried is false where there is no cluster.
func inCluster(t *testing.T, object map[string]any) (answer string, tried bool) {
	t.Helper()
	program := os.Getenv(kubectl)
	if program == "" {
		return "", false
	}
	text, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, "create", "--dry-run=server", "--validate=strict", "-f", "-")
	cmd.Stdin = bytes.NewReader(text)
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "", true
	}
	if len(out) == 0 {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out)), true
}

// TestTheClusterTakesTheSamples creates what a newcomer would begin with.
func TestTheClusterTakesTheSamples(t *testing.T) {
	if os.Getenv(kubectl) == "" {
		t.Skip("needs a cluster: make e2e-kube runs it")
	}
	files, err := filepath.Glob("../../samples/fleet/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		out, err := exec.CommandContext(t.Context(), os.Getenv(kubectl), "create", "--dry-run=server", "--validate=strict", "-f", file).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", file, err, out)
		}
	}
}
