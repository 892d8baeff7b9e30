package services_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/kubetest"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

// world is an API server with a namespace of a test's own.
type world struct {
	config *rest.Config
	admin  client.WithWatch // of the test itself, which plays the operator and others
	fleets *services.Fleets
	space  string
}

// TestFleets runs all that needs an API server on one.
func TestFleets(t *testing.T) {
	config := kubetest.Start(t)
	admin := connect(t, config)
	for name, test := range map[string]func(*testing.T, *world){
		"AFleetIsProvisionedWithDefaults":               aFleetIsProvisionedWithDefaults,
		"WhatTheAPIServerRefusesIsToldFieldByField":     refusalsAreToldFieldByField,
		"ADryRunStoresNothing":                          aDryRunStoresNothing,
		"AFleetIsScaled":                                aFleetIsScaled,
		"AFleetThatFollowsItsLoadHasBounds":             aFleetThatFollowsItsLoadHasBounds,
		"AnUpgradeEndsARollback":                        anUpgradeEndsARollback,
		"AnUpgradeIsFollowedToItsEnd":                   anUpgradeIsFollowedToItsEnd,
		"AFailedUpgradeSaysWhy":                         aFailedUpgradeSaysWhy,
		"ARollbackChoosesItsRevision":                   aRollbackChoosesItsRevision,
		"APauseIsSetAndEnded":                           aPauseIsSetAndEnded,
		"ADeletionIsFollowedToItsEnd":                   aDeletionIsFollowedToItsEnd,
		"OtherFieldsAndTheirOwnersStay":                 otherFieldsAndTheirOwnersStay,
		"AFieldThatOthersApplyIsLeftToThem":             aFieldThatOthersApplyIsLeftToThem,
		"WhatKubectlAppliesIsNoted":                     whatKubectlAppliesIsNoted,
		"AChangeOutlivesTheStatusBeingWrittenMeanwhile": aChangeOutlivesStatusWrites,
		"AChangeOfTheSameFieldMeanwhileIsAConflict":     aChangeOfTheSameFieldIsAConflict,
		"AChangeAsksForTheFormThatItWasMadeOf":          aChangeAsksForTheFormThatItWasMadeOf,
		"MissingRightsAreNamed":                         missingRightsAreNamed,
		"AFleetThatIsNotThereIsToldAsSuch":              aFleetThatIsNotThere,
		"EventsAreListedOldestFirst":                    eventsAreListedOldestFirst,
		"ListsAreSortedAndOfOneNamespaceOrAll":          listsAreSorted,
		"AWaitOutlivesAnAPIServerThatIsAway":            aWaitOutlivesAnAPIServerThatIsAway,
		"AWaitThatIsCancelledEndsAtOnce":                aWaitThatIsCancelledEndsAtOnce,
		"AWaitThatIsOverTellsHowFarItCame":              aWaitThatIsOverTellsHowFarItCame,
	} {
		t.Run(name, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
			if err := admin.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			test(t, &world{config: config, admin: admin, fleets: services.NewFleets(admin).WithCallTimeout(time.Minute), space: namespace.Name})
		})
	}
}

func connect(t *testing.T, config *rest.Config) client.WithWatch {
	t.Helper()
	scheme, err := services.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, rbacv1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	over, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { utilnet.CloseIdleConnectionsFor(over.Transport) })
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme, HTTPClient: over})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *world) ref(name string) services.Ref { return services.Ref{Namespace: w.space, Name: name} }

func (w *world) fleet(name string) *v1alpha1.GridRouter {
	replicas := int32(3)
	return &v1alpha1.GridRouter{ObjectMeta: metav1.ObjectMeta{Namespace: w.space, Name: name}, Spec: v1alpha1.GridRouterSpec{
		Version: "1.4.0", Replicas: &replicas, Etcd: v1alpha1.EtcdSource{Endpoints: []v1alpha1.EtcdEndpoint{"http://etcd:2379"}},
	}}
}

// provision creates fleet "edge", which the operator has deployed.
func (w *world) provision(t *testing.T) *v1alpha1.GridRouter {
	t.Helper()
	change, err := w.fleets.Provision(t.Context(), w.fleet("edge"))
	if err != nil {
		t.Fatal(err)
	}
	w.operate(t, func(f *v1alpha1.GridRouter) {
		settle(f, "1.4.0", v1alpha1.Revision{Revision: 1, Version: "1.4.0", Hash: "a", Outcome: v1alpha1.RevisionComplete})
	})
	return change.Fleet
}

