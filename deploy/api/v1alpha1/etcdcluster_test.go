package v1alpha1_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// store is the least that an etcd cluster must say; the rows below change it.
const store = `
apiVersion: gridrouter.io/v1alpha1
kind: EtcdCluster
metadata: {name: edge-etcd, namespace: grid}
spec:
  version: 3.7.3
  storage: {size: 8Gi}
`

// TestAnEtcdClusterThatCannotBeIsRefused goes through what a spec may say, row by row: what is wrong, and what people are
// told.
func TestAnEtcdClusterThatCannotBeIsRefused(t *testing.T) {
	k := newKind(t, "etcdclusters")
	f := refusals(t, k, store)

	f(`{version: null}`, `spec.version: Required value`)
	f(`{version: "3.7"}`, `version must be a version of etcd with three numbers: write one such as 3.7.3`)
	f(`{version: v3.7.3}`, `version must be a version of etcd with three numbers`)
	f(`{version: 3.5.9}`, `version must be 3.6.0 or later of etcd 3`)
	f(`{version: 4.0.0}`, `version must be 3.6.0 or later of etcd 3`)
	f(`{version: 3.7}`, `spec.version in body must be of type string`)
	f(`{image: "etcd:v3.7.3"}`, `image holds a tag or a digest: write the version into version`)
	f(`{image: Etcd}`, `image must be a name such as registry.example:5000/team/etcd`)

	f(`{replicas: 2}`, `replicas must be 1, 3, 5 or 7, since an even number of voters bears no more failures`)
	f(`{replicas: 9}`, `replicas must be 1, 3, 5 or 7`)
	f(`{replicas: -1}`, `replicas must be 1, 3, 5 or 7`)

	f(`{storage: null}`, `spec.storage: Required value`)
	f(`{storage: {size: null}}`, `spec.storage.size: Required value`)
	f(`{storage: {size: 1Mi}}`, `storage.size must be from 16Mi to 64Ti: write one such as 8Gi`)
	f(`{storage: {size: 65Ti}}`, `storage.size must be from 16Mi to 64Ti`)
	f(`{storage: {className: Fast}}`, `storage.className must be the name of a StorageClass`)
	f(`{storage: {keepRemoved: 1d}}`, `storage.keepRemoved must be a duration from 0s to 720h: write one such as 1h`)
	f(`{storage: {keepRemoved: 721h}}`, `storage.keepRemoved must be a duration from 0s to 720h`)
	f(`{storage: {whenDeleted: Recycle}}`, `Unsupported value: "Recycle": supported values: "Retain", "Delete"`)

	f(`{class: Gold}`, `Unsupported value: "Gold"`)
	f(`{class: Guaranteed}`, `class Guaranteed asks for limits of cpu and memory`)
	f(`{class: Guaranteed, resources: {limits: {cpu: "1"}}}`, `class Guaranteed asks for limits of cpu and memory`)
	f(`{class: Guaranteed, resources: {limits: {cpu: "1", memory: 1Gi}, requests: {cpu: 500m}}}`, `class Guaranteed asks for limits of cpu and memory, and for requests that are absent or equal`)
	f(`{class: BestEffort, resources: {requests: {cpu: 100m}}}`, `class BestEffort requests and limits nothing: remove resources`)
	f(`{resources: {claims: [{name: gpu}]}}`, `a member uses no claimed devices: remove claims`)
	f(`{resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}`, `more is requested of cpu or memory than the limit allows`)

	f(`{tls: {mode: Mutual}}`, `Unsupported value: "Mutual"`)
	f(`{tls: {rotateBefore: 10m}}`, `tls.rotateBefore must be a duration from 1h to 4320h: write one such as 720h`)

	f(`{options: {quotaBytes: 1Mi}}`, `options.quotaBytes must be from 16Mi to 64Gi: write one such as 8Gi`)
	f(`{options: {quotaBytes: 9Gi}}`, `options.quotaBytes is more than storage.size`)
	f(`{options: {autoCompaction: {mode: Hourly}}}`, `Unsupported value: "Hourly"`)
	f(`{options: {autoCompaction: {mode: Periodic}}}`, `autoCompaction.retention must be a number of revisions with mode Revision`)
	f(`{options: {autoCompaction: {retention: 1h}}}`, `or a duration with mode Periodic, such as 1h`)
	f(`{options: {autoCompaction: {retention: "0"}}}`, `autoCompaction.retention must be a number of revisions`)
	f(`{options: {heartbeat: 1ms}}`, `options.heartbeat must be a duration from 10ms to 5s`)
	f(`{options: {election: 60s}}`, `options.election must be a duration from 100ms to 50s`)
	f(`{options: {heartbeat: 500ms, election: 1s}}`, `options.election must be at least five times options.heartbeat`)
	f(`{options: {snapshotCount: 10}}`, `spec.options.snapshotCount in body should be greater than or equal to 1000`)

	f(`{selfHeal: {replaceAfter: 1s}}`, `selfHeal.replaceAfter must be a duration from 10s to 24h: write one such as 5m`)
	f(`{selfHeal: {progressDeadline: 25h}}`, `selfHeal.progressDeadline must be a duration from 10s to 24h`)
	f(`{defrag: {}}`, `spec.defrag.schedule: Required value`)
	f(`{defrag: {schedule: "@daily"}}`, `defrag.schedule must be five fields of cron with one space between them, in UTC`)
	f(`{defrag: {schedule: "TZ=UTC 30 3 * * *"}}`, `defrag.schedule must be five fields of cron`)
	f(`{defrag: {schedule: "30 3 * *"}}`, `write one such as "30 3 * * *"`)
	f(`{defrag: {schedule: "30 3 * * *", freeAbove: 1Ki}}`, `defrag.freeAbove must be from 1Mi to 64Gi: write one such as 200Mi`)
	f(`{defrag: {schedule: "30 3 * * *", freeAbove: 65Gi}}`, `defrag.freeAbove must be from 1Mi to 64Gi`)
	f(`{selfHeal: {quorumLoss: {policy: Always}}}`, `Unsupported value: "Always"`)
	f(`{selfHeal: {quorumLoss: {after: 10s}}}`, `selfHeal.quorumLoss.after must be a duration from 30s to 24h: write one such as 10m`)
	f(`{access: {namespaces: {matchExpressions: [{key: zone, operator: Is, values: [a]}]}}}`, `an operator must be In or NotIn with values`)
	f(`{placement: {zones: all}}`, `Unsupported value: "all"`)
	f(`{backups: {}}`, `spec.backups: Invalid value: null: unknown field`)
}

