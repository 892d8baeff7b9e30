package v1alpha1_test

import (
	"strings"
	"testing"
)

// task is a task without an act; the rows below add one.
const task = `
apiVersion: gridrouter.io/v1alpha1
kind: EtcdTask
metadata: {name: look, namespace: grid}
spec: {cluster: edge-etcd}
`

// TestAnEtcdTaskThatCannotBeIsRefused goes through what a spec may say, row by row: what is wrong, and what people are
// told.
func TestAnEtcdTaskThatCannotBeIsRefused(t *testing.T) {
	f := refusals(t, newKind(t, "etcdtasks"), task)

	f(`{}`, `a task is exactly one act: write one of inspect, consistency, probe`)
	f(`{inspect: {}, probe: {}}`, `a task is exactly one act`)
	f(`{cluster: null, inspect: {}}`, `spec.cluster: Required value`)
	f(`{cluster: "", inspect: {}}`, `spec.cluster in body should be at least 1 chars long`)
	f(`{cluster: `+strings.Repeat("a", 41)+`, inspect: {}}`, `Too long: may not be more than 40`)
	f(`{inspect: {}, ttl: 7d}`, `ttl must be a duration from 0s to 8760h: write one such as 168h`)
	f(`{inspect: {}, ttl: 8761h}`, `ttl must be a duration from 0s to 8760h`)
	f(`{inspect: {depth: 3}}`, `spec.inspect.depth: Invalid value: null: unknown field`)
	f(`{inspect: {}, restore: {}}`, `spec.restore: Invalid value: null: unknown field`)

	f(`{prefixUsage: {parts: 17}}`, `spec.prefixUsage.parts in body should be less than or equal to 16`)
	f(`{prefixUsage: {top: 0}}`, `spec.prefixUsage.top in body should be greater than or equal to 1`)
	f(`{prefixUsage: {prefix: `+strings.Repeat("a", 1025)+`}}`, `Too long: may not be more than 1024`)
	f(`{prefixUsage: {prefix: `+strings.Repeat("é", 600)+`}}`, `prefixUsage.prefix must be at most 1 KiB: write a shorter one`)
	f(`{hotKeys: {for: 100ms}}`, `hotKeys.for must be a duration from 1s to 10m: write one such as 30s`)
	f(`{hotKeys: {for: 11m}}`, `hotKeys.for must be a duration from 1s to 10m`)
	f(`{hotKeys: {top: 51}}`, `spec.hotKeys.top in body should be less than or equal to 50`)
	f(`{hotKeys: {prefix: `+strings.Repeat("é", 600)+`}}`, `hotKeys.prefix must be at most 1 KiB`)

	f(`{prunePrefix: {}}`, `spec.prunePrefix.prefix: Required value`)
	f(`{prunePrefix: {prefix: ""}}`, `prunePrefix.prefix is empty, which is all keys: name the prefix`)
	f(`{prunePrefix: {prefix: `+strings.Repeat("é", 600)+`}}`, `prunePrefix.prefix must be at most 1 KiB: write a shorter one`)
	f(`{prunePrefix: {prefix: /}}`, `prunePrefix.prefix covers /gridrouter/, where the routers' documents are: name a longer prefix`)
	f(`{prunePrefix: {prefix: /gridrouter}}`, `prunePrefix.prefix covers /gridrouter/`)
	f(`{prunePrefix: {prefix: /gridrouter/}}`, `prunePrefix.prefix covers /gridrouter/`)
	f(`{prunePrefix: {prefix: /gridrouter/docs/}}`, `prunePrefix.prefix lies within /gridrouter/`)
	f(`{prunePrefix: {prefix: /old/, dryRun: false}}`, `prunePrefix with dryRun false needs the token of a dry run: make a task with dryRun true`)
	f(`{prunePrefix: {prefix: /old/, dryRun: false, token: ""}}`, `prunePrefix with dryRun false needs the token of a dry run`)
	f(`{prunePrefix: {prefix: /old/, token: ab12}}`, `a dry run takes no token: remove token, or write dryRun: false`)
	f(`{prunePrefix: {prefix: /old/, dryRun: false, token: yes}}`, `prunePrefix.token in body must be of type string`)
	f(`{prunePrefix: {prefix: /old/, dryRun: false, token: "yes"}}`, `prunePrefix.token must be the token in the result of a dry run`)

	f(`{defragment: {freeAbove: 1}}`, `defragment.freeAbove must be from 4Ki to 64Gi: write one such as 200Mi`)
	f(`{defragment: {freeAbove: 65Gi}}`, `defragment.freeAbove must be from 4Ki to 64Gi`)
	f(`{defragment: {freeAbove: -1Mi}}`, `defragment.freeAbove must be from 4Ki to 64Gi`)
	f(`{compact: {keep: 0}}`, `spec.compact.keep in body should be greater than or equal to 1`)
	f(`{moveLeader: {}}`, `spec.moveLeader.to: Required value`)
	f(`{moveLeader: {to: ""}}`, `moveLeader.to must be the name of a member, such as edge-etcd-1`)
	f(`{replaceMember: {}}`, `spec.replaceMember.name: Required value`)
	f(`{replaceMember: {name: edge-etcd}}`, `replaceMember.name must be the name of a member, such as edge-etcd-1`)
}