// settle gives a fleet the status of one that is what its spec says, with revisions added to its history.
func settle(f *v1alpha1.GridRouter, version string, revisions ...v1alpha1.Revision) {
	f.Status.Versions = v1alpha1.FleetVersions{Current: version, Target: version}
	if f.Spec.Replicas != nil {
		f.Status.Replicas, f.Status.Ready, f.Status.Updated = *f.Spec.Replicas, *f.Spec.Replicas, *f.Spec.Replicas
	}
	f.Status.History = append(revisions, f.Status.History...)
	v1alpha1.SetCondition(&f.Status.Conditions, f.Generation, v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonComplete, "")
}

// operate writes the status of edge as the operator does, in answer to its present generation.
func (w *world) operate(t *testing.T, answer func(*v1alpha1.GridRouter)) {
	t.Helper()
	testkit.Eventually(t, "the status is written", func() bool {
		f := &v1alpha1.GridRouter{}
		if err := w.admin.Get(t.Context(), client.ObjectKey{Namespace: w.space, Name: "edge"}, f); err != nil {
			t.Fatal(err)
		}
		f.Status.ObservedGeneration = f.Generation
		answer(f)
		return w.admin.Status().Update(t.Context(), f, client.FieldOwner("gridrouter-operator")) == nil
	})
}

func (w *world) get(t *testing.T) *v1alpha1.GridRouter {
	t.Helper()
	f, err := w.fleets.Get(t.Context(), w.ref("edge"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// must is a change that is written.
func must(t *testing.T) func(*services.Change, error) *services.Change {
	return func(change *services.Change, err error) *services.Change {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return change
	}
}

// fails holds an error to a kind and parts of its text.
func fails(t *testing.T, err error, kind services.Kind, parts ...string) {
	t.Helper()
	if err == nil || services.KindOf(err) != kind {
		t.Fatalf("%v (%s), want %s", err, services.KindOf(err), kind)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q lacks %q", err, part)
		}
	}
}

func aFleetIsProvisionedWithDefaults(t *testing.T, w *world) {
	change := must(t)(w.fleets.Provision(t.Context(), w.fleet("edge")))
	if !change.Changed || change.Fleet.Spec.Prefix != "/gridrouter/" || change.Fleet.Kind != "GridRouter" {
		t.Errorf("%+v", change.Fleet)
	}
	_, err := w.fleets.Provision(t.Context(), w.fleet("edge"))
	fails(t, err, services.KindExists, "fleet edge in namespace "+w.space+" exists already")
	ended := await(t, w, change)
	w.operate(t, func(f *v1alpha1.GridRouter) { settle(f, "1.4.0") })
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// await waits for a change in the background.
func await(t *testing.T, w *world, change *services.Change) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		ended <- w.fleets.Await(ctx, change, nil)
	}()
	t.Cleanup(func() { cancel(); <-gone })
	return ended
}

func refusalsAreToldFieldByField(t *testing.T, w *world) {
	bad := w.fleet("edge")
	bad.Spec.Version, bad.Spec.Etcd.Endpoints = "a b", []v1alpha1.EtcdEndpoint{"etcd:2379"}
	bad.Spec.Exposure.VIP = "10.9.0.10"
	_, err := w.fleets.Provision(t.Context(), bad)
	fails(t, err, services.KindInvalid,
		"spec.version: version is the tag of an image: write one such as 1.4.0, of letters, digits, '_', '.' and '-' (it is \"a b\")",
		"spec.etcd.endpoints[0]: an endpoint must be the URL of a member with its port: write http://HOST:PORT or https://HOST:PORT (it is \"etcd:2379\")",
		"spec.exposure: exposure.vip is for LVS alone: set type LVS, or remove vip")
	if lines := strings.Split(err.Error(), "\n"); len(lines) != 3 {
		t.Errorf("%d lines:\n%v", len(lines), err)
	}
	many := w.fleet("edge")
	*many.Spec.Replicas = 5000
	_, err = w.fleets.Provision(t.Context(), many)
	fails(t, err, services.KindInvalid, "spec.replicas: should be less than or equal to 1000 (it is 5000)")
	w.provision(t)
	_, err = w.fleets.Scale(t.Context(), w.ref("edge"), -1)
	fails(t, err, services.KindInvalid, "spec.replicas: ")
	_, err = w.fleets.Upgrade(t.Context(), w.ref("edge"), "")
	fails(t, err, services.KindInvalid, "spec.version: ")
	other := w.fleet("elsewhere")
	other.Namespace = "no-such-namespace"
	_, err = w.fleets.Provision(t.Context(), other)
	fails(t, err, services.KindNotFound, "there is no namespace no-such-namespace")
}

func aDryRunStoresNothing(t *testing.T, w *world) {
	change := must(t)(w.fleets.Provision(t.Context(), w.fleet("edge"), services.DryRun()))
	if change.Fleet.Spec.Prefix == "" || w.fleets.Await(t.Context(), change, nil) != nil {
		t.Errorf("%+v", change)
	}
	_, err := w.fleets.Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindNotFound)
	before := w.provision(t)
	must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0", services.DryRun()))
	must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 9, services.DryRun()))
	must(t)(w.fleets.Pause(t.Context(), w.ref("edge"), services.DryRun()))
	must(t)(w.fleets.Delete(t.Context(), w.ref("edge"), services.DryRun()))
	if after := w.get(t); after.Generation != before.Generation || after.DeletionTimestamp != nil {
		t.Errorf("generation %d became %d", before.Generation, after.Generation)
	}
}

