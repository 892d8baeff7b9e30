package fleet

import (
	"testing"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
	"gridrouter.io/deploy/operator/fleet/render"
	"gridrouter.io/deploy/workflow"
)

// made returns a revision of a version.
func made(number int64, version string) revision {
	in := render.Input{Version: version}
	return revision{number: number, hash: in.Hash(), input: in, template: render.Template("edge", in)}
}

func hashOf(version string) string { r := made(0, version); return r.hash }

func TestATargetIsTheRevisionThatTheSpecAsksFor(t *testing.T) {
	one, two := made(1, "a"), made(2, "b")
	for name, test := range map[string]struct {
		stored     []revision
		rollbackTo int64
		version    string
		running    string
		number     int64
		store      bool
		rollback   bool
		unknown    bool
	}{
		"the first":                          {version: "a", number: 1, store: true},
		"the newest":                         {stored: []revision{two, one}, version: "b", running: "b", number: 2},
		"a new one":                          {stored: []revision{two, one}, version: "c", running: "b", number: 3, store: true},
		"an earlier one again":               {stored: []revision{two, one}, version: "a", running: "b", number: 3, store: true},
		"a rollback":                         {stored: []revision{two, one}, version: "b", running: "b", rollbackTo: 1, number: 1, rollback: true},
		"a rollback of a spec that is new":   {stored: []revision{two, one}, version: "c", running: "b", rollbackTo: 1, number: 1, rollback: true},
		"a rollback to nowhere stays":        {stored: []revision{two, one}, version: "c", running: "a", rollbackTo: 7, number: 1, unknown: true},
		"a rollback to nowhere at the start": {version: "a", rollbackTo: 7, number: 1, store: true, unknown: true},
	} {
		fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{RollbackTo: test.rollbackTo}}
		fleet.Name = "edge"
		got := chooseTarget(fleet, test.stored, render.Input{Version: test.version}, hashOf(test.running))
		if got.number != test.number || got.store != test.store || got.rollback != test.rollback || got.unknown != test.unknown {
			t.Errorf("%s: revision %d, store %v, rollback %v, unknown %v", name, got.number, got.store, got.rollback, got.unknown)
		}
	}
}

func TestWhatRoutersThereAreToBe(t *testing.T) {
	one, two := made(1, "a"), made(2, "b")
	all := []revision{two, one}
	at := func(state canary.State) *work {
		return &work{workflow.Stored[canary.State, canary.Event, canary.Plan]{State: state, Context: canary.Plan{
			From: one.hash, To: two.hash, Steps: []canary.Step{{Percent: 10}, {Percent: 50}}, Step: 1,
		}}}
	}
	for name, test := range map[string]struct {
		strategy v1alpha1.RolloutStrategy
		to       target
		work     *work
		running  string
		wanted   int32
		outcome  v1alpha1.RevisionOutcome
		stable   string
		canary   string
		share    int32
		begin    bool
		rejected bool
	}{
		"at the start":                     {strategy: v1alpha1.RolloutCanary, to: target{revision: one}, wanted: 3, stable: "a"},
		"a rolling change":                 {strategy: v1alpha1.RolloutRolling, to: target{revision: two}, running: "a", wanted: 3, stable: "b"},
		"a change by canary":               {strategy: v1alpha1.RolloutCanary, to: target{revision: two}, running: "a", wanted: 3, stable: "a", begin: true},
		"a change by canary of no routers": {strategy: v1alpha1.RolloutCanary, to: target{revision: two}, running: "a", stable: "b"},
		"a rollback takes no canary":       {strategy: v1alpha1.RolloutCanary, to: target{revision: one, rollback: true}, running: "b", wanted: 3, stable: "a"},
		"what was taken back stays back":   {strategy: v1alpha1.RolloutCanary, to: target{revision: two}, running: "a", wanted: 3, outcome: v1alpha1.RevisionRolledBack, stable: "a", rejected: true},
		"canaries hold":                    {to: target{revision: two}, work: at(canary.Holding), running: "a", wanted: 5, stable: "a", canary: "b", share: 3},
		"canaries are promoted":            {to: target{revision: two}, work: at(canary.Promoting), running: "a", wanted: 5, stable: "b", canary: "b", share: 3},
		"canaries are taken back":          {to: target{revision: two}, work: at(canary.RollingBack), running: "a", wanted: 5, stable: "a"},
		"canaries were promoted":           {to: target{revision: two}, work: at(canary.Promoted), running: "b", wanted: 5, stable: "b"},
	} {
		fleet := &v1alpha1.GridRouter{Spec: v1alpha1.GridRouterSpec{Rollout: v1alpha1.Rollout{Strategy: test.strategy}}}
		fleet.Status.History = []v1alpha1.Revision{{Revision: 2, Hash: two.hash, Outcome: test.outcome}}
		got, err := intend(fleet, all, test.to, test.work, hashOf(test.running), test.wanted)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		canaries := ""
		if got.canary != nil {
			canaries = got.canary.input.Version
		}
		if got.stable.input.Version != test.stable || canaries != test.canary || got.share != test.share || got.begin != test.begin || got.rejected != test.rejected {
			t.Errorf("%s: stable %s, canary %s, share %d, begin %v, rejected %v", name, got.stable.input.Version, canaries, got.share, got.begin, got.rejected)
		}
	}
}

func TestACanaryWhoseRevisionIsGoneIsAnError(t *testing.T) {
	w := &work{workflow.Stored[canary.State, canary.Event, canary.Plan]{State: canary.Holding, Context: canary.Plan{From: "x", To: "y"}}}
	if _, err := intend(&v1alpha1.GridRouter{}, []revision{made(1, "a")}, target{}, w, "x", 3); err == nil {
		t.Error("no error")
	}
}

func TestSurplusRevisionsAreTheOldestThatNobodyUses(t *testing.T) {
	all := []revision{made(5, "e"), made(4, "d"), made(3, "c"), made(2, "b"), made(1, "a")}
	got := ""
	for _, r := range surplus(all, 2, hashOf("e"), hashOf("b")) {
		got += r.input.Version
	}
	if got != "acd" {
		t.Errorf("removed %q", got)
	}
	if got := surplus(all, 5); got != nil {
		t.Errorf("removed %v", got)
	}
}

func TestAShareIsRoundedUpToWholeRouters(t *testing.T) {
	for _, test := range []struct {
		percent      int
		wanted, want int32
	}{{10, 3, 1}, {50, 3, 2}, {1, 1000, 10}, {100, 1000, 1000}, {34, 100, 34}, {10, 0, 1}} {
		if got := share(test.percent, test.wanted); got != test.want {
			t.Errorf("%d %% of %d: %d", test.percent, test.wanted, got)
		}
	}
}
