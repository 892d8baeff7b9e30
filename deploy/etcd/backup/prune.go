package backup

import (
	"context"
	"errors"
	"fmt"
	"time"

	"gridrouter.io/deploy/etcd/backup/chain"
	"gridrouter.io/deploy/etcd/backup/store"
)

// Retention says which chains are kept.
type Retention struct {
	// Count is how many of the newest finished chains are kept, at least 1.
	Count int
	// Age keeps every chain that something was added to within it; 0 keeps none for its age.
	Age time.Duration
	// Grace is how long what was never finished is left alone, since it may be on its way. Default 24 h.
	Grace time.Duration
	// DryRun only says what would go.
	DryRun bool
}

// Pruned is what went, or would go.
type Pruned struct {
	// Chains are the IDs of finished chains that went, Unfinished those of full backups without a manifest.
	Chains, Unfinished []string
	// Kept are the IDs of those that are left, the oldest first; Bytes is what went, Swept how many halves
	// of objects.
	Kept  []string
	Bytes int64
	Swept int
	// Spared is the ID of a chain that stayed only because no newer one is whole; empty if there is none.
	Spared string
}

const defaultGrace = 24 * time.Hour

// Prune removes whole chains, the oldest first, as [Retention] says. Before it removes anything it reads those
// that stay, from the newest on, until one is whole. If none is, the newest whole one among those that
// would go stays.
func Prune(ctx context.Context, s store.Store, r Retention, report func(text string)) (Pruned, error) {
	var pruned Pruned
	if r.Count < 1 {
		return pruned, errors.New("at least 1 backup must be kept")
	}
	if r.Grace <= 0 {
		r.Grace = defaultGrace
	}
	now := time.Now()
	chains, err := List(ctx, s)
	if err != nil {
		return pruned, err
	}
	old, keep, orphans := sortOut(chains, r, now)
	if len(old) > 0 {
		spared, err := lastWhole(ctx, keep, old, report)
		if err != nil {
			return pruned, err
		}
		if spared >= 0 {
			pruned.Spared = old[spared].ID
			keep = append([]*Chain{old[spared]}, keep...)
			old = append(old[:spared:spared], old[spared+1:]...)
		}
	}
	for _, c := range keep {
		pruned.Kept = append(pruned.Kept, c.ID)
	}
	for _, c := range orphans {
		if err := c.remove(ctx, r.DryRun, &pruned.Bytes); err != nil {
			return pruned, err
		}
		pruned.Unfinished = append(pruned.Unfinished, c.ID)
	}
	for _, c := range old {
		if err := c.remove(ctx, r.DryRun, &pruned.Bytes); err != nil {
			return pruned, err
		}
		pruned.Chains = append(pruned.Chains, c.ID)
	}
	if r.DryRun {
		return pruned, nil
	}
	pruned.Swept, err = s.Sweep(ctx, now.Add(-r.Grace))
	return pruned, err
}

// sortOut says which chains are old, which stay, and which were never finished and are past the grace. What
// has lost its manifest is not finished either.
func sortOut(chains []*Chain, r Retention, now time.Time) (old, keep, orphans []*Chain) {
	finished := 0
	for i := len(chains) - 1; i >= 0; i-- { // the newest first
		c := chains[i]
		_, hasManifest := c.objects[chain.ManifestName(c.ID)]
		switch {
		case !hasManifest && now.Sub(c.Modified) > r.Grace:
			orphans = append([]*Chain{c}, orphans...)
		case !hasManifest:
			keep = append([]*Chain{c}, keep...)
		case finished < r.Count, now.Sub(c.Modified) < r.Age:
			finished++
			keep = append([]*Chain{c}, keep...)
		default:
			old = append([]*Chain{c}, old...)
		}
	}
	return old, keep, orphans
}

// lastWhole returns the index of the newest whole chain among old, where none of those that stay is whole;
// else -1.
func lastWhole(ctx context.Context, keep, old []*Chain, report func(text string)) (int, error) {
	for i := len(keep) - 1; i >= 0; i-- {
		if whole, err := isWhole(ctx, keep[i], report); err != nil || whole {
			return -1, err
		}
	}
	for i := len(old) - 1; i >= 0; i-- {
		if whole, err := isWhole(ctx, old[i], report); err != nil || whole {
			return i, err
		}
	}
	return -1, fmt.Errorf("of %d backups none is whole; nothing is removed: make a new one first, and look at them by verify", len(keep)+len(old))
}

func isWhole(ctx context.Context, c *Chain, report func(text string)) (bool, error) {
	damages, err := c.Check(ctx)
	if err != nil || len(damages) == 0 {
		return err == nil, err
	}
	if report != nil {
		report(fmt.Sprintf("backup %s is not whole: %v", c.ID, damages[0]))
	}
	return false, nil
}

// remove removes all objects of a chain. The manifest goes first: without it there is no backup, and what
// is left after a fault is removed when the grace is over.
func (c *Chain) remove(ctx context.Context, dryRun bool, bytes *int64) error {
	*bytes += c.Bytes
	if dryRun {
		return nil
	}
	first := chain.ManifestName(c.ID)
	if err := c.store.Delete(ctx, first); err != nil {
		return err
	}
	for name := range c.objects {
		if err := c.store.Delete(ctx, name); err != nil {
			return err
		}
	}
	return nil
}
