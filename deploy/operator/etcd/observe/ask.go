package observe

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// ask asks all members at once, and then a majority for its list.
func (c *cluster) ask(ctx context.Context) Report {
	ctx, cancel := context.WithTimeout(ctx, 2*askFor)
	defer cancel()
	c.mu.Lock()
	names := make([]string, 0, len(c.target.Endpoints))
	for name := range c.target.Endpoints {
		names = append(names, name)
	}
	id := c.target.ClusterID
	c.mu.Unlock()
	slices.Sort(names)
	report := Report{began: time.Now(), Members: map[string]Member{}, Alarms: map[uint64][]string{}}
	var asked sync.WaitGroup
	var mu sync.Mutex
	for _, name := range names {
		asked.Go(func() {
			m := c.askMember(ctx, name)
			mu.Lock()
			defer mu.Unlock()
			report.Members[name] = m
		})
	}
	asked.Wait()
	for _, name := range names {
		m := report.Members[name]
		ours := id == "" || id == strconv.FormatUint(m.ClusterID, 16)
		if m.Err == nil && ours && m.Leader != 0 && !m.Learner && c.askList(ctx, name, &report) {
			break
		}
	}
	report.At = time.Now()
	return report
}

// askMember asks one member for its state.
func (c *cluster) askMember(ctx context.Context, name string) Member {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	client, url, err := c.clientAt(name)
	if err != nil {
		return Member{URL: url, Err: err}
	}
	// By the connection that there is: Maintenance.Status would make one of its own.
	s, err := clientv3.RetryMaintenanceClient(client, client.ActiveConnection()).Status(ctx, &statusRequest{})
	if err != nil {
		return Member{URL: url, Err: plain(err)}
	}
	c.mu.Lock()
	issuer := c.issuers[name]
	c.mu.Unlock()
	return Member{
		URL: url, Issuer: issuer, ID: s.GetHeader().GetMemberId(), ClusterID: s.GetHeader().GetClusterId(), Leader: s.Leader,
		Version: cut(s.Version, mostText), StorageVersion: cut(s.StorageVersion, mostText),
		DBBytes: s.DbSize, InUseBytes: s.DbSizeInUse, Index: s.RaftIndex, Applied: s.RaftAppliedIndex, Learner: s.IsLearner, Errors: complaints(s.Errors),
	}
}

func cut(text string, most int) string {
	return strings.Clone(strings.ToValidUTF8(text[:min(len(text), most)], ""))
}

func complaints(all []string) []string {
	few := make([]string, 0, min(len(all), mostComplaints))
	for _, one := range all[:min(len(all), mostComplaints)] {
		few = append(few, cut(one, mostComplaint))
	}
	return few
}

// askList asks a majority, through one member, for the list of members and their alarms.
func (c *cluster) askList(ctx context.Context, name string, into *Report) bool {
	ctx, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	client, err := c.client(name)
	if err != nil {
		return false
	}
	members, err := client.MemberList(ctx)
	if err != nil || len(members.Members) > mostMembers {
		return false
	}
	into.Known, into.List = true, nil
	for _, m := range members.Members {
		into.List = append(into.List, Listed{ID: m.ID, Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.IsLearner})
	}
	sortList(into.List)
	if alarms, err := client.AlarmList(ctx); err == nil {
		for _, a := range alarms.Alarms {
			if raised := into.Alarms[a.MemberID]; len(raised) < mostAlarms && len(into.Alarms) <= mostMembers {
				into.Alarms[a.MemberID] = append(raised, a.Alarm.String())
			}
		}
	}
	return true
}
