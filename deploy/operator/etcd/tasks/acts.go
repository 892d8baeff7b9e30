package tasks

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/keyspace"
	"gridrouter.io/deploy/etcd/inspect/upkeep"
)

// act is one kind of task.
type act struct {
	// name is that of its field in the spec.
	name string
	// changes says that it waits until the cluster is settled.
	changes bool
	// within bounds it.
	within time.Duration
	// do does it, and may be called again after it was ended at any point.
	do func(*job, context.Context) (done, error)
}

// done is what came of an act: in full, nil for nothing, and in a sentence.
type done struct {
	result  any
	message string
}

// job is an act that is being done.
type job struct {
	task    *v1alpha1.EtcdTask
	cluster *v1alpha1.EtcdCluster
	access  inspect.Access
	names   map[string]string // of members, by endpoint
	seen    keyspace.Doomed   // by the dry run, where one is applied
	client  client.Client
	live    client.Reader
}

// probePrefix is where the keys of probes lie.
const probePrefix = "/gridrouter.io/probe/"

// goneLook is how often it is looked whether a member is gone.
const goneLook = time.Second

// actOf is what a task does. The API server sees to it that there is one.
func actOf(s *v1alpha1.EtcdTaskSpec) act {
	switch {
	case s.Inspect != nil:
		return act{name: "inspect", within: 2 * time.Minute, do: (*job).inspect}
	case s.Consistency != nil:
		return act{name: "consistency", within: 15 * time.Minute, do: (*job).consistency}
	case s.Probe != nil:
		return act{name: "probe", within: 2 * time.Minute, do: (*job).probe}
	case s.PrefixUsage != nil:
		return act{name: "prefixUsage", within: 30 * time.Minute, do: (*job).prefixUsage}
	case s.HotKeys != nil:
		return act{name: "hotKeys", within: hotFor(s.HotKeys) + time.Minute, do: (*job).hotKeys}
	case s.PrunePrefix != nil && dry(s.PrunePrefix):
		return act{name: "prunePrefix", within: 30 * time.Minute, do: (*job).pruneDry}
	case s.PrunePrefix != nil:
		return act{name: "prunePrefix", changes: true, within: 2 * time.Hour, do: (*job).prune}
	case s.Defragment != nil:
		return act{name: "defragment", changes: true, within: 2 * time.Hour, do: (*job).defragment}
	case s.Compact != nil:
		return act{name: "compact", changes: true, within: 10 * time.Minute, do: (*job).compact}
	case s.MoveLeader != nil:
		return act{name: "moveLeader", changes: true, within: time.Minute, do: (*job).moveLeader}
	default:
		return act{name: "replaceMember", changes: true, within: 30 * time.Minute, do: (*job).replaceMember}
	}
}

func hotFor(h *v1alpha1.EtcdTaskHotKeys) time.Duration {
	if h.For == nil {
		return 30 * time.Second
	}
	return h.For.Duration
}

func (j *job) inspect(ctx context.Context) (done, error) {
	options := inspect.Options{}
	if o := j.cluster.Spec.Options; o.Heartbeat != nil && o.Election != nil {
		options.Settings = inspect.Settings{Heartbeat: o.Heartbeat.Duration, Election: o.Election.Duration}
	}
	report, err := inspect.Configuration(ctx, j.access, options)
	if err != nil {
		return done{}, err
	}
	if len(report.Findings) == 0 {
		return done{report, "nothing was found"}, nil
	}
	worst := report.Findings[0]
	return done{report, fmt.Sprintf("%d findings; the most urgent: %s %s: %s", len(report.Findings), worst.Severity, worst.Reason, worst.Message)}, nil
}

func (j *job) consistency(ctx context.Context) (done, error) {
	c, err := inspect.Consistency(ctx, j.access)
	if err != nil {
		return done{}, err
	}
	return done{c, fmt.Sprintf("%s: %s", c.Verdict, c.Message)}, nil
}

func (j *job) probe(ctx context.Context) (done, error) {
	r, err := inspect.Probe(ctx, j.access, inspect.ProbeOptions{Prefix: probePrefix})
	if err != nil {
		return done{}, err
	}
	if r.Works {
		return done{r, fmt.Sprintf("all that clients do works, at each of %d members", len(j.access.Endpoints))}, nil
	}
	var fails []string
	for _, one := range r.Probed {
		if !one.Works {
			fails = append(fails, one.Endpoint)
		}
	}
	return done{r, "not all that clients do works through " + strings.Join(fails, ", ") + ": see result"}, nil
}

func (j *job) prefixUsage(ctx context.Context) (done, error) {
	follower, _, err := j.access.Follower(ctx)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = follower.Close() }()
	s := j.task.Spec.PrefixUsage
	u, err := keyspace.PrefixUsage(ctx, follower, keyspace.UsageOptions{Prefix: s.Prefix, Parts: int(s.Parts), Top: int(s.Top)})
	if err != nil {
		return done{}, err
	}
	message := fmt.Sprintf("%d keys of %d bytes in %d groups", u.Total.Keys, u.Total.Bytes, u.Groups)
	if len(u.ByBytes) > 0 {
		message += fmt.Sprintf("; the greatest: %s with %d keys of %d bytes", u.ByBytes[0].Prefix, u.ByBytes[0].Keys, u.ByBytes[0].Bytes)
	}
	return done{u, message}, nil
}

func (j *job) hotKeys(ctx context.Context) (done, error) {
	follower, _, err := j.access.Follower(ctx)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = follower.Close() }()
	s := j.task.Spec.HotKeys
	h, err := keyspace.HotKeys(ctx, follower, keyspace.HotOptions{Prefix: s.Prefix, For: hotFor(s), Top: int(s.Top)})
	if err != nil {
		return done{}, err
	}
	message := fmt.Sprintf("%d changes in %.0f s", h.Changes, h.Seconds)
	if len(h.Top) > 0 {
		message += fmt.Sprintf("; the most of %s: %d", h.Top[0].Key, h.Top[0].Changes)
	}
	return done{h, message}, nil
}

