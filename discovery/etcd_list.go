package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// listing is everything at one revision.
type listing struct {
	put, marks []Entry
	latest     latest
	pairs      int64 // as they came, foreign ones too
	header     *pb.ResponseHeader
}

// list reads everything under the root at one revision, applies it as a Whole
// batch, and moves the cursor there.
func (e *Etcd) list(ctx context.Context, client *clientv3.Client, apply func(Batch)) error {
	started := time.Now()
	all, err := e.read(ctx, client, 0)
	if err != nil {
		return fmt.Errorf("list %s: %w", e.cfg.Root, err)
	}
	header := all.header
	batch := Batch{Whole: true, Revision: header.Revision, Put: all.put, Marks: all.marks}
	batch.SourceChanged = e.cursor > 0 && (header.ClusterId != e.clusterID || header.Revision < e.cursor || e.rewound)
	if batch.SourceChanged {
		e.metrics.changes.Inc()
		e.log.Error("ANOTHER ETCD ANSWERS: the cluster was replaced, or restored from a backup; taking over what it holds",
			zap.String("root", e.cfg.Root),
			zap.String("cluster", clusterName(header.ClusterId)), zap.String("formerCluster", clusterName(e.clusterID)),
			zap.Int64("revision", header.Revision), zap.Int64("formerRevision", e.cursor))
	}
	e.clusterID = header.ClusterId
	e.track.located(clusterName(header.ClusterId))
	e.latest = all.latest
	e.move(header.Revision, int64(len(all.put)))
	e.auditDue = time.Now().Add(around(e.cfg.AuditEvery))
	e.metrics.lists.WithLabelValues(e.listFor).Inc()
	e.log.Info("listed everything in etcd", zap.String("root", e.cfg.Root), zap.String("because", e.listFor),
		zap.Int("entries", len(all.put)), zap.Int64("revision", header.Revision), zap.Duration("took", time.Since(started)))
	e.listFor, e.rewound = "", false
	e.deliver(batch, apply)
	return nil
}

// move sets the cursor, and lets those who look on from beside know of it.
func (e *Etcd) move(revision, keys int64) {
	e.cursor, e.keys = revision, keys
	e.position.Store(&position{revision: revision, keys: keys, latest: e.latest})
}

// deliver hands one batch to the receiver. The contact proves that we were up
// to date, since the batch came from a list or from this very stream.
func (e *Etcd) deliver(batch Batch, apply func(Batch)) {
	e.applying.Store(true)
	begun := time.Now()
	apply(batch)
	e.took = time.Since(begun)
	e.applying.Store(false)
	if batch.Whole {
		e.took = 0 // it says nothing of what a change takes
	}
	e.metrics.delivered(batch)
	e.track.proved(e.cursor)
}

// read lists by stream where the server can, else by pages. Revision 0 stands
// for the present one.
func (e *Etcd) read(ctx context.Context, client *clientv3.Client, revision int64) (*listing, error) {
	if e.cfg.PageSize > 0 {
		return e.readPages(ctx, client, revision, e.cfg.PageSize)
	}
	if !e.noStream.Load() {
		all, err := e.readStream(ctx, client, revision)
		if status.Code(err) != codes.Unimplemented {
			return all, err
		}
		e.noStream.Store(true)
	}
	return e.readPages(ctx, client, revision, defaultPageSize)
}

// readStream lists in one streamed call, which the server answers at one
// revision. Only the last piece carries a header: a stream without one was cut.
func (e *Etcd) readStream(ctx context.Context, client *clientv3.Client, revision int64) (*listing, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timeout := time.AfterFunc(e.cfg.CallTimeout, cancel)
	defer timeout.Stop()
	stream, err := client.GetStream(ctx, e.cfg.Root, clientv3.WithRange(e.end()), clientv3.WithRev(revision))
	if err != nil {
		return nil, e.timeoutOr(ctx, err)
	}
	all := &listing{}
	var last *pb.RangeResponse
	for piece := range stream { // to its end in any case: else its sender would wait for ever
		if err == nil {
			err = piece.Err()
		}
		if err == nil {
			timeout.Reset(e.cfg.CallTimeout)
			e.collect(all, piece.Kvs)
			last = piece.RangeResponse
		}
	}
	switch {
	case err != nil:
		return nil, e.timeoutOr(ctx, err)
	case last == nil || last.Header == nil || last.Count != all.pairs:
		return nil, errors.New("the streamed list ended before its time")
	}
	all.header = last.Header
	return all, nil
}

// timeoutOr returns the error of a call that has failed: a timeout where our own timer has ended it,
// since all that the call returns then is "canceled".
func (e *Etcd) timeoutOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.DeadlineExceeded
	}
	return err
}

// readPages lists page by page. The first page fixes the revision of all.
func (e *Etcd) readPages(ctx context.Context, client *clientv3.Client, revision int64, size int) (*listing, error) {
	all := &listing{}
	from := e.cfg.Root
	for {
		page, err := e.readPage(ctx, client, from, clientv3.WithRange(e.end()), clientv3.WithLimit(int64(size)), clientv3.WithRev(revision))
		if err != nil {
			return nil, err
		}
		if all.header == nil {
			all.header = page.Header
			if revision == 0 {
				revision = page.Header.Revision
			}
		} else if page.Header.ClusterId != all.header.ClusterId {
			return nil, errSourceChanged
		}
		e.collect(all, page.Kvs)
		if !page.More || len(page.Kvs) == 0 {
			return all, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (e *Etcd) readPage(ctx context.Context, client *clientv3.Client, from string, options ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	return client.Get(ctx, from, options...)
}

// collect adds pairs to a listing, those that are ours.
func (e *Etcd) collect(all *listing, pairs []*mvccpb.KeyValue) {
	all.pairs += int64(len(pairs))
	if cap(all.put)-len(all.put) < len(pairs) { // append grows a long list by a quarter, and copies it ten times
		all.put = slices.Grow(all.put, max(len(pairs), len(all.put)))
	}
	for _, pair := range pairs {
		at, ours := e.place(pair.Key)
		if ours && pair.ModRevision > all.latest.revision {
			all.latest = latest{key: string(pair.Key), revision: pair.ModRevision}
		}
		switch {
		case !ours:
		case at.mark:
			all.marks = append(all.marks, newEntry(at, pair))
		default:
			all.put = append(all.put, newEntry(at, pair))
		}
	}
}

func clusterName(id uint64) string { return fmt.Sprintf("%x", id) }
