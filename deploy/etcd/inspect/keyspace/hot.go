package keyspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// note stands in every result about hot keys.
const note = "writes and deletions are counted; etcd does not tell which keys are read"

// HotOptions say which keys are looked at, and for how long.
type HotOptions struct {
	// Prefix is that of the keys; empty: all.
	Prefix string
	// For is how long, from 10 ms to an hour.
	For time.Duration
	// Top is the length of the list, 1 to 50; 0: 20.
	Top int
	// Room is for how many keys changes are counted at once, 100 to 1,000,000; 0: 10,000. Of n changes in all,
	// a count is too high by n/Room at most. It takes some 200 bytes a key, and the keys.
	Room int
	// Pace bounds the walk of [Growth]. A watch cannot be slowed down.
	Pace Pace
}

// HotKey is a key that changes often.
type HotKey struct {
	// Key is the key for people (see brief.Key).
	Key string `json:"key"`
	// Changes is how often it changed, at most; TooMany is by how much that may be too high.
	Changes int64 `json:"changes"`
	TooMany int64 `json:"tooMany,omitempty"`
	// PerSecond is Changes by the time.
	PerSecond float64 `json:"perSecond"`
}

// Hot is which keys change most.
type Hot struct {
	Prefix string `json:"prefix"`
	// FromRevision and ToRevision bound the changes that were looked at, both included.
	FromRevision int64 `json:"fromRevision"`
	ToRevision   int64 `json:"toRevision"`
	// Seconds is how long it was looked at.
	Seconds float64 `json:"seconds"`
	// Changes are those of all keys, ValueBytes what they wrote; 0: not known.
	Changes    int64 `json:"changes"`
	ValueBytes int64 `json:"valueBytes,omitempty"`
	// Top are those that changed most.
	Top []HotKey `json:"top"`
	// Note says what is not in it.
	Note string `json:"note"`
}

func (o *HotOptions) check() error {
	if o.Top == 0 {
		o.Top = 20
	}
	if o.Room == 0 {
		o.Room = 10_000
	}
	if o.For < 10*time.Millisecond || o.For > time.Hour {
		return fmt.Errorf("keys are looked at for %s: it must be from 10ms to 1h", o.For)
	}
	if o.Top < 1 || o.Top > 50 {
		return fmt.Errorf("a list of %d keys: it must be 1 to 50", o.Top)
	}
	if o.Room < 100 || o.Room > 1_000_000 {
		return fmt.Errorf("room for %d keys: it must be 100 to 1000000", o.Room)
	}
	return o.Pace.check()
}

// HotKeys watches the keys under a prefix for a time, and returns those that changed most. The member that is
// watched sends all changes meanwhile, with their values: ask one follower. Reads are not seen by a watch.
func HotKeys(ctx context.Context, client *clientv3.Client, options HotOptions) (Hot, error) {
	if err := options.check(); err != nil {
		return Hot{}, err
	}
	seen, hot := newHeavy(options.Room), Hot{}
	watching, stop := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer stop()
	opening := time.AfterFunc(pageTimeout, stop) // until etcd answers, Watch itself does not return
	defer opening.Stop()
	events := client.Watch(watching, options.Prefix, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	var over <-chan time.Time
	var began time.Time
	for {
		select {
		case <-over:
			hot.finish(options, seen, time.Since(began))
			return hot, hot.fit()
		case answer, open := <-events:
			if err := ended(ctx, answer, open); err != nil {
				return Hot{}, err
			}
			if answer.Created {
				opening.Stop()
				timer := time.NewTimer(options.For)
				defer timer.Stop()
				over, began = timer.C, time.Now()
				hot.FromRevision = answer.Header.Revision + 1
			}
			hot.ToRevision = max(hot.ToRevision, answer.Header.Revision)
			for _, event := range answer.Events {
				hot.ValueBytes += int64(len(event.Kv.Value))
				seen.add(string(event.Kv.Key), 1)
			}
		}
	}
}

func ended(ctx context.Context, answer clientv3.WatchResponse, open bool) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case !open:
		return errors.New("watch keys: the watch ended")
	case answer.Err() != nil:
		return fmt.Errorf("watch keys: %w", answer.Err())
	}
	return nil
}

func (h *Hot) finish(options HotOptions, seen *heavy, took time.Duration) {
	h.Prefix, h.Note, h.Changes = brief.Key([]byte(options.Prefix)), note, seen.total
	h.Seconds, h.Top = took.Seconds(), []HotKey{}
	for _, one := range seen.top(options.Top) {
		h.Top = append(h.Top, HotKey{
			Key: brief.Key([]byte(one.key)), Changes: one.count, TooMany: one.wrong,
			PerSecond: float64(one.count) / max(h.Seconds, 0.001),
		})
	}
}

func (h *Hot) fit() error { return brief.Fit(h, func() bool { return brief.DropLast(&h.Top) }) }

// Growth finds the keys that changed most without a watch: it waits, goes through the keys once, and looks by
// how much the version of those that changed since the beginning has grown. It costs a walk over all keys,
// without their values, and one read of each key that changed. Keys that were deleted are not seen; of one
// that was deleted and created anew, what was before is not. If the beginning is compacted meanwhile, it is an
// error. Ask one follower.
func Growth(ctx context.Context, kv clientv3.KV, options HotOptions) (Hot, error) {
	if err := options.check(); err != nil {
		return Hot{}, err
	}
	first, err := kv.Get(ctx, options.Prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1), clientv3.WithSerializable())
	if err != nil {
		return Hot{}, err
	}
	began, from := time.Now(), first.Header.Revision
	timer := time.NewTimer(options.For)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return Hot{}, ctx.Err()
	case <-timer.C:
	}
	took := time.Since(began)
	seen := newHeavy(options.Room)
	w := &walk{kv: kv, prefix: options.Prefix, meter: newMeter(options.Pace)}
	err = w.run(ctx, func(pair *mvccpb.KeyValue, _ bool) error {
		if pair.ModRevision <= from {
			return nil
		}
		grown, err := grownBy(ctx, kv, pair, from)
		seen.add(string(pair.Key), grown)
		return errors.Join(err, w.meter.spent(ctx, 1, len(pair.Key)))
	})
	if err != nil {
		return Hot{}, err
	}
	hot := Hot{FromRevision: from + 1, ToRevision: w.last}
	hot.finish(options, seen, took)
	return hot, hot.fit()
}

// grownBy is how often a key was written since a revision.
func grownBy(ctx context.Context, kv clientv3.KV, pair *mvccpb.KeyValue, since int64) (int64, error) {
	if pair.CreateRevision > since {
		return pair.Version, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageTimeout)
	defer cancel()
	was, err := kv.Get(ctx, string(pair.Key), clientv3.WithRev(since), clientv3.WithKeysOnly(), clientv3.WithSerializable())
	if errors.Is(err, rpctypes.ErrCompacted) {
		return 0, fmt.Errorf("revision %d, at which it began, was compacted: look for a shorter time, or watch instead", since)
	}
	if err != nil || len(was.Kvs) == 0 {
		return pair.Version, err
	}
	return pair.Version - was.Kvs[0].Version, nil
}
