package discovery

import (
	"context"
	"errors"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// gatherFor is how long a burst of events is gathered into one batch, and so
// the longest that a lone event waits. gatherAtMost ends the gathering early.
const (
	gatherFor    = time.Millisecond
	gatherAtMost = 10_000
)

var (
	errSourceChanged = errors.New("another etcd cluster answers, or the cluster was restored from a backup")
	errOutOfOrder    = errors.New("etcd sent an event of a revision that was complete already")
	errStreamEnded   = errors.New("the watch stream ended")
	errStreamSilent  = errors.New("etcd answers, but its watch stream is silent")
)

// watch follows the changes after the cursor until the stream breaks. It
// always returns an error, and never before what it gathered is delivered,
// unless ctx has ended.
func (e *Etcd) watch(ctx context.Context, client *clientv3.Client, apply func(Batch)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	e.metrics.watches.Inc()
	stream := client.Watch(ctx, e.cfg.Root, clientv3.WithPrefix(), clientv3.WithRev(e.cursor+1),
		clientv3.WithFragment(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
	doubts := make(chan error, 1)
	patience := e.silence() * wedgedSilences << min(e.silentRounds, mostDoublings)
	asking.Go(func() { e.listenForSilence(ctx, client, patience, doubts) })

	gathered := newGathering(e.cursor)
	gather := time.NewTimer(gatherFor)
	gather.Stop()
	for {
		select {
		case response, open := <-stream:
			idle := gathered.empty()
			err := errStreamEnded
			if open {
				err = e.take(ctx, client, &response, gathered)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil || gathered.size() >= gatherAtMost {
				e.flush(gathered, apply)
			} else if idle && !gathered.empty() {
				gather.Reset(gatherFor)
			}
			if err != nil {
				return err
			}
			e.progress(&response, gathered)
		case <-gather.C:
			e.flush(gathered, apply)
		case err := <-doubts:
			e.flush(gathered, apply)
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take adds one response's events to what is gathered. A response holds whole
// revisions only: the server sends a revision in one response, and the client
// puts the fragments of one together before we see it. An event of a revision
// that is complete already would break that rule, so it makes us list anew.
func (e *Etcd) take(ctx context.Context, client *clientv3.Client, response *clientv3.WatchResponse, gathered *gathering) error {
	if err := response.Err(); err != nil {
		return err
	}
	if err := e.sameSource(ctx, client, response.Header, gathered.revision); err != nil {
		return err
	}
	complete := gathered.revision
	for _, event := range response.Events {
		if event.Kv.ModRevision <= complete {
			return errOutOfOrder
		}
		if event.Type == clientv3.EventTypeDelete {
			gathered.deleted(e.relative(event.Kv), event.Kv.ModRevision)
		} else {
			gathered.put(e.entry(event.Kv))
		}
	}
	return nil
}

// progress takes an answer without events: nothing else has happened up to its
// revision, so the cursor may move there. The answer to the opening of a watch
// says no such thing. Where a batch is being gathered it stands for the proof.
func (e *Etcd) progress(response *clientv3.WatchResponse, gathered *gathering) {
	if response.Created {
		return
	}
	e.retry.reset()
	e.silentRounds = 0
	if response.IsProgressNotify() && gathered.empty() && response.Header.Revision >= e.cursor {
		e.cursor = response.Header.Revision
		gathered.revision = e.cursor
		e.track.proved(e.cursor)
	}
}

// flush delivers what was gathered and moves the cursor.
func (e *Etcd) flush(gathered *gathering, apply func(Batch)) {
	if gathered.empty() {
		return
	}
	batch := gathered.drain()
	e.cursor = batch.Revision
	e.deliver(batch, apply)
}

// sameSource checks that a response comes from the cluster whose revisions we
// count. A revision lower than one already seen may come from a member that
// lags behind, so the cluster is asked before the source is called changed.
func (e *Etcd) sameSource(ctx context.Context, client *clientv3.Client, header *pb.ResponseHeader, seen int64) error {
	if header.GetClusterId() != e.clusterID {
		return errSourceChanged
	}
	if header.Revision >= seen {
		return nil
	}
	return e.askLeader(ctx, client, seen)
}
