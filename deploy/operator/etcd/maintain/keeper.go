package maintain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gridrouter.io/deploy/etcd/inspect"
	"gridrouter.io/deploy/etcd/inspect/upkeep"
)

// Act is what is done to a cluster.
type Act string

// The acts.
const (
	// Relieve compacts, defragments one member at a time, and disarms the alarm NOSPACE.
	Relieve Act = "Relieve"
	// Defragment has members give back what is free in their databases, one at a time.
	Defragment Act = "Defragment"
)

// The bounds of acts.
const (
	// atOnce is how many clusters are maintained at once.
	atOnce = 4
	// atMost is how long an act may take.
	atMost = time.Hour
	// pauseAfter is how long a cluster is let alone after a relief that did not help, and pauseHelped after one that
	// did: what is known of its alarms may be older.
	pauseAfter  = 5 * time.Minute
	pauseHelped = 5 * time.Second
)

// Job is an act upon one cluster.
type Job struct {
	Act    Act
	Access inspect.Access
	// Keep is how many revisions a relief keeps, where that leaves space enough; 0: 1000.
	Keep int64
	// FreeAbove is how many bytes must be free in a member's database for it to be defragmented; 0: 1 MiB.
	FreeAbove int64
	// Done is told of the outcome once, unless the act was stopped before its end. It must return soon.
	Done func(Outcome)
	// Ended is told of the end, however it came, after all else. It must return soon.
	Ended func()
}

// Outcome is what came of an act.
type Outcome struct {
	Act Act
	// At is when it ended, in whole seconds.
	At time.Time
	// Needed says whether there was anything to do.
	Needed bool
	// FreedBytes is what all members together gave back.
	FreedBytes int64
	// UsedBytes and QuotaBytes are, after a relief, the size of the largest database and the smallest quota.
	UsedBytes, QuotaBytes int64
	// Problem is why it ended before all was done; empty: it did not.
	Problem string
}

// State is what is known of a cluster.
type State struct {
	// Doing is what is being done, or waits for its turn; empty: nothing.
	Doing Act
	// Relieved and Defragmented are the last outcomes; zero: there was none since the process began.
	Relieved, Defragmented Outcome
	// RelieveAfter is when another relief may begin.
	RelieveAfter time.Time
}

// Keeper does acts in goroutines of its own: one at a time upon a cluster, and few at a time upon all. Its methods may be
// called at once.
type Keeper struct {
	now   func() time.Time
	turns chan struct{}
	ctx   context.Context //nolint:containedctx // it ends all that the keeper does
	end   context.CancelFunc

	mu       sync.Mutex
	clusters map[string]*cluster
	running  sync.WaitGroup
}

type cluster struct {
	state State
	stop  context.CancelFunc // of what is being done
}

// NewKeeper returns a keeper that does nothing yet. Close ends it. now is the time.
func NewKeeper(now func() time.Time) *Keeper {
	ctx, end := context.WithCancel(context.Background())
	return &Keeper{now: now, turns: make(chan struct{}, atOnce), ctx: ctx, end: end, clusters: map[string]*cluster{}}
}

// Start waits for the end of ctx, and then closes: a manager runs it as long as its process leads.
func (k *Keeper) Start(ctx context.Context) error {
	<-ctx.Done()
	k.Close()
	return nil
}

// Close stops all acts and waits for their ends. No other one begins.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.end()
	k.mu.Unlock()
	k.running.Wait()
}

// Begin begins a job upon a cluster; false: one is under way, a relief did not help a short while ago, or the keeper is
// closed.
func (k *Keeper) Begin(id string, job Job) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.clusters[id]
	if c == nil {
		c = &cluster{}
	}
	if k.ctx.Err() != nil || c.state.Doing != "" || job.Act == Relieve && k.now().Before(c.state.RelieveAfter) {
		return false
	}
	k.clusters[id] = c
	c.state.Doing = job.Act
	ctx, stop := context.WithTimeout(k.ctx, atMost)
	c.stop = stop
	k.running.Go(func() {
		defer stop()
		k.run(ctx, c, &job)
	})
	return true
}

// run waits for a turn, does the job, and tells of it.
func (k *Keeper) run(ctx context.Context, c *cluster, job *Job) {
	var outcome Outcome
	stopped := true
	select {
	case k.turns <- struct{}{}:
		outcome = job.do(ctx)
		stopped = errors.Is(ctx.Err(), context.Canceled)
		<-k.turns
	case <-ctx.Done():
	}
	now := k.now()
	outcome.Act, outcome.At = job.Act, now.UTC().Truncate(time.Second)
	k.mu.Lock()
	c.state.Doing, c.stop = "", nil
	switch {
	case stopped:
	case job.Act == Defragment:
		c.state.Defragmented = outcome
	case outcome.Problem != "":
		c.state.Relieved, c.state.RelieveAfter = outcome, now.Add(pauseAfter)
	default:
		c.state.Relieved, c.state.RelieveAfter = outcome, now.Add(pauseHelped)
	}
	k.mu.Unlock()
	if !stopped && job.Done != nil {
		job.Done(outcome)
	}
	if job.Ended != nil {
		job.Ended()
	}
}

func (j *Job) do(ctx context.Context) Outcome {
	var o Outcome
	var err error
	switch j.Act {
	case Relieve:
		var relief upkeep.Relief
		relief, err = upkeep.RelieveNoSpace(ctx, j.Access, upkeep.RelieveOptions{Compact: upkeep.CompactOptions{Keep: j.Keep}})
		o.Needed, o.FreedBytes = relief.Needed, relief.Defragmentation.FreedBytes
		o.UsedBytes, o.QuotaBytes = relief.AfterBytes, relief.QuotaBytes
	case Defragment:
		var all upkeep.Defragmentation
		all, err = upkeep.Defragment(ctx, j.Access, upkeep.DefragmentOptions{FreeAbove: j.FreeAbove})
		o.Needed, o.FreedBytes = all.FreedBytes > 0, all.FreedBytes
	default:
		err = fmt.Errorf("nothing is known of the act %q", j.Act)
	}
	if err != nil {
		o.Problem = err.Error()
	}
	return o
}

// State returns what is known of a cluster.
func (k *Keeper) State(id string) State {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.clusters[id]; c != nil {
		return c.state
	}
	return State{}
}

// Stop stops what is done to a cluster, without waiting for its end. A member that is being defragmented at that moment
// finishes by itself.
func (k *Keeper) Stop(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.clusters[id]; c != nil && c.stop != nil {
		c.stop()
	}
}

// Forget stops what is done to a cluster, and forgets what is known of it.
func (k *Keeper) Forget(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if c := k.clusters[id]; c != nil && c.stop != nil {
		c.stop()
	}
	delete(k.clusters, id)
}
