package services

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"gridrouter.io/deploy/api/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// form changes a fleet, so that a case can say what is special about it.
type form func(*v1alpha1.GridRouter)

// fleetOf is a fleet of five routers, version 1.4.0, generation 2, whose operator has seen that.
func fleetOf(forms ...form) *v1alpha1.GridRouter {
	replicas := int32(5)
	f := &v1alpha1.GridRouter{}
	f.Namespace, f.Name, f.UID, f.Generation = "prod", "edge", "one", 2
	f.Spec.Version, f.Spec.Replicas = "1.5.0", &replicas
	f.Spec.Rollout.Canary = &v1alpha1.Canary{Steps: []v1alpha1.CanaryStep{
		{Percent: 10, Hold: &metav1.Duration{Duration: time.Minute}}, {Percent: 50, Hold: &metav1.Duration{Duration: 5 * time.Minute}},
	}}
	f.Status = v1alpha1.GridRouterStatus{ObservedGeneration: 2, Replicas: 5, Ready: 5, Updated: 2, Versions: v1alpha1.FleetVersions{Current: "1.4.0", Target: "1.5.0"}}
	f.Status.History = []v1alpha1.Revision{
		{Revision: 2, Version: "1.5.0", Hash: "b", Outcome: v1alpha1.RevisionProgressing},
		{Revision: 1, Version: "1.4.0", Hash: "a", Outcome: v1alpha1.RevisionComplete},
	}
	for _, change := range forms {
		change(f)
	}
	return f
}

func is(kind v1alpha1.ConditionType, status metav1.ConditionStatus, reason v1alpha1.Reason, message string) form {
	return func(f *v1alpha1.GridRouter) {
		v1alpha1.SetCondition(&f.Status.Conditions, f.Status.ObservedGeneration, kind, status, reason, message)
	}
}

func progressing(reason v1alpha1.Reason, message string) form {
	return is(v1alpha1.ConditionProgressing, metav1.ConditionTrue, reason, message)
}

func rests(reason v1alpha1.Reason, message string) form {
	return is(v1alpha1.ConditionProgressing, metav1.ConditionFalse, reason, message)
}

func canary(state string, step, percent int32, ago time.Duration, verdict v1alpha1.CanaryVerdict, why string) form {
	return func(f *v1alpha1.GridRouter) {
		f.Status.Canary = &v1alpha1.CanaryStatus{
			Revision: 2, State: state, Step: step, Percent: percent, Since: &metav1.Time{Time: noon.Add(-ago)}, Verdict: verdict, Why: why,
		}
	}
}

func outcome(o v1alpha1.RevisionOutcome, why string) form {
	return func(f *v1alpha1.GridRouter) { f.Status.History[0].Outcome, f.Status.History[0].Why = o, why }
}

func current(version string) form {
	return func(f *v1alpha1.GridRouter) {
		f.Status.Versions = v1alpha1.FleetVersions{Current: version, Target: version}
	}
}

func observed(generation int64) form {
	return func(f *v1alpha1.GridRouter) { f.Status.ObservedGeneration = generation }
}

func counts(replicas, ready, updated int32) form {
	return func(f *v1alpha1.GridRouter) {
		f.Status.Replicas, f.Status.Ready, f.Status.Updated = replicas, ready, updated
	}
}

func canaryOf(revision int64) form {
	return func(f *v1alpha1.GridRouter) { f.Status.Canary.Revision = revision }
}

func noHistory(f *v1alpha1.GridRouter) { f.Status.History = f.Status.History[1:] }

func paused(f *v1alpha1.GridRouter) { f.Spec.Paused = true }

func deleted(f *v1alpha1.GridRouter) {
	f.DeletionTimestamp, f.Finalizers = &metav1.Time{Time: noon.Add(-42 * time.Second)}, []string{"gridrouter.io/remote", metav1.FinalizerDeleteDependents}
}

