package v1alpha1_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	strictjson "sigs.k8s.io/json"

	applyv1alpha1 "gridrouter.io/deploy/api/applyconfiguration/api/v1alpha1"
	"gridrouter.io/deploy/api/v1alpha1"
)

// same fails if two objects differ, and shows where.
func same(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what was wanted (-) and what came (+):\n%s", diff)
	}
}

// TestDefaultsAreFilledIn is the page of defaults: what a fleet is that says the least.
func TestDefaultsAreFilledIn(t *testing.T) {
	k := newKind(t, "gridrouters")
	got := decode(t, fleet)
	if errs := lines(k.admit(got)); errs != "" {
		t.Fatal(errs)
	}
	same(t, got, changed(t, fleet, `
prefix: /gridrouter/
listeners: [{name: http, port: 8080}]
placement: {zones: spread}
disruption: {maxUnavailable: 1}
rollout: {strategy: Rolling, maxSurge: 1, maxUnavailable: 0, progressDeadline: 10m, history: 10}
rollbackTo: 0
drain: {delay: 5s, timeout: 30s}
exposure: {type: ClusterIP, scheduler: wrr, mode: DR}
paused: false
cluster: ""
`))

	// Defaults of what is absent unless asked for.
	canary := changed(t, fleet, `{replicas: null, autoscaling: {max: 3, requestsPerSecond: 9}, rollout: {strategy: Canary, canary: {steps: [{percent: 10}]}}}`)
	if errs := lines(k.admit(canary)); errs != "" {
		t.Fatal(errs)
	}
	spec := canary["spec"].(map[string]any)
	same(t, spec["autoscaling"], any(decode(t, `{min: 2, max: 3, requestsPerSecond: 9}`)))
	same(t, spec["rollout"].(map[string]any)["canary"], any(decode(t,
		`{steps: [{percent: 10, hold: 60s}], analysis: {maxErrorPercent: 1, maxP99Ratio: 1.5, minRequests: 100}}`)))
}

// TestSamplesAreTakenAndLoseNothing validates every sample, and sends it through the Go types and back.
func TestSamplesAreTakenAndLoseNothing(t *testing.T) {
	kinds := map[string]*kind{"GridRouter": newKind(t, "gridrouters"), "ClusterConnection": newKind(t, "clusterconnections")}
	seen := map[string]int{}
	for name, object := range samples(t) {
		form, _ := object["kind"].(string)
		k := kinds[form]
		if k == nil {
			continue // a Secret, say
		}
		seen[form]++
		if errs := lines(k.admit(runtime.DeepCopyJSON(object))); errs != "" {
			t.Errorf("%s is refused by\n%s", name, errs)
			continue
		}
		same(t, canonical(throughGo(t, object)), canonical(object))
	}
	if seen["GridRouter"] < 3 || seen["ClusterConnection"] < 1 {
		t.Errorf("only %v were found", seen)
	}
}

// TestNothingIsLostThroughTheGoTypes does the same with zero values that are no defaults, with all that
// defaults fill in, and with a status.
func TestNothingIsLostThroughTheGoTypes(t *testing.T) {
	k := newKind(t, "gridrouters")
	for _, change := range []string{
		`{}`,
		`{replicas: 0, drain: {delay: 0s, timeout: 0s}, rollout: {maxSurge: 0, maxUnavailable: 50%}}`,
		`{rollout: {strategy: Canary, canary: {steps: [{percent: 1, hold: 0s}], analysis: {maxErrorPercent: 0, maxP99Ratio: 1.25, minRequests: 0}}}}`,
	} {
		object := changed(t, fleet, change)
		object["status"] = decode(t, fullStatus)
		if errs := lines(k.admit(object)); errs != "" {
			t.Fatal(errs)
		}
		got := throughGo(t, object)
		if errs := lines(k.admit(got)); errs != "" { // fills in again what Go leaves out as zero
			t.Fatal(errs)
		}
		same(t, canonical(got), canonical(object))
	}
}

// samples returns the objects of every file of samples, by file and place in it.
func samples(t *testing.T) map[string]map[string]any {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "samples", "fleet", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, document := range strings.Split(string(raw), "\n---\n") {
			all[fmt.Sprintf("%s, document %d", filepath.Base(file), i+1)] = decode(t, document)
		}
	}
	return all
}

// throughGo decodes an object strictly into its Go type, and encodes that.
func throughGo(t *testing.T, object map[string]any) map[string]any {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	form, _ := object["kind"].(string)
	typed, err := scheme.New(v1alpha1.SchemeGroupVersion.WithKind(form))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	if refused, err := strictjson.UnmarshalStrict(raw, typed); err != nil || len(refused) > 0 {
		t.Fatalf("%v %v in %s", err, refused, raw)
	}
	if raw, err = json.Marshal(typed.DeepCopyObject()); err != nil {
		t.Fatal(err)
	}
	return decode(t, string(raw))
}