func aFleetIsScaled(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 5))
	if change.What != "scale from 3 to 5 routers" || *w.get(t).Spec.Replicas != 5 {
		t.Errorf("%q", change.What)
	}
	if again := must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 5)); again.Changed {
		t.Error("the same once more is a change")
	}
	must(t)(w.fleets.Scale(t.Context(), w.ref("edge"), 0))
	if got := w.get(t).Spec.Replicas; got == nil || *got != 0 {
		t.Errorf("%v routers", got)
	}
	three := int32(3)
	_, err := w.fleets.ScaleBetween(t.Context(), w.ref("edge"), services.Bounds{Max: &three})
	fails(t, err, services.KindRefused, "has a fixed number of routers, 0", "gridctl fleets scale edge N")
}

func aFleetThatFollowsItsLoadHasBounds(t *testing.T, w *world) {
	fleet := w.fleet("edge")
	rps, two, nine := int32(5000), int32(2), int32(9)
	fleet.Spec.Replicas, fleet.Spec.Autoscaling = nil, &v1alpha1.Autoscaling{Min: 2, Max: 4, RequestsPerSecond: &rps}
	must(t)(w.fleets.Provision(t.Context(), fleet))
	_, err := w.fleets.Scale(t.Context(), w.ref("edge"), 5)
	fails(t, err, services.KindRefused, "follows its load, between 2 and 4 routers: change these bounds instead (gridctl fleets scale edge --min N --max N)")
	must(t)(w.fleets.ScaleBetween(t.Context(), w.ref("edge"), services.Bounds{Min: &two, Max: &nine}))
	if a := w.get(t).Spec.Autoscaling; a.Min != 2 || a.Max != 9 || *a.RequestsPerSecond != 5000 {
		t.Errorf("%+v", a)
	}
	ten := int32(10)
	_, err = w.fleets.ScaleBetween(t.Context(), w.ref("edge"), services.Bounds{Min: &ten})
	fails(t, err, services.KindInvalid, "spec.autoscaling: min is above max: lower min, or raise max")
}

func anUpgradeEndsARollback(t *testing.T, w *world) {
	w.provision(t)
	w.operate(t, func(f *v1alpha1.GridRouter) {
		settle(f, "1.5.0", v1alpha1.Revision{Revision: 2, Version: "1.5.0", Outcome: v1alpha1.RevisionComplete})
	})
	change := must(t)(w.fleets.Rollback(t.Context(), w.ref("edge"), 1))
	if !strings.Contains(strings.Join(change.Notes, "\n"), "while rollbackTo is 1, routers run that revision whole") || w.get(t).Spec.RollbackTo != 1 {
		t.Errorf("%q", change.Notes)
	}
	change = must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.4.0")) // the version that the spec has
	if !change.Changed || w.get(t).Spec.RollbackTo != 0 || !strings.Contains(strings.Join(change.Notes, "\n"), "was rolled back to revision 1; that ends") {
		t.Errorf("%+v", change)
	}
}

