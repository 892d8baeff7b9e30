package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing/document"
)

// PlanDiscard returns what it takes to put the documents back as they were before a mass
// change that routers hold: a plan like any other, which [Catalog.Apply] carries out.
//
// The change is all that was written up to revision and after the revision that the
// routers which hold it count against; if no router tells one, after the revision
// before. That is the one before the change, if it was one; if it was many within the guard's
// window, the one at its beginning. A document that is gone comes back as it was when it was
// deleted, whatever was acknowledged before that. What others were then is read from etcd's own history, and where etcd has
// compacted that, from the change records. Of what differs today
//
//   - documents that are gone come back, of whatever kind,
//   - tenants with other rules get their earlier form back, and pins of any tenant theirs,
//   - all else stays, and so does what was written after revision.
//
// A tenant that is gone, and comes back with all that it was by etcd's history, comes back byte
// for byte, its epoch included: the routers that hold it never had another
// form. Any other tenant gets an epoch above all that it is known to have had, as by a
// rollback. The rules for new documents hold, but that a draining deck may get back what it had.
//
// What cannot be put back is told in the plan's notes. No mark is written: what is back
// is not held any more, and what is not back stays held.
func (c *Catalog) PlanDiscard(ctx context.Context, revision int64, options Options) (*Plan, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	if options.Why == "" {
		options.Why = fmt.Sprintf("discard what the guard holds up to revision %d", revision)
	}
	d := &discard{snapshot: &snapshot{Catalog: c}, until: revision, present: map[string]int64{}, later: map[string]bool{}, former: map[string][]byte{}}
	for _, step := range []func(context.Context) error{d.readSpan, d.readPresent, d.readFormer, d.readDeletions, d.leaveNewer} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	docs, err := d.choose(ctx)
	if err != nil {
		return nil, err
	}
	w := newWorld()
	w.restoring = true
	if err := refused(w.admit(docs)); err != nil {
		return nil, err
	}
	d.markVerbatim(w)
	if err := d.gather(ctx, w); err != nil {
		return nil, err
	}
	if err := refused(w.check()); err != nil {
		return nil, err
	}
	p := newPlanner(c, w, options)
	if err := p.pack(p.units()); err != nil {
		return nil, err
	}
	plan := p.plan()
	plan.Notes = append(plan.Notes, d.notes()...)
	return plan, nil
}

// discard is what is known of a change that is to be undone.
type discard struct {
	*snapshot     // today
	before, until int64
	present       map[string]int64  // document -> revision of its stored form
	former        map[string][]byte // documents whose form was another before -> that form
	later         map[string]bool   // documents that were written or deleted after until
	fromRecords   bool              // not from etcd's history
	left          []string          // what is not put back, and why
	alone         bool              // no router tells when the change began
}

// readSpan finds out after which revision the change began.
func (d *discard) readSpan(ctx context.Context) error {
	members, err := d.holders(ctx)
	if err != nil {
		return err
	}
	if d.until <= 1 || d.until > d.revision {
		return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
			"%d is no revision of a change: etcd has come to revision %d; gridctl guard shows what is held", d.until, d.revision)}})
	}
	d.before, d.alone = d.until-1, true
	for i := range members {
		held := members[i].Guard
		if held != nil && held.Before > 0 && held.Before < held.Revision && held.Revision <= d.until {
			d.before, d.alone = min(d.before, held.Before), false
		}
	}
	return nil
}

func (d *discard) readPresent(ctx context.Context) error {
	return d.scan(ctx, d.at.docs(), keyPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			d.present[strings.TrimPrefix(string(kv.Key), d.at.docs())] = kv.ModRevision
		}
		return nil
	}, clientv3.WithKeysOnly())
}

// readFormer reads what the documents that differ today were before the change.
func (d *discard) readFormer(ctx context.Context) error {
	then := &snapshot{Catalog: d.Catalog, revision: d.before}
	end := clientv3.GetPrefixRangeEnd(d.at.docs())
	for from := d.at.docs(); ; {
		answer, err := d.get(ctx, from, then.options(clientv3.WithRange(end), clientv3.WithLimit(documentPage))...)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			d.fromRecords, d.former = true, map[string][]byte{}
			return d.readRecorded(ctx)
		case err != nil:
			return err
		}
		for _, kv := range answer.Kvs {
			if key := strings.TrimPrefix(string(kv.Key), d.at.docs()); d.present[key] != kv.ModRevision {
				d.former[key] = kv.Value
			}
		}
		if !answer.More || len(answer.Kvs) == 0 {
			return nil
		}
		from = string(answer.Kvs[len(answer.Kvs)-1].Key) + "\x00"
	}
}

