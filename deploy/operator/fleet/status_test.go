package fleet

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/canary"
)

// TestProgressingTellsARolloutFromRoutersThatComeAndGo looks at the reason and the words for a fleet that wants
// three routers of revision 2.
func TestProgressingTellsARolloutFromRoutersThatComeAndGo(t *testing.T) {
	two := made(2, "b")
	f := func(outcome v1alpha1.RevisionOutcome, running string, rollback bool, updated, ready int32, want v1alpha1.Reason, words string) {
		t.Helper()
		fleet := &v1alpha1.GridRouter{Status: v1alpha1.GridRouterStatus{
			Updated: updated, History: []v1alpha1.Revision{{Revision: 2, Hash: two.hash, Outcome: outcome}},
		}}
		view := seen{
			fleet: fleet, to: target{revision: two, rollback: rollback}, intent: intent{stable: &two},
			stable: track{hash: running}, wanted: 3, ready: ready,
		}
		status, reason, message := view.progressing()
		if status != metav1.ConditionTrue || reason != want || message != words {
			t.Errorf("%s, %s, %q; want %s, %q", status, reason, message, want, words)
		}
	}
	const progressing, complete = v1alpha1.RevisionProgressing, v1alpha1.RevisionComplete
	f(progressing, hashOf("a"), false, 0, 3, v1alpha1.ReasonRollingOut, "0 of 3 routers are of revision 2, 3 are ready")
	f(progressing, two.hash, false, 3, 2, v1alpha1.ReasonRollingOut, "3 of 3 routers are of revision 2, 2 are ready")
	f(complete, two.hash, false, 3, 2, v1alpha1.ReasonScaling, "3 of 3 routers are of revision 2, 2 are ready")
	f(complete, two.hash, false, 5, 5, v1alpha1.ReasonScaling, "5 routers are of revision 2, and 3 are wanted")
	f(progressing, hashOf("a"), true, 1, 3, v1alpha1.ReasonRollingBack, "1 of 3 routers are of revision 2, 3 are ready")
	// A node that goes while rollbackTo stands is no rollback.
	f(complete, two.hash, true, 3, 2, v1alpha1.ReasonScaling, "3 of 3 routers are of revision 2, 2 are ready")
}

func TestTheTargetIsTheVersionThatIsOnItsWay(t *testing.T) {
	one, two, three := made(1, "a"), made(2, "b"), made(3, "c")
	f := func(i intent, want string) {
		t.Helper()
		view := seen{fleet: &v1alpha1.GridRouter{}, to: target{revision: three}, intent: i}
		if got := view.versions().Target; got != want {
			t.Errorf("target %q, want %q", got, want)
		}
	}
	f(intent{stable: &one, begin: true}, "c")
	f(intent{stable: &one, canary: &two}, "b") // what the spec asks for by now comes after it
	f(intent{stable: &three}, "c")
	f(intent{stable: &one, rejected: true}, "a")
}

func TestACanaryThatDoesNotStartSaysWhy(t *testing.T) {
	at := func(state canary.State) *work { return &work{stored{State: state}} }
	for _, row := range []struct {
		work    *work
		verdict string
		want    string
	}{
		{nil, "", ""},
		{at(canary.Deploying), "", "ImagePullBackOff"},
		{at(canary.Holding), "50 are needed", "50 are needed"},
		{at(canary.Holding), "", ""},
		{at(canary.RolledBack), "", ""},
	} {
		if got := canaryWhy(row.work, verdict{why: row.verdict}, "ImagePullBackOff"); got != row.want {
			t.Errorf("%+v: %q, want %q", row, got, row.want)
		}
	}
}