func anUpgradeIsFollowedToItsEnd(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	if change.What != "upgrade 1.4.0 -> 1.5.0" {
		t.Errorf("%q", change.What)
	}
	var rolling atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- w.fleets.Await(t.Context(), change, func(p services.Progress) {
			if strings.HasSuffix(p.Line, "1 of 3 routers updated, 2 ready") {
				rolling.Store(true)
			}
		})
	}()
	w.operate(t, func(f *v1alpha1.GridRouter) {
		f.Status.History = append([]v1alpha1.Revision{{Revision: 2, Version: "1.5.0", Outcome: v1alpha1.RevisionProgressing}}, f.Status.History...)
		f.Status.Versions.Target, f.Status.Ready, f.Status.Updated = "1.5.0", 2, 1
		v1alpha1.SetCondition(&f.Status.Conditions, f.Generation, v1alpha1.ConditionProgressing, metav1.ConditionTrue, v1alpha1.ReasonRollingOut, "")
	})
	testkit.Eventually(t, "the rollout is told", rolling.Load)
	w.operate(t, func(f *v1alpha1.GridRouter) {
		f.Status.History[0].Outcome = v1alpha1.RevisionComplete
		settle(f, "1.5.0")
	})
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func aFailedUpgradeSaysWhy(t *testing.T, w *world) {
	w.provision(t)
	ended := await(t, w, must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0")))
	w.operate(t, func(f *v1alpha1.GridRouter) {
		f.Status.History = append([]v1alpha1.Revision{{Revision: 2, Version: "1.5.0", Outcome: v1alpha1.RevisionRolledBack, Why: "7 % errors"}}, f.Status.History...)
		v1alpha1.SetCondition(&f.Status.Conditions, f.Generation, v1alpha1.ConditionProgressing, metav1.ConditionFalse, v1alpha1.ReasonRolledBack, "taken back")
	})
	fails(t, <-ended, services.KindUnsuccessful, "upgrade 1.4.0 -> 1.5.0: taken back, the routers run 1.4.0: 7 % errors")
}

func aRollbackChoosesItsRevision(t *testing.T, w *world) {
	w.provision(t)
	_, err := w.fleets.Rollback(t.Context(), w.ref("edge"), 0)
	fails(t, err, services.KindRefused, "has no complete revision before 1")
	must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	w.operate(t, func(f *v1alpha1.GridRouter) {
		settle(f, "1.5.0", v1alpha1.Revision{Revision: 2, Version: "1.5.0", Hash: "b", Outcome: v1alpha1.RevisionComplete})
	})
	_, err = w.fleets.Rollback(t.Context(), w.ref("edge"), 9)
	fails(t, err, services.KindRefused, "revision 9 is not in the history", "2 (1.5.0, Complete), 1 (1.4.0, Complete)")
	change := must(t)(w.fleets.Rollback(t.Context(), w.ref("edge"), 0))
	if change.What != "roll back from revision 2 (1.5.0) to 1 (1.4.0)" || w.get(t).Spec.RollbackTo != 1 || w.get(t).Spec.Version != "1.5.0" {
		t.Errorf("%q", change.What)
	}
	ended := await(t, w, change)
	w.operate(t, func(f *v1alpha1.GridRouter) { settle(f, "1.4.0") })
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func aPauseIsSetAndEnded(t *testing.T, w *world) {
	w.provision(t)
	if must(t)(w.fleets.Pause(t.Context(), w.ref("edge"))); !w.get(t).Spec.Paused {
		t.Error("not paused")
	}
	w.operate(t, func(*v1alpha1.GridRouter) {})
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	if len(change.Notes) != 1 || !strings.Contains(change.Notes[0], "the fleet is paused") {
		t.Errorf("%q", change.Notes)
	}
	w.operate(t, func(*v1alpha1.GridRouter) {})
	fails(t, <-await(t, w, change), services.KindUnsuccessful, "the fleet is paused", "gridctl fleets resume edge")
	if must(t)(w.fleets.Resume(t.Context(), w.ref("edge"))); w.get(t).Spec.Paused {
		t.Error("still paused")
	}
	if again := must(t)(w.fleets.Resume(t.Context(), w.ref("edge"))); again.Changed {
		t.Error("the same once more is a change")
	}
}

func aDeletionIsFollowedToItsEnd(t *testing.T, w *world) {
	w.provision(t)
	fleet := w.get(t)
	fleet.Finalizers = []string{"gridrouter.io/remote"}
	if err := w.admin.Update(t.Context(), fleet); err != nil {
		t.Fatal(err)
	}
	ended := await(t, w, must(t)(w.fleets.Delete(t.Context(), w.ref("edge"))))
	_, err := w.fleets.Scale(t.Context(), w.ref("edge"), 5)
	fails(t, err, services.KindRefused, "is being deleted")
	if again := must(t)(w.fleets.Delete(t.Context(), w.ref("edge"))); again.Changed {
		t.Error("it was deleted twice")
	}
	select {
	case err := <-ended:
		t.Fatalf("the wait ended before the fleet did: %v", err)
	default:
	}
	// No garbage collector runs here, which would take its own finalizer off.
	if err := w.admin.Patch(t.Context(), w.get(t), client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

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

func missingRightsAreNamed(t *testing.T, w *world) {
	w.provision(t)
	as := impersonated(w.config, "kim")
	none := services.NewFleets(connect(t, as))
	_, err := none.Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, `you may not get gridrouters.gridrouter.io (fleet edge in namespace `+w.space+`): ask for a Role with the verb "get" on "gridrouters" (apiGroup "gridrouter.io")`)
	_, err = none.List(t.Context(), "")
	fails(t, err, services.KindForbidden, "you may not list", "all namespaces")
	_, err = none.Provision(t.Context(), w.fleet("other"))
	fails(t, err, services.KindForbidden, "you may not create")
	_, err = none.Events(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, `verb "list" on "events" (apiGroup "events.k8s.io")`)

	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: w.space, Name: "reader"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{"gridrouter.io"}, Resources: []string{"gridrouters"}, Verbs: []string{"get", "list"}},
	}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: role.ObjectMeta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "kim", APIGroup: rbacv1.GroupName}},
	}
	for _, object := range []client.Object{role, binding} {
		if err := w.admin.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	testkit.Eventually(t, "the role is in force", func() bool { _, err := none.Get(t.Context(), w.ref("edge")); return err == nil })
	_, err = none.Upgrade(t.Context(), w.ref("edge"), "1.5.0")
	fails(t, err, services.KindForbidden, "you may not patch")
	_, err = none.Delete(t.Context(), w.ref("edge"))
	fails(t, err, services.KindForbidden, "you may not delete")
	err = none.Watch(t.Context(), w.ref("edge"), 0, func(services.Sight) (bool, error) { return false, nil })
	fails(t, err, services.KindForbidden, "you may not watch")
}

