package metrics_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/etcd/inspect/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const least = "etcd_server_proposals_applied_total 7\n"

var inf = math.Inf(1)

func TestWhatAMemberCountsIsRead(t *testing.T) {
	server := etcdtest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	s, err := metrics.Read(ctx, metrics.Client(nil), server.URL+"/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []metrics.Name{metrics.Started, metrics.Quota, metrics.LeaderChanges, metrics.ProposalsApplied, metrics.ProposalsPending,
		metrics.ProposalsFailed, metrics.SlowApplies, metrics.CurrentRevision, metrics.CompactRevision, metrics.Keys, metrics.Watchers,
		metrics.SlowWatchers, metrics.LeasesGranted, metrics.LeasesRevoked} {
		if _, ok := s.Number(name); !ok {
			t.Errorf("etcd does not tell %s", name)
		}
	}
	for _, name := range []metrics.Name{metrics.WALSync, metrics.BackendCommit} {
		if b := metrics.Between(metrics.Sample{}, s, name); b.Total() == 0 {
			t.Errorf("etcd does not tell %s", name)
		}
	}
	if age, ok := s.Age(); !ok || age <= 0 || age > time.Hour {
		t.Errorf("it is %s old, %t", age, ok)
	}
}

func TestTheMetricsOfOthersArePassedOver(t *testing.T) {
	text := "# HELP x y\n# TYPE other gauge\nother{bad 1\n\n" + strings.Repeat("z", 10_000) + "\n" + least +
		"etcd_server_quota_backend_bytes 1e9\nprocess_start_time_seconds NaN\n"
	s, err := metrics.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if quota, ok := s.Number(metrics.Quota); !ok || quota != 1e9 {
		t.Errorf("%v, %t", quota, ok)
	}
	if _, ok := s.Number(metrics.Started); ok {
		t.Error("NaN is a time")
	}
}

func TestWhatIsNoEtcdIsRefused(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := metrics.Parse(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f("", "the address must be that of a member of etcd")
	f("<html></html>", "the address must be that of a member of etcd")
	f(least+"etcd_server_quota_backend_bytes{", "read metrics")
	f(least+strings.Repeat("etcd_debugging_mvcc_keys_total{a=\""+strings.Repeat("x", 1000)+"\"} 1\n", 1200), "more than 1024 KiB of etcd's own metrics")
	f(least+"# TYPE etcd_disk_wal_fsync_duration_seconds gauge\netcd_disk_wal_fsync_duration_seconds 1\n", "it is no histogram")
	const name = "etcd_disk_wal_fsync_duration_seconds"
	var many strings.Builder
	for i := range 300 {
		fmt.Fprintf(&many, "%s_bucket{le=\"%d\"} 1\n", name, i)
	}
	f(least+"# TYPE "+name+" histogram\n"+many.String(), "it has 300 buckets")
	f(least+"# TYPE "+name+" histogram\n"+name+"_bucket{le=\"1\"} 5\n"+name+"_bucket{le=\"2\"} 3\n", "does not follow")
}

func TestAnAnswerIsBounded(t *testing.T) {
	serve := func(handler http.HandlerFunc) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: handler}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(listener) }()
		t.Cleanup(func() { _ = server.Close(); <-done })
		return "http://" + listener.Addr().String() + "/metrics"
	}
	f := func(at, want string) {
		t.Helper()
		if _, err := metrics.Read(t.Context(), metrics.Client(nil), at); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %s", err, want)
		}
	}
	f(serve(func(w http.ResponseWriter, _ *http.Request) {
		for range 9 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("x", 1024)); err != nil {
				return
			}
		}
	}), "more than 8 MiB")
	f(serve(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/secret", http.StatusFound) }), "status 302")
	f(serve(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }), "status 404")
	f("http://user:secret@"+testkit.FreeAddr(t)+"/?secret", "connection refused")
	f("nowhere", "must be like http://host:2379/metrics")
}

