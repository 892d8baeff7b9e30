package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup/store"
)

// FollowConfig says how a cluster is followed. Zero values are the defaults.
type FollowConfig struct {
	Config
	// Every is the longest that a change waits before it is in the store. Default 1 m.
	Every time.Duration
	// MaxBytes is how many bytes of keys and values wait before they are written earlier. Default 8 MiB. A
	// revision is never divided.
	MaxBytes int
	// HashEvery is after how many deltas the cluster's HashKV is recorded. Default 16. The last revision that
	// is written before an end has it too.
	HashEvery int64
	// Look is how often a newer full backup is looked for, and how often it is written down that nothing
	// changed. Default 5 m.
	Look time.Duration
	// Retry is the first and least wait after a fault; it doubles up to a minute. Default 1 s.
	Retry time.Duration
	// Status hears after each delta and each head how far the chain is, and of each fault; nil: nobody does.
	// It is called by one goroutine.
	Status func(Status)
}

// Status is how far a follower is.
type Status struct {
	// Chain is the ID of the chain that is written, empty before there is one.
	Chain string
	// Deltas is the number of its last delta; Revision is the last one that the store has, which was
	// etcd's newest at Covered.
	Deltas   int64
	Revision int64
	Covered  time.Time
	// Written is the size in bytes of all deltas that this follower wrote, Begun how many full backups it had
	// to begin.
	Written int64
	Begun   int
	// Fault is what keeps it from going on, nil if nothing does. It goes on trying.
	Fault error
}

const (
	defaultEvery     = time.Minute
	defaultMaxBytes  = 8 << 20
	defaultHashEvery = 16
	defaultLook      = 5 * time.Minute
	defaultRetry     = time.Second
	longestRetry     = time.Minute
)

// ErrOther says that another follower writes the same chain.
var ErrOther = errors.New("another follower writes the same chain; let one follow a cluster at a time")

// errNewer ends a session because another one has begun a newer chain.
var errNewer = errors.New("there is a newer full backup")

// Follow adds to the newest chain of the store what changes in etcd, until the context ends; then it writes
// what waits, and returns nil. Where there is no chain that can be gone on with, it begins one by a full
// backup, and says why.
//
// A fault before it could follow at all is returned. Later ones are reported, and tried again: nothing is
// kept meanwhile but in etcd, so a follower that was away for longer than etcd keeps its history begins a
// new chain.
func Follow(ctx context.Context, c FollowConfig) error {
	c.fill()
	f := &follower{FollowConfig: c}
	wait := c.Retry
	for {
		before := f.status
		err := f.session(ctx)
		switch {
		case ctx.Err() != nil:
			return f.ending(err)
		case errors.Is(err, errNewer):
			continue
		case !f.followed || errors.Is(err, ErrOther):
			return err
		}
		if f.status.Revision > before.Revision {
			wait = c.Retry
		}
		f.tell(err)
		c.report("follow: %v; trying again in %s", err, wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, max(longestRetry, c.Retry))
	}
}

// ending is what a follower ends with whose last session ended with err: it matters where that kept events from
// being written.
func (f *follower) ending(err error) error {
	if f.unsaved {
		return fmt.Errorf("the end of the chain is not in the store: %w", err)
	}
	return nil
}

func (c *FollowConfig) fill() {
	if c.Every <= 0 {
		c.Every = defaultEvery
	}
	if c.MaxBytes <= 0 {
		c.MaxBytes = defaultMaxBytes
	}
	if c.HashEvery <= 0 {
		c.HashEvery = defaultHashEvery
	}
	if c.Look <= 0 {
		c.Look = defaultLook
	}
	if c.Retry <= 0 {
		c.Retry = defaultRetry
	}
}

// follower is what outlives a fault; it is used by one goroutine.
type follower struct {
	FollowConfig
	client   *clientv3.Client
	status   Status
	followed bool // a session got as far as to watch
	unsaved  bool // the last session ended with events that are not in the store
	// begin is why the next session has to begin with a full backup; empty: it has not.
	begin string
}

