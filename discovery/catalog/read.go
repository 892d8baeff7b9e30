package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// maxOps is the most operations, and the most comparisons, of one transaction: etcd's default.
const maxOps = 128

// Keys a page: documents may be large, claims and bare keys are small.
const (
	documentPage = 1_000
	keyPage      = 10_000
)

// snapshot reads etcd as it stood at one revision: that of its first read.
type snapshot struct {
	*Catalog
	revision int64
}

// at returns the option that holds a read to the revision.
func (s *snapshot) options(more ...clientv3.OpOption) []clientv3.OpOption {
	if s.revision != 0 {
		more = append(more, clientv3.WithRev(s.revision))
	}
	return more
}

// settle remembers the revision of the first read.
func (s *snapshot) settle(header int64) {
	if s.revision == 0 {
		s.revision = header
	}
}

// mend explains why a revision cannot be read any more.
func (s *snapshot) mend(err error) error {
	if errors.Is(err, rpctypes.ErrCompacted) {
		return fmt.Errorf("etcd has compacted revision %d, which was being read; run the same command again", s.revision)
	}
	return err
}

// scan hands everything under prefix to page, in the order of keys, some at a time.
func (s *snapshot) scan(ctx context.Context, prefix string, size int64, page func([]*mvccpb.KeyValue) error, more ...clientv3.OpOption) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	for from := prefix; ; {
		opts := append([]clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(size)}, more...)
		answer, err := s.get(ctx, from, s.options(opts...)...)
		if err != nil {
			return s.mend(err)
		}
		s.settle(answer.Header.Revision)
		if err := page(answer.Kvs); err != nil {
			return err
		}
		if !answer.More || len(answer.Kvs) == 0 {
			return nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

// many runs one read for each key, a transaction's worth at a time, and hands what
// each found to found, in the order of keys.
func (s *snapshot) many(ctx context.Context, keys []string, read func(key string) clientv3.Op, found func(key string, kvs []*mvccpb.KeyValue)) error {
	for part := range slices.Chunk(keys, maxOps) {
		ops := make([]clientv3.Op, len(part))
		for i, key := range part {
			ops[i] = read(key)
		}
		answer, err := s.txn(ctx, nil, ops, nil)
		if err != nil {
			return s.mend(err)
		}
		s.settle(answer.Header.Revision)
		for i, response := range answer.Responses {
			found(part[i], response.GetResponseRange().Kvs)
		}
	}
	return nil
}

// keys reads single keys, relative to folder; those that do not exist are not found.
func (s *snapshot) keys(ctx context.Context, folder string, names []string, found func(name string, kv *mvccpb.KeyValue)) error {
	read := func(name string) clientv3.Op { return clientv3.OpGet(folder+name, s.options()...) }
	return s.many(ctx, names, read, func(name string, kvs []*mvccpb.KeyValue) {
		if len(kvs) > 0 {
			found(name, kvs[0])
		}
	})
}

// newestRecords reads the number of the newest change record of each document.
func (s *snapshot) newestRecords(ctx context.Context, documents []string, found func(key string, number int64)) error {
	read := func(key string) clientv3.Op {
		return clientv3.OpGet(s.at.records(key), s.options(clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))...)
	}
	return s.many(ctx, documents, read, func(key string, kvs []*mvccpb.KeyValue) {
		for _, kv := range kvs {
			if number, err := recordNumber(strings.TrimPrefix(string(kv.Key), s.at.records(key))); err == nil {
				found(key, number)
				return
			}
		}
	})
}

// recordNumber reads the last part of a change record's key.
func recordNumber(text string) (int64, error) {
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number <= 0 {
		return 0, fmt.Errorf("%q is not the number of a change record", text)
	}
	return number, nil
}
