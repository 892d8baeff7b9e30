package inspect

// Severity says how soon somebody must act.
type Severity string

// The severities, by rising urgency.
const (
	// Info needs nobody now.
	Info Severity = "Info"
	// Warning becomes a failure if nobody acts within days.
	Warning Severity = "Warning"
	// Critical is a failure, or is one as soon as one more thing fails.
	Critical Severity = "Critical"
)

// Reason names a kind of finding. Reasons are stable: people and alerts go by them.
type Reason string

// The reasons. What each means, and what to do, is told by [Kinds] and docs/ETCD_FINDINGS.md.
const (
	NoSpace             Reason = "NoSpace"
	Corrupt             Reason = "Corrupt"
	QuorumLost          Reason = "QuorumLost"
	QuorumAtRisk        Reason = "QuorumAtRisk"
	NoLeader            Reason = "NoLeader"
	MemberUnreachable   Reason = "MemberUnreachable"
	MemberNotStarted    Reason = "MemberNotStarted"
	MemberBehind        Reason = "MemberBehind"
	SeveralClusters     Reason = "SeveralClusters"
	VotersEven          Reason = "VotersEven"
	SingleVoter         Reason = "SingleVoter"
	LearnerLingers      Reason = "LearnerLingers"
	SpaceLow            Reason = "SpaceLow"
	FragmentationHigh   Reason = "FragmentationHigh"
	QuotaDiffers        Reason = "QuotaDiffers"
	NotCompacted        Reason = "NotCompacted"
	HeartbeatTight      Reason = "HeartbeatTight"
	ElectionTight       Reason = "ElectionTight"
	ElectionTooLong     Reason = "ElectionTooLong"
	RoundTripHigh       Reason = "RoundTripHigh"
	ClockSkew           Reason = "ClockSkew"
	VersionsDiffer      Reason = "VersionsDiffer"
	VersionsTooFarApart Reason = "VersionsTooFarApart"
	DiskSlow            Reason = "DiskSlow"
	SlowAppliesMany     Reason = "SlowAppliesMany"
	LeaderUnstable      Reason = "LeaderUnstable"
	ProposalsFailing    Reason = "ProposalsFailing"
	ProposalsPending    Reason = "ProposalsPending"
	CertificateExpires  Reason = "CertificateExpires"
	CertificateExpired  Reason = "CertificateExpired"
	AuthOff             Reason = "AuthOff"
	KeysMany            Reason = "KeysMany"
	LeasesMany          Reason = "LeasesMany"
	WatchersMany        Reason = "WatchersMany"
	WatchersSlow        Reason = "WatchersSlow"
	MetricsUnreadable   Reason = "MetricsUnreadable"
)

// Kind is what is to be known of all findings of one reason.
type Kind struct {
	// Reason names them.
	Reason Reason
	// Severity is theirs.
	Severity Severity
	// Means says when there is one; limits are those of [DefaultLimits].
	Means string
	// Plan says what to do.
	Plan string
}

// Kinds lists all kinds of findings, the most urgent first.
func Kinds() []Kind { return append(append(criticals(), warnings()...), infos()...) }

func kindOf(reason Reason) Kind {
	for _, kind := range Kinds() {
		if kind.Reason == reason {
			return kind
		}
	}
	return Kind{Reason: reason, Severity: Warning}
}

func criticals() []Kind {
	return []Kind{
		{QuorumLost, Critical, "fewer voters answer than a write needs", "Bring back members that are down, with their data. If their data are gone, recover the cluster from the survivor with the highest raft index, or from a backup. Remove no member before that."},
		{Corrupt, Critical, "the alarm CORRUPT is raised", "Run the consistency check to learn which member differs. Replace that member: remove it, wipe its data, add it as a learner. Disarm the alarm when all agree."},
		{NoSpace, Critical, "the alarm NOSPACE is raised: writes are refused", "Relieve it: compact, defragment one member at a time, disarm. If what is in use fills the quota, prune keys or raise the quota first."},
		{NoLeader, Critical, "a member that answers follows no leader", "Look whether the members reach each other at their peer URLs, and at the disks' latency. It passes by itself if it was an election."},
		{SeveralClusters, Critical, "the endpoints are of different clusters", "Do not write. Find out which cluster is the right one, by its data. Stop the members of the other one, and correct the endpoints."},
		{QuorumAtRisk, Critical, "one more voter down would end all writes; not said of a single voter", "Bring back or replace the members that are down before anything else. Postpone upgrades, defragmentation and restarts."},
		{VersionsTooFarApart, Critical, "members are more than one minor version apart", "Bring the older members to the next minor version, one at a time, until all are the same. etcd supports one minor version apart."},
		{CertificateExpired, Critical, "a certificate has ended", "Issue a new one and put it in place. Members read new certificates for new connections; a CA that ended must be exchanged on all members and clients."},
	}
}

