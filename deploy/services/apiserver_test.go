package services_test

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilnet "k8s.io/apimachinery/pkg/util/net"
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
