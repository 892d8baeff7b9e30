package clusters_test

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/clusters"
)

// shipped reads a CRD of ours from the files that the binary carries.
func shipped(t testing.TB, plural string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "manifests", "crds", "gridrouter.io_"+plural+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func fieldsOf(t testing.TB, plural string) *clusters.Field {
	t.Helper()
	crd, err := clusters.ReadCRD(shipped(t, plural))
	if err != nil {
		t.Fatal(err)
	}
	root, err := clusters.Fields(crd, "v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	return root
}

// TestTheFieldsOfOurKindsAreThoseOfTheirGoTypes holds both to each other, field by field.
func TestTheFieldsOfOurKindsAreThoseOfTheirGoTypes(t *testing.T) {
	for plural, kind := range map[string]reflect.Type{
		"gridrouters":        reflect.TypeFor[v1alpha1.GridRouter](),
		"clusterconnections": reflect.TypeFor[v1alpha1.ClusterConnection](),
	} {
		root := fieldsOf(t, plural)
		seen := 0
		root.Walk(func(*clusters.Field) { seen++ })
		if seen < 20 {
			t.Errorf("%s has only %d fields", plural, seen)
		}
		compare(t, plural, root, kind)
	}
}

// compare walks a tree and a type at once.
func compare(t *testing.T, at string, f *clusters.Field, kind reflect.Type) {
	t.Helper()
	for kind.Kind() == reflect.Pointer {
		kind = kind.Elem()
	}
	if want := typeOf(kind); f.Type != want {
		t.Errorf("%s is %s in the schema and %s (%s) in Go", at, f.Type, want, kind)
		return
	}
	switch f.Type {
	case clusters.TypeList, clusters.TypeMap:
		compare(t, at+"[]", f.Items, kind.Elem())
	case clusters.TypeObject:
		if kind == reflect.TypeFor[metav1.ObjectMeta]() {
			return // the API server knows what is in it
		}
		members := map[string]reflect.Type{}
		jsonFields(members, kind)
		for _, field := range f.Fields {
			if _, ok := members[field.Name]; !ok {
				t.Errorf("%s.%s is in the schema and not in Go", at, field.Name)
			}
		}
		for name, member := range members {
			field := child(f, name)
			if field == nil {
				t.Errorf("%s.%s is in Go and not in the schema", at, name)
				continue
			}
			compare(t, at+"."+name, field, member)
		}
	default: // of no parts
	}
}

func child(f *clusters.Field, name string) *clusters.Field {
	for _, field := range f.Fields {
		if field.Name == name {
			return field
		}
	}
	return nil
}

// jsonFields collects the names that a struct has in JSON, with what is inlined.
func jsonFields(into map[string]reflect.Type, kind reflect.Type) {
	for i := range kind.NumField() {
		field := kind.Field(i)
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if name == "" && field.Anonymous {
			jsonFields(into, field.Type)
		} else if name != "-" {
			into[name] = field.Type
		}
	}
}

func typeOf(kind reflect.Type) clusters.FieldType {
	switch kind {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.Duration]():
		return clusters.TypeString
	case reflect.TypeFor[resource.Quantity](), reflect.TypeFor[intstr.IntOrString]():
		return clusters.TypeIntOrString
	}
	switch kind.Kind() {
	case reflect.Struct:
		return clusters.TypeObject
	case reflect.Slice:
		return clusters.TypeList
	case reflect.Map:
		return clusters.TypeMap
	case reflect.String:
		return clusters.TypeString
	case reflect.Bool:
		return clusters.TypeBoolean
	case reflect.Int32, reflect.Int64, reflect.Int:
		return clusters.TypeInteger
	case reflect.Float32, reflect.Float64:
		return clusters.TypeNumber
	default:
		return clusters.TypeAny
	}
}

// TestAFieldTellsWhatItsSchemaSays looks at one field of each sort.
func TestAFieldTellsWhatItsSchemaSays(t *testing.T) {
	root := fieldsOf(t, "gridrouters")
	connections := fieldsOf(t, "clusterconnections")
	for path, check := range map[string]func(*clusters.Field) bool{
		"spec":                     func(f *clusters.Field) bool { return f.Required && len(f.Rules) > 0 && f.Rules[0].Message != "" },
		"spec.prefix":              func(f *clusters.Field) bool { return string(f.Default) == `"/gridrouter/"` && f.Description != "" },
		"spec.drain.delay":         func(f *clusters.Field) bool { return f.Unit == clusters.UnitDuration && *f.MaxLength == 32 },
		"spec.listeners":           func(f *clusters.Field) bool { return f.MaxLength != nil && f.ListType == "map" && f.Keys[0] == "name" },
		"spec.listeners[].port":    func(f *clusters.Field) bool { return f.Required && f.Format == "int32" && len(f.Rules) > 0 },
		"spec.resources.limits{}":  func(f *clusters.Field) bool { return f.Unit == clusters.UnitQuantity && f.Name == "" },
		"spec.rollout.strategy":    func(f *clusters.Field) bool { return f.Type == clusters.TypeString && f.Default != nil },
		"status.conditions[].type": func(f *clusters.Field) bool { return f.Pattern != "" && f.Required },
	} {
		if f := root.Find(path); f == nil || !check(f) {
			t.Errorf("%s is %+v", path, f)
		}
	}
	if f := root.Find("spec.rollout.canary.steps[].percent"); f == nil || f.Unit != clusters.UnitPercent {
		t.Errorf("a percentage is %+v", f)
	}
	if f := connections.Find("status.conditions[].status"); f == nil || len(f.Enum) != 3 || string(f.Enum[0]) != `"True"` {
		t.Errorf("an enumeration is %+v", f)
	}
	if f := connections.Find("status.since"); f == nil || f.Unit != clusters.UnitTime {
		t.Errorf("a time is %+v", f)
	}
	if f := root.Find("spec.nothing"); f != nil {
		t.Errorf("there is %+v", f)
	}
}

// TestWhatIsNoCRDIsRefused names what is wrong with it.
func TestWhatIsNoCRDIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"":             "not a CustomResourceDefinition",
		"[]":           "this is no CustomResourceDefinition",
		"kind: Secret": "not a CustomResourceDefinition",
		"apiVersion: apiextensions.k8s.io/v1beta1\nkind: CustomResourceDefinition":  "not a CustomResourceDefinition of apiextensions.k8s.io/v1",
		"apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\na: b": "unknown field",
	} {
		if _, err := clusters.ReadCRD([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	crd, err := clusters.ReadCRD(shipped(t, "gridrouters"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clusters.Fields(crd, "v9"); err == nil || !strings.Contains(err.Error(), `no version "v9"`) {
		t.Errorf("an unknown version: %v", err)
	}
	if stored, err := clusters.Fields(crd, ""); err != nil || stored.Find("spec") == nil {
		t.Errorf("the stored version: %v", err)
	}
	crd.Spec.Versions[0].Schema = nil
	if _, err := clusters.Fields(crd, ""); err == nil {
		t.Error("a version without a schema has fields")
	}
}

// FuzzFields reads schemas that are not ours.
func FuzzFields(f *testing.F) {
	f.Add(shipped(f, "clusterconnections"))
	f.Add([]byte(`{"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","spec":{"versions":[{"name":"v1","storage":true,"schema":{"openAPIV3Schema":{"type":"array","items":{}}}}]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		crd, err := clusters.ReadCRD(text)
		if err != nil {
			return
		}
		root, err := clusters.Fields(crd, "")
		if err != nil {
			return
		}
		root.Walk(func(f *clusters.Field) {
			if f.Type == "" {
				t.Errorf("%q has no type", f.Path)
			}
		})
	})
}
