package e2e

import (
	"bufio"
	"errors"
	"os/exec"
	"strings"
	"testing"
)

func TestKubectlShowsTheCluster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	for want, arguments := range map[string][]string{
		"node-0":                {"get", "nodes"},
		"echo v1 starts":        {"logs", "deployment/web"},
		"1/1":                   {"get", "deployment", "web"},
		"Successfully assigned": {"describe", "pods"},
		"Usage of /echo-v1":     {"exec", "deployment/web", "--", "/echo-v1", "--help"},
	} {
		out, err := exec.Command("kubectl", append([]string{"--namespace", w.namespace}, arguments...)...).CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("kubectl %v: %v\n%s", arguments, err, out)
		}
	}
	var exit *exec.ExitError
	err := exec.Command("kubectl", "--namespace", w.namespace, "exec", "deployment/web", "--", "/echo-v1", "--exists=/nothing").Run()
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("a program in a pod ended with status 1, kubectl with %v", err)
	}
}

func TestKubectlForwardsAPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.deploy(deployment("web", "echo:v1", 1))
	command := exec.Command("kubectl", "--namespace", w.namespace, "port-forward", "service/web", ":80")
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		command.Process.Kill()
		command.Wait()
	}()
	// Forwarding from 127.0.0.1:41234 -> 8080
	line, err := bufio.NewReader(out).ReadString('\n')
	fields := strings.Fields(line)
	if err != nil || len(fields) < 3 {
		t.Fatalf("%q, %v", line, err)
	}
	for range 2 {
		if who, err := w.ask("http://" + fields[2] + "/"); err != nil || who.Version != "v1" {
			t.Errorf("%+v, %v", who, err)
		}
	}
}
