package inspect_test

import (
	"fmt"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/metrics"
)

var now = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

// fine is a cluster of three members of which nothing is found.
func fine() inspect.View {
	v := inspect.View{At: now}
	on := true
	v.Auth = &on
	for i := range 3 {
		id := inspect.ID(i + 1)
		m := inspect.Member{
			Endpoint: fmt.Sprintf("https://10.0.0.%d:2379", i+1), ID: id, Cluster: 9, LeaderID: 1, Leads: i == 0, Version: "3.7.3",
			DBBytes: 100 << 20, InUseBytes: 90 << 20, QuotaBytes: 2 << 30, RaftIndex: 500, AppliedIndex: 500,
		}
		sample := counted(nil)
		v.Seen = append(v.Seen, inspect.Seen{Member: m, Now: &sample, Clock: &inspect.Offset{Low: -time.Millisecond, High: 99 * time.Millisecond},
			Certificate: &inspect.Certificate{Whose: m.Endpoint, Subject: "etcd", Until: now.Add(90 * 24 * time.Hour)}})
		v.Listed = append(v.Listed, inspect.Listed{ID: id, Name: fmt.Sprintf("etcd-%d", i), Clients: 1})
	}
	return v
}

// counted are the metrics of a member that runs for a day, with some changed.
func counted(changed map[metrics.Name]float64) metrics.Sample {
	numbers := map[metrics.Name]float64{
		metrics.Started: float64(now.Add(-24 * time.Hour).Unix()), metrics.LeaderChanges: 1, metrics.ProposalsApplied: 100_000,
		metrics.ProposalsFailed: 2, metrics.CurrentRevision: 150_000, metrics.CompactRevision: 90_000, metrics.Keys: 1000,
	}
	for name, n := range changed {
		numbers[name] = n
	}
	return took(took(metrics.New(now, numbers), metrics.WALSync, 0.002), metrics.BackendCommit, 0.004)
}

// took says that a thousand observations took so many seconds at most.
func took(s metrics.Sample, name metrics.Name, seconds float64) metrics.Sample {
	return s.With(name, metrics.Buckets{{Upper: seconds, Count: 1000}, {Upper: math.Inf(1), Count: 1000}})
}

// trial changes a cluster that is fine, and looks what is found.
type trial func(v *inspect.View, s *inspect.Settings)

// tries returns what tries one change: exactly the reason must be found, with figures in its message, but for
// what comes with it; nothing, if the reason is empty. It notes what was tried.
func tries(t *testing.T, tried map[inspect.Reason]bool) func(inspect.Reason, string, trial) {
	return func(reason inspect.Reason, figures string, change trial) {
		t.Helper()
		v, settings := fine(), inspect.Settings{Heartbeat: 100 * time.Millisecond, Election: time.Second}
		change(&v, &settings)
		found := inspect.Judge(v, settings, inspect.Limits{})
		if reason == "" {
			if len(found) > 0 {
				t.Errorf("of a cluster that is fine: %+v", found)
			}
			return
		}
		tried[reason] = true
		i := slices.IndexFunc(found, func(f inspect.Finding) bool { return f.Reason == reason })
		if i < 0 || !strings.Contains(found[i].Message, figures) || found[i].Plan == "" {
			t.Errorf("%s with %q: %+v", reason, figures, found)
		}
		for _, other := range reasons(found) {
			if other != reason && !slices.Contains(together[reason], other) {
				t.Errorf("%s: %s was found too", reason, other)
			}
		}
	}
}

func numbers(name metrics.Name, n float64) trial {
	return func(v *inspect.View, _ *inspect.Settings) {
		sample := counted(map[metrics.Name]float64{name: n})
		v.Seen[1].Now = &sample
	}
}

func times(name metrics.Name, seconds float64, heartbeat, election time.Duration) trial {
	return func(v *inspect.View, s *inspect.Settings) {
		sample := took(counted(nil), name, seconds)
		v.Seen[1].Now = &sample
		s.Heartbeat, s.Election = heartbeat, election
	}
}

func member(change func(*inspect.Seen)) trial {
	return func(v *inspect.View, _ *inspect.Settings) { change(&v.Seen[1]) }
}

func TestEveryFindingIsFoundAndNothingElse(t *testing.T) {
	tried := map[inspect.Reason]bool{}
	tryMembers(t, tried)
	tryLoad(t, tried)
	tryTimes(t, tried)
	for _, kind := range inspect.Kinds() {
		if !tried[kind.Reason] {
			t.Errorf("%s was not tried", kind.Reason)
		}
	}
	if len(tried) != len(inspect.Kinds()) {
		t.Errorf("%d reasons were tried, there are %d", len(tried), len(inspect.Kinds()))
	}
}

