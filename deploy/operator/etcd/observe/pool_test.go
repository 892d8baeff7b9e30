package observe_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/operator/etcd/observe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const quick = 50 * time.Millisecond

// reported waits for a report that is as wanted.
func reported(t *testing.T, p *observe.Pool, what string, as func(observe.Report) bool) observe.Report {
	t.Helper()
	var report observe.Report
	testkit.Eventually(t, what, func() bool {
		var known bool
		report, known = p.Report("a")
		return known && as(report)
	})
	return report
}

func TestAMemberIsSeenAsItIsAndAsItChanges(t *testing.T) {
	s := etcdtest.Start(t)
	p := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(p.Close)
	var told atomic.Int64
	target := observe.Target{Endpoints: map[string]string{"one": s.URL, "silent": "http://" + testkit.FreeAddr(t)}}
	p.Follow("a", target, quick, func() { told.Add(1) })
	report := reported(t, p, "a report", func(r observe.Report) bool { return r.Known })
	one := report.Members["one"]
	if healthy, why := report.Healthy("one"); !healthy || one.ID == 0 || one.ClusterID == 0 || one.Leader != one.ID || one.Version == "" || one.Learner {
		t.Errorf("%+v, %s", one, why)
	}
	if healthy, why := report.Healthy("silent"); healthy || why != "it does not answer" {
		t.Errorf("a member at an address where nobody listens is healthy: %t, %q", healthy, why)
	}
	if healthy, _ := report.Healthy("unknown"); healthy {
		t.Error("a member that nobody asks is healthy")
	}
	if len(report.List) != 1 || report.List[0].ID != one.ID {
		t.Errorf("the list is %+v", report.List)
	}
	before := told.Load()
	s.Stop()
	report = reported(t, p, "its end is seen", func(r observe.Report) bool { return !r.Known && r.Members["one"].Err != nil })
	if healthy, _ := report.Healthy("one"); healthy {
		t.Error("a member that ended is healthy")
	}
	testkit.Eventually(t, "its end is told", func() bool { return told.Load() > before })
	s.Restart(t)
	reported(t, p, "it is back", func(r observe.Report) bool { healthy, _ := r.Healthy("one"); return healthy && r.Known })
}

func TestALearnerAndAnAlarmAreSeen(t *testing.T) {
	s := etcdtest.Start(t)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{s.URL}})
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	peer := "http://" + testkit.FreeAddr(t)
	if _, err := etcd.MemberAddAsLearner(ctx, []string{peer}); err != nil {
		t.Fatal(err)
	}
	p := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(p.Close)
	p.Follow("a", observe.Target{Endpoints: map[string]string{"one": s.URL}}, quick, func() {})
	report := reported(t, p, "a learner", func(r observe.Report) bool { return len(r.List) == 2 })
	for _, l := range report.List {
		if l.Learner != (l.PeerURLs[0] == peer) {
			t.Errorf("%+v", l)
		}
	}
}

func TestAtRestNobodyIsToldAnything(t *testing.T) {
	s := etcdtest.Start(t)
	p := observe.NewPool(zaptest.NewLogger(t))
	t.Cleanup(p.Close)
	var told atomic.Int64
	p.Follow("a", observe.Target{Endpoints: map[string]string{"one": s.URL}}, quick, func() { told.Add(1) })
	// etcd agrees on the version of its data some seconds after it began.
	first := reported(t, p, "a report", func(r observe.Report) bool { return r.Known && r.Members["one"].StorageVersion != "" })
	testkit.Eventually(t, "it is told", func() bool { return told.Load() > 1 })
	before := told.Load()
	reported(t, p, "twenty more", func(r observe.Report) bool { return r.At.Sub(first.At) > 20*quick })
	if more := told.Load() - before; more > 0 {
		t.Errorf("a cluster at rest was told of %d times", more)
	}
}

func TestAForgottenClusterIsAskedNoMore(t *testing.T) {
	s := etcdtest.Start(t)
	p := observe.NewPool(zaptest.NewLogger(t))
	p.Follow("a", observe.Target{Endpoints: map[string]string{"one": s.URL}}, quick, func() {})
	reported(t, p, "a report", func(r observe.Report) bool { return r.Known })
	if _, err := p.Client("a", "one"); err != nil {
		t.Error(err)
	}
	p.Forget("a")
	if _, known := p.Report("a"); known {
		t.Error("there is a report of a cluster that is not followed")
	}
	if _, err := p.Client("a", "one"); err == nil {
		t.Error("there is a client of a cluster that is not followed")
	}
	p.Close()
	p.Follow("a", observe.Target{}, quick, func() {}) // does nothing
}
