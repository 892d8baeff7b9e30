package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

const (
	// maxGranted bounds how many leases are remembered.
	maxGranted = 1 << 16
	// eventBytes is what an event takes in memory beside its key and value, about.
	eventBytes = 100
	// writeWait bounds how long one link may take to be written, all its questions to etcd included.
	writeWait = 3 * time.Minute
)

// link is the end of a chain, and what waits to be added to it.
type link struct {
	follower *follower
	chain    string
	cluster  string
	// seq, previous and revision are of the last link that is in the store.
	seq      int64
	previous string
	revision int64
	// covered is when etcd had nothing newer than what is in the store or waits.
	covered time.Time
	// head is the number of the last head, old are those to be removed.
	head int64
	old  []chain.Name

	waiting []chain.Event
	bytes   int
	// granted has what the leases of the chain were granted for, in seconds.
	granted map[int64]int64
}

// add has events wait, which are all of the revisions that they are of.
func (l *link) add(events []*clientv3.Event) {
	for _, e := range events {
		one := chain.Event{
			Delete: e.Type == clientv3.EventTypeDelete, Key: e.Kv.Key, Value: e.Kv.Value, Lease: e.Kv.Lease,
			CreateRevision: e.Kv.CreateRevision, ModRevision: e.Kv.ModRevision, Version: e.Kv.Version,
		}
		l.waiting = append(l.waiting, one)
		l.bytes += len(one.Key) + len(one.Value) + eventBytes
	}
}

// write puts what waits into the store, as the next delta, and then the head that tells of it. It is carried
// through when the context ends meanwhile.
func (l *link) write(ctx context.Context, last bool) error {
	f := l.follower
	if len(l.waiting) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeWait)
	defer cancel()
	d := &chain.Delta{
		DeltaHeader: chain.DeltaHeader{
			ID: l.chain, Seq: l.seq + 1, First: l.revision + 1, Last: l.waiting[len(l.waiting)-1].ModRevision,
			Previous: l.previous, Cluster: l.cluster, Written: time.Now().UTC().Truncate(time.Millisecond),
		},
		Events: l.waiting,
	}
	d.Leases = l.leases(ctx)
	if last || d.Seq%f.HashEvery == 0 {
		d.HashKV = l.hash(ctx, d.Last)
	}
	data, err := d.Encode()
	if err != nil {
		return fmt.Errorf("what etcd sent cannot be a link: %w", err)
	}
	if err := f.put(ctx, chain.DeltaName(l.chain, d.Seq), data); err != nil {
		return err
	}
	l.seq, l.previous, l.revision = d.Seq, d.SHA256, d.Last
	l.waiting, l.bytes = nil, 0
	f.status.Written += int64(len(data))
	return l.writeHead(ctx, d.HashKV)
}

// writeHead says how far the chain is, and removes the heads before.
func (l *link) writeHead(ctx context.Context, hash *chain.HashKV) error {
	f := l.follower
	h := &chain.Head{
		ID: l.chain, Number: l.head + 1, Seq: l.seq, SHA256: l.previous, Revision: l.revision,
		Covered: l.covered.UTC().Truncate(time.Millisecond), HashKV: hash,
	}
	data, err := h.Encode()
	if err != nil {
		return err
	}
	name := chain.HeadName(l.chain, h.Seq, h.Number)
	if err := f.put(ctx, name, data); err != nil {
		return err
	}
	l.head = h.Number
	for len(l.old) > 0 {
		if err := f.Store.Delete(ctx, chain.HeadName(l.chain, l.old[0].Seq, l.old[0].Number)); err != nil {
			return err
		}
		l.old = l.old[1:]
	}
	l.old = append(l.old, chain.ParseName(name))
	f.status.Chain, f.status.Deltas, f.status.Revision, f.status.Covered = l.chain, l.seq, l.revision, h.Covered
	f.tell(nil)
	return nil
}

// put writes an object that only the follower of a chain writes.
func (f *follower) put(ctx context.Context, name string, data []byte) error {
	err := store.PutBytes(ctx, f.Store, name, data)
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("%w: %w", ErrOther, err)
	}
	return err
}

// leases asks what new leases of waiting events were granted for. One that is gone has no answer, and
// then its keys will be gone soon as well.
func (l *link) leases(ctx context.Context) (leases []chain.Lease) {
	if len(l.granted) > maxGranted {
		clear(l.granted)
	}
	seen := map[int64]bool{}
	for i := range l.waiting {
		id := l.waiting[i].Lease
		if id == 0 || seen[id] {
			continue
		}
		seen[id] = true
		if l.granted[id] == 0 {
			answer, err := ask(ctx, askWait, func(ctx context.Context) (*clientv3.LeaseTimeToLiveResponse, error) {
				return l.follower.client.TimeToLive(ctx, clientv3.LeaseID(id))
			})
			if err == nil {
				l.granted[id] = max(0, answer.GrantedTTL)
			}
		}
		leases = append(leases, chain.Lease{ID: id, TTL: l.granted[id]})
	}
	return leases
}

// hash asks for the hash of the cluster at a revision; nil if nobody says it.
func (l *link) hash(ctx context.Context, revision int64) *chain.HashKV {
	hash, err := hashAt(ctx, l.follower.client, l.follower.Source.Endpoints, revision)
	if err != nil {
		l.follower.report("etcd does not say the hash of revision %d: %v", revision, err)
	}
	return hash
}
