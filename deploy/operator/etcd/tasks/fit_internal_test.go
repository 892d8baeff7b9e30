package tasks

import (
	"encoding/json"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
)

func pruning(prefix, token string, result []byte) v1alpha1.EtcdTask {
	t := v1alpha1.EtcdTask{Spec: v1alpha1.EtcdTaskSpec{PrunePrefix: &v1alpha1.EtcdTaskPrunePrefix{Prefix: prefix, DryRun: new(token == ""), Token: token}}}
	if result != nil {
		t.Status = v1alpha1.EtcdTaskStatus{State: v1alpha1.EtcdTaskSucceeded, Result: &runtime.RawExtension{Raw: result}}
	}
	return t
}

func TestARemovalFindsItsOwnDryRunAlone(t *testing.T) {
	result, err := json.Marshal(keyspace.Doomed{Prefix: "/old/", Revision: 7, Token: "ab"})
	if err != nil {
		t.Fatal(err)
	}
	failed := pruning("/old/", "", result)
	failed.Status.State = v1alpha1.EtcdTaskFailed
	for _, row := range []struct {
		what string
		of   v1alpha1.EtcdTask
		want bool
	}{
		{"the dry run", pruning("/old/", "", result), true},
		{"one of another prefix", pruning("/other/", "", result), false},
		{"a removal", pruning("/old/", "ab", result), false},
		{"one without a result", pruning("/old/", "", nil), false},
		{"one that failed", failed, false},
		{"another act", v1alpha1.EtcdTask{Spec: v1alpha1.EtcdTaskSpec{Inspect: &v1alpha1.EtcdTaskInspect{}}}, false},
	} {
		asks := pruning("/old/", "ab", nil)
		if seen, found := dryRunOf(&asks, []v1alpha1.EtcdTask{row.of}); found != row.want || found && seen.Revision != 7 {
			t.Errorf("%s: found %t, %+v", row.what, found, seen)
		}
	}
}

// FuzzDryRunOf reads results that anybody may have written: a dry run is one only by its token.
func FuzzDryRunOf(f *testing.F) {
	f.Add([]byte(`{"prefix":"/old/","token":"ab","revision":7}`), "ab")
	f.Add([]byte(`{"token":""}`), "")
	f.Add([]byte(`[]`), "ab")
	f.Add([]byte(`{"token":7}`), "7")
	f.Fuzz(func(t *testing.T, result []byte, token string) {
		asks := pruning("/old/", token, nil)
		seen, found := dryRunOf(&asks, []v1alpha1.EtcdTask{pruning("/old/", "", result)})
		if found && (token == "" || seen.Token != token) {
			t.Errorf("%q is taken for the dry run of the token %q", result, token)
		}
	})
}
