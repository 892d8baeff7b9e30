package etcd

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/etcd/maintain"
	"gridrouter.io/deploy/operator/etcd/observe"
	"gridrouter.io/deploy/operator/etcd/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newReconciler(t *testing.T) (*Reconciler, *events.FakeRecorder) {
	t.Helper()
	told := events.NewFakeRecorder(16)
	members := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(members.Close)
	r := New(Options{Members: members, Events: told})
	t.Cleanup(r.keeper.Close)
	return r, told
}

// fullWorld is a cluster whose member raised NOSPACE, and of which nobody knows where it is.
func fullWorld() *world {
	w := &world{c: &v1alpha1.EtcdCluster{}, now: time.Now()}
	w.c.Namespace, w.c.Name, w.c.Spec.TLS.Mode = "grid", "store", v1alpha1.EtcdTLSOff
	w.report = observe.Report{Known: true, Alarms: map[uint64][]string{7: {noSpace}}}
	return w
}

func TestReliefBeginsOnlyWhileNothingElseGoesOn(t *testing.T) {
	f := func(what string, begins bool, step plan.Step, d done, failed error, edit func(*world)) {
		t.Helper()
		r, told := newReconciler(t)
		w := fullWorld()
		edit(w)
		r.maintain(w, step, &d, failed)
		if !begins {
			if s := r.keeper.State(idOf(w.c)); s != (maintain.State{}) {
				t.Errorf("%s: %+v", what, s)
			}
			return
		}
		testkit.Eventually(t, what, func() bool { return r.keeper.State(idOf(w.c)).Relieved.Problem != "" })
		if event := <-told.Events; !strings.Contains(event, "Warning ReliefFailed NOSPACE is not relieved; 0.0 MiB were freed: no endpoint") {
			t.Error(event)
		}
		w.maintained = r.keeper.State(idOf(w.c))
		if why := w.remedy([]string{noSpace}); !strings.Contains(why, ": relief failed at ") || !strings.Contains(why, "no endpoint") {
			t.Error(why)
		}
		if wait := w.maintainedWithin(seldom); wait <= seldom-time.Minute || wait > seldom {
			t.Errorf("it is looked at again after %s", wait)
		}
	}
	wait, as := plan.Step{Act: plan.Wait}, func(*world) {}
	f("idle", true, wait, done{}, nil, as)
	f("a member is changed", false, plan.Step{Act: plan.StopPod}, done{}, nil, as)
	f("a member is waited for", false, plan.Step{Act: plan.Wait, Why: "store-0 is not healthy"}, done{}, nil, as)
	f("something was written", false, wait, done{changed: true}, nil, as)
	f("something failed", false, wait, done{}, errors.New("no"), as)
	f("paused", false, wait, done{}, nil, func(w *world) { w.c.Spec.Paused = true })
	f("no majority answers", false, wait, done{}, nil, func(w *world) { w.report.Known = false })
	f("data differ", false, wait, done{}, nil, func(w *world) { w.report.Alarms[8] = []string{corrupt} })
	f("no alarm", false, wait, done{}, nil, func(w *world) { w.report.Alarms = nil })
}

func TestMaintenanceGivesWay(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	f := func(step plan.Step, paused, stops bool, why string) {
		t.Helper()
		r, _ := newReconciler(t)
		w := fullWorld()
		w.c.Spec.Paused = paused
		if got := r.giveWay(w, step); got != step {
			t.Errorf("without maintenance, %+v is %+v", step, got)
		}
		job := maintain.Job{Act: maintain.Defragment, Access: accessOf(observe.Target{Endpoints: map[string]string{"a": "http://" + silent.Addr().String()}})}
		if !r.keeper.Begin(idOf(w.c), job) {
			t.Fatal("it was not begun")
		}
		if got := r.giveWay(w, step); got.Why != why || got.Act != plan.Wait {
			t.Errorf("%+v gives %+v", step, got)
		}
		if !stops {
			if r.keeper.State(idOf(w.c)).Doing == "" {
				t.Errorf("%+v stops it", step)
			}
			return
		}
		testkit.Eventually(t, "it is stopped", func() bool { return r.keeper.State(idOf(w.c)).Doing == "" })
		if got := r.giveWay(w, step); got != step {
			t.Errorf("afterwards, %+v is %+v", step, got)
		}
	}
	f(plan.Step{Act: plan.StopPod, Member: "store-1"}, false, true, "the maintenance of members ends first")
	f(plan.Step{Act: plan.Wait}, true, true, "")
	f(plan.Step{Act: plan.Wait}, false, false, "")
	f(plan.Step{Act: plan.Wait, Why: "store-1 is not healthy"}, false, false, "store-1 is not healthy")
}

