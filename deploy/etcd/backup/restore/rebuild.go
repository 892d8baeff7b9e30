package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"go.etcd.io/etcd/pkg/v3/traceutil"
	"go.etcd.io/etcd/server/v3/lease"
	"go.etcd.io/etcd/server/v3/storage/backend"
	"go.etcd.io/etcd/server/v3/storage/mvcc"
	"go.etcd.io/etcd/server/v3/storage/schema"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"gridrouter.io/deploy/etcd/backup"
	"gridrouter.io/deploy/etcd/backup/chain"
)

// defaultTTL is of leases that were gone before etcd could be asked, in seconds.
const defaultTTL = 60

// reportEvery is after how many deltas progress is reported.
const reportEvery = 100

// quiet returns a logger for etcd's code, which would end the process where its data are damaged. It panics
// instead, which [Options.rebuild] turns into an error.
func quiet() *zap.Logger {
	return zap.NewNop().WithOptions(zap.WithFatalHook(zapcore.WriteThenPanic))
}

// rebuild makes a database of a chain, at the revision that is asked for.
func (o *Options) rebuild(ctx context.Context, c *backup.Chain, database string) (result Result, err error) {
	o.report("backup %s: reading the full backup of revision %d, %d bytes", c.ID, c.Manifest.Revision, c.Manifest.Size)
	if err := copyFull(ctx, c, database); err != nil {
		return Result{}, err
	}
	defer func() {
		if fault := recover(); fault != nil { // etcd's code panics where what it stored itself makes no sense
			err = &backup.DamageError{Object: chain.FullName(c.ID), Problem: fmt.Sprintf("etcd cannot use it: %v", fault)}
		}
	}()
	b := openDatabase(database, o.DefaultTTL)
	defer b.close()
	b.result = Result{ID: c.ID, Full: c.Manifest.Revision}
	if at := b.kv.Rev(); at != c.Manifest.Revision {
		return Result{}, &backup.DamageError{Object: chain.FullName(c.ID), Problem: fmt.Sprintf("it has revision %d, and its manifest says %d", at, c.Manifest.Revision)}
	}
	if err := b.compare(chain.FullName(c.ID), c.Manifest.HashKV); err != nil {
		return Result{}, err
	}
	upTo := o.Revision
	if upTo == 0 {
		upTo = int64(^uint64(0) >> 1)
	}
	err = c.ReadDeltas(ctx, upTo, func(d *chain.Delta) error {
		if d.Seq%reportEvery == 0 {
			o.report("delta %d, revision %d", d.Seq, d.Last)
		}
		return b.replay(ctx, d, upTo)
	})
	if err != nil {
		return Result{}, err
	}
	if at := b.kv.Rev(); o.Revision > at {
		return Result{}, fmt.Errorf("backup %s ends at revision %d, and revision %d is asked for: %w", c.ID, at, o.Revision, backup.ErrNone)
	}
	if head := c.Head; head != nil && head.Revision == b.kv.Rev() {
		if err := b.compare(chain.HeadName(c.ID, head.Seq, head.Number), head.HashKV); err != nil {
			return Result{}, err
		}
	}
	if n, err := b.dropAlarms(); err != nil {
		return Result{}, fmt.Errorf("remove the alarms of the old cluster: %w", err)
	} else if n > 0 {
		o.report("%d alarms of the old cluster are left out", n)
	}
	b.result.Revision, b.result.Keys = b.kv.Rev(), b.keys(ctx)
	if b.result.hash, _, err = b.kv.HashStorage().HashByRev(b.result.Revision); err != nil {
		return Result{}, fmt.Errorf("reckon the hash of revision %d: %w", b.result.Revision, err)
	}
	return b.result, nil
}

// copies is how often the database lies in the scratch folder at a time: as it is rebuilt, and in the data
// directory.
const copies = 2

