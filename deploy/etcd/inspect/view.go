package inspect

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
	"gridrouter.io/deploy/etcd/inspect/metrics"
)

// View is what was seen of a cluster at one time. [Judge] makes findings of it.
type View struct {
	// At is when it was seen, by our clock.
	At time.Time
	// Seen has what was seen of each endpoint.
	Seen []Seen
	// Listed are the members that the cluster knows; nil: no member told.
	Listed []Listed
	// Alarms are those raised.
	Alarms []Alarm
	// Auth says whether auth is on; nil: unknown.
	Auth *bool
	// Client are the certificates that we show.
	Client []Certificate
	// Unknown says what could not be learned, and why.
	Unknown []string
}

// Seen is what was seen of one endpoint. What could not be learned is zero.
type Seen struct {
	Member
	// Lag is how many raft entries it had less applied than were committed, at two looks.
	Lag uint64
	// Before and Now are its metrics, at the beginning and the end of the window. Before is zero without one.
	Before, Now *metrics.Sample
	// Clock is by how much its clock is ahead of ours.
	Clock *Offset
	// Certificate is the one it shows that ends first.
	Certificate *Certificate
}

// Listed is a member as the cluster knows it.
type Listed struct {
	// ID is its number, Name its name; empty until it started.
	ID   ID
	Name string
	// Clients says how many client URLs it has told.
	Clients int
	// Learner says whether it is one.
	Learner bool
}

// Alarm is one that is raised.
type Alarm struct {
	// Member has raised it.
	Member ID
	// NoSpace and Corrupt say which it is; neither: one that is not known here.
	NoSpace, Corrupt bool
}

// Look looks at a cluster. It takes a second or two and the window, and at most some 20 s and the window. What
// does not answer is told in the view and is no error. With a window, counters are of that time; with 0, since
// the start of each member.
func Look(ctx context.Context, access Access, window time.Duration) (View, error) {
	if err := access.Check(); err != nil {
		return View{}, err
	}
	before, err := firstSamples(ctx, access, window)
	if err != nil {
		return View{}, err
	}
	members, err := Members(ctx, access)
	if err != nil {
		return View{}, err
	}
	v := View{At: time.Now(), Seen: make([]Seen, len(members)), Client: shown(access.TLS)}
	unknown := make([][]string, len(members)+1)
	var all sync.WaitGroup
	for i, m := range members {
		v.Seen[i] = Seen{Member: m, Before: before[m.Endpoint]}
		all.Go(func() { unknown[i] = v.Seen[i].look(ctx, access) })
	}
	all.Go(func() { unknown[len(members)] = v.askCluster(ctx, access, members) })
	all.Wait()
	v.lookForLag(ctx, access)
	v.Unknown = slices.Concat(unknown...)
	return v, ctx.Err()
}

// firstSamples reads the metrics at the beginning of a window, and waits for its end.
func firstSamples(ctx context.Context, access Access, window time.Duration) (map[string]*metrics.Sample, error) {
	out := map[string]*metrics.Sample{}
	if window <= 0 {
		return out, nil
	}
	var lock sync.Mutex
	var all sync.WaitGroup
	for _, endpoint := range access.Endpoints {
		all.Go(func() {
			if sample, err := access.sample(ctx, endpoint); err == nil {
				lock.Lock()
				defer lock.Unlock()
				out[endpoint] = &sample
			}
		})
	}
	all.Wait()
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(window):
		return out, nil
	}
}

// look adds what a member does not tell by itself, and returns what could not be learned.
func (s *Seen) look(ctx context.Context, access Access) (unknown []string) {
	missing := func(what string, err error) {
		unknown = append(unknown, brief.Text(fmt.Sprintf("%s of %s: %v", what, s.Endpoint, metrics.Cause(err))))
	}
	if secure([]string{s.Endpoint}) {
		if one, err := served(ctx, access.TLS, s.Endpoint); err == nil {
			s.Certificate = &one
		} else {
			missing("the certificate", err)
		}
	}
	if !s.Answers() {
		return unknown
	}
	if sample, err := access.sample(ctx, s.Endpoint); err == nil {
		s.Now = &sample
		if quota, told := sample.Number(metrics.Quota); told && s.QuotaBytes == 0 { // before etcd 3.6
			s.QuotaBytes = sane(int64(max(0, min(quota, 1<<50))))
		}
	} else {
		missing("the metrics", err)
	}
	if offset, err := clockOf(ctx, metrics.Client(access.TLS), access.clockURL(s.Endpoint)); err == nil {
		s.Clock = &offset
	} else {
		missing("the clock", err)
	}
	return unknown
}