func TestEtcdTasksThatAreFineAreTaken(t *testing.T) {
	k := newKind(t, "etcdtasks")
	for _, change := range []string{
		`{inspect: {}}`, `{consistency: {}, ttl: 0s}`, `{probe: {}, ttl: 8760h}`, `{prefixUsage: {}}`, `{prefixUsage: {prefix: /a/, parts: 16, top: 50}}`,
		`{hotKeys: {}}`, `{hotKeys: {prefix: /gridrouter/, for: 10m, top: 1}}`, `{prunePrefix: {prefix: /old/}}`, `{prunePrefix: {prefix: /gridrouter-old/}}`,
		`{prunePrefix: {prefix: old, dryRun: false, token: 00ff00ff}}`, `{defragment: {}}`, `{defragment: {freeAbove: 200Mi}}`, `{compact: {}}`,
		`{compact: {keep: 10}}`, `{moveLeader: {to: edge-etcd-12}}`, `{replaceMember: {name: edge-etcd-0}}`,
	} {
		if got := lines(k.admit(changed(t, task, change))); got != "" {
			t.Errorf("%s is refused by\n%s", change, got)
		}
	}
}

func TestAnEtcdTaskIsADryRunUnlessItSaysOtherwise(t *testing.T) {
	object := changed(t, task, `{prunePrefix: {prefix: /old/}}`)
	if got := lines(newKind(t, "etcdtasks").admit(object)); got != "" {
		t.Fatal(got)
	}
	spec := object["spec"].(map[string]any)
	if dry := spec["prunePrefix"].(map[string]any)["dryRun"]; dry != true || spec["ttl"] != "168h" {
		t.Errorf("the defaults are dryRun %v, ttl %v", dry, spec["ttl"])
	}
}

func TestNothingOfAnEtcdTaskCanBeChanged(t *testing.T) {
	k := newKind(t, "etcdtasks")
	before := changed(t, task, `{hotKeys: {prefix: /a/}}`)
	if got := lines(k.admit(before)); got != "" {
		t.Fatal(got)
	}
	for _, change := range []string{`{cluster: other}`, `{ttl: 1h}`, `{hotKeys: {prefix: /b/}}`, `{hotKeys: null, inspect: {}}`} {
		after := changed(t, task, `{hotKeys: {prefix: /a/}}`)
		merge(after, map[string]any{"spec": decode(t, change)})
		if got := lines(k.admitUpdate(after, before)); !strings.Contains(got, "a task is done once, and cannot be changed: make another one") {
			t.Errorf("%s is answered by %q", change, got)
		}
	}
}