// TestProgressIsToldInWords holds the line of each state that an operator can leave in a status, for each
// sort of change: testdata/progress.txt has them.
func TestProgressIsToldInWords(t *testing.T) {
	upgrade := goal{kind: goalVersion, what: "upgrade 1.4.0 -> 1.5.0", written: noon.Add(-5 * time.Second), uid: "one", generation: 2, version: "1.5.0", newest: 1}
	late, again := upgrade, upgrade
	late.written, again.newest = noon.Add(-42*time.Second), 2
	rollback := goal{kind: goalRevision, what: "roll back from revision 2 (1.5.0) to 1 (1.4.0)", written: noon, uid: "one", generation: 2, version: "1.4.0", revision: 1, newest: 2}
	scale := goal{kind: goalReady, what: "scale from 3 to 5 routers", written: noon, uid: "one", generation: 2, newest: 2}
	note := goal{kind: goalNoted, what: "pause edge", written: noon, uid: "one", generation: 2}
	gone := goal{kind: goalGone, what: "delete edge", written: noon, uid: "one"}
	to := func(revision int64) form { return func(f *v1alpha1.GridRouter) { f.Spec.RollbackTo = revision } }
	why := "errors 0.1 %, of the others 0.1 %; p99 12 ms, of the others 11 ms; judged by 1,234 requests"

	var got strings.Builder
	say := func(name string, g goal, forms ...form) {
		p := g.judge(Sight{Fleet: fleetOf(forms...)}, noon)
		end := map[bool]string{true: " [done]"}[p.Done] + map[bool]string{true: " [failed]"}[p.Failed]
		fmt.Fprintf(&got, "%s:\n  %s%s\n", name, p.Line, end)
	}
	say("not noted yet", upgrade, observed(1), rests(v1alpha1.ReasonComplete, ""))
	say("not noted for long", late, observed(1), rests(v1alpha1.ReasonComplete, ""))
	say("noted, without a condition", upgrade)
	say("canary deploys", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Deploying", 1, 10, time.Second, "", ""), counts(6, 5, 1))
	say("canary holds", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Holding", 1, 10, 42*time.Second, v1alpha1.VerdictPending, why))
	say("canary holds longer than it should", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Holding", 2, 50, 301*time.Second, v1alpha1.VerdictPending, ""))
	say("clocks differ", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Holding", 1, 10, -time.Second, v1alpha1.VerdictPending, ""))
	say("canary is judged", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Judging", 2, 50, 400*time.Second, v1alpha1.VerdictPending, "12 requests of the 100 that it takes"))
	say("canary waits for a person", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Paused", 1, 10, 0, v1alpha1.VerdictPending, ""))
	say("canary passed", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Promoting", 2, 50, 0, v1alpha1.VerdictPassed, why))
	say("canary is taken back", upgrade, progressing(v1alpha1.ReasonRollingBack, "x"), canary("RollingBack", 1, 10, 0, v1alpha1.VerdictFailed, "7.5 % errors, of the others 0.1 %"))
	say("canary was taken back", upgrade, rests(v1alpha1.ReasonRolledBack, "x"), outcome(v1alpha1.RevisionRolledBack, "7.5 % errors, of the others 0.1 %"), current("1.4.0"))
	say("a canary in a status without its form", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Strange", 9, 10, 0, "", ""), func(f *v1alpha1.GridRouter) { f.Spec.Rollout.Canary = nil })
	say("a canary that is not there yet", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"))
	say("rolling out", upgrade, progressing(v1alpha1.ReasonRollingOut, "x"))
	say("pods wait", upgrade, progressing(v1alpha1.ReasonPodsWaiting, "edge-x: ImagePullBackOff: no such image"))
	say("pods are forbidden", upgrade, progressing(v1alpha1.ReasonPodsForbidden, "exceeded quota: routers"))
	say("something is wrong besides", upgrade, progressing(v1alpha1.ReasonRollingOut, "x"), is(v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonSecretMissing, "Secret edge-cert is not there"))
	say("a reason of a newer operator", upgrade, progressing("Dreaming", "of sheep"))
	say("deadline exceeded", upgrade, rests(v1alpha1.ReasonDeadlineExceeded, "2 of 5 routers in 10m0s"), outcome(v1alpha1.RevisionFailed, ""))
	say("superseded", upgrade, progressing(v1alpha1.ReasonRollingOut, "x"), outcome(v1alpha1.RevisionSuperseded, ""))
	say("complete", upgrade, rests(v1alpha1.ReasonComplete, ""), outcome(v1alpha1.RevisionComplete, ""), current("1.5.0"))
	say("the former rollout rests, ours has not begun", upgrade, rests(v1alpha1.ReasonComplete, ""), noHistory, current("1.4.0"))
	say("the former rollout was taken back, ours has not begun", upgrade, rests(v1alpha1.ReasonRolledBack, "bad"), noHistory, current("1.4.0"))
	say("tried again, old outcome still shown", again, progressing(v1alpha1.ReasonRollingOut, "x"), outcome(v1alpha1.RevisionRolledBack, "bad"))
	say("tried again without a change", again, rests(v1alpha1.ReasonRolledBack, "x"), outcome(v1alpha1.RevisionRolledBack, "bad"), current("1.4.0"))
	say("another canary comes first", upgrade, noHistory, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Deploying", 1, 10, time.Second, v1alpha1.VerdictPending, "ImagePullBackOff"), canaryOf(1))
	say("a canary of its own", upgrade, progressing(v1alpha1.ReasonCanaryRunning, "x"), canary("Deploying", 1, 10, time.Second, v1alpha1.VerdictPending, "ImagePullBackOff"), canaryOf(2))
	say("more than wanted", scale, progressing(v1alpha1.ReasonScaling, "x"), counts(7, 7, 7))
	say("paused", upgrade, paused, progressing(v1alpha1.ReasonPaused, "x"))
	say("somebody else upgrades", upgrade, func(f *v1alpha1.GridRouter) { f.Spec.Version = "1.6.0" })
	say("somebody else rolls back", upgrade, to(1))
	say("being deleted", upgrade, deleted)
	say("another of its name", upgrade, func(f *v1alpha1.GridRouter) { f.UID = "two" })
	say("rolling back", rollback, to(1), progressing(v1alpha1.ReasonRollingBack, "to revision 1"))
	say("rolled back", rollback, to(1), rests(v1alpha1.ReasonComplete, ""), current("1.4.0"))
	say("revision unknown", rollback, to(1), is(v1alpha1.ConditionDegraded, metav1.ConditionTrue, v1alpha1.ReasonRevisionUnknown, "revision 1 is not kept"), rests(v1alpha1.ReasonComplete, ""))
	say("rollback is undone", rollback, to(0))
	say("scaling", scale, progressing(v1alpha1.ReasonScaling, "x"), counts(5, 3, 5))
	say("scaled", scale, rests(v1alpha1.ReasonComplete, ""), current("1.5.0"))
	say("scaled after a canary was taken back", scale, rests(v1alpha1.ReasonRolledBack, "bad"), outcome(v1alpha1.RevisionRolledBack, "bad"), current("1.4.0"))
	say("scaling after a canary was taken back", scale, rests(v1alpha1.ReasonRolledBack, "bad"), outcome(v1alpha1.RevisionRolledBack, "bad"), current("1.4.0"), counts(3, 3, 3))
	say("scaling fails", scale, rests(v1alpha1.ReasonDeadlineExceeded, "3 of 5 routers in 10m0s"), counts(5, 3, 5))
	say("scaled by load", scale, rests(v1alpha1.ReasonComplete, ""), func(f *v1alpha1.GridRouter) { f.Spec.Replicas = nil }, counts(1, 1, 1))
	say("pause noted", note, paused, progressing(v1alpha1.ReasonPaused, "x"))
	say("leaving", gone, deleted)
	say("not leaving yet", gone)
	say("gone, another of its name is there", gone, func(f *v1alpha1.GridRouter) { f.UID = "two" })

	for name, p := range map[string]Progress{
		"delete edge: it is gone":                                      gone.judge(Sight{}, noon),
		"upgrade 1.4.0 -> 1.5.0: the fleet was deleted meanwhile":      upgrade.judge(Sight{}, noon),
		"upgrade 1.4.0 -> 1.5.0: the API server is away; trying again": upgrade.judge(Sight{Fleet: fleetOf(), Away: errors.New("the API server is away")}, noon),
		"delete edge: the API server is away; trying again":            gone.judge(Sight{Away: errors.New("the API server is away")}, noon),
	} {
		if p.Line != name {
			t.Errorf("%q, want %q", p.Line, name)
		}
	}
	compare(t, "testdata/progress.txt", got.String())
}

// compare holds a text to a golden file.
func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs; -update writes it anew\n%s", file, diff)
	}
}

// TestADescriptionTellsWhatWasNotAnswered looks at fleets without a change in mind.
func TestADescriptionTellsWhatWasNotAnswered(t *testing.T) {
	f := func(want string, forms ...form) {
		t.Helper()
		if got := Describe(fleetOf(forms...), noon); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("nothing is known of it: no operator has looked at this fleet yet")
	f("5 of 5 routers ready", rests(v1alpha1.ReasonComplete, ""))
	f("paused, 5 of 5 routers ready", progressing(v1alpha1.ReasonPaused, ""))
	f("the operator has not answered the latest change; before: 5 of 5 routers ready", rests(v1alpha1.ReasonComplete, ""), observed(1))
}

func TestTimesAreSaidAsPeopleSayThem(t *testing.T) {
	f := func(d time.Duration, want string) {
		t.Helper()
		if got := seconds(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
	f(-time.Second, "0 s")
	f(42*time.Second+900*time.Millisecond, "42 s")
	f(time.Minute, "60 s")
	f(2*time.Minute, "2 min")
	f(125*time.Second, "2 min 5 s")
	f(time.Hour, "1 h")
	f(24*time.Hour-time.Second, "23 h 59 min")
}

// TestARollbackGoesToTheNewestCompleteRevisionBeforeThePresent tries histories.
func TestARollbackGoesToTheNewestCompleteRevisionBeforeThePresent(t *testing.T) {
	type revisions = []v1alpha1.Revision
	entry := func(n int64, version string, o v1alpha1.RevisionOutcome) v1alpha1.Revision {
		return v1alpha1.Revision{Revision: n, Version: version, Hash: fmt.Sprint("h", n), Outcome: o}
	}
	f := func(version string, rollbackTo, to int64, history revisions, want int64, refusal string) {
		t.Helper()
		p, err := PlanRollback(fleetOf(func(f *v1alpha1.GridRouter) {
			f.Spec.Version, f.Spec.RollbackTo, f.Status.History = version, rollbackTo, history
		}), to)
		switch {
		case refusal != "" && (err == nil || KindOf(err) != KindRefused || !strings.Contains(err.Error(), refusal)):
			t.Errorf("%v, want %q", err, refusal)
		case refusal == "" && (err != nil || p.To.Revision != want):
			t.Errorf("to %d, %v, want %d", p.To.Revision, err, want)
		}
	}
	complete, back, failed, going := v1alpha1.RevisionComplete, v1alpha1.RevisionRolledBack, v1alpha1.RevisionFailed, v1alpha1.RevisionProgressing
	three := revisions{entry(3, "1.6", complete), entry(2, "1.5", complete), entry(1, "1.4", complete)}
	f("1.6", 0, 0, three, 2, "")
	f("1.6", 2, 0, three, 1, "") // rolled back already: further
	f("1.6", 1, 0, three, 0, "has no complete revision before 1: choose one of 3 (1.6, Complete), 2 (1.5, Complete)")
	f("1.5", 0, 0, three, 1, "") // the operator took an older revision up again
	f("1.6", 0, 3, three, 3, "")
	f("1.6", 0, 7, three, 0, "revision 7 is not in the history of fleet edge in namespace prod: choose one of 3 (1.6, Complete)")
	f("1.6", 0, 0, revisions{entry(3, "1.6", back), entry(2, "1.5", complete)}, 2, "") // what runs
	f("1.6", 0, 0, revisions{entry(3, "1.6", going), entry(2, "1.5", failed), entry(1, "1.4", complete)}, 1, "")
	f("1.6", 0, 3, revisions{entry(3, "1.6", back), entry(2, "1.5", complete)}, 3, "")
	f("1.6", 0, 0, revisions{entry(1, "1.4", complete), entry(2, "1.5", complete), entry(3, "1.6", complete)}, 2, "") // sorted here
	f("1.7", 0, 0, three, 2, "")                                                                                      // the operator has not seen 1.7 yet
	f("1.6", 0, 0, nil, 0, "has no history yet")
	f("1.6", 0, 0, revisions{entry(3, "1.6", complete)}, 0, "has no complete revision before 3")
}
