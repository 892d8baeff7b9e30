package table

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"gridrouter.io/discovery"
	"gridrouter.io/routing"
)

const (
	followers        = 8
	writesPerSecond  = 1000
	writeLanes       = 64
	betweenTwoWrites = time.Second / writesPerSecond
)

// writing is a plan of changes, one every millisecond, and what became of them. Each
// makes one tenant's epoch rise by one and sends all its requests to another deck.
type writing struct {
	docs    *documents
	touched int             // how many tenants are changed in turn
	stride  int             // from one of them to the next
	places  map[string]int  // key of a tenant's document -> its place among them
	base    time.Time       // all times are counted from here
	begun   time.Duration   // when the first write was due
	acked   []time.Duration // by write: when etcd acknowledged it
}

func (b *bench) newWriting() *writing {
	w := &writing{docs: b.docs, base: time.Now(), acked: make([]time.Duration, b.Seconds*writesPerSecond), places: map[string]int{}}
	// So few of the tenants are changed, time and again, that the guard lets it pass.
	w.touched = min(len(w.acked), b.Tenants/25)
	w.stride = b.Tenants / w.touched
	for place := range w.touched {
		w.places["tenants/"+tenantName(place*w.stride)] = place
	}
	return w
}

// change returns the document that the nth write puts.
func (w *writing) change(n int) (key string, value []byte) {
	return w.docs.plainTenant(n%w.touched*w.stride, n, uint64(n/w.touched+2))
}

// write returns which write gave the tenant at a place its epoch; below 0: none did.
func (w *writing) write(place int, epoch uint64) int { return (int(epoch)-2)*w.touched + place }

// due is when the nth write was meant to be made.
func (w *writing) due(n int) time.Duration { return w.begun + time.Duration(n)*betweenTwoWrites }

// watcher sees the changes come into effect in one follower. It belongs to the goroutine
// of that follower, but for left.
type watcher struct {
	plan  *writing
	asker *asker
	next  []int           // by place: the first of its writes that is not in effect
	seen  []time.Duration // by write: when it was in effect
	left  atomic.Int64    // writes that are not in effect yet
	wrong atomic.Int64    // answers that were not those of the documents
}

func newWatcher(plan *writing) *watcher {
	w := &watcher{plan: plan, asker: newAsker(), next: make([]int, plan.touched), seen: make([]time.Duration, len(plan.acked))}
	for place := range w.next {
		w.next[place] = place
	}
	w.left.Store(int64(len(plan.acked)))
	return w
}

// published asks the new table about every tenant of the batch.
func (w *watcher) published(batch discovery.Batch, t *routing.Table) {
	for i := range batch.Put {
		entry := &batch.Put[i]
		place, planned := w.plan.places[entry.Key]
		newest := w.plan.write(place, epochIn(entry.Value))
		if !planned || newest < 0 || newest >= len(w.seen) {
			continue
		}
		d := t.Decide(w.asker.about(place * w.plan.stride))
		now := time.Since(w.plan.base)
		if d.Deck == nil || w.plan.write(place, d.Epoch) != newest || d.Deck.Name != deckName(newest) {
			w.wrong.Add(1)
			continue
		}
		for ; w.next[place] <= newest; w.next[place] += w.plan.touched {
			w.seen[w.next[place]] = now
			w.left.Add(-1)
		}
	}
}

// epochIn reads the epoch out of a tenant's stored form; 0: there is none.
func epochIn(value []byte) uint64 {
	_, rest, _ := bytes.Cut(value, []byte(`"epoch":`))
	digits, _, _ := strings.Cut(string(rest[:min(len(rest), 24)]), ",")
	epoch, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0
	}
	return epoch
}