// impersonated is the same API server for somebody else.
func impersonated(config *rest.Config, user string) *rest.Config {
	as := rest.CopyConfig(config)
	as.Impersonate = rest.ImpersonationConfig{UserName: user}
	return as
}

func aFleetThatIsNotThere(t *testing.T, w *world) {
	_, err := w.fleets.Scale(t.Context(), w.ref("none"), 5)
	fails(t, err, services.KindNotFound, "there is no fleet none in namespace "+w.space)
	_, err = w.fleets.Delete(t.Context(), w.ref("none"))
	fails(t, err, services.KindNotFound)
	away := rest.CopyConfig(w.config)
	away.Host, away.TLSClientConfig = "http://"+testkit.FreeAddr(t), rest.TLSClientConfig{}
	c, err := client.NewWithWatch(away, client.Options{Scheme: w.admin.Scheme(), Mapper: services.Mapper()})
	if err != nil {
		t.Fatal(err)
	}
	_, err = services.NewFleets(c).Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindUnreachable, "the API server at "+away.Host+" does not answer", "connection refused")
}

func eventsAreListedOldestFirst(t *testing.T, w *world) {
	w.provision(t)
	at := time.Now().Add(-time.Minute).Truncate(time.Microsecond)
	for i, reason := range []string{"Second", "First"} {
		event := &eventsv1.Event{
			ObjectMeta: metav1.ObjectMeta{Namespace: w.space, Name: strings.ToLower(reason)}, EventTime: metav1.NewMicroTime(at.Add(-time.Duration(i) * time.Second)),
			ReportingController: "gridrouter-operator", ReportingInstance: "a", Action: "Reconcile", Reason: reason, Type: "Normal", Note: "x",
			Regarding: corev1.ObjectReference{Kind: "GridRouter", APIVersion: "gridrouter.io/v1alpha1", Namespace: w.space, Name: "edge"},
		}
		if err := w.admin.Create(t.Context(), event); err != nil {
			t.Fatal(err)
		}
	}
	events, err := w.fleets.Events(t.Context(), w.ref("edge"))
	if err != nil || len(events) != 2 || events[0].Reason != "First" || events[0].Count != 1 || !events[1].Last.Equal(at) {
		t.Errorf("%+v, %v", events, err)
	}
	if events, err = w.fleets.Events(t.Context(), w.ref("other")); err != nil || len(events) != 0 {
		t.Errorf("%+v, %v", events, err)
	}
}

