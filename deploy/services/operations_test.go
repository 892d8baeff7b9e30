package services_test

import (
	"strings"
	"sync/atomic"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/services"
)

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
