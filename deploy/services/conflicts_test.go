package services_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

// owners are the managers of edge that have a field, such as f:version.
func (w *world) owners(t *testing.T, field string) string {
	t.Helper()
	var names []string
	for _, entry := range w.get(t).ManagedFields {
		if strings.Contains(entry.FieldsV1.GetRawString(), `"`+field+`"`) {
			names = append(names, entry.Manager+"/"+string(entry.Operation))
		}
	}
	return strings.Join(names, " ")
}

// apply applies a document by server-side apply, as another owner.
func (w *world) apply(t *testing.T, owner, spec string) error {
	t.Helper()
	document := &unstructured.Unstructured{}
	text := `{"apiVersion":"gridrouter.io/v1alpha1","kind":"GridRouter","metadata":{"name":"edge","namespace":"` + w.space + `"},"spec":` + spec + `}`
	if err := json.Unmarshal([]byte(text), document); err != nil {
		t.Fatal(err)
	}
	return w.admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(document), client.FieldOwner(owner))
}

func otherFieldsAndTheirOwnersStay(t *testing.T, w *world) {
	if err := w.apply(t, "argocd", `{"replicas":3,"version":"1.4.0","etcd":{"endpoints":["http://etcd:2379"]},"args":["--access-log=off"]}`); err != nil {
		t.Fatal(err)
	}
	must(t)(w.fleets.Pause(t.Context(), w.ref("edge"))) // a field that argocd does not state, though it has a default
	if got := w.owners(t, "f:paused"); got != "gridctl/Update" {
		t.Errorf("paused belongs to %s", got)
	}
	for _, field := range []string{"f:replicas", "f:version", "f:args"} {
		if got := w.owners(t, field); got != "argocd/Apply" {
			t.Errorf("%s belongs to %s", field, got)
		}
	}
	if len(w.get(t).Spec.Args) != 1 {
		t.Error("args are gone")
	}
}

func aFieldThatOthersApplyIsLeftToThem(t *testing.T, w *world) {
	spec := `{"replicas":3,"version":"1.4.0","etcd":{"endpoints":["http://etcd:2379"]}}`
	if err := w.apply(t, "argocd", spec); err != nil {
		t.Fatal(err)
	}
	_, err := w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0")
	fails(t, err, services.KindConflict, "spec.version of fleet edge in namespace "+w.space+" is kept by argocd (server-side apply)", "--force-conflicts")
	if same := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.4.0")); same.Changed {
		t.Error("the value that it has is a change")
	}
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0", services.ForceConflicts()))
	if len(change.Notes) != 1 || !strings.Contains(change.Notes[0], "argocd keeps spec.version by server-side apply: write 1.5.0 there too") {
		t.Errorf("%q", change.Notes)
	}
	if err := w.apply(t, "argocd", spec); err == nil || !strings.Contains(err.Error(), `conflict with "gridctl"`) {
		t.Errorf("its next apply says %v", err)
	}
}

func whatKubectlAppliesIsNoted(t *testing.T, w *world) {
	fleet := w.fleet("edge")
	fleet.Annotations = map[string]string{"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{"version":"1.4.0"}}`}
	if err := w.admin.Create(t.Context(), fleet, client.FieldOwner("kubectl-client-side-apply")); err != nil {
		t.Fatal(err)
	}
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	if len(change.Notes) != 1 || !strings.Contains(change.Notes[0], "kubectl apply keeps spec.version: write 1.5.0 into its file too") {
		t.Errorf("%q", change.Notes)
	}
	if change = must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 5)); len(change.Notes) != 0 {
		t.Errorf("a field that is not in the file: %q", change.Notes)
	}
}

// meanwhile is a client before whose first patches something else happens.
type meanwhile struct {
	client.WithWatch

	times  int
	happen func()
}

// Patch implements [client.Client].
func (m *meanwhile) Patch(ctx context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	if m.times > 0 {
		m.times--
		m.happen()
	}
	return m.WithWatch.Patch(ctx, object, patch, options...)
}

func aChangeOutlivesStatusWrites(t *testing.T, w *world) {
	w.provision(t)
	busy := services.NewFleets(&meanwhile{w.admin, 3, func() { w.operate(t, func(f *v1alpha1.GridRouter) { f.Status.Ready = (f.Status.Ready + 1) % 3 }) }})
	must(t)(busy.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	endless := services.NewFleets(&meanwhile{w.admin, 1000, func() { w.operate(t, func(f *v1alpha1.GridRouter) { f.Status.Ready = (f.Status.Ready + 1) % 3 }) }})
	_, err := endless.Upgrade(t.Context(), w.ref("edge"), "1.6.0")
	fails(t, err, services.KindConflict, "was changed by somebody else meanwhile")
}

func aChangeOfTheSameFieldIsAConflict(t *testing.T, w *world) {
	w.provision(t)
	other := func(patch string) func() {
		return func() {
			err := w.admin.Patch(t.Context(), w.get(t), client.RawPatch(types.MergePatchType, []byte(patch)), client.FieldOwner("kubectl-edit"))
			if err != nil {
				t.Error(err)
			}
		}
	}
	_, err := services.NewFleets(&meanwhile{w.admin, 1, other(`{"spec":{"version":"1.6.0"}}`)}).Upgrade(t.Context(), w.ref("edge"), "1.5.0")
	fails(t, err, services.KindConflict, "spec.version of fleet edge", "was changed meanwhile, from 1.4.0 to 1.6.0, by kubectl-edit")
	must(t)(services.NewFleets(&meanwhile{w.admin, 1, other(`{"spec":{"replicas":7}}`)}).Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	if f := w.get(t); f.Spec.Version != "1.5.0" || *f.Spec.Replicas != 7 {
		t.Errorf("version %s, %d routers", f.Spec.Version, *f.Spec.Replicas)
	}
	_, err = services.NewFleets(&meanwhile{w.admin, 1, func() {
		_ = w.admin.Patch(t.Context(), w.get(t), client.RawPatch(types.JSONPatchType, []byte(
			`[{"op":"remove","path":"/spec/replicas"},{"op":"add","path":"/spec/autoscaling","value":{"max":9,"requestsPerSecond":10}}]`)))
	}}).Scale(t.Context(), w.ref("edge"), 8)
	fails(t, err, services.KindRefused, "follows its load")
}

func aChangeAsksForTheFormThatItWasMadeOf(t *testing.T, w *world) {
	w.provision(t)
	read := w.get(t)
	must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 5, services.IfResourceVersion(read.ResourceVersion)))
	_, err := w.fleets.Scale(t.Context(), w.ref("edge"), 6, services.IfResourceVersion(read.ResourceVersion))
	fails(t, err, services.KindConflict, "was changed since it was read")
	_, err = w.fleets.Delete(t.Context(), w.ref("edge"), services.IfResourceVersion(read.ResourceVersion))
	fails(t, err, services.KindConflict)
	_, err = w.fleets.Delete(t.Context(), w.ref("edge"), services.IfUID("another"))
	fails(t, err, services.KindConflict, "was deleted and made anew")
}
