package table

import (
	"context"
	"fmt"
	"slices"
	"time"

	"gridrouter.io/routing/compile"
)

// How often updates are measured, and how large a burst is.
const (
	singleUpdates = 2000
	bursts        = 9
	burstChanges  = 10_000
)

// update measures changes of single tenants and bursts, at up to three sizes of the table.
func (b *bench) update(context.Context) error {
	for _, size := range slices.Compact([]int{min(1000, b.Tenants), min(100_000, b.Tenants), b.Tenants}) {
		h := b.held
		if h == nil || h.tenants != size {
			var err error
			if h, _, err = b.hold(size, fmt.Sprintf("load-%d", size)); err != nil {
				return err
			}
		}
		if err := b.updateSingles(h); err != nil {
			return err
		}
		if err := b.updateBursts(h); err != nil {
			return err
		}
	}
	b.report.note("updates: from the change in its stored form (epoch and policy are others) through Compile to the published table, with the guard against" +
		" mass changes on; median; collections that fall into it count. A router does more once it has the table, but not in proportion to it")
	return nil
}

// updateSingles measures updates of one tenant each.
func (b *bench) updateSingles(h *holding) error {
	// So few of the tenants are changed, time and again, that the guard lets it pass.
	touched := min(singleUpdates, h.tenants/25)
	taken := make([]time.Duration, singleUpdates)
	if _, err := b.timed(fmt.Sprintf("update-single-%d", h.tenants), func() error {
		for i := range taken {
			tenant, round := i%touched*(h.tenants/touched), i/touched
			key, value := b.docs.tenant(tenant, tenant+round+1, uint64(round+2))
			changes := []compile.Change{{Key: key, Value: value, Revision: h.revision + 1, Created: 1}}
			begun := time.Now()
			if err := h.apply(compile.Update{Changes: changes, Origin: "memory"}); err != nil {
				return err
			}
			taken[i] = time.Since(begun)
			if err := b.inEffect(h, tenant, uint64(round+2)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	what := fmt.Sprintf("one tenant's update among %d", h.tenants)
	slices.Sort(taken)
	b.report.judge(what, "us", micros(percentile(taken, 0.5)), 50, 50)
	b.report.inform(what+", p99", "us", micros(percentile(taken, 0.99)))
	return nil
}

// updateBursts measures updates of many tenants each, which are accepted as meant.
func (b *bench) updateBursts(h *holding) error {
	size := min(burstChanges, h.tenants)
	taken := make([]time.Duration, bursts)
	if _, err := b.timed(fmt.Sprintf("update-burst-%d", h.tenants), func() error {
		for round := range taken {
			epoch := uint64(singleUpdates + round)
			changes := make([]compile.Change, 0, size)
			for i := range size {
				tenant := i * (h.tenants / size)
				key, value := b.docs.tenant(tenant, tenant+round+500, epoch)
				changes = append(changes, compile.Change{Key: key, Value: value, Revision: h.revision + 1, Created: 1})
			}
			begun := time.Now()
			if err := h.apply(compile.Update{Changes: changes, Origin: "memory", Accepted: h.revision + 1}); err != nil {
				return err
			}
			taken[round] = time.Since(begun)
			if err := b.inEffect(h, 0, epoch); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	what := fmt.Sprintf("%d updates at once among %d, each", size, h.tenants)
	b.report.judge(what, "us", micros(median(taken))/float64(size), 3, 3)
	return complete(h.table.Load(), h.tenants, 0)
}

// inEffect checks that a tenant's requests are decided by the given epoch.
func (b *bench) inEffect(h *holding, tenant int, epoch uint64) error {
	a := newAsker()
	t := h.table.Load()
	if err := a.check(t, tenant); err != nil {
		return err
	}
	if got := t.Decide(a.about(tenant)).Epoch; got != epoch {
		return fmt.Errorf("%s is at epoch %d after an update to %d; problems: %.3v", tenantName(tenant), got, epoch, t.Problems()[:min(3, len(t.Problems()))])
	}
	return nil
}
