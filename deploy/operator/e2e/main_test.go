package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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
	status := m.Run()
	if os.Getenv(testbed) != "" {
		if err := noneForbidden(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}

// noneForbidden wants the API server to have forbidden nothing to the operators that run.
func noneForbidden() error {
	out, err := exec.Command("kubectl", "-n", "gridrouter-system", "get", "pods", "-l", "app.kubernetes.io/name=gridrouter-operator",
		"-o", "jsonpath={range .items[*]}{.status.podIP}{\"\\n\"}{end}").Output()
	if err != nil {
		return fmt.Errorf("list the operators: %w", err)
	}
	addresses := strings.Fields(string(out))
	if len(addresses) == 0 {
		return errors.New("no operator runs")
	}
	for _, address := range addresses {
		answer, err := http.Get("http://" + address + ":9903/metrics")
		if err != nil {
			return err
		}
		text, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "gridrouter_operator_forbidden_total") {
				err = errors.Join(err, fmt.Errorf("the operator lacks a right: %s", strings.TrimSpace(line)))
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
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
