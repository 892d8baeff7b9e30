package services

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAReasonOfTheAPIServerIsToldWithoutItsForm tries the forms that it has.
func TestAReasonOfTheAPIServerIsToldWithoutItsForm(t *testing.T) {
	f := func(field, message, want string) {
		t.Helper()
		if got := plainMessage(field, message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("spec", `Invalid value: "object": set replicas, or autoscaling`, "set replicas, or autoscaling")
	f("spec", `Invalid value: set replicas: or autoscaling`, "set replicas: or autoscaling")
	f("spec.version", `Invalid value: "a: \"b": write another`, `write another (it is "a: \"b")`)
	f("spec.version", `Invalid value: "": spec.version in body should be at least 1 chars long`, "should be at least 1 chars long")
	f("spec.replicas", `Invalid value: 5000: spec.replicas in body should be less than or equal to 1000`, "should be less than or equal to 1000 (it is 5000)")
	f("spec.x", `Invalid value: {"a":"b: c"}: no`, `Invalid value: {"a":"b: c"}: no`)
	f("spec.version", "Required value", "Required value")
	f("spec.exposure.type", `Unsupported value: "X": supported values: "A", "B"`, `Unsupported value: "X": supported values: "A", "B"`)
	f("spec", "Invalid value: ", "Invalid value: ")
}

func FuzzPlainMessage(f *testing.F) {
	f.Add("spec.version", `Invalid value: "a b": write another`)
	f.Add("spec", `Invalid value: "object`)
	f.Add("", "Invalid value: 5: ")
	f.Fuzz(func(t *testing.T, field, message string) {
		if got := plainMessage(field, message); len(got) > len(message)+len(" (it is )") {
			t.Errorf("%q became %q", message, got)
		}
	})
}

// FuzzOwners reads what the API server keeps of owners, and what kubectl leaves in an annotation.
func FuzzOwners(f *testing.F) {
	f.Add(`{"f:spec":{"f:version":{}}}`, `{"spec":{"version":"1"}}`, "version")
	f.Add(`{"f:spec":{"f:autoscaling":{"f:min":{}}}}`, `{"spec":{"autoscaling":[]}}`, "autoscaling.min")
	f.Add(`{"k:{":1}`, `[]`, "")
	f.Fuzz(func(t *testing.T, fields, applied, path string) {
		entry := &metav1.ManagedFieldsEntry{Manager: "x", FieldsV1: metav1.NewFieldsV1(fields)}
		if owns(entry, path) && !strings.Contains(fields, "f:spec") {
			t.Errorf("%q of %q", path, fields)
		}
		fleet := fleetOf()
		fleet.Annotations = map[string]string{lastApplied: applied}
		_ = inLastApplied(fleet, path)
	})
}