// deletionPoll is how often etcd is asked whether all of a span has been told.
const deletionPoll = 50 * time.Millisecond

// readDeletions reads, from etcd's own history, what documents were at the moment when they were
// deleted: also those that came, or were changed, after the span began, which was acknowledged and
// in force.
func (d *discard) readDeletions(ctx context.Context) error {
	if d.fromRecords {
		return nil
	}
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), max(d.timeout, time.Minute))
	defer cancel()
	events := d.client.Watch(ctx, d.at.docs(), clientv3.WithPrefix(), clientv3.WithRev(d.before+1), clientv3.WithPrevKV(), clientv3.WithFragment())
	ticker := time.NewTicker(deletionPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = d.client.RequestProgress(ctx) // it is asked again
		case answer, open := <-events:
			switch {
			case answer.CompactRevision != 0: // since it was listed
				return fmt.Errorf("etcd has compacted revision %d, which was being read; run the same command again", d.before)
			case answer.Err() != nil:
				return d.mend(answer.Err())
			case !open:
				return context.Cause(ctx)
			}
			for _, event := range answer.Events {
				switch at := event.Kv.ModRevision; {
				case at > d.revision:
					return nil
				case at > d.until: // whoever did that, also where no record tells of it
					d.later[strings.TrimPrefix(string(event.Kv.Key), d.at.docs())] = true
				default:
					d.take(event)
				}
			}
			if answer.IsProgressNotify() && answer.Header.Revision >= d.revision {
				return nil
			}
		}
	}
}

// take notes the form of a document as of its last deletion in the span: that of one that is gone,
// and that of one that an earlier discard has put back, or it would go back to what it was before
// changes that were acknowledged and in force.
func (d *discard) take(event *clientv3.Event) {
	key := strings.TrimPrefix(string(event.Kv.Key), d.at.docs())
	if event.Type == clientv3.EventTypeDelete && event.PrevKv != nil {
		d.former[key] = event.PrevKv.Value
	}
}

// recorded is which change records of a document there are.
type recorded struct {
	first         int64 // number of the oldest one within the change; 0: none
	newest, wrote int64 // number of the newest one, and its revision
}

// readRecorded is readFormer by the change records. A record within the change knows the
// form before it. Where there is none, the change was made by other means, and the newest record before
// it knows the form that it left.
func (d *discard) readRecorded(ctx context.Context) error {
	records := map[string]recorded{}
	err := d.scan(ctx, d.at.changes(), keyPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			name := strings.TrimPrefix(string(kv.Key), d.at.changes())
			cut := strings.LastIndexByte(name, '/')
			number, err := recordNumber(name[cut+1:])
			if cut < 0 || err != nil {
				continue
			}
			r := records[name[:cut]] // they come in the order of their numbers
			if r.first == 0 && kv.ModRevision > d.before && kv.ModRevision <= d.until {
				r.first = number
			}
			r.newest, r.wrote = number, kv.ModRevision
			records[name[:cut]] = r
		}
		return nil
	}, clientv3.WithKeysOnly())
	if err != nil {
		return err
	}
	wanted := map[string]int64{} // document -> number of the record that knows
	for key, r := range records {
		written, there := d.present[key]
		switch {
		case r.first != 0:
			wanted[key] = r.first
		case r.wrote <= d.before && (!there || written > d.before):
			wanted[key] = r.newest
		}
	}
	for key, written := range d.present {
		if records[key].newest == 0 && written > d.before && written <= d.until {
			d.leave(key, "it was written by other means than gridctl, and no record of an earlier form is kept")
		}
	}
	return d.readForms(ctx, records, wanted)
}

// readForms reads the forms that records know.
func (d *discard) readForms(ctx context.Context, records map[string]recorded, wanted map[string]int64) error {
	keys := sortedKeys(wanted)
	read := func(key string) clientv3.Op { return clientv3.OpGet(d.at.record(key, wanted[key]), d.options()...) }
	return d.many(ctx, keys, read, func(key string, kvs []*mvccpb.KeyValue) {
		if len(kvs) == 0 {
			return
		}
		record, err := decodeRecord(kvs[0].Value)
		form := kept(record.After)
		if records[key].first != 0 {
			form = kept(record.Before)
		}
		switch {
		case err != nil:
			d.leave(key, "its change record cannot be read")
		case isNull(form): // there was none
		default:
			d.former[key] = form
		}
	})
}