func listsAreSorted(t *testing.T, w *world) {
	for _, name := range []string{"b", "a"} {
		must(t)(w.fleets.Provision(t.Context(), w.fleet(name)))
	}
	found, err := w.fleets.List(t.Context(), w.space)
	if err != nil || len(found) != 2 || found[0].Name != "a" || found[1].Kind != "GridRouter" {
		t.Errorf("%+v, %v", found, err)
	}
	if all, err := w.fleets.List(t.Context(), ""); err != nil || len(all) < 2 {
		t.Errorf("%d, %v", len(all), err)
	}
}

// shaky is a client whose first lists find no API server, and whose first watches end at once.
type shaky struct {
	client.WithWatch

	lists, watches atomic.Int32
}

// List implements [client.Client].
func (s *shaky) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if s.lists.Add(1) <= 2 {
		return &url.Error{Op: "Get", URL: "https://api.example:6443/secret?x=y", Err: syscall.ECONNREFUSED}
	}
	return s.WithWatch.List(ctx, list, options...)
}

// Watch implements [client.WithWatch].
func (s *shaky) Watch(ctx context.Context, list client.ObjectList, options ...client.ListOption) (watch.Interface, error) {
	stream, err := s.WithWatch.Watch(ctx, list, options...)
	if err == nil && s.watches.Add(1) <= 2 {
		stream.Stop()
	}
	return stream, err
}

func aWaitOutlivesAnAPIServerThatIsAway(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	s := &shaky{WithWatch: w.admin}
	var away atomic.Bool
	ended := make(chan error, 1)
	go func() {
		ended <- services.NewFleets(s).Await(t.Context(), change, func(p services.Progress) {
			if strings.HasSuffix(p.Line, "the API server at https://api.example:6443 does not answer: connection refused; trying again") {
				away.Store(true)
			}
		})
	}()
	testkit.Eventually(t, "a third watch is there", func() bool { return s.watches.Load() > 2 })
	w.operate(t, func(f *v1alpha1.GridRouter) { settle(f, "1.5.0") })
	if err := <-ended; err != nil || !away.Load() {
		t.Errorf("%v, told that it was away: %v", err, away.Load())
	}
}

func aWaitThatIsCancelledEndsAtOnce(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	ctx, cancel := context.WithCancel(t.Context())
	err := w.fleets.Await(ctx, change, func(services.Progress) { cancel() })
	if !errors.Is(err, context.Canceled) || services.KindOf(err) != "" {
		t.Errorf("%v", err)
	}
}

func aWaitThatIsOverTellsHowFarItCame(t *testing.T, w *world) {
	w.provision(t)
	change := must(t)(w.fleets.Upgrade(t.Context(), w.ref("edge"), "1.5.0"))
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	err := w.fleets.Await(ctx, change, nil)
	fails(t, err, services.KindTimeout, "not at its end in time: upgrade 1.4.0 -> 1.5.0: ", "; it goes on in the cluster")
}

// TestAClusterWithoutTheKindIsToldAsSuch takes the CRD away.
func TestAClusterWithoutTheKindIsToldAsSuch(t *testing.T) {
	config := kubetest.Start(t)
	admin := connect(t, config)
	crd := &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: services.Resource}}
	if err := admin.Delete(t.Context(), crd); err != nil {
		t.Fatal(err)
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: admin.Scheme(), Mapper: services.Mapper()})
	if err != nil {
		t.Fatal(err)
	}
	fleets := services.NewFleets(c)
	w := &world{space: "default"}
	testkit.Eventually(t, "the kind is gone", func() bool {
		_, err := fleets.List(t.Context(), "default")
		return services.KindOf(err) == services.KindNotInstalled
	})
	_, err = fleets.Get(t.Context(), w.ref("edge"))
	fails(t, err, services.KindNotInstalled, "gridrouter operator manifests | kubectl apply -f -")
	_, err = fleets.Provision(t.Context(), w.fleet("edge"))
	fails(t, err, services.KindNotInstalled)
	_, err = fleets.Scale(t.Context(), w.ref("edge"), 5)
	fails(t, err, services.KindNotInstalled)
}
