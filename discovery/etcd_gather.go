package discovery

// gathering is a batch in the making. Of several changes to one key the last
// counts.
type gathering struct {
	revision int64          // everything up to here is delivered or gathered
	at       map[string]int // key -> its place in changes
	changes  []change
}

type change struct {
	entry Entry
	gone  bool
}

func newGathering(revision int64) *gathering {
	return &gathering{revision: revision, at: map[string]int{}}
}

func (g *gathering) empty() bool { return len(g.changes) == 0 }

func (g *gathering) size() int { return len(g.changes) }

func (g *gathering) put(entry Entry) { g.add(change{entry: entry}) }

func (g *gathering) deleted(key string, revision int64) {
	g.add(change{entry: Entry{Key: key, Revision: revision}, gone: true})
}

func (g *gathering) add(c change) {
	g.revision = c.entry.Revision
	if place, known := g.at[c.entry.Key]; known {
		g.changes[place] = c
		return
	}
	g.at[c.entry.Key] = len(g.changes)
	g.changes = append(g.changes, c)
}

// drain makes the batch and starts a new one.
func (g *gathering) drain() Batch {
	batch := Batch{Revision: g.revision}
	for _, c := range g.changes {
		if c.gone {
			batch.Deleted = append(batch.Deleted, c.entry.Key)
		} else {
			batch.Put = append(batch.Put, c.entry)
		}
	}
	g.changes = nil
	clear(g.at)
	return batch
}
