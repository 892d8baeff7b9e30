package images

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestATagWithoutAMappingOfItsOwnHasThatOfItsName(t *testing.T) {
	folder := t.TempDir()
	program := func(name string) string {
		path := filepath.Join(folder, name)
		if err := os.WriteFile(path, nil, 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	old, anew := program("old"), program("new")
	var m Map
	for _, text := range []string{
		"router=" + old,
		"router:v2=" + anew + ",user=65532",
		"registry:5000/team/tool=" + old + ",user=1:2",
		"root=" + folder + ",entrypoint=/bin/tool,entrypoint=serve",
	} {
		if err := m.Add(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]Image{
		"router":                        {Path: old, Entrypoint: []string{"/old"}},
		"router:v1":                     {Path: old, Entrypoint: []string{"/old"}},
		"router:v2":                     {Path: anew, Entrypoint: []string{"/new"}, UID: 65532, GID: 65532},
		"router:v2@sha256:0123":         {Path: anew, Entrypoint: []string{"/new"}, UID: 65532, GID: 65532},
		"registry:5000/team/tool":       {Path: old, Entrypoint: []string{"/old"}, UID: 1, GID: 2},
		"registry:5000/team/tool:v1.2a": {Path: old, Entrypoint: []string{"/old"}, UID: 1, GID: 2},
		"root:latest":                   {Path: folder, Folder: true, Entrypoint: []string{"/bin/tool", "serve"}},
	} {
		if got, found := m.Find(name); !found || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, found, want)
		}
	}
	for _, name := range []string{"route", "registry", "registry:5000/team", "router2:v1", ""} {
		if got, found := m.Find(name); found {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestMappingsThatMeanNothingAreRefused(t *testing.T) {
	folder := t.TempDir()
	text := filepath.Join(folder, "text")
	if err := os.WriteFile(text, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for mapping, want := range map[string]string{
		"":                              "an image is given as",
		"name":                          "an image is given as",
		"name=":                         "an image is given as",
		"=" + text:                      "an image is given as",
		"name=" + folder + "/nothing":   "no such file",
		"name=" + text:                  "is not executable",
		"name=/bin/sh":                  "is linked dynamically",
		"name=" + folder:                "needs entrypoint",
		"name=" + folder + ",user=root": `"root" is not a number`,
		"name=" + folder + ",user=1:x":  `"x" is not a number`,
		"name=" + folder + ",port=1":    "an image is given as",
	} {
		var m Map
		if err := m.Add(mapping); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", mapping, err, want)
		}
	}
}
