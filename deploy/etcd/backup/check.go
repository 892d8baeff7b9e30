package backup

import (
	"context"
	"errors"
	"fmt"
	"io"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// Check reads every object of the chain and returns all that is wrong with it; nothing if it is whole.
// An error is of the store, and says nothing about the chain.
func (c *Chain) Check(ctx context.Context) ([]*DamageError, error) {
	found := append([]*DamageError(nil), c.Damages...)
	if !c.Finished() {
		return append(found, &DamageError{chain.ManifestName(c.ID), "it is missing: the backup was never finished, or is being made"}), nil
	}
	known := map[string]bool{}
	for _, damage := range found {
		known[damage.Object] = true
	}
	note := func(err error) error {
		var damage *DamageError
		if !errors.As(err, &damage) {
			return err
		}
		if !known[damage.Object] {
			known[damage.Object] = true
			found = append(found, damage)
		}
		return nil
	}
	if err := note(c.ReadFull(ctx, io.Discard)); err != nil {
		return nil, err
	}
	walk := c.walk()
	for seq := int64(1); seq <= c.last(); seq++ {
		if _, err := walk.read(ctx, seq); note(err) != nil {
			return nil, err
		}
	}
	return found, note(walk.end())
}

// ReadFull copies the snapshot to w, without the hash at its end, and says by a [*DamageError] whether it is what
// was taken. What it copied is of no use if it says anything. Errors of w are returned as they are.
func (c *Chain) ReadFull(ctx context.Context, w io.Writer) error {
	name := chain.FullName(c.ID)
	if c.Manifest == nil {
		return &DamageError{chain.ManifestName(c.ID), "it is missing or damaged, so nothing says what the full backup is"}
	}
	r, err := c.store.Get(ctx, name)
	if errors.Is(err, store.ErrNotFound) {
		return &DamageError{name, "it is missing"}
	}
	if err != nil {
		return err
	}
	sealed := newSeal()
	size := c.Manifest.Size
	_, err = io.Copy(io.MultiWriter(sealed, w, &progress{report: c.Report}), io.LimitReader(r, size+1))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	if sealed.size != size || sealed.sum() != c.Manifest.SHA256 {
		return &DamageError{name, "it does not have the size and SHA-256 that its manifest says"}
	}
	if err := sealed.check(); err != nil {
		return &DamageError{name, err.Error()}
	}
	return nil
}

// ReadDeltas calls visit for each delta in turn, until it has seen one whose last revision is at least
// upTo, or all. It ends with a [*DamageError] at the first that is missing, damaged or in the wrong place, and
// at a damage of the head where it went through all.
func (c *Chain) ReadDeltas(ctx context.Context, upTo int64, visit func(*chain.Delta) error) error {
	if c.Manifest == nil {
		return &DamageError{chain.ManifestName(c.ID), "it is missing or damaged"}
	}
	if c.Manifest.Revision >= upTo {
		return nil
	}
	walk := c.walk()
	for seq := int64(1); seq <= c.last(); seq++ {
		delta, err := walk.read(ctx, seq)
		if err != nil {
			return err
		}
		if err := visit(delta); err != nil {
			return err
		}
		if delta.Last >= upTo {
			return nil
		}
	}
	if len(c.Damages) > 0 {
		return c.Damages[0]
	}
	return walk.end()
}

// last is the highest number of a delta that is there or was.
func (c *Chain) last() int64 {
	last := c.Deltas
	for _, head := range c.heads {
		last = max(last, head.Seq)
	}
	return last
}

// walk goes from link to link.
type walk struct {
	chain *Chain
	// previous and revision are of the link before; empty and 0 where that cannot be read.
	previous string
	revision int64
	headErr  error
}

func (c *Chain) walk() *walk {
	w := &walk{chain: c, previous: c.manifestHash}
	if c.Manifest != nil {
		w.revision = c.Manifest.Revision
	}
	w.compareHead(0)
	return w
}

// read returns a delta that follows on the one before.
func (w *walk) read(ctx context.Context, seq int64) (*chain.Delta, error) {
	c, name := w.chain, chain.DeltaName(w.chain.ID, seq)
	delta, err := c.delta(ctx, seq)
	if err != nil {
		w.previous, w.revision = "", 0
		return nil, err
	}
	previous, revision := w.previous, w.revision
	w.previous, w.revision = delta.SHA256, delta.Last
	switch {
	case previous != "" && delta.Previous != previous:
		return nil, &DamageError{name, "it does not follow on what is before it in the chain"}
	case revision != 0 && delta.First != revision+1:
		return nil, &DamageError{name, fmt.Sprintf("it begins at revision %d, and what is before it ends at %d", delta.First, revision)}
	case c.Manifest != nil && delta.Cluster != c.Manifest.Cluster:
		return nil, &DamageError{name, fmt.Sprintf("it is of cluster %s, and the full backup is of %s", delta.Cluster, c.Manifest.Cluster)}
	}
	w.compareHead(seq)
	return delta, nil
}

// compareHead compares the head with the link that it tells of.
func (w *walk) compareHead(seq int64) {
	head := w.chain.Head
	if head == nil || head.Seq != seq {
		return
	}
	if w.previous != "" && (head.SHA256 != w.previous || head.Revision != w.revision) {
		w.headErr = &DamageError{chain.HeadName(head.ID, head.Seq, head.Number), "it tells of another last delta than is there"}
	}
}

// end says what is wrong with the head after all links were read.
func (w *walk) end() error { return w.headErr }

// delta reads one delta.
func (c *Chain) delta(ctx context.Context, seq int64) (*chain.Delta, error) {
	name := chain.DeltaName(c.ID, seq)
	if c.objects[name].Size > chain.MaxDeltaBytes {
		return nil, &DamageError{name, "it is larger than any that was written"}
	}
	data, err := store.GetBytes(ctx, c.store, name, chain.MaxDeltaBytes)
	if errors.Is(err, store.ErrNotFound) {
		return nil, &DamageError{name, "it is missing"}
	}
	if err != nil {
		return nil, err
	}
	delta, err := chain.DecodeDelta(c.ID, seq, data)
	if err != nil {
		return nil, &DamageError{name, err.Error()}
	}
	return delta, nil
}
