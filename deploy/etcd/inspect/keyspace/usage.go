package keyspace

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/deploy/etcd/inspect/brief"
)

// UsageOptions say what is counted, and how.
type UsageOptions struct {
	// Prefix is that of the keys that are counted; empty: all.
	Prefix string
	// Parts is by how many parts of the path, between slashes, keys are grouped, 1 to 16; 0: 2. The first slash
	// of a key is no part: with 2, /a/b/c is in /a/b/.
	Parts int
	// Top is the length of the lists, 1 to 50; 0: 10.
	Top int
	// SampleValues has the values of one page in so many read, 1 to 1000; 0 or 1: of all. etcd tells the size
	// of a value, and whether a key has a lease, with the value only. From a sample, these are estimated; the
	// number of keys and of changes is exact in any case.
	SampleValues int
	// Pace bounds what it costs.
	Pace Pace
}

// Group is what keys with the same beginning take.
type Group struct {
	// Prefix is that beginning, for people (see brief.Key). A key directly under it counts if it has no further
	// part.
	Prefix string `json:"prefix"`
	// Keys counts them; Bytes is the size of keys and values; Leased counts those with a lease. The last two
	// are estimates if the usage is sampled.
	Keys   int64 `json:"keys"`
	Bytes  int64 `json:"bytes"`
	Leased int64 `json:"leased"`
	// Versions is how often these keys were written since each was created.
	Versions int64 `json:"versions"`
}

// Usage is what the keys under a prefix take.
type Usage struct {
	Prefix string `json:"prefix"`
	// Revision is the one at which they were counted; LastRevision is another one if the first was compacted
	// on the way.
	Revision     int64 `json:"revision"`
	LastRevision int64 `json:"lastRevision"`
	// Total is of all keys, Groups how many groups there are.
	Total  Group `json:"total"`
	Groups int64 `json:"groups"`
	// Estimated says that bytes and leases are.
	Estimated bool `json:"estimated,omitempty"`
	// ReadBytes is what was read to learn it.
	ReadBytes int64 `json:"readBytes"`
	// The greatest groups by each measure, the greatest first.
	ByBytes    []Group `json:"byBytes"`
	ByKeys     []Group `json:"byKeys"`
	ByLeased   []Group `json:"byLeased"`
	ByVersions []Group `json:"byVersions"`
}

func (o *UsageOptions) check() error {
	if o.Parts == 0 {
		o.Parts = 2
	}
	if o.Top == 0 {
		o.Top = 10
	}
	if o.SampleValues == 0 {
		o.SampleValues = 1
	}
	if o.Parts < 1 || o.Parts > 16 {
		return fmt.Errorf("groups of %d parts: they must be 1 to 16", o.Parts)
	}
	if o.Top < 1 || o.Top > 50 {
		return fmt.Errorf("lists of %d groups: they must be 1 to 50", o.Top)
	}
	if o.SampleValues < 1 || o.SampleValues > 1000 {
		return fmt.Errorf("the values of one page in %d: it must be one in 1 to 1000", o.SampleValues)
	}
	return o.Pace.check()
}

// PrefixUsage counts what the keys under a prefix take, by the beginnings of the keys. It needs memory for the
// lists alone, however many keys and groups there are. Ask one follower (see inspect.Access.Follower).
func PrefixUsage(ctx context.Context, kv clientv3.KV, options UsageOptions) (Usage, error) {
	if err := options.check(); err != nil {
		return Usage{}, err
	}
	c := newCounter(options)
	w := &walk{kv: kv, prefix: options.Prefix, meter: newMeter(options.Pace)}
	w.values = func(page int) bool { return page%options.SampleValues == 0 }
	if err := w.run(ctx, func(pair *mvccpb.KeyValue, sized bool) error {
		c.add(pair, sized)
		return nil
	}); err != nil {
		return Usage{}, err
	}
	u := c.finish()
	u.Revision, u.LastRevision, u.ReadBytes = w.revision, w.last, w.read
	err := brief.Fit(&u, func() bool { return brief.DropLast(&u.ByBytes, &u.ByKeys, &u.ByLeased, &u.ByVersions) })
	return u, err
}

// tally counts the keys of a group: all of them, and those of them whose value was seen.
type tally struct {
	prefix                     string
	keys, versions, keyBytes   int64
	sized, valueBytes, leasedN int64
}

func (t *tally) add(pair *mvccpb.KeyValue, sized bool) {
	t.keys++
	t.versions += pair.Version
	t.keyBytes += int64(len(pair.Key))
	if !sized {
		return
	}
	t.sized++
	t.valueBytes += int64(len(pair.Value))
	if pair.Lease != 0 {
		t.leasedN++
	}
}