func tryMembers(t *testing.T, tried map[inspect.Reason]bool) {
	t.Helper()
	f := tries(t, tried)
	f("", "", func(*inspect.View, *inspect.Settings) {})
	f(inspect.NoSpace, "100 MiB of 2048 MiB", func(v *inspect.View, _ *inspect.Settings) { v.Alarms = []inspect.Alarm{{Member: 2, NoSpace: true}} })
	f(inspect.NoSpace, "it knows of", member(func(s *inspect.Seen) { s.Complaints = []string{"alarm:NOSPACE"} }))
	f(inspect.Corrupt, "CORRUPT is raised", func(v *inspect.View, _ *inspect.Settings) { v.Alarms = []inspect.Alarm{{Member: 2, Corrupt: true}} })
	f(inspect.Corrupt, "it knows of", member(func(s *inspect.Seen) { s.Complaints = []string{"alarm:CORRUPT"} }))
	f(inspect.QuorumLost, "1 of 3 voters", func(v *inspect.View, _ *inspect.Settings) { v.Seen[1].Error, v.Seen[2].Error = "gone", "gone" })
	f(inspect.QuorumAtRisk, "2 of 3 voters", member(func(s *inspect.Seen) { s.Error = "gone" }))
	f(inspect.MemberUnreachable, "gone", member(func(s *inspect.Seen) { s.Error = "gone" }))
	f(inspect.NoLeader, "no leader", member(func(s *inspect.Seen) { s.LeaderID = 0 }))
	f(inspect.SeveralClusters, "2 clusters", member(func(s *inspect.Seen) { s.Cluster = 8 }))
	f(inspect.MemberNotStarted, "without a client URL", func(v *inspect.View, _ *inspect.Settings) { v.Listed[1].Clients = 0 })
	f(inspect.MemberBehind, "5000 raft entries", member(func(s *inspect.Seen) { s.Lag = 5000 }))
	f(inspect.VotersEven, "4 voters", func(v *inspect.View, _ *inspect.Settings) {
		v.Listed = append(v.Listed, inspect.Listed{ID: 4, Name: "etcd-3", Clients: 1})
	})
	f(inspect.SingleVoter, "1 voter", func(v *inspect.View, _ *inspect.Settings) { v.Listed, v.Seen = v.Listed[:1], v.Seen[:1] })
	f(inspect.LearnerLingers, "24h", func(v *inspect.View, _ *inspect.Settings) {
		v.Listed = append(v.Listed, inspect.Listed{ID: 4, Clients: 1, Learner: true})
		learner := v.Seen[1]
		learner.ID, learner.Learner = 4, true
		v.Seen = append(v.Seen, learner)
	})
}

func tryLoad(t *testing.T, tried map[inspect.Reason]bool) {
	t.Helper()
	f := tries(t, tried)
	f("", "", numbers(metrics.LeaderChanges, 20)) // in a day
	f(inspect.SpaceLow, "85 % of its quota", member(func(s *inspect.Seen) { s.DBBytes, s.InUseBytes = 1741<<20, 1700<<20 }))
	f(inspect.FragmentationHigh, "60 %", member(func(s *inspect.Seen) { s.DBBytes, s.InUseBytes = 1000<<20, 400<<20 }))
	f(inspect.FragmentationHigh, "10 MiB of 16 MiB", func(v *inspect.View, _ *inspect.Settings) {
		for i := range v.Seen {
			v.Seen[i].QuotaBytes, v.Seen[i].DBBytes, v.Seen[i].InUseBytes = 32<<20, 16<<20, 6<<20
		}
	})
	f(inspect.QuotaDiffers, "1024 MiB to 2048 MiB", member(func(s *inspect.Seen) { s.QuotaBytes = 1 << 30 }))
	f(inspect.NotCompacted, "150000 revisions", numbers(metrics.CompactRevision, -1))
	f(inspect.ClockSkew, "by 901ms at least", member(func(s *inspect.Seen) { s.Clock = &inspect.Offset{Low: time.Second, High: 2 * time.Second} }))
	f(inspect.VersionsDiffer, "3.6.5, 3.7.3", member(func(s *inspect.Seen) { s.Version = "3.6.5" }))
	f(inspect.VersionsTooFarApart, "3.5.1, 3.7.3", member(func(s *inspect.Seen) { s.Version = "3.5.1" }))
	f(inspect.SlowAppliesMany, "2000 of 100000", numbers(metrics.SlowApplies, 2000))
	f(inspect.LeaderUnstable, "100 changes", numbers(metrics.LeaderChanges, 100))
	f(inspect.ProposalsFailing, "200 proposals failed", numbers(metrics.ProposalsFailed, 200))
	f(inspect.ProposalsPending, "500 proposals", numbers(metrics.ProposalsPending, 500))
	f(inspect.CertificateExpires, "in 10 days", member(func(s *inspect.Seen) { s.Certificate.Until = now.Add(10 * 24 * time.Hour) }))
	f(inspect.CertificateExpires, "in 2h0m0s", func(v *inspect.View, _ *inspect.Settings) {
		v.Client = []inspect.Certificate{{Whose: "the client", Until: now.Add(2 * time.Hour)}}
	})
	f(inspect.CertificateExpired, "ended at 2030-01-02T02:04:05Z", member(func(s *inspect.Seen) { s.Certificate.Until = now.Add(-time.Hour) }))
	f(inspect.AuthOff, "auth is off", func(v *inspect.View, _ *inspect.Settings) { off := false; v.Auth = &off })
	f(inspect.KeysMany, "3000000 keys", numbers(metrics.Keys, 3e6))
	f(inspect.LeasesMany, "60000 leases", numbers(metrics.LeasesGranted, 60_000))
	f(inspect.WatchersMany, "60000 watchers", numbers(metrics.Watchers, 60_000))
	f(inspect.WatchersSlow, "200 watchers", numbers(metrics.SlowWatchers, 200))
	f(inspect.MetricsUnreadable, "could not be read", member(func(s *inspect.Seen) { s.Now = nil }))
}

