package inspect

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// judge collects findings.
type judge struct {
	View
	settings Settings
	limits   Limits
	found    []Finding
}

// Judge makes findings of what was seen, the most urgent first. It is pure: the same view, the same findings.
// A zero field of limits is that of [DefaultLimits].
func Judge(v View, settings Settings, limits Limits) []Finding {
	j := &judge{View: v, settings: settings, limits: limits.withDefaults()}
	j.judgeQuorum()
	j.judgeList()
	j.judgeAlarms()
	j.judgeVersions()
	j.judgeSpace()
	j.judgeTimes()
	j.judgeClocks()
	j.judgeCertificates()
	for _, s := range v.Seen {
		if s.Answers() {
			j.judgeMember(s)
		}
	}
	if v.Auth != nil && !*v.Auth {
		j.find(AuthOff, "", "auth is off")
	}
	slices.SortStableFunc(j.found, func(a, b Finding) int { return rank(a.Severity) - rank(b.Severity) })
	return j.found
}

// find adds a finding.
func (j *judge) find(reason Reason, member, message string, figures ...any) {
	kind := kindOf(reason)
	j.found = append(j.found, Finding{
		Reason: reason, Severity: kind.Severity, Member: brief.Text(member),
		Message: brief.Text(fmt.Sprintf(message, figures...)), Plan: kind.Plan,
	})
}

func (j *judge) judgeQuorum() {
	clusters := map[ID]bool{}
	for _, s := range j.Seen {
		switch {
		case !s.Answers():
			j.find(MemberUnreachable, j.who(s), "it does not answer: %s", s.Error)
		case s.LeaderID == 0:
			j.find(NoLeader, j.who(s), "it follows no leader; it knows raft entries up to %d", s.RaftIndex)
		}
		if s.Answers() {
			clusters[s.Cluster] = true
		}
	}
	if len(clusters) > 1 {
		j.find(SeveralClusters, "", "the endpoints are of %d clusters", len(clusters))
		return
	}
	all, answering := j.voters()
	switch quorum := all/2 + 1; {
	case answering < quorum:
		j.find(QuorumLost, "", "%d of %d voters answer, a write needs %d", answering, all, quorum)
	case answering == quorum && answering < all:
		j.find(QuorumAtRisk, "", "%d of %d voters answer, which is just what a write needs", answering, all)
	}
}

func (j *judge) judgeList() {
	for _, m := range j.Listed {
		if m.Clients == 0 {
			j.find(MemberNotStarted, j.nameOf(m.ID), "member %s is in the list without a client URL", m.ID)
		}
	}
	if j.Listed == nil {
		return
	}
	switch all, _ := j.voters(); {
	case all == 1:
		j.find(SingleVoter, "", "there is 1 voter")
	case all%2 == 0:
		j.find(VotersEven, "", "there are %d voters: as many may fail as of %d", all, all-1)
	}
}

func (j *judge) judgeAlarms() {
	for _, a := range j.Alarms {
		switch name := j.nameOf(a.Member); {
		case a.NoSpace:
			j.find(NoSpace, name, "NOSPACE is raised: the cluster takes no writes%s", j.spaceOf(a.Member))
		case a.Corrupt:
			j.find(Corrupt, name, "CORRUPT is raised: the data of this member differ from the others'")
		}
	}
	if len(j.Alarms) > 0 {
		return
	}
	for _, s := range j.Seen { // the list of alarms needs a quorum; what a member knows does not
		for _, complaint := range s.Complaints {
			switch {
			case strings.Contains(complaint, "NOSPACE"):
				j.find(NoSpace, j.who(s), "it knows of NOSPACE%s", j.spaceOf(s.ID))
			case strings.Contains(complaint, "CORRUPT"):
				j.find(Corrupt, j.who(s), "it knows of CORRUPT")
			}
		}
	}
}

func (j *judge) spaceOf(id ID) string {
	for _, s := range j.Seen {
		if s.ID == id && s.Answers() && s.QuotaBytes > 0 {
			return fmt.Sprintf("; its database has %s of %s, %s in use", size(s.DBBytes), size(s.QuotaBytes), size(s.InUseBytes))
		}
	}
	return ""
}

