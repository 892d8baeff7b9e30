//go:build !slim

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gridrouter.io/cmd/flags"
)

func operatorOutput(t *testing.T, args ...string) (string, error) {
	t.Helper()
	root := newRootCommand()
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetArgs(append([]string{"operator"}, args...))
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

func TestTheOperatorPrintsWhatWasAskedFor(t *testing.T) {
	for args, want := range map[string]string{
		"diagram":                              "canary\n",
		"diagram canary":                       "stateDiagram-v2",
		"diagram canary -o plantuml":           "@startuml canary",
		"manifests --version v1":               "image: gridrouter:v1\n",
		"manifests --version v1 --namespace a": "namespace: a\n",
	} {
		if got, err := operatorOutput(t, strings.Fields(args)...); err != nil || !strings.Contains(got, want) {
			t.Errorf("%s: %v, %q is missing", args, err, want)
		}
	}
	if got, err := operatorOutput(t, "manifests", "--version=v1", "--without-metrics-api"); err != nil || strings.Contains(got, "kind: APIService") {
		t.Errorf("the metrics API was not left out: %v", err)
	}
}

func TestBadFlagsOfTheOperatorNameTheMend(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("nothing: [of"), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"diagram other":                        "there are: canary",
		"diagram canary -o png":                "mermaid or plantuml",
		"manifests --version a+b":              "v1.4.0",
		"manifests --image a:b --version v1":   "without a tag",
		"manifests --namespace A":              "a-z",
		"--namespace a --lease-duration 5s":    "two would lead",
		"--namespace a --lease-retry 0s":       "above 0",
		"--namespace A":                        "not a name of a namespace",
		"--namespace a --watch B":              "not a name of a namespace",
		"--namespace a --image a:b":            "spec.version",
		"--namespace a --log-level loud":       "debug, info",
		"--namespace a --kubeconfig " + broken: "--kubeconfig",
		"--namespace a":                        "outside of a cluster",
		"":                                     "--namespace is needed",
	} {
		if _, err := operatorOutput(t, strings.Fields(args)...); err == nil || !strings.Contains(err.Error(), want) || flags.Exit(err) != flags.ExitUsage {
			t.Errorf("%s: %v, want %q as a usage error", args, err, want)
		}
	}
}
