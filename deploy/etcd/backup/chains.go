package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// Chain is a full backup with its deltas, as it lies in a store.
type Chain struct {
	ID string
	// Manifest is nil where there is none that can be read.
	Manifest *chain.Manifest
	// Head is the newest one; nil where there is none that can be read. Only chains that were followed have one.
	Head *chain.Head
	// Deltas is the number of the last delta, 0 for none.
	Deltas int64
	// Bytes is the size of all objects, Modified when the last one was made.
	Bytes    int64
	Modified time.Time
	// Damages are what can be seen without reading all objects.
	Damages []*DamageError
	// Report hears how far long reads are; nil: nobody does.
	Report func(text string)

	store        store.Store
	objects      map[string]store.Object
	heads        []chain.Name // in the order of their numbers
	manifestHash string
}

// Finished says whether the chain is a backup at all: its manifest was written. What is not may be on its
// way, or be what a fault left.
func (c *Chain) Finished() bool { return c.Manifest != nil || len(c.Damages) > 0 }

// Last returns the last revision that is known to be covered without reading deltas.
func (c *Chain) Last() int64 {
	switch {
	case c.Head != nil:
		return c.Head.Revision
	case c.Manifest != nil:
		return c.Manifest.Revision
	}
	return 0
}

// List returns all chains of a store, the oldest first.
func List(ctx context.Context, s store.Store) ([]*Chain, error) {
	objects, err := s.List(ctx, "")
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, object := range objects {
		if id := chain.ParseName(object.Name).ID; id != "" && (len(ids) == 0 || ids[len(ids)-1] != id) {
			ids = append(ids, id)
		}
	}
	chains := make([]*Chain, 0, len(ids))
	for _, id := range ids {
		c, err := Open(ctx, s, id)
		if errors.Is(err, ErrNone) {
			continue // it was pruned just now
		}
		if err != nil {
			return nil, err
		}
		chains = append(chains, c)
	}
	return chains, nil
}

// Newest returns the newest chain of a store that is finished, [ErrNone] if there is none.
func Newest(ctx context.Context, s store.Store) (*Chain, error) {
	chains, err := List(ctx, s)
	if err != nil {
		return nil, err
	}
	for i := len(chains) - 1; i >= 0; i-- {
		if chains[i].Finished() {
			return chains[i], nil
		}
	}
	return nil, fmt.Errorf("%s: %w", s, ErrNone)
}

// Latest returns the finished chain that ends last, which is the one to restore when the newest data are wanted;
// [ErrNone] if there is none. It is the newest, unless an older one of the same cluster was followed beyond
// it: a follower needs a moment to go over to a newer full backup.
func Latest(ctx context.Context, s store.Store) (*Chain, error) {
	chains, err := List(ctx, s)
	if err != nil {
		return nil, err
	}
	var newest, latest *Chain
	for i := len(chains) - 1; i >= 0; i-- {
		switch c := chains[i]; {
		case !c.Finished():
		case newest == nil:
			newest, latest = c, c
		case newest.Manifest == nil || c.Manifest == nil || c.Head == nil || len(c.Damages) > 0:
		case c.Manifest.Cluster != newest.Manifest.Cluster, c.Head.Covered.Before(newest.Manifest.Taken):
			// Its revisions are of other data, or were before data were set back.
		case c.Last() > latest.Last():
			latest = c
		}
	}
	if newest == nil {
		return nil, fmt.Errorf("%s: %w", s, ErrNone)
	}
	return latest, nil
}

// Open returns one chain; [ErrNone] if nothing of it is there. It reads the manifest and the newest head.
func Open(ctx context.Context, s store.Store, id string) (*Chain, error) {
	if err := chain.CheckID(id); err != nil {
		return nil, err
	}
	for tries := 0; ; tries++ {
		c, err := open(ctx, s, id)
		// A head is replaced by the next one at any time.
		if !errors.Is(err, store.ErrNotFound) || tries >= 5 {
			return c, err
		}
	}
}

