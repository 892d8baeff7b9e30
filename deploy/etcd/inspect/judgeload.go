package inspect

import (
	"time"

	"gridrouter.io/deploy/etcd/inspect/metrics"
)

// Fewer observations than these say nothing of 99 of a hundred.
const fewest = 100

// judgeTimes holds heartbeat and election to each other and to the round trips between members.
func (j *judge) judgeTimes() {
	trip, known := j.roundTrip()
	if known && trip > j.limits.RoundTrip {
		j.find(RoundTripHigh, "", "99 %% of the round trips between members take up to %s", short(trip))
	}
	heartbeat, election := j.settings.Heartbeat, j.settings.Election
	if heartbeat > 0 && known && heartbeat < trip {
		j.find(HeartbeatTight, "", "the heartbeat is %s, a round trip between members up to %s", heartbeat, short(trip))
	}
	if election <= 0 {
		return
	}
	switch {
	case known && election < 10*trip:
		j.find(ElectionTight, "", "the election timeout is %s, ten round trips between members are %s", election, short(10*trip))
	case heartbeat > 0 && election < 5*heartbeat:
		j.find(ElectionTight, "", "the election timeout is %s, five heartbeats are %s", election, 5*heartbeat)
	case election > j.limits.LongElection && (!known || election > 50*trip):
		j.find(ElectionTooLong, "", "the election timeout is %s%s", election, comparedWith(trip, known))
	}
}

func comparedWith(trip time.Duration, known bool) string {
	if !known {
		return ""
	}
	return ", a round trip between members takes up to " + short(trip)
}

// roundTrip is the highest 99th percentile of round trips between members. A member notes one of each peer in
// half a minute, so a few of them must do.
func (j *judge) roundTrip() (time.Duration, bool) {
	longest, known := time.Duration(0), false
	for _, s := range j.Seen {
		if trip, _, ok := s.between(metrics.PeerRoundTrip).Quantile(0.99); ok {
			longest, known = max(longest, trip), true
		}
	}
	return longest, known
}

// between is a histogram of the window.
func (s Seen) between(name metrics.Name) metrics.Buckets {
	if s.Now == nil {
		return nil
	}
	if s.Before == nil {
		return metrics.Between(metrics.Sample{}, *s.Now, name)
	}
	return metrics.Between(*s.Before, *s.Now, name)
}

// rise is by how much a counter rose in the window.
func (s Seen) rise(name metrics.Name) (float64, bool) {
	if s.Now == nil {
		return 0, false
	}
	if s.Before == nil {
		return metrics.Increase(metrics.Sample{}, *s.Now, name)
	}
	return metrics.Increase(*s.Before, *s.Now, name)
}

// hours is how long the window was; 0: unknown.
func (s Seen) hours() float64 {
	if s.Before != nil && s.Now != nil {
		return s.Now.At.Sub(s.Before.At).Hours()
	}
	if s.Now == nil {
		return 0
	}
	age, _ := s.Now.Age()
	return age.Hours()
}

// judgeMember judges a member that answers by itself.
func (j *judge) judgeMember(s Seen) {
	if s.Lag >= j.limits.Lag {
		j.find(MemberBehind, j.who(s), "it has applied %d raft entries less than are committed", s.Lag)
	}
	if s.Now == nil {
		j.find(MetricsUnreadable, j.who(s), "its metrics could not be read")
		return
	}
	j.judgeDisk(s, metrics.WALSync, "syncs of the log", j.limits.WALSync)
	j.judgeDisk(s, metrics.BackendCommit, "commits of the database", j.limits.Commit)
	j.judgeProposals(s)
	j.judgeStore(s)
	if changes, ok := s.rise(metrics.LeaderChanges); ok && s.hours() > 0 && changes > j.limits.LeaderChanges {
		// Of less than an hour all changes count as of one: the first hour has the first election.
		if rate := changes / max(1, s.hours()); rate > j.limits.LeaderChanges {
			j.find(LeaderUnstable, j.who(s), "it saw %.0f changes of the leader in %.1f hours", changes, s.hours())
		}
	}
	if age, ok := s.Now.Age(); ok && s.Learner && age > j.limits.LearnerFor {
		j.find(LearnerLingers, j.who(s), "it is a learner, and its process runs for %s", age.Round(time.Minute))
	}
}

func (j *judge) judgeDisk(s Seen, name metrics.Name, what string, limit time.Duration) {
	seen := s.between(name)
	p99, open, ok := seen.Quantile(0.99)
	if !ok || seen.Total() < fewest || p99 <= limit {
		return
	}
	upTo := "up to"
	if open {
		upTo = "over"
	}
	j.find(DiskSlow, j.who(s), "99 %% of %.0f %s take %s %s, more than %s", seen.Total(), what, upTo, short(p99), limit)
}

func (j *judge) judgeProposals(s Seen) {
	applied, _ := s.rise(metrics.ProposalsApplied)
	if failed, ok := s.rise(metrics.ProposalsFailed); ok && failed >= 10 && failed > applied/1000 {
		j.find(ProposalsFailing, j.who(s), "%.0f proposals failed, %.0f were applied", failed, applied)
	}
	if slow, ok := s.rise(metrics.SlowApplies); ok && slow >= 10 && slow > applied/100 {
		j.find(SlowAppliesMany, j.who(s), "%.0f of %.0f entries took over 100 ms to apply", slow, applied)
	}
	if pending, ok := s.Now.Number(metrics.ProposalsPending); ok && pending > j.limits.Pending {
		j.find(ProposalsPending, j.who(s), "%.0f proposals wait", pending)
	}
}

func (j *judge) judgeStore(s Seen) {
	if current, ok := s.Now.Number(metrics.CurrentRevision); ok {
		compacted, _ := s.Now.Number(metrics.CompactRevision)
		if since := current - max(0, compacted); since > float64(j.limits.Revisions) {
			j.find(NotCompacted, j.who(s), "%.0f revisions since the last compaction (at %.0f)", since, max(0, compacted))
		}
	}
	if keys, ok := s.Now.Number(metrics.Keys); ok && keys > j.limits.Keys {
		j.find(KeysMany, j.who(s), "there are %.0f keys", keys)
	}
	granted, ok := s.Now.Number(metrics.LeasesGranted)
	revoked, _ := s.Now.Number(metrics.LeasesRevoked)
	if leases := granted - revoked; ok && leases > j.limits.Leases { // of those before its start it does not tell
		j.find(LeasesMany, j.who(s), "there are %.0f leases at least", leases)
	}
	if watchers, ok := s.Now.Number(metrics.Watchers); ok && watchers > j.limits.Watchers {
		j.find(WatchersMany, j.who(s), "it has %.0f watchers", watchers)
	}
	if slow, ok := s.Now.Number(metrics.SlowWatchers); ok && slow > j.limits.SlowWatchers {
		j.find(WatchersSlow, j.who(s), "%.0f watchers do not keep up", slow)
	}
}

// short rounds a duration for people.
func short(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Microsecond).String()
}
