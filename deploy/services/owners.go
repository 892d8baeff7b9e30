package services

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"gridrouter.io/deploy/api/v1alpha1"
)

// lastApplied is the annotation in which client-side kubectl apply keeps what it applied last.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// checkOwners refuses to change fields that others keep by server-side apply, unless force is set, and notes
// those that client-side apply keeps.
func checkOwners(fleet *v1alpha1.GridRouter, settings []setting, force bool) (notes []string, err error) {
	for _, s := range settings {
		who := applierOf(fleet, s.path)
		switch {
		case who != "" && !force:
			return nil, &Error{Kind: KindConflict, text: fmt.Sprintf(
				"spec.%s of %s is kept by %s (server-side apply), which would put it back: change it there, or write it anyway (--force-conflicts)",
				s.path, RefOf(fleet).what(), who)}
		case who != "":
			notes = append(notes, fmt.Sprintf("%s keeps spec.%s by server-side apply: write %v there too, or its next sync puts it back or fails", who, s.path, s.value))
		case inLastApplied(fleet, s.path):
			notes = append(notes, fmt.Sprintf("kubectl apply keeps spec.%s: write %v into its file too, or the next apply puts it back", s.path, s.value))
		}
	}
	return notes, nil
}

// applierOf returns the owner that keeps a field by server-side apply; empty: none but ourselves.
func applierOf(fleet *v1alpha1.GridRouter, path string) string {
	for i := range fleet.ManagedFields {
		entry := &fleet.ManagedFields[i]
		if entry.Operation == metav1.ManagedFieldsOperationApply && entry.Manager != FieldOwner && owns(entry, path) {
			return entry.Manager
		}
	}
	return ""
}

// lastWriter returns the owner that wrote a field last; empty: not known.
func lastWriter(fleet *v1alpha1.GridRouter, path string) string {
	who, when := "", metav1.Time{}
	for i := range fleet.ManagedFields {
		entry := &fleet.ManagedFields[i]
		if owns(entry, path) && (who == "" || entry.Time != nil && when.Before(entry.Time)) {
			who = entry.Manager
			if entry.Time != nil {
				when = *entry.Time
			}
		}
	}
	return who
}

// owns says whether an owner has a field of the spec. What cannot be read owns nothing: the API server would
// not store it.
func owns(entry *metav1.ManagedFieldsEntry, path string) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	set := &fieldpath.Set{}
	if err := set.FromJSON(bytes.NewReader(entry.FieldsV1.GetRawBytes())); err != nil {
		return false
	}
	names := []any{"spec"}
	for part := range strings.SplitSeq(path, ".") {
		names = append(names, part)
	}
	at, err := fieldpath.MakePath(names...)
	return err == nil && set.Has(at)
}

// inLastApplied says whether client-side kubectl apply states a field.
func inLastApplied(fleet *v1alpha1.GridRouter, path string) bool {
	var applied struct {
		Spec map[string]any `json:"spec"`
	}
	if json.Unmarshal([]byte(fleet.Annotations[lastApplied]), &applied) != nil {
		return false
	}
	return valueAt(applied.Spec, path) != nil
}