func (j *job) pruneDry(ctx context.Context) (done, error) {
	client, err := j.access.Connect(ctx)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = client.Close() }()
	d, err := keyspace.DryRun(ctx, client, j.pruning())
	if err != nil {
		return done{}, err
	}
	return done{d, fmt.Sprintf("%d keys of %d bytes would go; the token is %s", d.Keys, d.Bytes, d.Token)}, nil
}

// prune goes on where a former call ended: what is gone is gone, and the dry run says what else is to go.
func (j *job) prune(ctx context.Context) (done, error) {
	client, err := j.access.Connect(ctx)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = client.Close() }()
	p, err := keyspace.Apply(ctx, client, j.pruning(), j.seen, j.task.Spec.PrunePrefix.Token)
	message := fmt.Sprintf("%d of %d keys were removed; %d that changed since the dry run and %d new ones are kept", p.Deleted, j.seen.Keys, p.Changed, p.New)
	if j.task.Status.Attempts > 1 {
		message += "; an operator ended meanwhile, and what it had removed is not counted"
	}
	return done{p, message}, err
}

func (j *job) pruning() keyspace.PruneOptions {
	return keyspace.PruneOptions{Prefix: j.task.Spec.PrunePrefix.Prefix, Protected: []string{protected}}
}

func (j *job) defragment(ctx context.Context) (done, error) {
	options := upkeep.DefragmentOptions{}
	if free := j.task.Spec.Defragment.FreeAbove; free != nil {
		options.FreeAbove = free.Value()
	}
	d, err := upkeep.Defragment(ctx, j.access, options)
	defragmented := 0
	for _, one := range d.Members {
		if one.PassedOver == "" && one.Error == "" {
			defragmented++
		}
	}
	return done{d, fmt.Sprintf("%d of %d members were defragmented, which gave back %d bytes", defragmented, len(j.access.Endpoints), d.FreedBytes)}, err
}

func (j *job) compact(ctx context.Context) (done, error) {
	c, err := upkeep.Compact(ctx, j.access, upkeep.CompactOptions{Keep: j.task.Spec.Compact.Keep})
	switch {
	case err != nil:
		return done{}, err
	case c.Revision == 0:
		return done{c, "there are no more revisions than are to be kept"}, nil
	case c.Already:
		return done{c, fmt.Sprintf("the history up to revision %d was gone before", c.Revision)}, nil
	}
	return done{c, fmt.Sprintf("the history up to revision %d is gone; a defragmentation gives back %d bytes at least", c.Revision, c.FreeBytes)}, nil
}

// moved is the result of moveLeader.
type moved struct {
	// From led before, and To leads now.
	From string `json:"from"`
	To   string `json:"to"`
}

func (j *job) moveLeader(ctx context.Context) (done, error) {
	to := j.task.Spec.MoveLeader.To
	members, err := inspect.Members(ctx, j.access)
	if err != nil {
		return done{}, err
	}
	var target, leader *inspect.Member
	for i := range members {
		m := &members[i]
		if j.names[m.Endpoint] == to {
			target = m
		}
		if m.Answers() && m.Leads {
			leader = m
		}
	}
	switch {
	case target == nil:
		return done{}, fmt.Errorf("%s has no address: see why its pod does not run", to)
	case !target.Answers():
		return done{}, fmt.Errorf("%s does not answer: %s", to, target.Error)
	case target.Learner:
		return done{}, fmt.Errorf("%s is a learner, which cannot lead: wait until it is a voter", to)
	case target.Leads:
		return done{moved{From: to, To: to}, to + " leads already"}, nil
	case leader == nil:
		return done{}, fmt.Errorf("nobody leads: a majority of the members must answer")
	}
	client, err := j.access.Connect(ctx, leader.Endpoint)
	if err != nil {
		return done{}, err
	}
	defer func() { _ = client.Close() }()
	if _, err := client.MoveLeader(ctx, uint64(target.ID)); err != nil {
		return done{}, fmt.Errorf("have %s lead: %w", to, err)
	}
	from := j.names[leader.Endpoint]
	return done{moved{From: from, To: to}, fmt.Sprintf("%s leads, and %s led before", to, from)}, nil
}

// replaceMember deletes the EtcdMember, and waits until the operator of the cluster has let go of it. No name is used
// twice, so that one that is gone stays gone.
func (j *job) replaceMember(ctx context.Context) (done, error) {
	name := j.task.Spec.ReplaceMember.Name
	looks := time.NewTicker(goneLook)
	defer looks.Stop()
	for {
		m := &v1alpha1.EtcdMember{}
		err := j.live.Get(ctx, client.ObjectKey{Namespace: j.task.Namespace, Name: name}, m)
		switch {
		case apierrors.IsNotFound(err):
			return done{message: name + " is gone"}, nil
		case err != nil:
			return done{}, fmt.Errorf("read EtcdMember %s: %w", name, err)
		case !metav1.IsControlledBy(m, j.cluster):
			return done{}, fmt.Errorf("the EtcdMember %s does not belong to the cluster: delete it by hand, if nobody needs it", name)
		case m.DeletionTimestamp == nil:
			uid := m.UID
			if err := j.client.Delete(ctx, m, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
				return done{}, fmt.Errorf("delete EtcdMember %s: %w", name, err)
			}
		}
		select {
		case <-ctx.Done():
			return done{}, fmt.Errorf("%s is to go, and the cluster has not let go of it yet: see status.step of the cluster", name)
		case <-looks.C:
		}
	}
}
