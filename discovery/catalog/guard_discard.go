package catalog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing/document"
)

// PlanDiscard returns what it takes to put the documents back as they were before a mass
// change that routers hold: a plan like any other, which [Catalog.Apply] carries out.
//
// The change is all that was written up to revision and after the revision that those who hold
// it count against: the routers for what they follow, the GSLB servers for the Gslb documents. If
// nobody tells one, it is what was written at revision; if only one of the two sorts does, all that
// the other follows stays. That is the one before the change, if it was one; if it was many within the guard's
// window, the one at its beginning. A document that is gone comes back as it was when it was
// deleted, whatever was acknowledged before that, and a tenant with the pins that belonged to that
// form. What others were then is read from etcd's own history, and where etcd has compacted that, from
// the change records. Of what differs today
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
// What cannot be put back is told in the plan's notes, and keeps nothing else away. No mark is written: what is back
// is not held any more, and what is not back stays held.
func (c *Catalog) PlanDiscard(ctx context.Context, revision int64, options Options) (*Plan, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	if options.Why == "" {
		options.Why = fmt.Sprintf("discard what the guard holds up to revision %d", revision)
	}
	d := &discard{snapshot: &snapshot{Catalog: c}, until: revision, names: span{folder: FolderGslb}, present: map[string]int64{}, later: map[string]bool{}, former: map[string][]byte{}, deleted: map[string]deletion{}}
	for _, step := range []func(context.Context) error{d.readSpan, d.readPresent, d.readFormer, d.readDeletions, d.leavePins, d.leaveNewer} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	docs, err := d.choose(ctx)
	if err != nil {
		return nil, err
	}
	w, err := d.admitted(ctx, docs)
	if err != nil {
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
	*snapshot                       // today
	until       int64               // the change's last revision
	names, rest span                // the Gslb documents, and all others: GSLB servers follow no others, and routers not these
	present     map[string]int64    // document -> revision of its stored form
	former      map[string][]byte   // documents whose form was another before -> that form
	deleted     map[string]deletion // documents by their last deletion within the change
	later       map[string]bool     // documents that were written or deleted after until
	left        []string            // what is not put back, and why
	alone       bool                // nobody tells when the change began
}

// span says when the change of some documents began.
type span struct {
	folder      string // of them
	before      int64  // the revision before
	fromRecords bool   // etcd has compacted that revision
}

// of returns the span that a document belongs to.
func (d *discard) of(key string) *span {
	if folder, _ := folderOf(key); folder == FolderGslb {
		return &d.names
	}
	return &d.rest
}

// suffix says which documents they are, where not all are meant.
func (s *span) suffix() string {
	if s.folder != "" {
		return " of Gslb documents"
	}
	return ""
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
	d.names.before, d.rest.before, d.alone = d.until, d.until, true
	for i := range members {
		held := members[i].Guard
		if held == nil || held.Before <= 0 || held.Before >= held.Revision || held.Revision > d.until {
			continue
		}
		of := &d.rest
		if members[i].GslbServer {
			of = &d.names
		}
		of.before, d.alone = min(of.before, held.Before), false
	}
	if d.alone {
		d.names.before, d.rest.before = d.until-1, d.until-1
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

// admitted returns the world that the documents come back to, but for those that are refused, and for
// what relies upon these: one that was written past gridctl and breaks a rule must not keep the
// others away.
func (d *discard) admitted(ctx context.Context, docs []document.Parsed) (*world, error) {
	for {
		w := newWorld()
		w.restoring = true
		reasons := w.admit(docs)
		if len(reasons) == 0 {
			d.markVerbatim(w)
			if err := d.gather(ctx, w); err != nil {
				return nil, err
			}
			reasons = w.check()
		}
		if len(reasons) == 0 {
			return w, nil
		}
		broken := map[string]bool{}
		for _, reason := range reasons {
			if about := (*ReasonError)(nil); errors.As(reason, &about) && about.Key != "" && !broken[about.Key] {
				broken[about.Key] = true
				what := &ReasonError{Path: about.Path, Message: about.Message}
				d.leave(about.Key, "its earlier form is refused today: "+strings.ReplaceAll(what.Error(), "\n", "; "))
			}
		}
		rest := slices.DeleteFunc(slices.Clone(docs), func(doc document.Parsed) bool { return broken[doc.Key] })
		if len(rest) == len(docs) { // it is about none of them
			return nil, refused(reasons)
		}
		docs = rest
	}
}

// parsed is the former form of a document, as if somebody gave it.
func (d *discard) parsed(key string) (document.Parsed, error) {
	value := d.former[key]
	read, err := d.reader.Decode(key, value)
	if err != nil {
		return document.Parsed{}, err
	}
	_, name := folderOf(key)
	return document.Parsed{Name: name, Key: key, Document: read, Origin: fmt.Sprintf("before revision %d", d.of(key).before+1), JSON: value}, nil
}

// markVerbatim marks the tenants that come back to just what they were: they are gone now,
// their form is certain, and none of their pins is another than it was.
func (d *discard) markVerbatim(w *world) {
	if d.rest.fromRecords {
		return
	}
	pinned := map[string]bool{} // tenants with pins that were written since
	for key, written := range d.present {
		if tenant, isPin := pinTenant(key); isPin && written > max(d.rest.before, d.deleted[tenantKey(tenant)].written) {
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
	for _, of := range []*span{&d.names, &d.rest} {
		if of.fromRecords {
			notes = append(notes, fmt.Sprintf("etcd has compacted revision %d: the forms%s come from the change records, which know nothing of documents that gridctl never wrote", of.before, of.suffix()))
		}
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
