package fleet

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestEventsTellWhatIsNew goes from one status to another, and looks at the events.
func TestEventsTellWhatIsNew(t *testing.T) {
	type condition struct {
		kind   v1alpha1.ConditionType
		status metav1.ConditionStatus
		reason v1alpha1.Reason
	}
	status := func(ready int32, conditions ...condition) *v1alpha1.GridRouterStatus {
		s := &v1alpha1.GridRouterStatus{Ready: ready}
		for _, c := range conditions {
			v1alpha1.SetCondition(&s.Conditions, 1, c.kind, c.status, c.reason, "words")
		}
		return s
	}
	f := func(name string, before, after *v1alpha1.GridRouterStatus, want ...string) {
		t.Helper()
		recorder := events.NewFakeRecorder(10)
		r := &Reconciler{options: Options{Events: recorder}}
		r.tell(&v1alpha1.GridRouter{Status: *after}, before)
		close(recorder.Events)
		var got []string
		for event := range recorder.Events {
			got = append(got, event)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	yes, no, unknown := metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown
	few := condition{v1alpha1.ConditionAvailable, no, v1alpha1.ReasonTooFewReady}
	enough := condition{v1alpha1.ConditionAvailable, yes, v1alpha1.ReasonReplicasReady}
	well := condition{v1alpha1.ConditionDegraded, no, v1alpha1.ReasonAsExpected}
	complete := condition{v1alpha1.ConditionProgressing, no, v1alpha1.ReasonComplete}
	trying := condition{v1alpha1.ConditionProgressing, yes, v1alpha1.ReasonCanaryRunning}
	rolling := condition{v1alpha1.ConditionProgressing, yes, v1alpha1.ReasonRollingOut}

	f("a fleet is made", status(0), status(0, few, rolling, well), "Normal RollingOut words")
	f("it grows", status(3, enough), status(3, few), "Normal TooFewReady words")
	f("it has lost routers", status(3, enough), status(1, few), "Warning TooFewReady words")
	f("nothing is new", status(3, enough, complete), status(2, enough, complete))
	f("a canary begins", status(3, complete), status(3, trying, condition{v1alpha1.ConditionCanaryPassed, unknown, v1alpha1.ReasonCanaryRunning}),
		"Normal CanaryRunning words")
	f("a canary is taken back", status(3, trying),
		status(3, condition{v1alpha1.ConditionProgressing, no, v1alpha1.ReasonRolledBack}, condition{v1alpha1.ConditionDegraded, yes, v1alpha1.ReasonRolloutFailed}),
		"Warning RolledBack words")
	f("etcd is away", status(3, well), status(3, condition{v1alpha1.ConditionDegraded, yes, v1alpha1.ReasonEtcdUnreachable},
		condition{v1alpha1.ConditionConfigSynced, unknown, v1alpha1.ReasonEtcdUnreachable}), "Warning EtcdUnreachable words")
	f("etcd is back", status(3, condition{v1alpha1.ConditionDegraded, yes, v1alpha1.ReasonEtcdUnreachable}), status(3, well))
}
