package tasks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// mostRuns is how many tasks run at once, of all clusters.
const mostRuns = 4

// runs are the acts that are being done, at most one of each cluster. Its methods may be called at once.
type runs struct {
	ctx context.Context //nolint:containedctx // it ends all acts
	end context.CancelFunc

	mu     sync.Mutex
	by     map[types.NamespacedName]*run
	active int
	over   sync.WaitGroup
}

// run is one act that is being done, or was and is to be told.
type run struct {
	uid    types.UID // of the task
	cancel context.CancelFunc
	// stopped says that it was ended, since nobody waits for it; ended that it has come to its end.
	stopped bool
	ended   bool
	done    done
	err     error
}

func newRuns() *runs {
	ctx, end := context.WithCancel(context.Background())
	return &runs{ctx: ctx, end: end, by: map[types.NamespacedName]*run{}}
}

// close ends all acts and waits for them. None begins after it.
func (r *runs) close() {
	r.mu.Lock()
	r.end()
	r.mu.Unlock()
	r.over.Wait()
}

// closed says whether all acts were ended, so that what came of them tells nothing.
func (r *runs) closed() bool { return r.ctx.Err() != nil }

// of returns a copy of the run of a cluster; false: there is none.
func (r *runs) of(cluster types.NamespacedName) (run, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.by[cluster]
	if one == nil {
		return run{}, false
	}
	return *one, true
}

// take takes a place for a task; false: there is none left, or the cluster has one.
func (r *runs) take(cluster types.NamespacedName, uid types.UID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed() || r.active >= mostRuns || r.by[cluster] != nil {
		return false
	}
	r.active++
	r.by[cluster] = &run{uid: uid, cancel: func() {}}
	return true
}

// giveBack gives a place back that was taken, and in which nothing was begun.
func (r *runs) giveBack(cluster types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.active--
	delete(r.by, cluster)
}

// begin does an act in the place that was taken for it, for so long at most, and calls ended then.
func (r *runs) begin(cluster types.NamespacedName, within time.Duration, do func(context.Context) (done, error), ended func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one := r.by[cluster]
	if r.closed() {
		return // the next operator begins it anew
	}
	ctx, cancel := context.WithTimeout(r.ctx, within)
	one.cancel = cancel
	r.over.Go(func() {
		defer cancel()
		came, err := guarded(ctx, do)
		if err != nil && ctx.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("it was ended after %s: %w", within, err)
		}
		r.mu.Lock()
		if err != nil && one.stopped {
			err = errGone // whatever etcd's client made of it
		}
		one.ended, one.done, one.err = true, came, err
		r.active--
		r.mu.Unlock()
		ended()
	})
}

// errGone says why an act was ended.
var errGone = errors.New("it was ended, since its cluster is gone")

// stop ends the act on a cluster; it has come to its end a while later.
func (r *runs) stop(cluster types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.by[cluster]; one != nil {
		one.stopped = true
		one.cancel()
	}
}

// guarded turns a panic of an act into an error: else the operator would end, and the next one with it.
func guarded(ctx context.Context, do func(context.Context) (done, error)) (came done, err error) {
	defer func() {
		if p := recover(); p != nil {
			came, err = done{}, fmt.Errorf("a fault of the operator: %v", p)
		}
	}()
	return do(ctx)
}

// forget takes a run out that has ended and was told.
func (r *runs) forget(cluster types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.by[cluster]; one != nil && one.ended {
		delete(r.by, cluster)
	}
}
