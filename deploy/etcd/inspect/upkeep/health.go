package upkeep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect"
)

const (
	// askTimeout bounds one question.
	askTimeout = 5 * time.Second
	// mostLag is by how many raft entries a member may be behind and still be healthy.
	mostLag = 1000
	// settlePause is the time between two looks while health is waited for.
	settlePause = 100 * time.Millisecond
	// settleLooks is how often in a row a cluster must look healthy.
	settleLooks = 3
)

// healthy looks whether all members are fit for one of them to stand still for a while: all are named, answer,
// follow the same leader, have applied what is committed, and serve a read that all must agree upon.
func healthy(ctx context.Context, access inspect.Access) ([]inspect.Member, error) {
	members, err := inspect.Members(ctx, access)
	if err != nil {
		return nil, err
	}
	most := uint64(0)
	for _, m := range members {
		if !m.Answers() {
			return members, fmt.Errorf("%s does not answer: %s", m.Endpoint, m.Error)
		}
		most = max(most, m.AppliedIndex)
	}
	for i, m := range members {
		switch {
		case m.Cluster != members[0].Cluster:
			return members, fmt.Errorf("%s is of another cluster than %s", m.Endpoint, members[0].Endpoint)
		case slices.ContainsFunc(members[:i], func(o inspect.Member) bool { return o.ID == m.ID }):
			return members, fmt.Errorf("%s is a member that is named twice: name each member's own URL", m.Endpoint)
		case m.LeaderID == 0 || m.LeaderID != members[0].LeaderID:
			return members, fmt.Errorf("%s does not follow the leader of %s", m.Endpoint, members[0].Endpoint)
		case most-m.AppliedIndex > mostLag:
			return members, fmt.Errorf("%s has %d raft entries less than another member", m.Endpoint, most-m.AppliedIndex)
		case slices.ContainsFunc(m.Complaints, func(c string) bool { return strings.Contains(c, "CORRUPT") }):
			return members, fmt.Errorf("%s knows of corrupt data: replace the member that differs first", m.Endpoint)
		}
	}
	return members, serves(ctx, access, members)
}

// serves has each voter serve a read that needs the leader and a quorum, and compares the list of members.
func serves(ctx context.Context, access inspect.Access, members []inspect.Member) error {
	for _, m := range members {
		if m.Learner { // it serves no such read
			continue
		}
		err := with(ctx, access, m.Endpoint, func(ctx context.Context, client *clientv3.Client) error {
			_, err := client.Get(ctx, "health", clientv3.WithKeysOnly())
			return err
		})
		if err != nil {
			return fmt.Errorf("%s serves no read: %w", m.Endpoint, err)
		}
	}
	return with(ctx, access, inspect.Voters(members)[0], func(ctx context.Context, client *clientv3.Client) error {
		list, err := client.MemberList(ctx, clientv3.WithSerializable())
		if err != nil {
			return fmt.Errorf("list the members: %w", err)
		}
		for _, listed := range list.Members {
			if !slices.ContainsFunc(members, func(m inspect.Member) bool { return uint64(m.ID) == listed.ID }) {
				return fmt.Errorf("member %q of the cluster is not among the endpoints: name all members", listed.Name)
			}
		}
		return nil
	})
}

// with asks one member, within the time of a question.
func with(ctx context.Context, access inspect.Access, endpoint string, do func(context.Context, *clientv3.Client) error) error {
	client, err := access.Connect(ctx, endpoint)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return do(ctx, client)
}

// settle waits until the cluster is healthy, three times in a row.
func settle(outer context.Context, access inspect.Access, within time.Duration) error {
	ctx, cancel := context.WithTimeout(outer, within)
	defer cancel()
	var last error
	for good := 0; ; {
		_, err := healthy(ctx, access)
		if err == nil {
			if good++; good == settleLooks {
				return nil
			}
		} else {
			good = 0
			if ctx.Err() == nil {
				last = err
			}
		}
		select {
		case <-ctx.Done():
			if outer.Err() != nil {
				return outer.Err()
			}
			return errors.Join(fmt.Errorf("the cluster is not healthy again within %s: %w", within, ctx.Err()), last)
		case <-time.After(settlePause):
		}
	}
}

// raised returns the alarms of a kind.
func raised(ctx context.Context, client *clientv3.Client, kind pb.AlarmType) ([]*pb.AlarmMember, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	list, err := client.AlarmList(ctx)
	if err != nil {
		return nil, fmt.Errorf("list the alarms: %w", err)
	}
	return slices.DeleteFunc(slices.Clone(list.Alarms), func(a *pb.AlarmMember) bool { return a.Alarm != kind }), nil
}