func TestSamplesOfEtcdClustersAreTaken(t *testing.T) {
	k := newKind(t, "etcdclusters")
	files, err := filepath.Glob("../../samples/etcd/*.yaml")
	if err != nil || len(files) < 2 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if got := lines(k.admit(decode(t, string(text)))); got != "" {
			t.Errorf("%s is refused by\n%s", file, got)
		}
	}
}

func TestAnUnfitNameOfAnEtcdClusterIsRefused(t *testing.T) {
	k := newKind(t, "etcdclusters")
	for _, name := range []string{"Edge", "1edge", "edge.etcd", strings.Repeat("a", 41)} {
		object := decode(t, store)
		object["metadata"].(map[string]any)["name"] = name
		if got := lines(k.admit(object)); !strings.Contains(got, "metadata.name must be at most 40 of a-z, 0-9 and -") {
			t.Errorf("the name %q is answered by %q", name, got)
		}
	}
}

func TestEtcdClustersThatAreFineAreTaken(t *testing.T) {
	k := newKind(t, "etcdclusters")
	for _, change := range []string{
		`{}`, `{replicas: 0}`, `{replicas: 7}`, `{class: Guaranteed, resources: {limits: {cpu: "2", memory: 8Gi}}}`,
		`{class: Guaranteed, resources: {limits: {cpu: "2", memory: 8Gi}, requests: {cpu: 2000m, memory: 8Gi}}}`, `{class: BestEffort}`,
		`{options: {quotaBytes: 8Gi, autoCompaction: {mode: Periodic, retention: 1h}, heartbeat: 50ms, election: 500ms, snapshotCount: 5000}}`,
		`{options: {autoCompaction: {mode: "Off"}}}`, `{tls: {mode: "Off"}}`, `{defrag: {schedule: "30 3 * * *"}}`, `{defrag: {schedule: "*/5 1-3,7 1 JAN,feb mon-FRI", freeAbove: 64Gi}}`, `{access: {namespaces: {}, cidrs: [10.9.0.0/16]}}`, `{storage: {size: 64Ti, keepRemoved: 0s, whenDeleted: Delete}}`,
	} {
		if got := lines(k.admit(changed(t, store, change))); got != "" {
			t.Errorf("%s is refused by\n%s", change, got)
		}
	}
}