func tryTimes(t *testing.T, tried map[inspect.Reason]bool) {
	t.Helper()
	f := tries(t, tried)
	const ms = time.Millisecond
	f("", "", times(metrics.PeerRoundTrip, 0.04, 100*ms, time.Second))
	f("", "", times(metrics.PeerRoundTrip, 0.0001, 0, 0))
	f(inspect.HeartbeatTight, "heartbeat is 10ms", times(metrics.PeerRoundTrip, 0.02, 10*ms, time.Second))
	f(inspect.ElectionTight, "are 396ms", times(metrics.PeerRoundTrip, 0.04, 50*ms, 300*ms))
	f(inspect.ElectionTight, "five heartbeats are 2s", times(metrics.PeerRoundTrip, 0.001, 400*ms, time.Second))
	f(inspect.ElectionTooLong, "timeout is 10s, a round trip", times(metrics.PeerRoundTrip, 0.001, 100*ms, 10*time.Second))
	f(inspect.ElectionTooLong, "timeout is 10s", times(metrics.WALSync, 0.001, 100*ms, 10*time.Second))
	f(inspect.RoundTripHigh, "up to 198ms", times(metrics.PeerRoundTrip, 0.2, 200*ms, 3*time.Second))
	f(inspect.DiskSlow, "1000 syncs of the log take up to 49.5ms", times(metrics.WALSync, 0.05, 100*ms, time.Second))
	f(inspect.DiskSlow, "commits of the database", times(metrics.BackendCommit, 0.05, 100*ms, time.Second))
}

// together are the findings that come with another one by their nature.
var together = map[inspect.Reason][]inspect.Reason{
	inspect.QuorumLost:        {inspect.MemberUnreachable},
	inspect.QuorumAtRisk:      {inspect.MemberUnreachable},
	inspect.MemberUnreachable: {inspect.QuorumAtRisk},
	inspect.VotersEven:        {inspect.QuorumAtRisk},
}

func TestFindingsComeByUrgencyAndReportsStaySmall(t *testing.T) {
	v := fine()
	off := false
	v.Auth, v.Alarms = &off, []inspect.Alarm{{Member: 2, NoSpace: true}}
	v.Seen[0].Lag = 5000
	for range 200 {
		v.Listed = append(v.Listed, inspect.Listed{ID: 1 << 60, Name: strings.Repeat("<", 1000)})
		v.Unknown = append(v.Unknown, strings.Repeat("x", 1000))
	}
	found := inspect.Judge(v, inspect.Settings{}, inspect.Limits{})
	r, err := inspect.NewReport(v, found)
	if err != nil || r.Worst != inspect.Critical || r.Left == 0 || len(r.Members) != 3 {
		t.Errorf("%s, %d left out, %v", r.Worst, r.Left, err)
	}
	small(t, r)
	if last := found[len(found)-1]; last.Severity != inspect.Info {
		t.Errorf("%+v is last", last)
	}
	if len(v.Unknown) != 200 {
		t.Error("the view was changed")
	}
}

// TestThePageOfFindingsIsWhatTheCodeSays holds docs/ETCD_FINDINGS.md to Kinds.
func TestThePageOfFindingsIsWhatTheCodeSays(t *testing.T) {
	text, err := os.ReadFile("../../../docs/ETCD_FINDINGS.md")
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, kind := range inspect.Kinds() {
		want = append(want, fmt.Sprintf("| `%s` | %s | %s | %s |", kind.Reason, kind.Severity, kind.Means, kind.Plan))
		if !regexp.MustCompile(`^([A-Z][a-z0-9]*)+$`).MatchString(string(kind.Reason)) {
			t.Errorf("%s is no CamelCase", kind.Reason)
		}
	}
	got := regexp.MustCompile("(?m)^\\| `.*$").FindAllString(string(text), -1)
	if !slices.Equal(got, want) {
		t.Errorf("the table of the page must be:\n%s", strings.Join(want, "\n"))
	}
}