// group estimates what was not seen by what was: of the group itself, or else of all before it.
func (t *tally) group(all *tally) Group {
	by := t
	if t.sized == 0 {
		by = all
	}
	g := Group{Prefix: brief.Key([]byte(t.prefix)), Keys: t.keys, Versions: t.versions, Bytes: t.keyBytes}
	if by.sized > 0 {
		share := float64(t.keys) / float64(by.sized)
		g.Bytes += int64(float64(by.valueBytes) * share)
		g.Leased = int64(float64(by.leasedN)*share + 0.5)
	}
	return g
}

// counter groups keys that come in order. Keys with the same beginning come one after the other but for those
// directly under it, so that at most as many groups are open as there are parts.
type counter struct {
	options UsageOptions
	open    []*tally
	all     tally
	groups  int64
	lists   [4]topGroups
}

func newCounter(options UsageOptions) *counter {
	c := &counter{options: options}
	for i, by := range []func(Group) int64{
		func(g Group) int64 { return g.Bytes }, func(g Group) int64 { return g.Keys },
		func(g Group) int64 { return g.Leased }, func(g Group) int64 { return g.Versions },
	} {
		c.lists[i] = topGroups{by: by, most: options.Top}
	}
	return c
}

func (c *counter) add(pair *mvccpb.KeyValue, sized bool) {
	c.all.add(pair, sized)
	prefix := beginning(string(pair.Key), c.options.Parts)
	for len(c.open) > 0 && !strings.HasPrefix(prefix, c.open[len(c.open)-1].prefix) {
		c.closeLast()
	}
	// The parents of a group are open too, for keys directly under them that are still to come.
	if len(c.open) == 0 || c.open[len(c.open)-1].prefix != prefix {
		c.openTo(prefix)
	}
	c.open[len(c.open)-1].add(pair, sized)
}

func (c *counter) openTo(prefix string) {
	for parts := 0; parts <= c.options.Parts; parts++ {
		parent := beginning(prefix, parts)
		deeper := len(c.open) == 0 || len(parent) > len(c.open[len(c.open)-1].prefix)
		if deeper && strings.HasPrefix(prefix, parent) {
			c.open = append(c.open, &tally{prefix: parent})
		}
	}
	if len(c.open) == 0 || c.open[len(c.open)-1].prefix != prefix {
		c.open = append(c.open, &tally{prefix: prefix})
	}
}

func (c *counter) closeLast() {
	last := c.open[len(c.open)-1]
	c.open = c.open[:len(c.open)-1]
	if last.keys == 0 {
		return // a parent without keys of its own
	}
	c.groups++
	g := last.group(&c.all)
	for i := range c.lists {
		c.lists[i].add(g)
	}
}

func (c *counter) finish() Usage {
	for len(c.open) > 0 {
		c.closeLast()
	}
	c.all.prefix = c.options.Prefix
	return Usage{
		Prefix: brief.Key([]byte(c.options.Prefix)), Total: c.all.group(&c.all), Groups: c.groups,
		Estimated: c.all.sized < c.all.keys,
		ByBytes:   c.lists[0].sorted(), ByKeys: c.lists[1].sorted(), ByLeased: c.lists[2].sorted(), ByVersions: c.lists[3].sorted(),
	}
}

// beginning is a key up to the slash that ends so many parts; up to its last slash, if it has fewer.
func beginning(key string, parts int) string {
	at := 0
	if strings.HasPrefix(key, "/") {
		at = 1
	}
	for range parts {
		next := strings.IndexByte(key[at:], '/')
		if next < 0 {
			break
		}
		at += next + 1
	}
	return key[:at]
}

// topGroups keeps the greatest.
type topGroups struct {
	by   func(Group) int64
	most int
	kept []Group
}

func (t *topGroups) add(g Group) {
	if t.by(g) == 0 || len(t.kept) == t.most && t.by(g) <= t.by(t.kept[len(t.kept)-1]) {
		return
	}
	at, _ := slices.BinarySearchFunc(t.kept, g, func(a, b Group) int {
		if t.by(a) == t.by(b) {
			return -1 // the new one comes last among equals
		}
		return cmp.Compare(t.by(b), t.by(a))
	})
	t.kept = slices.Insert(t.kept, at, g)
	t.kept = t.kept[:min(len(t.kept), t.most)]
}

func (t *topGroups) sorted() []Group { return append([]Group{}, t.kept...) }
