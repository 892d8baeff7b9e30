package discovery

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// list reads everything under the root at one revision, applies it as a Whole
// batch, and moves the cursor there.
func (e *Etcd) list(ctx context.Context, client *clientv3.Client, apply func(Batch)) error {
	started := time.Now()
	entries, header, err := e.read(ctx, client)
	if err != nil {
		return fmt.Errorf("list %s: %w", e.cfg.Root, err)
	}
	batch := Batch{Whole: true, Revision: header.Revision, Put: entries}
	batch.SourceChanged = e.cursor > 0 && (header.ClusterId != e.clusterID || header.Revision < e.cursor)
	if batch.SourceChanged {
		e.metrics.changes.Inc()
		e.log.Error("ANOTHER ETCD ANSWERS: the cluster was replaced, or restored from a backup; taking over what it holds",
			zap.String("root", e.cfg.Root),
			zap.String("cluster", clusterName(header.ClusterId)), zap.String("formerCluster", clusterName(e.clusterID)),
			zap.Int64("revision", header.Revision), zap.Int64("formerRevision", e.cursor))
	}
	e.clusterID, e.cursor = header.ClusterId, header.Revision
	e.metrics.lists.WithLabelValues(e.listFor).Inc()
	e.log.Info("listed everything in etcd", zap.String("root", e.cfg.Root), zap.String("because", e.listFor),
		zap.Int("entries", len(entries)), zap.Int64("revision", header.Revision), zap.Duration("took", time.Since(started)))
	e.listFor = ""
	e.deliver(batch, apply)
	return nil
}

// deliver hands one batch to the receiver. The contact proves that we were up
// to date, since the batch came from a list or from this very stream.
func (e *Etcd) deliver(batch Batch, apply func(Batch)) {
	apply(batch)
	e.metrics.delivered(batch)
	e.track.proved(batch.Revision)
}

// read lists by stream where the server can, else by pages.
func (e *Etcd) read(ctx context.Context, client *clientv3.Client) ([]Entry, *pb.ResponseHeader, error) {
	if e.cfg.PageSize > 0 {
		return e.readPages(ctx, client, e.cfg.PageSize)
	}
	if !e.noStream {
		entries, header, err := e.readStream(ctx, client)
		if status.Code(err) != codes.Unimplemented {
			return entries, header, err
		}
		e.noStream = true
	}
	return e.readPages(ctx, client, defaultPageSize)
}

// readStream lists in one streamed call, which the server answers at one
// revision. Only the last piece carries a header: a stream without one was cut.
func (e *Etcd) readStream(ctx context.Context, client *clientv3.Client) ([]Entry, *pb.ResponseHeader, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	patience := time.AfterFunc(e.cfg.CallTimeout, cancel)
	defer patience.Stop()
	stream, err := client.GetStream(ctx, e.cfg.Root, clientv3.WithPrefix())
	if err != nil {
		return nil, nil, e.impatient(ctx, err)
	}
	var entries []Entry
	var last *pb.RangeResponse
	for piece := range stream { // to its end in any case: else its sender would wait for ever
		if err == nil {
			err = piece.Err()
		}
		if err == nil {
			patience.Reset(e.cfg.CallTimeout)
			entries = e.appendEntries(entries, piece.Kvs)
			last = piece.RangeResponse
		}
	}
	switch {
	case err != nil:
		return nil, nil, e.impatient(ctx, err)
	case last == nil || last.Header == nil || last.Count != int64(len(entries)):
		return nil, nil, errors.New("the streamed list ended before its time")
	}
	return entries, last.Header, nil
}

// impatient says that our own patience ended a call, where it did: what the
// call returns then is no more than "canceled".
func (e *Etcd) impatient(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.DeadlineExceeded
	}
	return err
}

// readPages lists page by page. The first page fixes the revision of all.
func (e *Etcd) readPages(ctx context.Context, client *clientv3.Client, size int) ([]Entry, *pb.ResponseHeader, error) {
	var entries []Entry
	var header *pb.ResponseHeader
	from, end := e.cfg.Root, clientv3.GetPrefixRangeEnd(e.cfg.Root)
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(size))}
	for {
		page, err := e.readPage(ctx, client, from, options)
		if err != nil {
			return nil, nil, err
		}
		if header == nil {
			header = page.Header
			options = append(options, clientv3.WithRev(header.Revision))
		} else if page.Header.ClusterId != header.ClusterId {
			return nil, nil, errSourceChanged
		}
		entries = e.appendEntries(entries, page.Kvs)
		if !page.More || len(page.Kvs) == 0 {
			return entries, header, nil
		}
		from = string(page.Kvs[len(page.Kvs)-1].Key) + "\x00"
	}
}

func (e *Etcd) readPage(ctx context.Context, client *clientv3.Client, from string, options []clientv3.OpOption) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, e.cfg.CallTimeout)
	defer cancel()
	return client.Get(ctx, from, options...)
}

func (e *Etcd) appendEntries(entries []Entry, pairs []*mvccpb.KeyValue) []Entry {
	for _, pair := range pairs {
		entries = append(entries, e.entry(pair))
	}
	return entries
}

func (e *Etcd) entry(pair *mvccpb.KeyValue) Entry {
	return Entry{
		Key:      e.relative(pair),
		Value:    pair.Value,
		Revision: pair.ModRevision,
		Created:  pair.CreateRevision,
		Origin:   kindEtcd,
	}
}

func (e *Etcd) relative(pair *mvccpb.KeyValue) string {
	return string(pair.Key[len(e.cfg.Root):])
}

func clusterName(id uint64) string { return fmt.Sprintf("%x", id) }