func copyFull(ctx context.Context, c *backup.Chain, database string) error {
	dir, need := filepath.Dir(database), copies*c.Manifest.Size
	// Checked here, since etcd's code ends the process where its database cannot be written.
	if has, known := room(dir); known && has < need {
		return fmt.Errorf("%s has room for %d bytes, and the backup takes %d: %w", dir, has, need, syscall.ENOSPC)
	}
	file, err := os.OpenFile(database, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	err = c.ReadFull(ctx, file)
	if err == nil {
		err = file.Truncate(c.Manifest.Size - hashBytes)
	}
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	return err
}

// hashBytes is what etcd adds to a snapshot.
const hashBytes = 32

// open is a database that is written to as etcd does when it applies what its cluster agreed on.
type open struct {
	backend    backend.Backend
	lessor     lease.Lessor
	kv         mvcc.WatchableKV
	defaultTTL int64
	result     Result
}

func openDatabase(file string, ttl int64) *open {
	if ttl == 0 {
		ttl = defaultTTL
	}
	b := &open{defaultTTL: ttl}
	config := backend.DefaultBackendConfig(quiet())
	config.Path, config.UnsafeNoFsync = file, true // what a crash leaves of it is of no use anyway
	b.backend = backend.New(config)
	schema.CreateMetaBucket(b.backend.BatchTx())
	// A lessor that leads nobody lets no lease expire.
	b.lessor = lease.NewLessor(quiet(), b.backend, nil, lease.LessorConfig{})
	b.kv = mvcc.New(quiet(), b.backend, b.lessor, mvcc.StoreConfig{})
	return b
}

func (b *open) close() {
	_ = b.kv.Close()
	b.lessor.Stop()
	_ = b.backend.Close()
}

// replay writes the events of a delta up to a revision, and compares the hash where the delta has one.
func (b *open) replay(ctx context.Context, d *chain.Delta, upTo int64) error {
	b.result.Deltas++
	for _, l := range d.Leases {
		if err := b.grant(l); err != nil {
			return &backup.DamageError{Object: chain.DeltaName(d.ID, d.Seq), Problem: err.Error()}
		}
	}
	for first := 0; first < len(d.Events) && d.Events[first].ModRevision <= upTo; {
		if err := ctx.Err(); err != nil {
			return err
		}
		end := first
		for end < len(d.Events) && d.Events[end].ModRevision == d.Events[first].ModRevision {
			end++
		}
		if err := b.apply(d.Events[first:end]); err != nil {
			return &backup.DamageError{Object: chain.DeltaName(d.ID, d.Seq), Problem: err.Error()}
		}
		b.result.Events += end - first
		first = end
	}
	if b.kv.Rev() < d.Last {
		return nil // the hash is of a later revision
	}
	return b.compare(chain.DeltaName(d.ID, d.Seq), d.HashKV)
}

// grant makes a lease again that keys have, under its own ID. A client that still keeps it alive goes on with
// it; else its keys go when its time is over, which begins anew when the restored etcd elects a leader.
func (b *open) grant(l chain.Lease) error {
	if b.lessor.Lookup(lease.LeaseID(l.ID)) != nil {
		return nil
	}
	ttl := l.TTL
	if ttl == 0 {
		ttl = b.defaultTTL
	}
	if _, err := b.lessor.Grant(lease.LeaseID(l.ID), ttl); err != nil {
		return fmt.Errorf("lease %x: %w", l.ID, err)
	}
	return nil
}

// apply writes all events of one revision in one transaction. What comes out must be what etcd told.
func (b *open) apply(events []chain.Event) error {
	tx := b.kv.Write(traceutil.TODO())
	defer tx.End()
	revision := events[0].ModRevision
	if at := tx.Rev(); at+1 != revision {
		return fmt.Errorf("revision %d comes after %d", revision, at)
	}
	for i := range events {
		e := &events[i]
		if e.Delete {
			if n, _ := tx.DeleteRange(e.Key, nil); n != 1 {
				return fmt.Errorf("revision %d deletes a key that is not there", revision)
			}
			continue
		}
		if e.Lease != 0 && b.lessor.Lookup(lease.LeaseID(e.Lease)) == nil {
			return fmt.Errorf("a key of revision %d has the lease %x, which nothing tells of", revision, e.Lease)
		}
		tx.Put(e.Key, e.Value, lease.LeaseID(e.Lease))
		changes := tx.Changes()
		if is := changes[len(changes)-1]; is.CreateRevision != e.CreateRevision || is.Version != e.Version {
			return fmt.Errorf("a key of revision %d has version %d since revision %d, and etcd told %d since %d", revision, is.Version, is.CreateRevision, e.Version, e.CreateRevision)
		}
	}
	return nil
}

// compare holds the hash of all keys against what the old cluster said of the same revision, after the same
// compaction: superseded values count until they are compacted.
func (b *open) compare(object string, said *chain.HashKV) error {
	if said == nil {
		return nil
	}
	if said.Revision != b.kv.Rev() {
		return &backup.DamageError{Object: object, Problem: fmt.Sprintf("its hash is of revision %d, and it ends at %d", said.Revision, b.kv.Rev())}
	}
	is, _, err := b.kv.HashStorage().HashByRev(said.Revision)
	if err == nil && is.CompactRevision < said.CompactRevision {
		if err = b.compact(said.CompactRevision); err == nil {
			is, _, err = b.kv.HashStorage().HashByRev(said.Revision)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: reckon the hash of revision %d: %w", object, said.Revision, err)
	}
	if is.CompactRevision != said.CompactRevision {
		b.result.Incomparable++
		return nil
	}
	if is.Hash != said.Hash {
		return &backup.DamageError{Object: object, Problem: fmt.Sprintf("at revision %d the keys have the hash %d, and the cluster said %d", said.Revision, is.Hash, said.Hash)}
	}
	b.result.Compared++
	return nil
}

// compactWait bounds a compaction, which is of one database that nobody else uses.
const compactWait = time.Hour

func (b *open) compact(revision int64) error {
	done, err := b.kv.Compact(traceutil.TODO(), revision)
	if err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-time.After(compactWait):
		return errors.New("the compaction does not end")
	}
}

// dropAlarms removes alarms, which are of members that are no more: with them etcd would take no writes. Who has
// too little space raises its own.
func (b *open) dropAlarms() (int, error) {
	tx := b.backend.BatchTx()
	tx.LockOutsideApply()
	defer tx.Unlock()
	var alarms [][]byte
	tx.UnsafeCreateBucket(schema.Alarm)
	err := tx.UnsafeForEach(schema.Alarm, func(key, _ []byte) error {
		alarms = append(alarms, bytes.Clone(key))
		return nil
	})
	for _, alarm := range alarms {
		tx.UnsafeDelete(schema.Alarm, alarm)
	}
	return len(alarms), err
}

// keys counts the keys.
func (b *open) keys(ctx context.Context) int {
	all, err := b.kv.Range(ctx, []byte{0}, []byte{}, mvcc.RangeOptions{CountOnly: true})
	if err != nil {
		return 0
	}
	return all.Count
}
