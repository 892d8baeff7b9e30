package inspect

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// ID is the number of a member or of a cluster. As text and in JSON it is hexadecimal, as etcd's own tools
// show it.
type ID uint64

// String is the number in hexadecimal.
func (id ID) String() string { return strconv.FormatUint(uint64(id), 16) }

// MarshalJSON writes the number as text, since it does not fit the numbers of many readers.
func (id ID) MarshalJSON() ([]byte, error) { return json.Marshal(id.String()) }

// UnmarshalJSON reads what MarshalJSON writes.
func (id *ID) UnmarshalJSON(text []byte) error {
	var s string
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	n, err := strconv.ParseUint(s, 16, 64)
	if err != nil {
		return fmt.Errorf("an ID is up to 16 hexadecimal digits, not %q", brief.Text(s))
	}
	*id = ID(n)
	return nil
}

// Member is one member, as it tells of itself.
type Member struct {
	// Endpoint is the client URL that was asked.
	Endpoint string `json:"endpoint"`
	// ID is the member's, Cluster that of its cluster, LeaderID that of the leader it follows; 0: none.
	ID       ID `json:"id"`
	Cluster  ID `json:"cluster"`
	LeaderID ID `json:"leader"`
	// Version is that of the server, like 3.7.3.
	Version string `json:"version,omitempty"`
	// Leads and Learner say which part it has; a voter that follows has neither.
	Leads   bool `json:"leads,omitempty"`
	Learner bool `json:"learner,omitempty"`
	// DBBytes is the size of its database file, InUseBytes what of it is in use, QuotaBytes how large it may
	// grow; 0: the member does not tell.
	DBBytes    int64 `json:"dbBytes"`
	InUseBytes int64 `json:"inUseBytes"`
	QuotaBytes int64 `json:"quotaBytes,omitempty"`
	// Revision is the store's; RaftIndex what it knows to be committed, AppliedIndex what it has applied.
	Revision     int64  `json:"revision"`
	RaftIndex    uint64 `json:"raftIndex"`
	AppliedIndex uint64 `json:"appliedIndex"`
	// Complaints are the errors that it tells of itself, such as an alarm.
	Complaints []string `json:"complaints,omitempty"`
	// Error is why nothing is known of it; empty: it answered.
	Error string `json:"error,omitempty"`
}

// Answers says whether the member told of itself.
func (m Member) Answers() bool { return m.Error == "" }

// FreeBytes is what a defragmentation would give back.
func (m Member) FreeBytes() int64 { return max(0, m.DBBytes-m.InUseBytes) }

// Members asks all members of themselves at once, and returns them in the order of the endpoints. It takes at
// most some 10 s. A member that does not answer is no error.
func Members(ctx context.Context, access Access) ([]Member, error) {
	if err := access.Check(); err != nil {
		return nil, err
	}
	out := make([]Member, len(access.Endpoints))
	var all sync.WaitGroup
	for i, endpoint := range access.Endpoints {
		all.Go(func() { out[i] = ask(ctx, access, endpoint) })
	}
	all.Wait()
	return out, ctx.Err()
}

// ask asks one member of itself.
func ask(ctx context.Context, access Access, endpoint string) Member {
	m := Member{Endpoint: endpoint}
	client, err := access.Connect(ctx, endpoint)
	if err != nil {
		m.Error = brief.Error(err)
		return m
	}
	defer func() { _ = client.Close() }()
	return askBy(ctx, client, endpoint)
}

// sane bounds a size that a member tells to a pebibyte.
func sane(bytes int64) int64 { return min(max(0, bytes), 1<<50) }

func askBy(ctx context.Context, client *clientv3.Client, endpoint string) Member {
	m := Member{Endpoint: endpoint}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	status, err := client.Status(ctx, endpoint)
	if err != nil {
		m.Error = brief.Error(err)
		return m
	}
	m.ID, m.Cluster, m.LeaderID = ID(status.Header.MemberId), ID(status.Header.ClusterId), ID(status.Leader)
	m.Version, m.Leads, m.Learner = brief.Text(status.Version), status.Leader == status.Header.MemberId, status.IsLearner
	m.DBBytes, m.InUseBytes, m.QuotaBytes = sane(status.DbSize), sane(status.DbSizeInUse), sane(status.DbSizeQuota)
	m.Revision, m.RaftIndex, m.AppliedIndex = status.Header.Revision, status.RaftIndex, status.RaftAppliedIndex
	for _, complaint := range status.Errors {
		if len(m.Complaints) < 4 { // etcd has three of them
			m.Complaints = append(m.Complaints, brief.Text(complaint))
		}
	}
	return m
}
