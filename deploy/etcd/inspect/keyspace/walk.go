package keyspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Pace bounds how fast keys are gone through, and so what that costs the cluster.
type Pace struct {
	// Keys and Bytes are the most in a second; 0: 20,000 keys and 16 MiB. Bytes are of keys and values.
	Keys, Bytes int
	// Page is the most keys of one answer, 1 to 10,000; 0: 500.
	Page int
}

const (
	// pageTimeout bounds the wait for one page.
	pageTimeout = 30 * time.Second
	// pageBytes is how large an answer is meant to be. Values take up to 1.5 MiB each, so the first page with
	// values is of few keys.
	pageBytes = 1 << 20
	firstPage = 8
)

func (p *Pace) check() error {
	if p.Keys == 0 {
		p.Keys = 20_000
	}
	if p.Bytes == 0 {
		p.Bytes = 16 << 20
	}
	if p.Page == 0 {
		p.Page = 500
	}
	if p.Keys < 0 || p.Bytes < 0 {
		return fmt.Errorf("%d keys and %d bytes a second: a pace may not be negative", p.Keys, p.Bytes)
	}
	if p.Page < 1 || p.Page > 10_000 {
		return fmt.Errorf("pages of %d keys: they must be 1 to 10000", p.Page)
	}
	return nil
}

// meter holds who asks it to a pace.
type meter struct {
	pace  Pace
	began time.Time
	due   time.Duration // how long what was done should have taken
}

func newMeter(pace Pace) *meter { return &meter{pace: pace, began: time.Now()} }

// spent waits until so many keys and bytes more are within the pace, or ctx ends.
func (m *meter) spent(ctx context.Context, keys, bytes int) error {
	m.due += max(
		time.Duration(float64(keys)/float64(m.pace.Keys)*float64(time.Second)),
		time.Duration(float64(bytes)/float64(m.pace.Bytes)*float64(time.Second)))
	ahead := m.due - time.Since(m.began)
	if ahead <= 0 {
		if -ahead > time.Second { // what was slow for long may not be made up for at once
			m.began = time.Now().Add(-m.due)
		}
		return ctx.Err()
	}
	timer := time.NewTimer(ahead)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return ctx.Err()
	}
}

// walk goes through the keys under a prefix.
type walk struct {
	kv     clientv3.KV
	prefix string
	meter  *meter
	// values says whether a page is read with values; nil: never. Pages are counted from 0.
	values func(page int) bool
	// linearizable reads ask the whole cluster.
	linearizable bool

	// What was done: the revision of the first page and of the last, keys, and bytes read.
	revision, last int64
	keys           int64
	read           int64
}

// run shows all keys to visit, in order, at one revision. If that is compacted on the way, it goes on at the
// newest one; first and last differ then. Sized says whether the pair came with its value and lease.
func (w *walk) run(ctx context.Context, visit func(pair *mvccpb.KeyValue, sized bool) error) error {
	from, end := w.prefix, clientv3.GetPrefixRangeEnd(w.prefix)
	if w.prefix == "" {
		from, end = "\x00", "\x00" // all keys
	}
	limit := min(firstPage, w.meter.pace.Page)
	for page := 0; ; page++ {
		sized := w.values != nil && w.values(page)
		size := w.meter.pace.Page
		if sized {
			size = limit
		}
		answer, err := w.page(ctx, from, end, size, sized)
		if errors.Is(err, rpctypes.ErrCompacted) {
			w.last = 0
			answer, err = w.page(ctx, from, end, size, sized)
		}
		if err != nil {
			return fmt.Errorf("read keys from %q on: %w", from, err)
		}
		bytes, err := w.show(answer, sized, visit)
		if err != nil {
			return err
		}
		if sized && len(answer.Kvs) > 0 {
			mean := max(1, bytes/len(answer.Kvs))
			limit = max(1, min(w.meter.pace.Page, pageBytes/mean, 4*limit))
		}
		if !answer.More || len(answer.Kvs) == 0 {
			return nil
		}
		if err := w.meter.spent(ctx, len(answer.Kvs), bytes); err != nil {
			return err
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

func (w *walk) show(answer *clientv3.GetResponse, sized bool, visit func(*mvccpb.KeyValue, bool) error) (bytes int, err error) {
	for _, pair := range answer.Kvs {
		bytes += len(pair.Key) + len(pair.Value)
		if err := visit(pair, sized); err != nil {
			return bytes, err
		}
	}
	w.keys += int64(len(answer.Kvs))
	w.read += int64(bytes)
	return bytes, nil
}

// page reads a page, at the revision of the one before.
func (w *walk) page(ctx context.Context, from, end string, limit int, sized bool) (*clientv3.GetResponse, error) {
	options := []clientv3.OpOption{clientv3.WithRange(end), clientv3.WithLimit(int64(limit)), clientv3.WithRev(w.last)}
	if !sized {
		options = append(options, clientv3.WithKeysOnly())
	}
	if !w.linearizable {
		options = append(options, clientv3.WithSerializable())
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	answer, err := w.kv.Get(ctx, from, options...)
	if err != nil {
		return nil, err
	}
	if w.last == 0 {
		w.last = answer.Header.Revision
	}
	if w.revision == 0 {
		w.revision = w.last
	}
	return answer, nil
}
