package discovery

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// How long a burst of events is gathered into one batch: gatherLeast, or
// gatherTimes what the receiver took for the last batch, if that is more, and
// gatherMost at most. So a receiver is at work for a tenth of the time while
// changes keep coming, and a lone event waits for gatherLeast, or, behind a
// batch that took its time, for gatherMost at most. gatherAtMost ends the
// gathering early.
const (
	gatherLeast  = time.Millisecond
	gatherMost   = 20 * time.Millisecond
	gatherTimes  = 10
	gatherAtMost = 10_000
)

// mostTogether is how many keys a transaction may change or delete, and still be gathered with others:
// a pin's change is one of two. A larger one is a batch of its own. Whoever holds it back as a mistake
// then holds what was written by it, and not what somebody else wrote a moment before or after.
const mostTogether = 2

// gatherFor is how long events are gathered after a batch for which the
// receiver took so long.
func gatherFor(took time.Duration) time.Duration {
	return min(max(gatherTimes*took, gatherLeast), gatherMost)
}

var (
	errSourceChanged = errors.New("another etcd cluster answers, or the cluster was restored from a backup")
	errOutOfOrder    = errors.New("etcd sent an event of a revision that was complete already")
	errStreamEnded   = errors.New("the watch stream ended")
	errStreamSilent  = errors.New("etcd answers, but its watch stream is silent")
	errStreamBehind  = errors.New("the watch stream answers, but does not reach the revision of etcd's leader")
	errUnreachable   = errors.New("the connection to etcd stands, but nothing answers")
	errMissing       = errors.New("etcd holds another number of keys than its watch stream has told of")
)

// watching is one watch stream and what goes on beside it.
type watching struct {
	*Etcd
	client   *clientv3.Client
	apply    func(Batch)
	from     int64 // the revision that the stream begins at
	beside   sync.WaitGroup
	streams  chan clientv3.WatchChan // brings the stream once it is open
	stream   clientv3.WatchChan      // nil before
	opened   atomic.Bool
	doubts   chan error // from those beside, which end with the first one they have
	gathered *gathering
	gather   *time.Timer
	audit    audit
}

// watch follows the changes after the cursor until the stream breaks. It
// always returns an error, and never before what it gathered is delivered,
// unless ctx has ended.
func (e *Etcd) watch(ctx context.Context, client *clientv3.Client, apply func(Batch)) error {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	w := &watching{Etcd: e, client: client, apply: apply, from: e.cursor + 1,
		streams: make(chan clientv3.WatchChan, 1), doubts: make(chan error, 3),
		gathered: newGathering(e.cursor), gather: time.NewTimer(gatherLeast), audit: newAudit(e.auditDue)}
	w.gather.Stop()
	defer w.beside.Wait()
	defer cancel()
	defer w.gather.Stop()
	defer w.audit.due.Stop()
	e.metrics.watches.Inc()
	w.open(ctx)
	w.beside.Go(func() { w.listenForSilence(ctx) })
	w.beside.Go(func() { e.probe(ctx, client, w.doubts) })
	w.beside.Go(func() { w.compareHistories(ctx) })
	for {
		err := w.step(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			w.flush()
			return err
		}
	}
}

// open opens the stream, beside the rest: the call returns when etcd has
// answered, and a connection on which nothing flows may never bring the answer.
func (w *watching) open(ctx context.Context) {
	w.beside.Go(func() {
		stream := w.client.Watch(ctx, w.cfg.Root, clientv3.WithRange(w.end()), clientv3.WithRev(w.from),
			clientv3.WithFragment(), clientv3.WithProgressNotify(), clientv3.WithCreatedNotify())
		w.opened.Store(true)
		w.streams <- stream
	})
}

// step takes one thing that happens.
func (w *watching) step(ctx context.Context) error {
	select {
	case w.stream = <-w.streams:
	case response, open := <-w.stream:
		if !open {
			return errStreamEnded
		}
		return w.answer(ctx, &response)
	case <-w.gather.C:
		w.flush()
	case <-w.audit.due.C:
		w.beginAudit(ctx)
	case all := <-w.audit.listed:
		return w.endAudit(all)
	case err := <-w.doubts:
		return err
	case <-ctx.Done():
	}
	return nil
}

// answer takes one response of the stream.
func (w *watching) answer(ctx context.Context, response *clientv3.WatchResponse) error {
	idle := w.gathered.empty()
	if err := w.take(ctx, w.client, response, w.gathered, w.flush); err != nil {
		return err
	}
	if w.gathered.size() >= gatherAtMost {
		w.flush()
	} else if idle && !w.gathered.empty() {
		w.gather.Reset(gatherFor(w.took))
	}
	w.progress(response, w.gathered)
	return nil
}

// take adds one response's events to what is gathered, all or none. A response
// holds whole revisions only: the server sends a revision in one response, and
// the client puts the fragments of one together before we see it. An event of
// a revision that is complete already would break that rule, so it makes us
// list anew. Before and after a revision that is to be alone, flush delivers
// what was gathered.
func (e *Etcd) take(ctx context.Context, client *clientv3.Client, response *clientv3.WatchResponse, gathered *gathering, flush func()) error {
	if err := response.Err(); err != nil {
		return err
	}
	if err := e.sameSource(ctx, client, response.Header, gathered.seen); err != nil {
		return err
	}
	complete := gathered.seen
	for _, event := range response.Events {
		if event.Kv.ModRevision <= complete {
			return errOutOfOrder
		}
	}
	for events := response.Events; len(events) > 0; {
		n := 1
		for n < len(events) && events[n].Kv.ModRevision == events[0].Kv.ModRevision {
			n++
		}
		alone := e.changes(events[:n]) > mostTogether
		if alone {
			flush()
		}
		for _, event := range events[:n] {
			e.gather(event, gathered)
		}
		if alone {
			flush()
		}
		events = events[n:]
	}
	return nil
}

// changes counts the keys of ours that events change or delete. New ones do not count.
func (e *Etcd) changes(events []*clientv3.Event) (n int) {
	for _, event := range events {
		at, ours := e.place(event.Kv.Key)
		if ours && !at.mark && (event.Type == clientv3.EventTypeDelete || event.Kv.Version > 1) {
			n++
		}
	}
	return n
}

// progress takes note of an answer that leaves nothing to deliver: one without
// events says that nothing else has happened up to its revision, and one with
// foreign events only that nothing has up to theirs, so the cursor may move
// there. The answer to the opening of a watch says no such thing. Where a batch
// is being gathered it stands for the proof.
func (e *Etcd) progress(response *clientv3.WatchResponse, gathered *gathering) {
	if response.Created {
		return
	}
	e.retry.reset()
	if response.IsProgressNotify() && gathered.empty() && response.Header.Revision >= e.cursor {
		gathered.seen = response.Header.Revision
	} else if len(response.Events) == 0 {
		return
	}
	if gathered.empty() && gathered.seen >= e.cursor {
		e.move(gathered.seen, e.keys)
		e.track.proved(e.cursor)
	}
}

// flush delivers what was gathered and moves the cursor.
func (w *watching) flush() {
	if w.gathered.empty() {
		return
	}
	keys := w.keys + w.gathered.grown
	w.latest = w.gathered.latest
	batch, changes := w.gathered.drain()
	w.move(w.gathered.seen, keys)
	w.audit.note(changes)
	w.deliver(batch, w.apply)
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
