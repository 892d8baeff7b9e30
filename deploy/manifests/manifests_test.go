package manifests_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"gridrouter.io/deploy/manifests"
)

// objects reads a stream of YAML: kind, namespace and name -> object.
func objects(t *testing.T, text []byte) map[string]any {
	t.Helper()
	all := map[string]any{}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var object map[string]any
		if err := decoder.Decode(&object); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		meta, _ := object["metadata"].(map[string]any)
		name := fmt.Sprint(object["kind"], " ", meta["namespace"], "/", meta["name"])
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = object
	}
}

func kustomized(t *testing.T, folder string) []byte {
	t.Helper()
	kubectl := filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl")
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("this needs kubectl: make testbed builds one, then set KUBEBUILDER_ASSETS=bin/testbed/assets")
	}
	text, err := exec.Command(kubectl, "kustomize", folder).Output()
	if err != nil {
		var failed *exec.ExitError
		errors.As(err, &failed)
		t.Fatalf("%v: %s", err, failed.Stderr)
	}
	return text
}

func TestKustomizeAndTheBinaryBringTheSameObjects(t *testing.T) {
	for folder, o := range map[string]manifests.Options{".": {}, "operator": {WithoutMetricsAPI: true}} {
		text, err := manifests.Render(o)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(objects(t, kustomized(t, folder)), objects(t, text)); diff != "" {
			t.Errorf("%s: files (-) and binary (+) differ:\n%s", folder, diff)
		}
	}
}

func TestTheSameOptionsGiveTheSameBytes(t *testing.T) {
	first, err := manifests.Render(manifests.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := manifests.Render(manifests.Options{}); !bytes.Equal(first, again) {
		t.Error("the second time it printed something else")
	}
}

func TestOptionsReplaceAllThatTheFilesSay(t *testing.T) {
	text, err := manifests.Render(manifests.Options{Namespace: "edge", Image: "registry.example:5000/router", Version: "v1.4.0"})
	if err != nil {
		t.Fatal(err)
	}
	for _, object := range objects(t, text) {
		plain, err := yaml.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		for _, left := range []string{manifests.Namespace, "gridrouter:latest", "--image=gridrouter"} {
			if !strings.Contains(string(plain), "kind: CustomResourceDefinition") && strings.Contains(string(plain), left) {
				t.Errorf("%q is left in:\n%s", left, plain)
			}
		}
	}
	for _, want := range []string{"image: registry.example:5000/router:v1.4.0", "--image=registry.example:5000/router", "name: edge\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is missing", want)
		}
	}
}

func TestBadOptionsAreRefused(t *testing.T) {
	for _, o := range []manifests.Options{
		{Namespace: "Edge"}, {Namespace: "a.b"}, {Namespace: strings.Repeat("a", 64)}, {Namespace: "-a"},
		{Image: "a:v1"}, {Image: "a b"}, {Image: "r.example:5000/a:v1"}, {Image: "a\nb"},
		{Version: "v1+dirty"}, {Version: "a b"}, {Version: strings.Repeat("1", 129)}, {Version: "-"},
	} {
		if _, err := manifests.Render(o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
}
