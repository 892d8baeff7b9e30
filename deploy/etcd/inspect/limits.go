package inspect

import "time"

// Limits say from where on something is found.
type Limits struct {
	// SpacePercent of the quota that a database takes is SpaceLow.
	SpacePercent int64
	// FreePercent of a database file that is free is FragmentationHigh, if it is FreeBytes or a quarter of the
	// quota.
	FreePercent, FreeBytes int64
	// Revisions since the last compaction are NotCompacted.
	Revisions int64
	// RoundTrip between members, at 99 %, is RoundTripHigh.
	RoundTrip time.Duration
	// LongElection is ElectionTooLong, if it is over fifty round trips too.
	LongElection time.Duration
	// Skew between two clocks is ClockSkew.
	Skew time.Duration
	// WALSync and Commit are DiskSlow, at 99 %.
	WALSync, Commit time.Duration
	// Lag in raft entries is MemberBehind.
	Lag uint64
	// LeaderChanges in an hour are LeaderUnstable.
	LeaderChanges float64
	// Pending proposals are ProposalsPending.
	Pending float64
	// LearnerFor is how long a learner's process may run until LearnerLingers.
	LearnerFor time.Duration
	// CertificateFor is how long a certificate must last.
	CertificateFor time.Duration
	// Keys, Leases, Watchers and SlowWatchers are too many.
	Keys, Leases, Watchers, SlowWatchers float64
}

// DefaultLimits are those that docs/ETCD_FINDINGS.md tells.
func DefaultLimits() Limits {
	return Limits{
		SpacePercent: 80, FreePercent: 50, FreeBytes: 200 << 20, Revisions: 100_000,
		RoundTrip: 50 * time.Millisecond, LongElection: 5 * time.Second, Skew: 500 * time.Millisecond,
		WALSync: 10 * time.Millisecond, Commit: 25 * time.Millisecond, Lag: 1000, LeaderChanges: 3, Pending: 100,
		LearnerFor: time.Hour, CertificateFor: 30 * 24 * time.Hour,
		Keys: 2e6, Leases: 50_000, Watchers: 50_000, SlowWatchers: 100,
	}
}

// withDefaults fills in what is zero.
func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.SpacePercent, d.SpacePercent)
	fill(&l.FreePercent, d.FreePercent)
	fill(&l.FreeBytes, d.FreeBytes)
	fill(&l.Revisions, d.Revisions)
	fill(&l.RoundTrip, d.RoundTrip)
	fill(&l.LongElection, d.LongElection)
	fill(&l.Skew, d.Skew)
	fill(&l.WALSync, d.WALSync)
	fill(&l.Commit, d.Commit)
	fill(&l.Lag, d.Lag)
	fill(&l.LeaderChanges, d.LeaderChanges)
	fill(&l.Pending, d.Pending)
	fill(&l.LearnerFor, d.LearnerFor)
	fill(&l.CertificateFor, d.CertificateFor)
	fill(&l.Keys, d.Keys)
	fill(&l.Leases, d.Leases)
	fill(&l.Watchers, d.Watchers)
	fill(&l.SlowWatchers, d.SlowWatchers)
	return l
}

func fill[T comparable](field *T, with T) {
	var zero T
	if *field == zero {
		*field = with
	}
}
