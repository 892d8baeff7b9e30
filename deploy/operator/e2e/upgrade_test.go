package e2e

import (
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
)

func TestE2EKubeAnUpgradeAndARollbackReplaceAllRouters(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.grid()
	w.create(w.fleet("edge", 3))
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.Version = "v2" })
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.all("edge", 2, "v2")
	w.change("edge", func(spec *v1alpha1.GridRouterSpec) { spec.RollbackTo = 1 })
	w.awaits("edge", v1alpha1.ConditionProgressing, v1alpha1.ReasonComplete)
	w.all("edge", 1, "v1")
	w.answered("edge")
	t.Log(w.kubectl("get", "gr", "-o", "wide"))
}

// all wants all three routers to be of one revision and version.
func (w *world) all(name string, revision int64, version string) {
	w.Helper()
	fleet := w.get(name)
	for _, one := range fleet.Status.Instances {
		if one.Revision != revision || one.Version != version || !one.Ready {
			w.Errorf("router %+v, want revision %d, version %s", one, revision, version)
		}
	}
	if s := fleet.Status; s.Versions.Current != version || s.Replicas != 3 || len(s.History) != 2 {
		w.Errorf("status %+v", s)
	}
}
