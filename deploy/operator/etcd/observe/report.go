// Package observe asks the members of etcd clusters how they are: each one for its state, and a majority for the list
// of members. It asks by itself, again and again, so that nobody waits for a member that does not answer.
package observe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Member is what one member says of itself.
type Member struct {
	// URL is where it was asked.
	URL string
	// Err says why it does not answer; nil: it does, and all else is known.
	Err error
	// ID and ClusterID are its identity, Leader the id of whom it follows; 0: of nobody.
	ID, ClusterID, Leader uint64
	// Version is that of the server, StorageVersion that of its data, such as 3.7.0.
	Version, StorageVersion string
	// DBBytes is the size of its database, of which InUseBytes hold data.
	DBBytes, InUseBytes int64
	// Index is the last entry of its raft log, Applied the last one that its database has.
	Index, Applied uint64
	// Learner says that it has no vote.
	Learner bool
	// Issuer is the [pki.IssuerID] of the certificate that it showed last; empty: it shows none.
	Issuer string
	// Errors are what it complains of.
	Errors []string
}

// Listed is a member in etcd's own list.
type Listed struct {
	ID uint64
	// Name is empty until it has begun.
	Name     string
	PeerURLs []string
	Learner  bool
}

// Report is what was found out about a cluster.
type Report struct {
	// At is when.
	At time.Time
	// began is when the members were asked first.
	began time.Time
	// Members are by name.
	Members map[string]Member
	// List is etcd's list of members, by a read that a majority confirmed. Known says that there was one.
	List  []Listed
	Known bool
	// Alarms are by member, such as NOSPACE.
	Alarms map[uint64][]string
}

// lag is by how many entries a healthy member may be behind: what etcd itself takes for caught up, and some more,
// since members are asked at slightly different times.
const lag = 5000

// Healthy says whether a member answers, follows a leader and has what the others have; else why not.
func (r *Report) Healthy(name string) (bool, string) {
	m, asked := r.Members[name]
	switch {
	case !asked:
		return false, "it was not asked yet"
	case m.Err != nil:
		return false, m.Err.Error()
	case m.Leader == 0:
		return false, "it follows no leader"
	}
	furthest := uint64(0)
	for _, other := range r.Members {
		if other.Err == nil && other.ClusterID == m.ClusterID {
			furthest = max(furthest, other.Applied)
		}
	}
	if m.Applied+lag < furthest {
		return false, fmt.Sprintf("it is %d entries behind", furthest-m.Applied)
	}
	return true, ""
}

// digest is equal for reports that differ only in figures.
func (r *Report) digest() string {
	var b strings.Builder
	fmt.Fprint(&b, r.Known)
	for _, name := range slices.Sorted(maps.Keys(r.Members)) {
		m := r.Members[name]
		healthy, why := r.Healthy(name)
		if m.Err == nil && !healthy {
			why = "behind or alone"
		}
		fmt.Fprint(&b, "|", name, m.URL, m.Issuer, healthy, why, m.ID, m.ClusterID, m.Leader, m.Version, m.StorageVersion, m.Learner, m.Errors)
	}
	for _, l := range r.List {
		fmt.Fprint(&b, "|", l.ID, l.Name, l.PeerURLs, l.Learner)
	}
	for _, id := range slices.Sorted(maps.Keys(r.Alarms)) {
		fmt.Fprint(&b, "|", id, r.Alarms[id])
	}
	return b.String()
}

// figures is equal for reports whose figures are.
func (r *Report) figures() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(r.Members)) {
		m := r.Members[name]
		fmt.Fprint(&b, "|", m.DBBytes, m.InUseBytes, m.Index)
	}
	return b.String()
}

func sortList(list []Listed) {
	slices.SortFunc(list, func(a, b Listed) int { return cmp.Compare(a.ID, b.ID) })
}