// askCluster learns what any member can tell, from the first one that answers.
func (v *View) askCluster(ctx context.Context, access Access, members []Member) (unknown []string) {
	for _, m := range members {
		if !m.Answers() || m.Learner { // a learner tells of itself alone
			continue
		}
		client, err := access.Connect(ctx, m.Endpoint)
		if err != nil {
			continue
		}
		unknown = v.askBy(ctx, client)
		_ = client.Close()
		if v.Listed != nil {
			return unknown
		}
	}
	if unknown == nil {
		unknown = []string{"the list of members: no voter answers"}
	}
	return unknown
}

func (v *View) askBy(ctx context.Context, client *clientv3.Client) (unknown []string) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	missing := func(what string, err error) { unknown = append(unknown, brief.Text(what+": "+err.Error())) }
	// Without a quorum a member still tells the list that it knows.
	list, err := client.MemberList(ctx, clientv3.WithSerializable())
	if err != nil {
		missing("the list of members", err)
		return unknown
	}
	v.Listed = []Listed{}
	for _, m := range list.Members {
		v.Listed = append(v.Listed, Listed{ID: ID(m.ID), Name: brief.Text(m.Name), Clients: len(m.ClientURLs), Learner: m.IsLearner})
	}
	if alarms, err := client.AlarmList(ctx); err != nil {
		missing("the alarms", err)
	} else {
		for _, a := range alarms.Alarms {
			name := a.Alarm.String()
			v.Alarms = append(v.Alarms, Alarm{Member: ID(a.MemberID), NoSpace: name == "NOSPACE", Corrupt: name == "CORRUPT"})
		}
	}
	on := true
	status, err := client.AuthStatus(ctx)
	switch {
	case err == nil:
		on = status.Enabled
		v.Auth = &on
	case errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty):
		v.Auth = &on
	default:
		missing("whether auth is on", err)
	}
	return unknown
}

// lookForLag asks those that are behind once more: what they lack then of what was committed before, they really
// lack, however long the questions took.
func (v *View) lookForLag(ctx context.Context, access Access) {
	most := uint64(0)
	for _, s := range v.Seen {
		most = max(most, s.RaftIndex, s.AppliedIndex)
	}
	for i := range v.Seen {
		s := &v.Seen[i]
		if !s.Answers() || most-s.AppliedIndex < 2 {
			continue
		}
		if again := ask(ctx, access, s.Endpoint); again.Answers() && again.AppliedIndex < most {
			s.Lag = most - again.AppliedIndex
		}
	}
}

// voters counts the voters, and those of them that answer. Where no list is known, it goes by the endpoints.
func (v View) voters() (all, answering int) {
	learners := map[ID]bool{}
	for _, m := range v.Listed {
		learners[m.ID] = m.Learner
		if !m.Learner {
			all++
		}
	}
	counted := map[ID]bool{}
	for _, s := range v.Seen {
		if s.Answers() && !s.Learner && !learners[s.ID] && !counted[s.ID] {
			counted[s.ID] = true
			answering++
		}
	}
	if v.Listed == nil {
		all = len(v.Seen)
	}
	return all, answering
}

// nameOf is the name under which people know a member.
func (v View) nameOf(id ID) string {
	for _, m := range v.Listed {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	return id.String()
}

// who names an endpoint for people.
func (v View) who(s Seen) string {
	if name := v.nameOf(s.ID); s.Answers() && name != s.ID.String() {
		return name
	}
	return strings.TrimPrefix(strings.TrimPrefix(s.Endpoint, "http://"), "https://")
}