// propagation measures how soon what is put into etcd is in effect everywhere.
func (b *bench) propagation(ctx context.Context) error {
	if err := b.fillMember(ctx); err != nil {
		return err
	}
	b.afresh()
	plan := b.newWriting()
	watchers := make([]*watcher, followers)
	tables := make([]*follower, followers)
	for i := range watchers {
		watchers[i] = newWatcher(plan)
		tables[i] = b.follow(ctx, b.member, watchers[i].published)
		defer tables[i].end()
		if _, err := tables[i].wait(ctx); err != nil {
			return err
		}
		b.progress("follower %d of %d has its table", i+1, followers)
	}
	client, err := discovery.NewClient(b.member.config(), nil)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // it reports its own context's end, nothing else
	if _, err := b.timed("propagation", func() error {
		if err := plan.run(ctx, client); err != nil {
			return err
		}
		return awaitEffect(ctx, watchers)
	}); err != nil {
		return err
	}
	if err := agree(tables); err != nil {
		return err
	}
	b.reportPropagation(plan, watchers)
	return nil
}

// run writes by the clock: a write that is late for those before it is measured from
// when it was due. The writes of one tenant keep their order.
func (w *writing) run(ctx context.Context, client *clientv3.Client) error {
	group, ctx := errgroup.WithContext(ctx)
	lanes := make([]chan int, writeLanes)
	w.begun = time.Since(w.base) + 10*time.Millisecond
	for i := range lanes {
		lanes[i] = make(chan int, len(w.acked)) // so that the clock never waits
		group.Go(func() error {
			for n := range lanes[i] {
				key, value := w.change(n)
				put, cancel := context.WithTimeout(ctx, patience)
				_, err := client.Put(put, root+key, string(value))
				cancel()
				if err != nil {
					return err
				}
				w.acked[n] = time.Since(w.base)
			}
			return nil
		})
	}
	for n := range w.acked {
		if time.Sleep(time.Until(w.base.Add(w.due(n)))); ctx.Err() != nil {
			break
		}
		lanes[n%w.touched%writeLanes] <- n
	}
	for i := range lanes {
		close(lanes[i])
	}
	return group.Wait()
}

// awaitEffect waits until every follower has seen every write, or one a wrong answer.
func awaitEffect(ctx context.Context, watchers []*watcher) error {
	deadline := time.Now().Add(patience)
	for _, w := range watchers {
		for w.left.Load() > 0 && w.wrong.Load() == 0 {
			if time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("%d changes did not come into effect", w.left.Load())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	return nil
}

// agree checks that all followers hold the same documents, and have the same in force.
func agree(tables []*follower) error {
	first := tables[0].table.Load()
	for i, f := range tables {
		t := f.table.Load()
		if t.Hash() != first.Hash() || t.EffectiveHash() != first.EffectiveHash() || t.Counts().Problems > 0 {
			return fmt.Errorf("follower %d ended with hash %s/%s and %d problems, the first with %s/%s",
				i+1, t.Hash(), t.EffectiveHash(), t.Counts().Problems, first.Hash(), first.EffectiveHash())
		}
	}
	return nil
}

func (b *bench) reportPropagation(plan *writing, watchers []*watcher) {
	everywhere := make([]time.Duration, len(plan.acked))
	acked := make([]time.Duration, len(plan.acked))
	wrong := 0.0
	for n := range everywhere {
		acked[n] = plan.acked[n] - plan.due(n)
		for _, w := range watchers {
			everywhere[n] = max(everywhere[n], w.seen[n]-plan.due(n))
		}
	}
	for _, w := range watchers {
		wrong += float64(w.wrong.Load())
	}
	slices.Sort(everywhere)
	slices.Sort(acked)
	what := fmt.Sprintf("put into etcd to effect on %d followers", followers)
	b.report.judge(what+", p50", "ms", millis(percentile(everywhere, 0.5)), 15, 5)
	b.report.judge(what+", p99", "ms", millis(percentile(everywhere, 0.99)), 100, 30)
	b.report.judge("wrong answers meanwhile", "", wrong, 0, 0).Counted = true
	b.report.inform("of that, until etcd acknowledged, p50", "ms", millis(percentile(acked, 0.5)))
	b.report.inform("of that, until etcd acknowledged, p99", "ms", millis(percentile(acked, 0.99)))
	b.report.note("propagation: %d writes a second for %d s, by the clock (a write counts from when it was due), each an epoch and a deck of one of %d tenants;"+
		" in effect when the last of %d followers, each with its own client, source and compiler in this one process, decides by it (Table.Decide at each publication)",
		writesPerSecond, b.Seconds, plan.touched, followers)
}
