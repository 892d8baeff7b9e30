package discovery

import clientv3 "go.etcd.io/etcd/client/v3"

// gathering is a batch in the making. Of several changes to one key the last
// counts.
type gathering struct {
	seen    int64         // everything up to here is delivered or gathered
	changed int64         // the last revision that changed anything of ours
	grown   int64         // keys that came under the root, less those that went
	at      map[place]int // where a key's change stands in changes
	changes []change
	latest  latest // of what was gathered last
}

// place is a key: relative to the root, or to the marks.
type place struct {
	mark bool
	key  string
}

type change struct {
	entry Entry
	mark  bool
	gone  bool
}

func (c *change) place() place { return place{mark: c.mark, key: c.entry.Key} }

func newGathering(revision int64) *gathering {
	return &gathering{seen: revision, at: map[place]int{}}
}

func (g *gathering) empty() bool { return len(g.changes) == 0 }

func (g *gathering) size() int { return len(g.changes) }

// gather adds one event. One between the two prefixes is none of ours, but it
// shows that its revision has come.
func (e *Etcd) gather(event *clientv3.Event, g *gathering) {
	g.seen = event.Kv.ModRevision
	at, ours := e.place(event.Kv.Key)
	if !ours {
		return
	}
	g.changed = g.seen
	gone := event.Type == clientv3.EventTypeDelete
	g.latest = latest{key: string(event.Kv.Key), revision: g.seen, gone: gone}
	c := change{mark: at.mark, gone: gone, entry: Entry{Key: at.key, Revision: g.seen}}
	if !gone {
		c.entry = newEntry(at, event.Kv)
	}
	switch {
	case at.mark: // only the root's keys are counted
	case gone:
		g.grown--
	case event.Kv.Version == 1: // etcd begins anew with each key that comes to be
		g.grown++
	}
	if where, known := g.at[at]; known {
		g.changes[where] = c
		return
	}
	g.at[at] = len(g.changes)
	g.changes = append(g.changes, c)
}

// drain makes the batch and starts a new one. Its revision is that of the last
// change in it: foreign writes of the same moment must not show, since they
// would not for another process.
func (g *gathering) drain() (Batch, []change) {
	batch, changes := Batch{Revision: g.changed}, g.changes
	for i := range changes {
		switch c := &changes[i]; {
		case c.mark && c.gone:
			batch.MarksDeleted = append(batch.MarksDeleted, c.entry.Key)
		case c.mark:
			batch.Marks = append(batch.Marks, c.entry)
		case c.gone:
			batch.Deleted = append(batch.Deleted, c.entry.Key)
		default:
			batch.Put = append(batch.Put, c.entry)
		}
	}
	g.changes, g.grown = nil, 0
	clear(g.at)
	return batch, changes
}
