package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/cmd/flags"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/router/admin"
	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// documents turns what a source delivers into published tables.
type documents struct {
	mu       sync.Mutex // guards the compiler
	compiler *compile.Compiler
	pins     *pinCache // nil: all pins are held
	guard    *guardWatch
	publish  func(*routing.Table)
	log      *zap.Logger
	drift    prometheus.Counter
	kind     string
	revision int64
	// first is closed when the first table has been published.
	first chan struct{}

	// unread says why nothing of the first list could be read; nil: something could.
	unread atomic.Pointer[string]

	faults  []routing.Problem // of the source, as told last
	panics  prometheus.Counter
	broken  bool         // the compiler knows only what is in force: nothing but a whole list helps
	changed bool         // the list of another source was given up, and the next one is its
	sources atomic.Int64 // counts the sources that another one came for
	stuck   bool         // the compiler has panicked and could not be rebuilt: nothing helps but a new start
	relist  func()       // has the source deliver a whole list soon
	// rebuild makes another compiler of one that has panicked: [compile.Compiler.Rebuilt].
	rebuild func(*compile.Compiler) (*compile.Compiler, error)
}

// apply compiles and publishes one batch.
func (d *documents) apply(batch discovery.Batch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck || d.broken && !batch.Whole {
		return // the list that is to come has it, or nothing can be done
	}
	if d.readsNothing(batch) {
		return
	}
	if d.pins != nil {
		d.pins.invalidate(&batch)
	}
	batch.SourceChanged = batch.SourceChanged || d.changed
	table, err := d.compile(func() (*routing.Table, error) { return d.guard.compile(d.compiler, d.update(batch), batch) })
	if err != nil {
		d.changed = batch.SourceChanged // and so the list that is to come is of another source, too
		d.failed(err, batch.Revision)
		return
	}
	d.broken, d.changed = false, false
	if batch.SourceChanged {
		d.sources.Add(1)
	}
	if moved := d.compiler.Moved(); batch.Audit && moved > 0 {
		d.drift.Add(float64(moved))
		d.log.Error("AN AUDIT FOUND DRIFT: etcd held other documents than its events had told of; they are in force now",
			zap.Int("documents", moved), zap.Int64("revision", batch.Revision))
	}
	d.publish(table)
	d.guard.look(table, batch.Revision)
	select {
	case <-d.first:
	default:
		close(d.first)
	}
}

// readsNothing says whether a batch is a first list of which nothing could be read, such as a folder
// whose one file is broken. That is no empty list: with it the router would be ready, and would
// answer everybody that nobody owns the host. So it waits, as for a source that is away.
func (d *documents) readsNothing(batch discovery.Batch) bool {
	if d.compiler.Last() != nil || !batch.Whole || len(batch.Put) > 0 || len(batch.Faults) == 0 {
		d.unread.Store(nil)
		return false
	}
	why := batch.Faults[0].Message
	d.unread.Store(&why)
	d.log.Error("nothing of the documents can be read: not ready until something can", zap.Int("faults", len(batch.Faults)),
		zap.String("origin", batch.Faults[0].Origin), zap.String("cause", why))
	return true
}

// accept puts into force what the guard holds, up to a revision. It is for sources that hold no
// marks, which routers of etcd are told by.
func (d *documents) accept(revision int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	table := d.compiler.Last()
	switch {
	case d.kind == "etcd":
		return errors.New("this router follows etcd, where all routers are told at once; write gridctl guard accept REVISION, without --router")
	case d.broken:
		return errors.New("this router cannot change what is in force, since an update has brought out a fault of gridrouter's: see /problems")
	case table == nil || table.Guard() == nil:
		return errors.New("this router holds nothing")
	case revision < table.Guard().Revision:
		return fmt.Errorf("what is held came up to revision %d; accept that", table.Guard().Revision)
	}
	table, err := d.compile(func() (*routing.Table, error) {
		d.guard.accepted = d.compiler.Last().Guard().Revision
		return d.compiler.Compile(compile.Update{Revision: d.revision, Faults: d.faults, Origin: d.kind, At: time.Now(), Accepted: d.guard.accepted})
	})
	if err != nil {
		d.failed(err, d.revision)
		return errors.New("gridrouter has a fault that this has brought out, and what is in force stays so; the router's log has more")
	}
	d.publish(table)
	d.guard.look(table, d.revision)
	return nil
}

// compile runs a compilation. An error is a fault of ours that some document brought out, and of
// which nobody knows how far it went. A panic before the compiler is called is one too.
func (d *documents) compile(with func() (*routing.Table, error)) (table *routing.Table, err error) {
	accepted := d.guard.accepted
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v\n%s", p, debug.Stack())
		}
		if err != nil {
			d.guard.accepted = accepted // or the whole list that is to come would pass by what did not
		}
	}()
	return with()
}

