package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// readFormer reads what the documents that differ today were before the change.
func (d *discard) readFormer(ctx context.Context) error {
	docs, names := d.at.docs(), d.at.docs()+FolderGslb+"/"
	after := clientv3.GetPrefixRangeEnd(names)
	for _, part := range []struct {
		of        *span
		from, end string
	}{{&d.rest, docs, names}, {&d.names, names, after}, {&d.rest, after, clientv3.GetPrefixRangeEnd(docs)}} {
		if err := d.readFormerIn(ctx, part.of, part.from, part.end); err != nil {
			return err
		}
	}
	if !d.names.fromRecords && !d.rest.fromRecords {
		return nil
	}
	maps.DeleteFunc(d.former, func(key string, _ []byte) bool { return d.of(key).fromRecords })
	return d.readRecorded(ctx)
}

// readFormerIn is readFormer for a range of keys.
func (d *discard) readFormerIn(ctx context.Context, of *span, from, end string) error {
	then := &snapshot{Catalog: d.Catalog, revision: of.before}
	for !of.fromRecords {
		answer, err := d.get(ctx, from, then.options(clientv3.WithRange(end), clientv3.WithLimit(documentPage))...)
		switch {
		case errors.Is(err, rpctypes.ErrCompacted):
			of.fromRecords = true
			return nil
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
	return nil
}

// deletionPoll is how often etcd is asked whether all of a span has been told.
const deletionPoll = 50 * time.Millisecond

// readDeletions reads, from etcd's own history, what documents were at the moment when they were
// deleted: also those that came, or were changed, after the span began, which was acknowledged and
// in force.
func (d *discard) readDeletions(ctx context.Context) error {
	begin := d.until
	for _, of := range []*span{&d.names, &d.rest} {
		if !of.fromRecords {
			begin = min(begin, of.before)
		}
	}
	if d.names.fromRecords && d.rest.fromRecords {
		return nil
	}
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), max(d.timeout, time.Minute))
	defer cancel()
	events := d.client.Watch(ctx, d.at.docs(), clientv3.WithPrefix(), clientv3.WithRev(begin+1), clientv3.WithPrevKV(), clientv3.WithFragment())
	ticker := time.NewTicker(deletionPoll)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			_ = d.client.RequestProgress(ctx) // it is asked again
		case answer, open := <-events:
			switch {
			case answer.CompactRevision != 0: // since it was listed
				return fmt.Errorf("etcd has compacted revision %d, which was being read; run the same command again", begin)
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
	of := d.of(key)
	if event.Type == clientv3.EventTypeDelete && event.PrevKv != nil && event.Kv.ModRevision > of.before && !of.fromRecords {
		d.former[key] = event.PrevKv.Value
		d.deleted[key] = deletion{at: event.Kv.ModRevision, written: event.PrevKv.ModRevision}
	}
}

// deletion is when a document was deleted, and when the form was written that it had then.
type deletion struct{ at, written int64 }

// leavePins leaves the pins that were deleted or written before their tenant's last form was, or with
// it: that form comes back with its epoch, and belongs to the pins of that time.
func (d *discard) leavePins(context.Context) error {
	for key := range d.former {
		tenant, isPin := pinTenant(key)
		if !isPin {
			continue
		}
		form := d.deleted[tenantKey(tenant)].written // 0: it was not deleted
		changed, there := d.present[key]
		if !there {
			changed = d.deleted[key].at
		}
		if form > 0 && changed <= form {
			delete(d.former, key)
		}
	}
	return nil
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
			of := d.of(name[:cut])
			if !of.fromRecords {
				continue
			}
			if r.first == 0 && kv.ModRevision > of.before && kv.ModRevision <= d.until {
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
		case r.wrote <= d.of(key).before && (!there || written > d.of(key).before):
			wanted[key] = r.newest
		}
	}
	for key, written := range d.present {
		if of := d.of(key); of.fromRecords && records[key].newest == 0 && written > of.before && written <= d.until {
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
