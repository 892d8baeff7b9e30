package table

import (
	"context"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"

	"gridrouter.io/routing"
)

// asker makes requests and keeps what they are made of, so that asking allocates nothing.
type asker struct {
	request routing.Request
	host    [hostBytes]byte
	user    []byte
}

// Field implements [routing.Fields]: the one header is the user's.
func (a *asker) Field(name string) ([]byte, int) {
	if name == userHeader {
		return a.user, 1
	}
	return nil, 0
}

// Line implements [routing.Fields].
func (a *asker) Line(name string, n int) []byte {
	if name == userHeader && n == 0 {
		return a.user
	}
	return nil
}

func newAsker() *asker {
	a := &asker{user: []byte(userID(1))}
	a.request = routing.Request{Host: a.host[:], Method: []byte("GET"), Path: []byte("/orders/1"), Fields: a}
	return a
}

// about makes the request one for a tenant's host.
func (a *asker) about(tenant int) *routing.Request {
	putHost(&a.host, tenant)
	return &a.request
}

// check says what is wrong with a table's answer for a tenant; nil: nothing.
func (a *asker) check(t *routing.Table, tenant int) error {
	d := t.Decide(a.about(tenant))
	if d.Fault != routing.FaultNone || d.Deck == nil || d.Tenant != tenantName(tenant) {
		return fmt.Errorf("a request for the host of %s got tenant %q, fault %q (%s)", tenantName(tenant), d.Tenant, d.Fault, d.Reason)
	}
	return nil
}

// checkAll checks the answers for some of n tenants, the first and the last among them.
func checkAll(t *routing.Table, n int) error {
	a := newAsker()
	for i := 0; i < n; i += max(1, n/5000) {
		if err := a.check(t, i); err != nil {
			return err
		}
	}
	return a.check(t, n-1)
}

// chain is how many lookups are timed together, beside the single ones.
const chain = 16

// lookup measures Table.Decide on random hosts.
func (b *bench) lookup(context.Context) error {
	if err := b.holdTenants(); err != nil {
		return err
	}
	t := b.held.table.Load()
	if err := checkAll(t, b.Tenants); err != nil {
		return err
	}
	clock := clockCost(b.Lookups)
	var single, chained []time.Duration
	if _, err := b.timed("lookup", func() error {
		single, chained = lookups(t, b.Lookups, b.Tenants), chains(t, b.Lookups/chain+1, b.Tenants)
		return nil
	}); err != nil {
		return err
	}
	for i := range single {
		single[i] = max(0, single[i]-clock)
	}
	slices.Sort(single)
	slices.Sort(chained)
	b.judgeFull("lookup, random hosts, p50", "ns", float64(percentile(single, 0.5)), 120, 80)
	b.judgeFull("lookup, random hosts, p99", "ns", float64(percentile(single, 0.99)), 500, 300)
	b.report.inform("lookup in chains of 16, p50", "ns", float64(percentile(chained, 0.5))/chain)
	b.report.inform("lookup in chains of 16, p99", "ns", float64(percentile(chained, 0.99))/chain)
	b.report.inform("one random read of as much memory", "ns", readCost(b.Tenants*100))
	b.report.note("lookup: Table.Decide with host, path and one header, the host's bytes warm, the table as cold as %d random tenants leave it;"+
		" each lookup timed alone, less the median cost of reading the clock twice (%d ns here); what the machine takes away meanwhile counts in p99."+
		" Chains of 16 are timed as one and divided: no clock in them, but processors overlap what follows, so they are the lower bound."+
		" One random read is what this machine takes to follow a pointer through 100 bytes a tenant: a lookup needs several that wait for each other",
		b.Tenants, clock)
	return nil
}

// clockCost returns the median of what a measured nothing takes.
func clockCost(n int) time.Duration {
	taken := make([]time.Duration, n)
	base := time.Now()
	for i := range taken {
		begun := time.Since(base)
		taken[i] = time.Since(base) - begun
	}
	return median(taken)
}

// readCost returns the ns that one read takes which waits for the read before it, at random
// places in at least so many bytes.
func readCost(bytes int) float64 {
	const reads = 1 << 20
	next := make([]uint32, 1<<bits.Len(uint(bytes)/4))
	for i := range next { // a step of Knuth's generator: every place is visited once
		next[i] = uint32(uint64(i)*6364136223846793005+1442695040888963407) & uint32(len(next)-1)
	}
	at := uint32(0)
	begun := time.Now()
	for range reads {
		at = next[at]
	}
	taken := time.Since(begun)
	runtime.KeepAlive(at)
	return float64(taken) / reads
}

// lookups times n single lookups.
func lookups(t *routing.Table, n, tenants int) []time.Duration {
	taken := make([]time.Duration, n)
	random := rand.New(rand.NewPCG(1, 2))
	a := newAsker()
	base := time.Now()
	for i := range taken {
		request := a.about(random.IntN(tenants))
		begun := time.Since(base)
		d := t.Decide(request)
		taken[i] = time.Since(base) - begun
		if d.Deck == nil {
			panic("a host that was just there is gone: " + string(request.Host))
		}
	}
	return taken
}

// chains times n times 16 lookups, each one made ready before.
func chains(t *routing.Table, n, tenants int) []time.Duration {
	taken := make([]time.Duration, n)
	random := rand.New(rand.NewPCG(3, 4))
	var askers [chain]*asker
	for i := range askers {
		askers[i] = newAsker()
	}
	base := time.Now()
	for i := range taken {
		for _, a := range askers {
			a.about(random.IntN(tenants))
		}
		found := 0
		begun := time.Since(base)
		for _, a := range askers {
			if d := t.Decide(&a.request); d.Deck != nil {
				found++
			}
		}
		taken[i] = time.Since(base) - begun
		if found < chain {
			panic("hosts that were just there are gone")
		}
	}
	return taken
}