// canonical returns an object with its durations as Go writes them: 60s as 1m0s.
func canonical(value any) any {
	switch v := value.(type) {
	case map[string]any:
		all := make(map[string]any, len(v))
		for name, inner := range v {
			all[name] = canonical(inner)
		}
		return all
	case []any:
		all := make([]any, len(v))
		for i, inner := range v {
			all[i] = canonical(inner)
		}
		return all
	case string:
		if d, err := time.ParseDuration(v); err == nil && v != "0" {
			return d.String()
		}
	}
	return value
}

// TestAnApplyConfigurationHoldsWhatWasSetAlone: a controller that applies it owns nothing else.
func TestAnApplyConfigurationHoldsWhatWasSetAlone(t *testing.T) {
	apply := applyv1alpha1.GridRouter("edge", "grid").
		WithSpec(applyv1alpha1.GridRouterSpec().WithReplicas(0)).
		WithStatus(applyv1alpha1.GridRouterStatus().WithReady(0))
	raw, err := json.Marshal(apply)
	if err != nil {
		t.Fatal(err)
	}
	same(t, decode(t, string(raw)), decode(t, `
apiVersion: gridrouter.io/v1alpha1
kind: GridRouter
metadata: {name: edge, namespace: grid}
spec: {replicas: 0}
status: {ready: 0}
`))
}

// TestAnOwnerFindsWhatItApplied: of an object that several write, one's own fields can be told.
func TestAnOwnerFindsWhatItApplied(t *testing.T) {
	replicas := int32(5)
	router := &v1alpha1.GridRouter{
		ObjectMeta: metav1.ObjectMeta{Name: "edge", Namespace: "grid", ManagedFields: []metav1.ManagedFieldsEntry{{
			Manager: "console", Operation: metav1.ManagedFieldsOperationApply, APIVersion: v1alpha1.SchemeGroupVersion.String(),
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:replicas":{},"f:listeners":{"k:{\"name\":\"http\"}":{".":{},"f:name":{},"f:port":{}}}}}`),
		}}},
		Spec: v1alpha1.GridRouterSpec{Version: "1.4.0", Replicas: &replicas, Listeners: []v1alpha1.Listener{{Name: "http", Port: 80}, {Name: "other", Port: 81}}},
	}
	applied, err := applyv1alpha1.ExtractGridRouter(router, "console")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(applied.Spec)
	if err != nil {
		t.Fatal(err)
	}
	same(t, decode(t, string(raw)), decode(t, `{replicas: 5, listeners: [{name: http, port: 80}]}`))
}

// TestFlagsOfTheOperatorAreRefusedInArgs holds the rules of args to ManagedFlags, and both to the page of
// flags: what the operator does not set may stand in args.
func TestFlagsOfTheOperatorAreRefusedInArgs(t *testing.T) {
	k := newKind(t, "gridrouters")
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "FLAGS.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, serve, _ := strings.Cut(string(page), "\n## serve\n")
	serve, _, _ = strings.Cut(serve, "\n## ")
	var known []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`--.*?) \\|").FindAllStringSubmatch(serve, -1) {
		for _, flag := range regexp.MustCompile("`--([a-z0-9-]+)").FindAllStringSubmatch(row[1], -1) {
			known = append(known, flag[1])
		}
	}
	if len(known) < 30 {
		t.Fatalf("only %v were found in the page of flags", known)
	}
	managed := v1alpha1.ManagedFlags()
	for _, flag := range managed {
		if !slices.Contains(known, flag) {
			t.Errorf("there is no flag --%s", flag)
		}
	}
	for _, flag := range known {
		got := lines(k.admit(changed(t, fleet, `{args: ["--`+flag+`=x"]}`)))
		if slices.Contains(managed, flag) == (got == "") || strings.Contains(got, "\n") {
			t.Errorf("--%s, set by the operator: %v, gives %q", flag, slices.Contains(managed, flag), got)
		}
	}
}

// TestAConditionSaysWhichSpecItAnswers sets one twice.
func TestAConditionSaysWhichSpecItAnswers(t *testing.T) {
	var conditions []metav1.Condition
	set := func(generation int64) bool {
		return v1alpha1.SetCondition(&conditions, generation, v1alpha1.ConditionAvailable, metav1.ConditionTrue, v1alpha1.ReasonReplicasReady, "3 of 3")
	}
	if !set(1) || set(1) || !set(2) {
		t.Error("a condition that changed is not told from one that did not")
	}
	if len(conditions) != 1 || conditions[0].ObservedGeneration != 2 || conditions[0].LastTransitionTime.IsZero() {
		t.Errorf("the conditions are %+v", conditions)
	}
}
