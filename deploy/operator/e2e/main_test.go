package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestMain installs the operator as people do: by what the binary prints, with the rights in it.
func TestMain(m *testing.M) {
	if os.Getenv(testbed) != "" {
		if err := install(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func install() error {
	manifests, err := exec.Command(filepath.Join(os.Getenv(bin), "gridrouter"), "operator", "manifests",
		"--image=gridrouter", "--version="+os.Getenv("GRIDROUTER_VERSION")).Output()
	if err != nil {
		return fmt.Errorf("operator manifests: %w", err)
	}
	apply := exec.Command("kubectl", "apply", "--server-side", "-f", "-")
	apply.Stdin = bytes.NewReader(manifests)
	if out, err := apply.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl apply: %w\n%s", err, out)
	}
	if out, err := exec.Command("kubectl", "-n", "gridrouter-system", "rollout", "status", "deployment", "--timeout=2m").CombinedOutput(); err != nil {
		logs, _ := exec.Command("kubectl", "-n", "gridrouter-system", "get", "pods,events", "-o", "wide").CombinedOutput()
		return fmt.Errorf("the operator does not get ready: %w\n%s\n%s", err, out, logs)
	}
	return nil
}
