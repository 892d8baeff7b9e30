// Package manifests carries what is applied to a cluster to run the operator: kinds, rights, the operator itself
// and its metrics API. kubectl apply -k deploy/manifests brings the same objects as [Render].
package manifests

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed crds/*.yaml rbac/*.yaml operator/*.yaml metricsapi/*.yaml
var files embed.FS

// What the files say, in place of which Render puts what it was asked for.
const (
	// Namespace is where the operator runs.
	Namespace = "gridrouter-system"
	// Image is what it runs, without a tag, and what fleets run that name no image of their own.
	Image = "gridrouter"
	// Version is the tag.
	Version = "latest"
)

// Options says how the operator is to be installed. An empty field stands for what the files say.
type Options struct {
	Namespace, Image, Version string
	// WithoutMetricsAPI leaves the metrics API out, for clusters where another adapter serves
	// custom.metrics.k8s.io.
	WithoutMetricsAPI bool
}

// The forms of names in Kubernetes and in references of images. They are compiled when they are needed: what
// each start of the binary would compile, routers would pay for.
const (
	namespaceForm = `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`
	imageForm     = `^[a-z0-9][a-zA-Z0-9._:/-]{0,254}$`
	tagForm       = `^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`
)

// Check says what is wrong with the options.
func (o Options) Check() error {
	o.fill()
	if !matches(namespaceForm, o.Namespace) {
		return fmt.Errorf("%q is not a name of a namespace; write a-z, 0-9 and - only, at most 63 of them", o.Namespace)
	}
	if _, last, _ := cutLast(o.Image, "/"); !matches(imageForm, o.Image) || strings.Contains(last, ":") {
		return fmt.Errorf("%q is not a name of an image; write it as in registry.example:5000/gridrouter, without a tag", o.Image)
	}
	if !matches(tagForm, o.Version) {
		return fmt.Errorf("%q is not a tag of an image; write it as in v1.4.0", o.Version)
	}
	return nil
}

func matches(form, text string) bool { return regexp.MustCompile(form).MatchString(text) }

func (o *Options) fill() {
	for _, f := range []struct {
		value    *string
		standard string
	}{{&o.Namespace, Namespace}, {&o.Image, Image}, {&o.Version, Version}} {
		if *f.value == "" {
			*f.value = f.standard
		}
	}
}

// cutLast cuts around the last separator; what has none is all behind it.
func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return "", s, false
}

// Render returns all objects as one stream of YAML for kubectl apply -f, in an order in which they can be made.
// The same options give the same bytes. Errors name the option that is wrong.
func Render(o Options) ([]byte, error) {
	o.fill()
	if err := o.Check(); err != nil {
		return nil, err
	}
	folders := []string{"operator/namespace.yaml", "crds", "rbac", "operator"}
	if !o.WithoutMetricsAPI {
		folders = append(folders, "metricsapi")
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	seen := map[string]bool{}
	for _, folder := range folders {
		err := fs.WalkDir(files, folder, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || seen[path] || entry.Name() == "kustomization.yaml" {
				return err
			}
			seen[path] = true
			return o.render(path, encoder)
		})
		if err != nil {
			return nil, err
		}
	}
	return out.Bytes(), encoder.Close()
}

// render writes the documents of one file.
func (o *Options) render(path string, to *yaml.Encoder) error {
	text, err := files.ReadFile(path)
	if err != nil {
		return err
	}
	for decoder := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var document yaml.Node
		if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		o.replace(&document)
		if err := to.Encode(&document); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
}

// replace puts the options in place of what the files say. Only whole values are looked at.
func (o *Options) replace(node *yaml.Node) {
	if node.Kind == yaml.ScalarNode {
		switch node.Value {
		case Namespace:
			node.SetString(o.Namespace)
		case Image + ":" + Version:
			node.SetString(o.Image + ":" + o.Version)
		case "--image=" + Image:
			node.SetString("--image=" + o.Image)
		}
	}
	for _, child := range node.Content {
		o.replace(child)
	}
}