func (f *follower) tell(fault error) {
	f.status.Fault = fault
	if f.Status != nil {
		f.Status(f.status)
	}
}

// session follows until the context ends or something is wrong. It ends with what waits being written
// where the context ended, and with nothing where something is wrong: the next session asks etcd again.
func (f *follower) session(ctx context.Context) error {
	client, err := f.Source.Connect(f.Source.Endpoints...)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	f.client = client
	link, err := f.resume(ctx)
	if err != nil {
		return err
	}
	if err := link.writeHead(ctx, nil); err != nil {
		return err
	}
	return f.watch(ctx, link)
}

// resume finds the end of the newest chain, or begins a new one.
func (f *follower) resume(ctx context.Context) (*link, error) {
	now, err := ask(ctx, askWait, func(ctx context.Context) (*clientv3.GetResponse, error) {
		return f.client.Get(ctx, "\x00", clientv3.WithFromKey(), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	})
	if err != nil {
		return nil, fmt.Errorf("etcd does not say its revision: %w", err)
	}
	why := f.begin
	var newest *Chain
	if why == "" {
		if newest, why, err = f.goOn(ctx, hexID(now.Header.ClusterId), now.Header.Revision); err != nil {
			return nil, err
		}
	}
	if why != "" {
		f.report("a new chain begins: %s", why)
		m, err := Take(ctx, f.Config)
		if err != nil {
			return nil, err
		}
		f.begin = ""
		f.status.Begun++
		if newest, err = Open(ctx, f.Store, m.ID); err != nil {
			return nil, err
		}
	}
	return f.linkAfter(ctx, newest)
}

// goOn returns the newest chain, or why it cannot be gone on with.
func (f *follower) goOn(ctx context.Context, cluster string, revision int64) (c *Chain, why string, err error) {
	c, err = Newest(ctx, f.Store)
	switch {
	case errors.Is(err, ErrNone):
		return nil, "there is no full backup yet", nil
	case err != nil:
		return nil, "", err
	case len(c.Damages) > 0:
		return nil, fmt.Sprintf("the newest one is damaged: %v", c.Damages[0]), nil
	case c.Manifest.Cluster != cluster:
		return nil, fmt.Sprintf("the newest one, %s, is of cluster %s, and this is %s", c.ID, c.Manifest.Cluster, cluster), nil
	case c.Last() > revision:
		return nil, fmt.Sprintf("the newest one, %s, has revision %d, and etcd is at %d: its data were set back", c.ID, c.Last(), revision), nil
	}
	if c.Deltas > 0 { // the next delta names its hash
		_, err := c.delta(ctx, c.Deltas)
		if damage := (*DamageError)(nil); errors.As(err, &damage) {
			return nil, fmt.Sprintf("the newest one is damaged: %v", damage), nil
		}
		if err != nil {
			return nil, "", err
		}
	}
	return c, "", nil
}

// linkAfter returns what the next link of a chain is made of.
func (f *follower) linkAfter(ctx context.Context, c *Chain) (*link, error) {
	l := &link{follower: f, chain: c.ID, cluster: c.Manifest.Cluster, previous: c.manifestHash, revision: c.Manifest.Revision, covered: c.Manifest.Taken, granted: map[int64]int64{}}
	if c.Head != nil {
		l.covered = c.Head.Covered
	}
	for _, head := range c.heads {
		l.head = max(l.head, head.Number)
		l.old = append(l.old, head)
	}
	if c.Deltas > 0 {
		last, err := c.delta(ctx, c.Deltas)
		if err != nil {
			return nil, err
		}
		l.seq, l.previous, l.revision = c.Deltas, last.SHA256, last.Last
	}
	return l, nil
}

// newer looks for a finished chain that was begun after another and can be gone on with from what is
// covered.
func newer(ctx context.Context, s store.Store, than string, covered int64) (bool, error) {
	c, err := Newest(ctx, s)
	if err != nil {
		return false, err
	}
	return c.ID > than && c.Manifest != nil && len(c.Damages) == 0 && c.Manifest.Revision <= covered, nil
}
