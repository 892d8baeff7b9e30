package v1alpha1_test

import (
	"strings"
	"testing"

	"k8s.io/client-go/util/jsonpath"
)

// TestWhatCannotChangeIsKept updates fleets: old and new spec, and what is answered, "" for nothing.
func TestWhatCannotChangeIsKept(t *testing.T) {
	k := newKind(t, "gridrouters")
	f := func(old, change, want string) {
		t.Helper()
		before := changed(t, fleet, old)
		if got := lines(k.admit(before)); got != "" {
			t.Fatalf("%s: %s", old, got)
		}
		after := changed(t, fleet, old)
		merge(after, map[string]any{"spec": decode(t, change)})
		got := lines(k.admitUpdate(after, before))
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s after %s gives\n%s\nand not\n%s", change, old, got, want)
		}
	}
	const lvs = `{exposure: {type: LVS, vip: 10.9.0.10}}`
	f(lvs, `{exposure: {vip: 10.9.0.11}}`, `vip cannot be changed: make a new GridRouter with the new address`)
	f(lvs, `{exposure: {vip: null}}`, `exposure LVS needs an address: set exposure.vip`)
	f(lvs, `{exposure: {scheduler: wlc}}`, ``)
	f(lvs, `{exposure: null}`, ``) // the fleet leaves LVS altogether
	f(`{}`, lvs, ``)

	f(`{cluster: west}`, `{cluster: east}`, `cluster cannot be changed: make a new GridRouter there`)
	f(`{cluster: west}`, `{cluster: null}`, `cluster cannot be changed`)
	f(`{}`, `{cluster: west}`, `cluster cannot be changed`)
	f(`{cluster: west}`, `{version: 1.5.0}`, ``)

	f(`{}`, `{replicas: null, autoscaling: {max: 5, requestsPerSecond: 100}}`, ``)
	f(`{replicas: null, autoscaling: {max: 5, requestsPerSecond: 100}}`, `{replicas: 4}`, `replicas and autoscaling exclude each other`)
}

// TestAnOldFaultDoesNotHinderOtherChanges: after a rule was added, objects that break it can still be
// changed elsewhere, and are refused where they are touched.
func TestAnOldFaultDoesNotHinderOtherChanges(t *testing.T) {
	k := newKind(t, "gridrouters")
	old := `{listeners: [{name: http, port: 9901}], drain: {delay: 20m}, exposure: {type: LVS, vip: 10.9.0.010}}`
	before := changed(t, fleet, old)
	if got := lines(k.admit(before)); strings.Count(got, "\n") != 2 {
		t.Fatalf("the fleet to begin with should be wrong in three places:\n%s", got)
	}
	after := changed(t, fleet, old)
	merge(after, map[string]any{"spec": map[string]any{"version": "1.5.0"}})
	if got := lines(k.admitUpdate(after, before)); got != "" {
		t.Errorf("a change elsewhere is refused by\n%s", got)
	}
	merge(after, map[string]any{"spec": map[string]any{"drain": map[string]any{"delay": "15m"}}})
	if got := lines(k.admitUpdate(after, before)); !strings.Contains(got, "drain.delay must be a duration from 0s to 10m") || strings.Contains(got, "\n") {
		t.Errorf("a change from wrong to wrong is answered by\n%s", got)
	}
}

// TestAStatusIsTaken has every field of a status, and looks that none is dropped.
func TestAStatusIsTaken(t *testing.T) {
	k := newKind(t, "gridrouters")
	object := decode(t, fleet)
	object["status"] = decode(t, fullStatus)
	if got := lines(k.admit(object)); got != "" {
		t.Error(got)
	}
	object["status"].(map[string]any)["canary"] = map[string]any{"step": int64(1), "percent": int64(10), "verdict": "Maybe"}
	if got := lines(k.admit(object)); !strings.Contains(got, `status.canary.verdict: Unsupported value: "Maybe"`) {
		t.Errorf("a verdict that there is not is answered by %q", got)
	}
}

// TestColumnsAndScaleFindTheirFields looks that what kubectl get shows, and what scale reads, is there.
func TestColumnsAndScaleFindTheirFields(t *testing.T) {
	object := changed(t, fleet, `{cluster: west, exposure: {type: LVS, vip: 10.9.0.10}}`)
	object["status"] = decode(t, fullStatus)
	merge(object, decode(t, `{metadata: {creationTimestamp: "2026-01-02T03:04:05Z"}}`))

	crd := readCRD(t, "gridrouters")
	paths := map[string]string{}
	for _, column := range crd.Spec.AdditionalPrinterColumns {
		paths["the column "+column.Name] = column.JSONPath
	}
	scale := crd.Spec.Subresources.Scale
	paths["the replicas wanted"], paths["the replicas there are"], paths["the selector"] = scale.SpecReplicasPath, scale.StatusReplicasPath, *scale.LabelSelectorPath
	if len(paths) < 14 {
		t.Fatalf("only %v were found", paths)
	}
	for what, path := range paths {
		column := jsonpath.New(what)
		if err := column.Parse("{" + path + "}"); err != nil {
			t.Fatal(err)
		}
		var found strings.Builder
		if err := column.Execute(&found, object); err != nil || found.Len() == 0 {
			t.Errorf("%s, %s: %q, %v", what, path, found.String(), err)
		}
	}
}

// fullStatus is a status with every field.
const fullStatus = `
observedGeneration: 4
replicas: 3
ready: 2
updated: 1
selector: app.kubernetes.io/name=gridrouter,app.kubernetes.io/instance=edge
versions: {current: 1.4.0, target: 1.5.0}
canary: {revision: 4, step: 1, percent: 10, since: "2026-01-02T03:04:05Z", verdict: Pending, why: "0.1 % errors, others 0.0 %"}
table: {revisionLow: 1041, revisionHigh: 1042, hashes: [a1b2, c3d4]}
realServers: [{address: "10.88.0.5:8080", weight: 100, state: Active}]
instances:
- {name: edge-7d4b-x2x9k, node: n1, zone: z1, address: 10.88.0.5, version: 1.4.0, revision: 3, canary: true, ready: true, tableRevision: 1042, tableHash: a1b2, why: starts}
history:
- {revision: 4, hash: 5f6c, version: 1.5.0, image: gridrouter, since: "2026-01-02T03:04:05Z", outcome: Progressing, why: none}
- {revision: 3, hash: 7d4b, version: 1.4.0, outcome: Complete}
conditions:
- {type: Available, status: "True", reason: ReplicasReady, message: 3 of 3, observedGeneration: 4, lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Progressing, status: "True", reason: CanaryRunning, message: step 1 of 2, observedGeneration: 4, lastTransitionTime: "2026-01-02T03:04:05Z"}
- {type: Degraded, status: "False", reason: AsExpected, message: "", observedGeneration: 4, lastTransitionTime: "2026-01-02T03:04:05Z"}
`