func open(ctx context.Context, s store.Store, id string) (*Chain, error) {
	listed, err := s.List(ctx, id+"/")
	if err != nil {
		return nil, err
	}
	c := &Chain{ID: id, store: s, objects: map[string]store.Object{}}
	for _, object := range listed {
		name := chain.ParseName(object.Name)
		switch name.Kind {
		case chain.Other:
			continue
		case chain.HeadFile:
			c.heads = append(c.heads, name)
		case chain.DeltaFile:
			c.Deltas = max(c.Deltas, name.Seq)
		case chain.Full, chain.ManifestFile:
		}
		c.objects[object.Name] = object
		c.Bytes += object.Size
		if object.Modified.After(c.Modified) {
			c.Modified = object.Modified
		}
	}
	if len(c.objects) == 0 {
		return nil, fmt.Errorf("%s in %s: %w", id, s, ErrNone)
	}
	if err := c.readManifest(ctx); err != nil {
		return nil, err
	}
	if err := c.readHead(ctx); err != nil {
		return nil, err
	}
	c.look()
	return c, nil
}

func (c *Chain) readManifest(ctx context.Context) error {
	name := chain.ManifestName(c.ID)
	if _, there := c.objects[name]; !there {
		return nil
	}
	if c.tooLarge(name, chain.MaxJSONBytes) {
		return nil
	}
	data, err := store.GetBytes(ctx, c.store, name, chain.MaxJSONBytes)
	if err != nil {
		return err
	}
	if c.Manifest, c.manifestHash, err = chain.DecodeManifest(c.ID, data); err != nil {
		c.damaged(name, "%v", err)
	}
	return nil
}

// readHead reads the head with the highest number: of two, the older one was not removed yet.
func (c *Chain) readHead(ctx context.Context) error {
	if len(c.heads) == 0 {
		return nil
	}
	newest := c.heads[0]
	for _, head := range c.heads {
		if head.Number > newest.Number {
			newest = head
		}
	}
	name := chain.HeadName(c.ID, newest.Seq, newest.Number)
	if c.tooLarge(name, chain.MaxJSONBytes) {
		return nil
	}
	data, err := store.GetBytes(ctx, c.store, name, chain.MaxJSONBytes)
	if err != nil {
		return err
	}
	if c.Head, err = chain.DecodeHead(newest, data); err != nil {
		c.damaged(name, "%v", err)
	}
	return nil
}

// look finds what is missing. A writer writes a delta, then the head that tells of it, and then removes the
// head before; it has written one before the first delta. So the head is behind by one at most.
func (c *Chain) look() {
	followed := c.Deltas > 0 || len(c.heads) > 0
	if _, there := c.objects[chain.ManifestName(c.ID)]; !there {
		if followed {
			c.damaged(chain.ManifestName(c.ID), "it is missing")
		} else {
			return // a full backup that is not finished
		}
	}
	full, there := c.objects[chain.FullName(c.ID)]
	switch {
	case !there:
		c.damaged(chain.FullName(c.ID), "it is missing")
	case c.Manifest != nil && c.Manifest.Size != full.Size:
		c.damaged(full.Name, "it has %d bytes, and its manifest says %d", full.Size, c.Manifest.Size)
	}
	last := c.Deltas
	for _, head := range c.heads {
		last = max(last, head.Seq)
	}
	for seq := int64(1); seq <= last; seq++ {
		if _, there := c.objects[chain.DeltaName(c.ID, seq)]; !there {
			c.damaged(chain.DeltaName(c.ID, seq), "it is missing")
		}
	}
	switch {
	case c.Deltas > 0 && len(c.heads) == 0:
		c.damaged(c.ID+"/head-*", "the head of the chain is missing, so nobody knows whether a last delta is, too")
	case c.Head != nil && c.Deltas > c.Head.Seq+1:
		c.damaged(chain.HeadName(c.ID, c.Head.Seq, c.Head.Number), "it knows %d deltas of %d: a newer head is missing", c.Head.Seq, c.Deltas)
	}
}

// tooLarge says whether an object cannot be what its name says, and that it is damaged.
func (c *Chain) tooLarge(name string, limit int64) bool {
	if c.objects[name].Size <= limit {
		return false
	}
	c.damaged(name, "it is larger than any that was written")
	return true
}

func (c *Chain) damaged(object, format string, args ...any) {
	c.Damages = append(c.Damages, &DamageError{Object: object, Problem: fmt.Sprintf(format, args...)})
}