func (d *discard) leave(key, why string) { d.left = append(d.left, describe(key)+": "+why) }

// leaveNewer leaves what was written after the change: somebody has seen to it already.
// Pins go with their tenant, whose record tells of them where they have none themselves.
func (d *discard) leaveNewer(ctx context.Context) error {
	newer := map[string]bool{}
	for key := range d.former {
		newer[key] = d.present[key] > d.until || d.later[key]
		if tenant, isPin := pinTenant(key); isPin {
			newer[tenantKey(tenant)] = d.present[tenantKey(tenant)] > d.until
		}
	}
	read := func(key string) clientv3.Op {
		return clientv3.OpGet(d.at.records(key), d.options(append(clientv3.WithLastRev(), clientv3.WithPrefix(), clientv3.WithKeysOnly())...)...)
	}
	err := d.many(ctx, sortedKeys(newer), read, func(key string, kvs []*mvccpb.KeyValue) {
		newer[key] = newer[key] || len(kvs) > 0 && kvs[0].ModRevision > d.until
	})
	if err != nil {
		return err
	}
	for _, key := range sortedKeys(d.former) {
		tenant, isPin := pinTenant(key)
		if newer[key] || isPin && newer[tenantKey(tenant)] {
			delete(d.former, key)
			d.leave(key, "it was changed after that revision")
		}
	}
	return nil
}

// choose returns the documents that are to come back, in the order of keys.
func (d *discard) choose(ctx context.Context) ([]document.Parsed, error) {
	var docs []document.Parsed
	take := func(key string) {
		if doc, err := d.parsed(key); err != nil {
			d.leave(key, fmt.Sprintf("its earlier form is refused today: %s", strings.ReplaceAll(err.Error(), "\n", "; ")))
		} else {
			docs = append(docs, doc)
		}
	}
	var standing []string // tenants that are there, in another form
	for _, key := range sortedKeys(d.former) {
		folder, _ := folderOf(key)
		switch _, there := d.present[key]; {
		case !there, folder == FolderPins:
			take(key)
		case folder == FolderTenants:
			standing = append(standing, key)
		}
	}
	err := d.keys(ctx, d.at.docs(), standing, func(key string, kv *mvccpb.KeyValue) {
		now, bad := d.reader.Decode(key, kv.Value)
		was, err := d.reader.Decode(key, d.former[key])
		if err == nil && bad == nil && sameRules(tenantOf(was), tenantOf(now)) {
			return
		}
		take(key)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(docs, func(a, b document.Parsed) int { return strings.Compare(a.Key, b.Key) })
	return docs, nil
}

// parsed is the former form of a document, as if somebody gave it.
func (d *discard) parsed(key string) (document.Parsed, error) {
	value := d.former[key]
	read, err := d.reader.Decode(key, value)
	if err != nil {
		return document.Parsed{}, err
	}
	_, name := folderOf(key)
	return document.Parsed{Name: name, Key: key, Document: read, Origin: fmt.Sprintf("before revision %d", d.before+1), JSON: value}, nil
}

// markVerbatim marks the tenants that come back to just what they were: they are gone now,
// their form is certain, and none of their pins is another than it was.
func (d *discard) markVerbatim(w *world) {
	if d.fromRecords {
		return
	}
	pinned := map[string]bool{} // tenants with pins that were written since
	for key, written := range d.present {
		if tenant, isPin := pinTenant(key); isPin && written > d.before {
			pinned[tenantKey(tenant)] = true
		}
	}
	for _, it := range w.given {
		_, there := d.present[it.key]
		it.verbatim = tenantOf(it.given) != nil && !there && !pinned[it.key]
	}
}

// notes say what people should know.
func (d *discard) notes() []string {
	var notes []string
	if d.alone {
		notes = append(notes, fmt.Sprintf("no router tells when the change began: only what was written at revision %d is looked at", d.until))
	}
	if d.fromRecords {
		notes = append(notes, fmt.Sprintf("etcd has compacted revision %d: the forms come from the change records, which know nothing of documents that gridctl never wrote", d.before))
	}
	const few = 20
	slices.Sort(d.left)
	for _, left := range d.left[:min(few, len(d.left))] {
		notes = append(notes, "not put back: "+left)
	}
	if rest := len(d.left) - few; rest > 0 {
		notes = append(notes, fmt.Sprintf("not put back: %d more documents", rest))
	}
	return notes
}
