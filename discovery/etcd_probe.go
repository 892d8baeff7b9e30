package discovery

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

const (
	probeIntervals = 10  // progress intervals from one probe to the next, on average
	probeShare     = 200 // a probe may take one part in so many of the time: etcd counts all keys for it
)

// probe reads through the leader now and then, beside the stream, and compares:
// a stream may answer, and yet have lost events or come from a member that is
// left behind. What ends the watch goes to doubts.
func (e *Etcd) probe(ctx context.Context, client *clientv3.Client, doubts chan<- error) {
	var took time.Duration
	for pauses(ctx, around(max(probeIntervals*e.cfg.ProgressEvery, probeShare*took))) {
		started := time.Now()
		leader, err := e.compare(ctx, client)
		took = time.Since(started)
		if err == nil {
			e.metrics.probes.Inc()
			e.track.noteLeader(leader)
			if e.reaches(ctx, leader) {
				if e.track.read().Age <= e.silence() {
					e.givenUp.Store(0) // this stream is sound
				}
				continue
			}
			err = errStreamBehind
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errSourceChanged), errors.Is(err, errMissing), errors.Is(err, errStreamBehind):
			doubts <- err
			return
		}
		took = 0 // of no count
		e.metrics.failures.Inc()
		e.log.Warn("the comparison with etcd's leader could not be made: the watch goes on",
			zap.String("root", e.cfg.Root), zap.String("cause", e.explain(err)))
	}
}

// compare reads how many keys there are under the root at the very revision
// that the receiver has been brought to, which must be as many as the stream
// told of, and gives the newest revision that there is.
func (e *Etcd) compare(ctx context.Context, client *clientv3.Client) (leader int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	held := e.position.Load()
	answer, err := client.Get(ctx, e.cfg.Root, clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithRev(held.revision))
	compacted := errors.Is(err, rpctypes.ErrCompacted)
	if compacted { // we are that far behind: let us see how far
		answer, err = client.Get(ctx, e.cfg.Root)
	}
	switch {
	case errors.Is(err, rpctypes.ErrFutureRev):
		return 0, errSourceChanged
	case err != nil:
		return 0, err
	case answer.Header.ClusterId != e.clusterID:
		return 0, errSourceChanged
	case !compacted && answer.Count != held.keys:
		e.log.Error("EVENTS ARE MISSING: etcd holds another number of keys than its watch stream has told of; listing everything again",
			zap.String("root", e.cfg.Root), zap.Int64("revision", held.revision),
			zap.Int64("keys", answer.Count), zap.Int64("told", held.keys))
		return 0, errMissing
	}
	return answer.Header.Revision, nil
}

// reaches waits until the receiver has been brought to revision, and says
// whether it was. It does not give up as long as the stream gets further.
func (e *Etcd) reaches(ctx context.Context, revision int64) bool {
	moved, last := time.Now(), int64(0)
	for {
		now := e.position.Load().revision
		if now >= revision {
			return true
		}
		if now > last || e.applying.Load() {
			moved, last = time.Now(), now
		} else if time.Since(moved) > e.uselessLimit() {
			return false
		}
		if !pauses(ctx, e.cfg.ProgressEvery) {
			return false
		}
	}
}

// pauses waits, and says whether ctx is still alive.
func pauses(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
