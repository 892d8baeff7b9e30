package table

import (
	"context"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"gridrouter.io/routing"
	"gridrouter.io/routing/compile"
)

// holding is a compiler and the table that it published last.
type holding struct {
	tenants  int
	compiler *compile.Compiler
	table    atomic.Pointer[routing.Table]
	revision int64
}

// apply compiles and publishes changes, as a router does with what its source delivers.
func (h *holding) apply(u compile.Update) error {
	h.revision++
	u.Revision, u.At = h.revision, time.Now()
	table, err := h.compiler.Compile(u)
	if err == nil {
		h.table.Store(table)
	}
	return err
}

// whole returns the documents of the decks and of n tenants as changes.
func (b *bench) whole(n int) ([]compile.Change, error) {
	changes := make([]compile.Change, 0, decks+n)
	for i := range decks {
		key, value, err := b.docs.deck(i)
		if err != nil {
			return nil, err
		}
		changes = append(changes, compile.Change{Key: key, Value: value, Revision: 1, Created: 1})
	}
	for i := range n {
		key, value := b.docs.tenant(i, i, 1)
		changes = append(changes, compile.Change{Key: key, Value: value, Revision: 1, Created: 1})
	}
	return changes, nil
}

// hold loads n tenants.
func (b *bench) hold(n int, profile string) (h *holding, took time.Duration, err error) {
	changes, err := b.whole(n)
	if err != nil {
		return nil, 0, err
	}
	h = &holding{tenants: n, compiler: b.newCompiler()}
	took, err = b.timed(profile, func() error {
		return h.apply(compile.Update{Whole: true, Changes: changes, Origin: "memory"})
	})
	if err == nil {
		err = complete(h.table.Load(), n, 0)
	}
	return h, took, err
}

// complete checks that a table holds what was loaded.
func complete(t *routing.Table, tenants, pins int) error {
	counts := t.Counts()
	want := routing.Counts{Tenants: tenants, Hosts: tenants, Decks: decks, Pins: pins}
	if counts != want {
		return fmt.Errorf("the table holds %+v, it should hold %+v; problems: %.3v", counts, want, t.Problems()[:min(3, len(t.Problems()))])
	}
	return nil
}

// holdTenants loads all tenants, unless an earlier part did.
func (b *bench) holdTenants() error {
	if b.held != nil && b.held.tenants == b.Tenants {
		return nil
	}
	h, _, err := b.hold(b.Tenants, "load-from-memory")
	b.held = h
	return err
}

// leastWeighed is how many tenants it takes for the bytes of one to mean anything.
const leastWeighed = 100_000

// memory measures what the tenants take, compiler and table together.
func (b *bench) memory(context.Context) error {
	few, _, err := b.takenBy(LeastTenants)
	if err != nil {
		return err
	}
	all, took, err := b.takenBy(b.Tenants)
	if err != nil {
		return err
	}
	if row := b.judgeFull("bytes a tenant, resident, with all policies", "B", float64(all)/float64(b.Tenants), 100, 60); row != nil {
		row.Counted = true
	}
	if b.Tenants >= leastWeighed {
		b.report.judge("bytes for each further tenant", "B", float64(all-few)/float64(b.Tenants-LeastTenants), 100, 60).Counted = true
	}
	b.report.inform("load of all tenants from memory", "s", took.Seconds())
	b.report.note("bytes a tenant: what is alive on the heap (HeapAlloc after two forced collections) with compiler and table, decks and policies,"+
		" less what was alive before loading; for each further tenant: less what the first %d take, which bear all policies."+
		" It is the same on every machine of this architecture", LeastTenants)
	return nil
}

// takenBy loads n tenants, keeps them as those that are held, and returns how many bytes
// they take.
func (b *bench) takenBy(n int) (bytes int64, took time.Duration, err error) {
	b.afresh()
	before := heldBytes()
	b.held, took, err = b.hold(n, fmt.Sprintf("load-from-memory-%d", n))
	if err != nil {
		return 0, 0, err
	}
	bytes = heldBytes() - before
	runtime.KeepAlive(b.held)
	return bytes, took, nil
}