func warnings() []Kind {
	return append(warningsOfMembers(), warningsOfLoad()...)
}

func warningsOfMembers() []Kind {
	return []Kind{
		{MemberUnreachable, Warning, "a member does not answer within 5 s", "Look at its process, its log, and the network to it. If it stays away and a quorum answers, replace it."},
		{MemberNotStarted, Warning, "a member of the list has no client URL: it never started", "Start it with initial-cluster-state existing, or remove it from the list: it counts for the quorum while it is in it."},
		{MemberBehind, Warning, "a member has 1000 raft entries less applied than are committed, at two looks", "Look at its disk, CPU and network. If it does not catch up, replace it."},
		{VotersEven, Warning, "the number of voters is even: one more than needed for what may fail", "Add a voter, or remove one."},
		{LearnerLingers, Warning, "a learner's process runs for over an hour and it is still no voter", "Promote it if it has caught up and is no standby; remove it if nobody needs it."},
		{VersionsDiffer, Warning, "members have different versions", "Finish the upgrade or go back. It is meant to last for the time of an upgrade only."},
		{QuotaDiffers, Warning, "members have different quotas: the smallest one holds for all", "Give all members the same quota-backend-bytes, and restart them one at a time."},
		{CertificateExpires, Warning, "a certificate ends within 30 days", "Renew it. Members read new certificates for new connections without a restart."},
		{ClockSkew, Warning, "clocks of two members differ by more than 500 ms for sure", "Have all hosts follow the same time source, and look whether it runs. Certificates, tokens and logs go by the clock."},
		{RoundTripHigh, Warning, "99 % of round trips between members take over 50 ms", "Look at the network between the members. If they are meant to be far apart, set heartbeat and election to it."},
		{HeartbeatTight, Warning, "the heartbeat is shorter than 99 % of the round trips between members", "Set heartbeat-interval to about the round trip, and election-timeout to ten times that, the same on all members."},
		{ElectionTight, Warning, "the election timeout is less than ten round trips, or than five heartbeats", "Set election-timeout to at least ten round trips between members, the same on all members."},
		{ElectionTooLong, Warning, "the election timeout is over 5 s, and over fifty round trips", "Shorten election-timeout: writes stand still that long when the leader is lost."},
	}
}

func warningsOfLoad() []Kind {
	return []Kind{
		{SpaceLow, Warning, "80 % of the quota is taken by a member's database", "If much of it is free, defragment. Else compact, prune what nobody needs (see usage by prefix), or raise the quota, up to 8 GiB."},
		{FragmentationHigh, Warning, "half of a database file is free, and that is 200 MiB or a quarter of the quota", "Defragment one member at a time, followers first."},
		{NotCompacted, Warning, "100,000 revisions since the last compaction", "Set auto-compaction-mode and auto-compaction-retention, and compact once by hand."},
		{DiskSlow, Warning, "99 % of syncs of the log take over 10 ms, or of commits over 25 ms", "Give etcd a faster disk, or one of its own. Look who else writes to it."},
		{SlowAppliesMany, Warning, "one in a hundred entries took over 100 ms to apply", "Look for large transactions and ranges, at the disk, and at the CPU."},
		{LeaderUnstable, Warning, "over three changes of the leader in an hour", "Look at the disks' latency, the network between members and their CPU; then at heartbeat and election."},
		{ProposalsFailing, Warning, "one in a thousand proposals failed, and at least ten", "Look at the leader, the quorum and the log: proposals fail while there is no leader, or where it is overloaded."},
		{ProposalsPending, Warning, "over 100 proposals wait", "Writers are faster than the cluster. Look at the disks, and have clients write less or in batches."},
		{WatchersSlow, Warning, "over a hundred watchers do not keep up", "Look for clients that read their watches slowly, and for the rate of changes under their prefixes."},
	}
}

func infos() []Kind {
	return []Kind{
		{SingleVoter, Info, "there is one voter: its loss is the loss of the cluster", "Fine for trials. Else grow to three members, and see that backups run."},
		{AuthOff, Info, "auth is off: who reaches a client URL may do anything", "Turn auth on with a root user, give each client a user of its own, and close the network to all others."},
		{KeysMany, Info, "over two million keys", "Look at usage by prefix. Starts, snapshots and defragmentation take longer with each key."},
		{LeasesMany, Info, "over 50,000 leases", "Have clients share a lease for keys that end together."},
		{WatchersMany, Info, "over 50,000 watchers at a member", "Have clients share watches, or spread them over the members."},
		{MetricsUnreadable, Info, "a member that answers does not show its metrics", "Name the URL of its metrics, and let it be reached from here. What is judged by metrics was not."},
	}
}