// failed leaves in force what is, gives the compiler up, and has everything listed anew for
// another one that stands where the table does. Where that fails too, it goes on in this way,
// less and less often: a document that is mended in the meantime ends it.
func (d *documents) failed(cause error, revision int64) {
	d.panics.Inc()
	d.log.Error("GRIDROUTER HAS A FAULT, which an update has brought out: what is in force stays so, and everything is listed anew; please report this",
		zap.Int64("revision", revision), zap.Error(cause))
	table := d.compiler.Last()
	next, err := d.rebuild(d.compiler)
	if err != nil {
		d.stuck = true // what the compiler knows may be anything: what is in force is the best there is
		d.log.Error("the compiler cannot be rebuilt from what is in force: NO CHANGE TAKES EFFECT until the router is started anew", zap.Error(err))
	} else {
		d.compiler = next
	}
	d.broken = true
	if table != nil {
		message, _, _ := strings.Cut(cause.Error(), "\n")
		if d.stuck {
			message += "; no change takes effect until the router is started anew"
		}
		d.publish(table.WithProblem(routing.Problem{
			Code: routing.ProblemUpdateFailed, Origin: d.kind, Revision: revision,
			Message: "gridrouter has a fault that an update has brought out (" + message + "): what is in force is from before it; the router's log has more",
		}))
	}
	d.relist()
}

// restored goes on from where a snapshot was made. What revision that was does not count:
// the source that answers next may be another. heldAfter is when began what the guard holds, if it does.
func (d *documents) restored(compiler *compile.Compiler, table *routing.Table, heldAfter int64) {
	d.compiler = compiler
	if heldAfter > 0 {
		d.guard.stamps.note(d.guard.now, heldAfter)
	}
	d.publish(table)
	d.guard.look(table, table.Revision())
	close(d.first)
}

// checkpoint returns what the compiler knows; nil: nothing yet.
func (d *documents) checkpoint() *compile.Checkpoint {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.stuck {
		return nil // the compiler may know anything; the last snapshot is of what is in force, or close to it
	}
	return d.compiler.Checkpoint()
}

func (d *documents) update(batch discovery.Batch) compile.Update {
	d.revision = d.newest(batch)
	update := compile.Update{
		Whole: batch.Whole, Revision: d.revision, SourceChanged: batch.SourceChanged,
		Origin:  d.kind,
		Changes: make([]compile.Change, 0, len(batch.Put)+len(batch.Deleted)),
	}
	update.At = time.Now()
	update.MayLookEmpty = batch.MayLookEmpty
	if batch.Whole {
		update.Listed = batch.Revision
	}
	for _, entry := range batch.Put {
		if entry.Origin == d.kind {
			entry.Origin = "" // as that of all: it costs nothing then
		}
		update.Changes = append(update.Changes, compile.Change{
			Key: entry.Key, Value: entry.Value, Revision: entry.Revision, Created: entry.Created, Origin: entry.Origin,
		})
	}
	update.Seen = d.seenEpochs(batch)
	for _, key := range batch.Deleted {
		update.Changes = append(update.Changes, compile.Change{Key: key, Deleted: true, Revision: batch.Revision})
	}
	defer func() { d.faults = update.Faults }()
	for _, fault := range batch.Faults {
		update.Faults = append(update.Faults, routing.Problem{Origin: fault.Origin, Code: routing.ProblemUnreadable, Message: fault.Message})
	}
	return update
}

// seenEpochs returns the epochs that other routers have seen, of what a batch brings of them.
func (d *documents) seenEpochs(batch discovery.Batch) (seen map[string]uint64) {
	for _, entry := range batch.Marks {
		if !strings.HasPrefix(entry.Key, catalog.EpochsFolder) {
			continue
		}
		epochs, err := catalog.DecodeEpochs(entry.Value)
		if err != nil {
			d.log.Warn("a record of epochs is ignored", zap.String("key", entry.Key), zap.Int64("revision", entry.Revision), zap.Error(err))
			continue
		}
		if seen == nil {
			seen = map[string]uint64{}
		}
		for name, epoch := range epochs {
			seen[name] = max(seen[name], epoch)
		}
	}
	return seen
}

// newest returns the newest revision of the documents themselves. A whole list from etcd
// bears the revision of all of etcd, which also rises when routers tell of themselves, and
// a batch may bring nothing but marks.
func (d *documents) newest(batch discovery.Batch) int64 {
	if d.kind != "etcd" || !batch.Whole && len(batch.Deleted) > 0 {
		return batch.Revision
	}
	newest := d.revision
	if batch.SourceChanged {
		newest = 0
	}
	for i := range batch.Put {
		newest = max(newest, batch.Put[i].Revision)
	}
	return newest
}

