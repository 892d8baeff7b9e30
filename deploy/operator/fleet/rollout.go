package fleet

import (
	"fmt"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
)

// intent is what the stable routers and the canaries are to be at the moment.
type intent struct {
	// stable is what the stable routers are made from.
	stable *revision
	// canary is what the canaries are made from; nil: there are to be none.
	canary *revision
	// share is how many canaries there are to be.
	share int32
	// begin says that a canary of the target is to begin.
	begin bool
	// rejected says that the target was taken back before, so that the stable routers stay as they are.
	rejected bool
}

// intend says what routers there are to be. It is pure: work is the stored canary, nil if there is none,
// running the hash of what the stable routers are of, empty if there are none, wanted how many stable
// routers there are to be.
func intend(fleet *v1alpha1.GridRouter, all []revision, to target, work *work, running string, wanted int32) (intent, error) {
	if work != nil && !work.over() {
		return during(all, work, wanted)
	}
	current := byHash(all, running)
	if current == nil || current.hash == to.hash || to.unknown {
		return intent{stable: &to.revision}, nil
	}
	if outcome, _ := outcomeOf(fleet, &to.revision); outcome == v1alpha1.RevisionRolledBack && !to.rollback {
		return intent{stable: current, rejected: true}, nil
	}
	if fleet.Spec.Rollout.Strategy == v1alpha1.RolloutCanary && !to.rollback && wanted > 0 {
		return intent{stable: current, begin: true}, nil
	}
	return intent{stable: &to.revision}, nil
}

// during says what routers there are to be while a canary goes on.
func during(all []revision, work *work, wanted int32) (intent, error) {
	from, to := byHash(all, work.Context.From), byHash(all, work.Context.To)
	if from == nil || to == nil {
		return intent{}, fmt.Errorf("the canary %s is from revision %s to %s, and one of them is not stored any more: set spec.version to what the fleet should run", work.ID, work.Context.From, work.Context.To)
	}
	switch work.State {
	case canary.RollingBack, canary.RolledBack:
		return intent{stable: from}, nil
	case canary.Promoting, canary.Promoted:
		return intent{stable: to, canary: to, share: share(work.Context.Percent(), wanted)}, nil
	case canary.Deploying, canary.Holding, canary.Judging, canary.NextStep, canary.Paused:
	}
	return intent{stable: from, canary: to, share: share(work.Context.Percent(), wanted)}, nil
}

// share is how many canaries a percentage of the wanted routers is, rounded up, and at least one.
func share(percent int, wanted int32) int32 {
	return max(1, int32((int64(percent)*int64(wanted)+99)/100))
}