func (j *judge) judgeVersions() {
	versions := map[string]bool{}
	lowest, highest := 1<<30, -1
	for _, s := range j.Seen {
		if !s.Answers() {
			continue
		}
		versions[s.Version] = true
		if minor, ok := minorOf(s.Version); ok {
			lowest, highest = min(lowest, minor), max(highest, minor)
		}
	}
	if len(versions) < 2 {
		return
	}
	names := slices.Sorted(maps.Keys(versions))
	if highest-lowest > 1 {
		j.find(VersionsTooFarApart, "", "members have %s", strings.Join(names, ", "))
		return
	}
	j.find(VersionsDiffer, "", "members have %s", strings.Join(names, ", "))
}

// minorOf returns 3007 of 3.7.3, so that majors are far apart.
func minorOf(version string) (int, bool) {
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return 0, false
	}
	major, err := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(parts[1])
	ok := err == nil && err2 == nil && major >= 0 && major < 1000 && minor >= 0 && minor < 1000
	return major*1000 + minor, ok
}

func (j *judge) judgeSpace() {
	quotas := map[int64]bool{}
	for _, s := range j.Seen {
		if !s.Answers() {
			continue
		}
		quota := s.QuotaBytes
		if quota > 0 {
			quotas[quota] = true
			if s.DBBytes >= quota/100*j.limits.SpacePercent {
				j.find(SpaceLow, j.who(s), "the database has %s, %d %% of its quota of %s; %s are in use",
					size(s.DBBytes), s.DBBytes*100/quota, size(quota), size(s.InUseBytes))
			}
		}
		free := s.FreeBytes()
		much := free >= j.limits.FreeBytes || quota > 0 && free >= quota/4
		if s.DBBytes > 0 && much && free >= s.DBBytes/100*j.limits.FreePercent {
			j.find(FragmentationHigh, j.who(s), "%s of %s are free, %d %%", size(free), size(s.DBBytes), free*100/s.DBBytes)
		}
	}
	if len(quotas) > 1 {
		all := slices.Collect(maps.Keys(quotas))
		j.find(QuotaDiffers, "", "quotas reach from %s to %s", size(slices.Min(all)), size(slices.Max(all)))
	}
}

func (j *judge) judgeClocks() {
	for i, a := range j.Seen {
		for _, b := range j.Seen[i+1:] {
			if a.Clock == nil || b.Clock == nil {
				continue
			}
			// What is certain: a is ahead of b by this at least, or b of a.
			atLeast := max(a.Clock.Low-b.Clock.High, b.Clock.Low-a.Clock.High)
			if atLeast > j.limits.Skew {
				j.find(ClockSkew, j.who(a), "its clock differs from that of %s by %s at least", j.who(b), atLeast.Round(time.Millisecond))
			}
		}
	}
}

func (j *judge) judgeCertificates() {
	all := slices.Clone(j.Client)
	for _, s := range j.Seen {
		if s.Certificate != nil {
			all = append(all, *s.Certificate)
		}
	}
	for _, one := range all {
		left := one.Until.Sub(j.At)
		until := one.Until.UTC().Format(time.RFC3339)
		switch {
		case left <= 0:
			j.find(CertificateExpired, one.Whose, "the certificate of %q ended at %s", brief.Text(one.Subject), until)
		case left < j.limits.CertificateFor:
			j.find(CertificateExpires, one.Whose, "the certificate of %q ends at %s, in %s", brief.Text(one.Subject), until, days(left))
		}
	}
}

func days(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%d days", int(d/(24*time.Hour)))
	}
	return d.Round(time.Minute).String()
}

// size is a number of bytes for people.
func size(bytes int64) string {
	const mebi = 1 << 20
	switch {
	case bytes >= 10<<30:
		return fmt.Sprintf("%d GiB", bytes>>30)
	case bytes >= 10*mebi:
		return fmt.Sprintf("%d MiB", bytes/mebi)
	case bytes >= 10<<10:
		return fmt.Sprintf("%d KiB", bytes>>10)
	}
	return fmt.Sprintf("%d bytes", bytes)
}