// apply applies a batch. The first list after a start from a snapshot may come from another
// etcd than the snapshot did.
func (s *service) apply(batch discovery.Batch) {
	s.snapshots.compare(&batch, s.source.Status())
	s.documents.apply(batch)
	s.snapshots.restored.Store(nil)
}

// checkpoint returns what there is to write down; nil: nothing.
func (s *service) checkpoint() *saved {
	if s.snapshots.restored.Load() != nil {
		return nil // what is in force was read from the snapshot
	}
	checkpoint := s.documents.checkpoint()
	if checkpoint == nil {
		return nil
	}
	now := savedTable(checkpoint, s.source.Status().Cluster)
	if held := s.documents.guard.held.Load(); held != nil {
		now.header.HeldAfter = held.Before
	}
	return now
}

// sourceStatus says how the source does, as the admin endpoints show it. Until the source
// has delivered, what is in force is as old as the snapshot that it came from.
func (s *service) sourceStatus() admin.SourceStatus {
	status := s.source.Status()
	if former := s.snapshots.restored.Load(); former != nil {
		status.Kind, status.Age = "snapshot", ageOf(former.Written, time.Now())
	}
	if why := s.documents.unread.Load(); why != nil && status.LastError == "" {
		status.LastError = "nothing of them can be read: " + *why
	}
	return admin.SourceStatus{
		Kind: status.Kind, Connected: status.Connected, Age: status.Age, Detail: status.Detail, LastError: status.LastError,
		Folder: s.flags.source.routes != "",
	}
}

// ageOf is how old something is that was written before this process began, by the wall clock,
// the only one that lasts. A clock that has stepped back makes nothing younger than now.
func ageOf(written, now time.Time) time.Duration { return max(0, now.Sub(written)) }

// announceAge is the precision of the age that is announced: the status is written whenever
// it differs, and must not differ all the time.
const announceAge = 10 * time.Second

// status returns the word of the moment.
func (s *service) status() []byte {
	status := s.sourceStatus()
	now := catalog.Status{
		ID: s.id, Address: reachable(s.addresses.data[0]), Admin: reachable(s.addresses.admin), Version: flags.BuildVersion(version),
		Source: status.Kind, AgeSeconds: status.Age.Truncate(announceAge).Seconds(), Started: s.started.UTC().Truncate(time.Second),
		Guard: s.documents.guard.held.Load(),
	}
	if t := s.router.Table(); t != nil {
		now.Revision, now.Hash, now.EffectiveHash, now.Problems = t.Revision(), t.Hash(), t.EffectiveHash(), t.Counts().Problems
	}
	text, err := json.Marshal(now)
	if err != nil { // plain values always have a JSON form
		return nil
	}
	return text
}

// recordEvery is how often the router looks whether there are epochs to write down.
const recordEvery = 2 * time.Second

// recordEpochs writes down the epochs that this router has seen of tenants that were set back, for routers that start
// now, and of those that were given up, for whoever makes them again. What fails is tried again, and told once in a row.
func (s *service) recordEpochs(ctx context.Context, client *clientv3.Client, log *zap.Logger) {
	grid := catalog.New(catalog.Config{Client: client, Prefix: s.flags.source.etcd.Prefix, Who: s.id})
	ticker := time.NewTicker(recordEvery)
	defer ticker.Stop()
	var recorded, given map[string]uint64
	sources := int64(0) // of which is what is recorded
	for failing := false; ; {
		if now := s.documents.sources.Load(); now != sources { // the other one knows nothing of it
			sources, recorded = now, nil
		}
		if t := s.router.Table(); t != nil && len(t.GivenUp()) > 0 && !maps.Equal(t.GivenUp(), given) && grid.RecordEpochs(ctx, t.GivenUp()) == nil {
			given = t.GivenUp()
		}
		if t := s.router.Table(); t != nil && len(t.Rewound()) > 0 && !maps.Equal(t.Rewound(), recorded) {
			switch err := grid.RecordEpochs(ctx, t.Rewound()); {
			case err == nil:
				recorded, failing = t.Rewound(), false
				log.Error("TENANTS WERE SET BACK in etcd, as by a restore from a backup: routers that have seen higher epochs keep what they have in force, and new ones answer tenant_invalid, until it is settled: gridctl restored",
					zap.Int("tenants", len(recorded)))
			case ctx.Err() == nil && !failing:
				failing = true
				log.Error("the epochs that this router has seen cannot be written to etcd: a router that starts now may serve tenants from other decks than this one", zap.Error(err))
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}