func TestTheStatusTellsOfTheSchedule(t *testing.T) {
	w := fullWorld()
	w.now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	due := func(want bool, next, bad string) {
		t.Helper()
		if got := w.schedule(); got != want || !strings.Contains(w.badSchedule, bad) || (bad == "") != (w.badSchedule == "") {
			t.Errorf("due %t, %q", got, w.badSchedule)
		}
		at := ""
		if w.c.Status.NextDefrag != nil {
			at = w.c.Status.NextDefrag.UTC().Format(time.DateTime)
		}
		if at != next {
			t.Errorf("the next is %q, not %q", at, next)
		}
	}
	due(false, "", "")
	w.c.Spec.Defrag = &v1alpha1.EtcdDefrag{Schedule: "30 3 * * *"}
	due(false, "2026-03-02 03:30:00", "")
	w.now = w.now.Add(4 * 24 * time.Hour) // the operator was away
	due(true, "2026-03-02 03:30:00", "")
	w.maintained.Defragmented = maintain.Outcome{Act: maintain.Defragment, At: w.now, FreedBytes: 5, Problem: "why"}
	for range 2 {
		due(false, "2026-03-06 03:30:00", "")
	}
	if last := w.c.Status.LastDefrag; last == nil || last.FreedBytes != 5 || last.Problem != "why" || !last.At.Time.Equal(w.now) {
		t.Errorf("%+v", last)
	}
	w.c.Spec.Defrag.Schedule = "0 0 30 2 *"
	due(false, "", "spec.defrag.schedule: \"0 0 30 2 *\" never comes")
	if reason, why := w.degraded(&done{}, nil); reason != v1alpha1.ReasonBadSchedule || why != w.badSchedule {
		t.Errorf("%s %s", reason, why)
	}
	w.badSchedule, w.c.Spec.Defrag = "", nil
	at := metav1.Now()
	w.c.Status.NextDefrag = &at
	due(false, "", "")
}

func TestAsMuchHistoryIsKeptAsEtcdIsToldTo(t *testing.T) {
	f := func(mode v1alpha1.EtcdCompactionMode, retention string, want int64) {
		t.Helper()
		c := &v1alpha1.EtcdCluster{}
		c.Spec.Options.AutoCompaction = v1alpha1.EtcdAutoCompaction{Mode: mode, Retention: retention}
		if got := keptRevisions(c); got != want {
			t.Errorf("%s %s: %d", mode, retention, got)
		}
	}
	f("", "", 10000)
	f(v1alpha1.CompactByRevision, "50000", 50000)
	f(v1alpha1.CompactByRevision, "10", 1000)
	f(v1alpha1.CompactByTime, "1h", 1000)
	f(v1alpha1.CompactNever, "10000", 1000)
}

func TestMembersAreMaintainedWhereTheyAreAsked(t *testing.T) {
	a := accessOf(observe.Target{
		Endpoints: map[string]string{"b": "https://[fd00::7]:2379", "a": "https://10.0.0.7:2379"}, TLS: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "store"},
	})
	if err := a.Check(); err != nil || strings.Join(a.Endpoints, " ") != "https://10.0.0.7:2379 https://[fd00::7]:2379" {
		t.Errorf("%v, %v", a.Endpoints, err)
	}
	if a.Metrics["https://10.0.0.7:2379"] != "http://10.0.0.7:2381/metrics" || a.Metrics["https://[fd00::7]:2379"] != "http://[fd00::7]:2381/metrics" {
		t.Errorf("%v", a.Metrics)
	}
	if a.TLS.VerifyConnection == nil || accessOf(observe.Target{}).TLS != nil {
		t.Error("whom a certificate must name is not looked at")
	}
	c := &v1alpha1.EtcdCluster{}
	if got := freeAbove(c); got != 200<<20 {
		t.Errorf("%d", got)
	}
	above := resource.MustParse("1Gi")
	c.Spec.Defrag = &v1alpha1.EtcdDefrag{FreeAbove: &above}
	if got := freeAbove(c); got != 1<<30 {
		t.Errorf("%d", got)
	}
}