// TestWhatAnEtcdClusterCannotChangeIsKept updates clusters: old and new spec, the minor version of the data, and what is
// answered, "" for nothing.
func TestWhatAnEtcdClusterCannotChangeIsKept(t *testing.T) {
	k := newKind(t, "etcdclusters")
	f := func(old, data, change, want string) {
		t.Helper()
		before, after := changed(t, store, old), changed(t, store, old)
		if data != "" {
			status := map[string]any{"clusterVersion": data, "replicas": int64(3), "healthy": int64(3)}
			before["status"], after["status"] = status, status
		}
		if got := lines(k.admit(before)); got != "" {
			t.Fatalf("%s: %s", old, got)
		}
		merge(after, map[string]any{"spec": decode(t, change)})
		got := lines(k.admitUpdate(after, before))
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s after %s gives\n%s\nand not\n%s", change, old, got, want)
		}
	}
	f(`{version: 3.6.16}`, "3.6", `{version: 3.7.3}`, ``)
	f(`{version: 3.6.16}`, "3.6", `{version: 3.8.0}`, `etcd is upgraded one minor version at a time`)
	f(`{version: 3.7.3}`, "3.6", `{version: 3.6.16}`, ``) // taken back before all members had it
	f(`{version: 3.7.3}`, "3.7", `{version: 3.6.16}`, `etcd cannot go back to an older minor version than that of its data`)
	f(`{version: 3.7.3}`, "3.7", `{version: 3.7.1}`, ``)
	f(`{version: 3.6.16}`, "", `{version: 3.9.0}`, ``) // nothing was formed
	f(`{storage: {size: 8Gi}}`, "", `{storage: {size: 4Gi}}`, `storage.size cannot shrink`)
	f(`{storage: {size: 8Gi}}`, "", `{storage: {size: 16Gi}}`, ``)
	f(`{storage: {size: 8Gi}}`, "", `{storage: {size: 8192Mi}}`, ``)
	f(`{}`, "", `{storage: {className: fast}}`, `storage.className cannot be changed`)
	f(`{}`, "", `{tls: {mode: "Off"}}`, `tls.mode cannot be changed`)
}

func TestAnEtcdMemberKeepsItsCluster(t *testing.T) {
	k := newKind(t, "etcdmembers")
	const member = `
apiVersion: gridrouter.io/v1alpha1
kind: EtcdMember
metadata: {name: edge-etcd-0, namespace: grid}
spec: {cluster: edge-etcd, template: {version: 3.7.3}}
`
	before := changed(t, member, `{}`)
	if got := lines(k.admit(before)); got != "" {
		t.Fatal(got)
	}
	for change, want := range map[string]string{`{cluster: other}`: "cluster cannot be changed", `{seed: true}`: "seed cannot be changed", `{template: {version: 3.7.4}}`: ""} {
		after := changed(t, member, change)
		if got := lines(k.admitUpdate(after, before)); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%s is answered by %q, want %q", change, got, want)
		}
	}
}