func TestTheTimeThat99OfAHundredTook(t *testing.T) {
	row := func(b metrics.Buckets, want time.Duration, open, ok bool) {
		t.Helper()
		if at, isOpen, is := b.Quantile(0.99); (at-want).Abs() > time.Microsecond || isOpen != open || is != ok {
			t.Errorf("%v: %s, %t, %t", b, at, isOpen, is)
		}
	}
	row(nil, 0, false, false)
	row(metrics.Buckets{{Upper: 1}, {Upper: inf}}, 0, false, false)
	row(metrics.Buckets{{Upper: 0.01, Count: 100}, {Upper: inf, Count: 100}}, 9900*time.Microsecond, false, true)
	row(metrics.Buckets{{Upper: 1, Count: 50}, {Upper: inf, Count: 100}}, time.Second, true, true)
	row(metrics.Buckets{{Upper: inf, Count: 7}}, 0, true, true)
}

func TestWhatHappenedBetweenTwoSamples(t *testing.T) {
	at := func(started, counted float64) metrics.Sample {
		return metrics.New(time.Unix(1000, 0), map[metrics.Name]float64{metrics.Started: started, metrics.SlowApplies: counted}).
			With(metrics.WALSync, metrics.Buckets{{Upper: 1, Count: counted}, {Upper: inf, Count: counted}})
	}
	row := func(before, now metrics.Sample, want float64) {
		t.Helper()
		rose, ok := metrics.Increase(before, now, metrics.SlowApplies)
		if seen := metrics.Between(before, now, metrics.WALSync).Total(); rose != want || seen != want || !ok {
			t.Errorf("%v and %v, want %v", rose, seen, want)
		}
	}
	row(metrics.Sample{}, at(10, 5), 5)
	row(at(10, 5), at(10, 8), 3)
	row(at(10, 5), at(10, 5), 0)
	row(at(10, 5), at(500, 8), 8) // it was started anew
	row(at(10, 5), at(10, 2), 2)  // and does not say so
	other := at(10, 8).With(metrics.WALSync, metrics.Buckets{{Upper: 2, Count: 8}, {Upper: inf, Count: 8}})
	if seen := metrics.Between(at(10, 5), other, metrics.WALSync).Total(); seen != 8 {
		t.Errorf("with other buckets: %v", seen)
	}
	if _, ok := metrics.Increase(at(1, 1), metrics.Sample{}, metrics.SlowApplies); ok {
		t.Error("what is not told rose")
	}
}

func FuzzParse(f *testing.F) {
	const wal = "# TYPE etcd_disk_wal_fsync_duration_seconds histogram\netcd_disk_wal_fsync_duration_seconds_bucket{le=\"0.1\"} 3\n"
	f.Add(least + wal)
	f.Add(least + wal + "etcd_disk_wal_fsync_duration_seconds_count 4\netcd_disk_wal_fsync_duration_seconds_sum NaN\n")
	f.Add(least + "process_start_time_seconds 1e300\netcd_server_slow_apply_total -Inf\n")
	f.Add(least + "# TYPE etcd_network_peer_round_trip_time_seconds histogram\netcd_network_peer_round_trip_time_seconds_bucket{To=\"a\",le=\"NaN\"} 3\n")
	f.Add("# TYPE etcd_server_quota_backend_bytes summary\netcd_server_quota_backend_bytes{quantile=\"0.5\"} 3\n" + least)
	f.Fuzz(func(t *testing.T, text string) {
		s, err := metrics.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, name := range []metrics.Name{metrics.WALSync, metrics.BackendCommit, metrics.PeerRoundTrip} {
			if at, _, ok := metrics.Between(metrics.Sample{}, s, name).Quantile(0.99); ok && at < 0 {
				t.Fatalf("%s: %s", name, at)
			}
			if same := metrics.Between(s, s, name); same.Total() != 0 {
				t.Fatalf("a sample differs from itself: %v", same)
			}
		}
		for _, name := range []metrics.Name{metrics.Started, metrics.Quota, metrics.SlowApplies} {
			if n, ok := s.Number(name); ok && (math.IsNaN(n) || math.IsInf(n, 0)) {
				t.Fatalf("%s is %v", name, n)
			}
		}
	})
}
