package discovery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ReadCacheConfig says what to read. Client, Root and Decode are required.
type ReadCacheConfig[V any] struct {
	// Client is used as it is and left open.
	Client *clientv3.Client
	// Root is the prefix of all keys, for example "/gridrouter/docs/". A
	// missing slash at its end is added.
	Root string
	// Decode makes of a stored value what is kept of it. It is called once a
	// read, from many goroutines, and must not keep the value's bytes.
	Decode func(key string, value []byte) V
	// Entries is how many keys are remembered, those that are absent
	// included; the one used longest ago gives way. Default 100,000.
	Entries int
	// InFlight is how many reads may be under way at a time. Default 256.
	InFlight int
	// CallTimeout bounds one read, whoever waits for it. Default 1 s.
	CallTimeout time.Duration
	// Registerer may be nil: then nothing is measured. It takes one cache of a Name.
	Registerer prometheus.Registerer
	// Name says what the values are, in the names of the metrics: "pin" gives
	// gridrouter_pin_cache_hits_total and so on. Default "key".
	Name string
}

const (
	defaultCacheEntries  = 100_000
	defaultReadsInFlight = 256
	defaultReadTimeout   = time.Second
)

// ErrTooManyReads is the error of a read that was not begun because as many as
// are allowed were under way.
var ErrTooManyReads = errors.New("as many reads of etcd as are allowed at a time are under way")

// errCacheClosed is what reads end with that Close cut.
var errCacheClosed = errors.New("the cache of etcd's keys was closed")

// ReadCache reads single keys in etcd when somebody asks for them, and
// remembers what it read, also that a key is absent, until it is told that the
// key may have changed. It never learns of changes by itself: whoever follows
// the same prefix calls [ReadCache.Invalidate] for them. While etcd is away,
// what is remembered goes on being answered.
//
// What is remembered is never older than the last invalidation of its key: a
// read that was under way at that time answers those who waited for it, and is
// not remembered; whoever asks afterwards has a read of their own. All methods
// are safe for concurrent use. Make one with [NewReadCache].
type ReadCache[V any] struct {
	cfg     ReadCacheConfig[V]
	metrics *cacheMetrics
	ctx     context.Context // of all reads
	cancel  context.CancelFunc
	running sync.WaitGroup // reads

	mu     sync.Mutex // guards the rest; never held while waiting
	kept   *simplelru.LRU[string, answer[V]]
	reads  map[string]*reading[V] // by key; those that an invalidation overtook are not in it
	count  int                    // reads under way, overtaken ones included
	closed bool
}

// answer is what etcd said of a key.
type answer[V any] struct {
	value   V
	found   bool
	changed int64 // the key's revision; 0 if it is absent
	asOf    int64 // etcd's revision at the read
}

// reading is one read under way. Its answer and err may be read once done is closed.
type reading[V any] struct {
	done   chan struct{}
	answer answer[V]
	err    error
}

// NewReadCache makes a cache with nothing in it, without contact with etcd.
// [ReadCache.Close] ends it.
func NewReadCache[V any](cfg ReadCacheConfig[V]) (*ReadCache[V], error) {
	if cfg.Client == nil || cfg.Root == "" || cfg.Decode == nil {
		return nil, errors.New("a cache of etcd's keys without a client, a root or a decoder: give all three")
	}
	if !strings.HasSuffix(cfg.Root, "/") {
		cfg.Root += "/"
	}
	if cfg.Entries <= 0 {
		cfg.Entries = defaultCacheEntries
	}
	if cfg.InFlight <= 0 {
		cfg.InFlight = defaultReadsInFlight
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultReadTimeout
	}
	if cfg.Name == "" {
		cfg.Name = "key"
	}
	c := &ReadCache[V]{cfg: cfg, reads: map[string]*reading[V]{}}
	var err error
	if c.kept, err = simplelru.NewLRU[string, answer[V]](cfg.Entries, nil); err != nil {
		return nil, fmt.Errorf("a cache of etcd's keys for %d entries: %w", cfg.Entries, err)
	}
	c.ctx, c.cancel = context.WithCancel(context.Background()) //nolint:gosec // Close calls it
	c.metrics = newCacheMetrics(cfg.Name, cfg.Registerer, c.size)
	return c, nil
}

// Get returns the value of a key, relative to Root, and whether there is one. It
// waits for etcd only if the key is not remembered, and no longer than ctx and
// the read's own time allow; callers who wait for one key wait for one read,
// which goes on if some of them leave. With an error nothing is known of the key.
func (c *ReadCache[V]) Get(ctx context.Context, key string) (value V, found bool, err error) {
	kept, read, err := c.look(key)
	switch {
	case err != nil:
		return value, false, err
	case read == nil:
		return kept.value, kept.found, nil
	}
	select {
	case <-read.done:
		if read.err != nil {
			c.metrics.failed.Inc()
			return value, false, read.err
		}
		return read.answer.value, read.answer.found, nil
	case <-ctx.Done():
		c.metrics.failed.Inc()
		return value, false, fmt.Errorf("read %s from etcd: %w", c.cfg.Root+key, context.Cause(ctx))
	}
}

// look returns what is remembered, or else the read to wait for, which it begins
// where none is under way.
func (c *ReadCache[V]) look(key string) (kept answer[V], read *reading[V], err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if kept, ok := c.kept.Get(key); ok {
		if kept.found {
			c.metrics.hits.Inc()
		} else {
			c.metrics.negative.Inc()
		}
		return kept, nil, nil
	}
	if read = c.reads[key]; read != nil {
		c.metrics.misses.Inc()
		return kept, read, nil
	}
	switch {
	case c.closed:
		return kept, nil, errCacheClosed
	case c.count >= c.cfg.InFlight:
		c.metrics.refused.Inc()
		return kept, nil, ErrTooManyReads
	}
	c.metrics.misses.Inc()
	read = &reading[V]{done: make(chan struct{})}
	c.reads[key] = read
	c.count++
	c.running.Go(func() { c.run(key, read) })
	return kept, read, nil
}

// run is one read, from its beginning to where all who wait for it have it.
func (c *ReadCache[V]) run(key string, read *reading[V]) {
	defer close(read.done)
	read.answer, read.err = c.ask(key)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count--
	if c.reads[key] != read {
		return // overtaken: it may have been answered from before the change
	}
	delete(c.reads, key)
	if read.err == nil && c.kept.Add(key, read.answer) {
		c.metrics.evictions.Inc()
	}
}

// ask reads a key as it is now: no member of etcd that lags behind may answer.
func (c *ReadCache[V]) ask(key string) (a answer[V], err error) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.CallTimeout)
	defer cancel()
	c.metrics.reads.Inc()
	got, err := c.cfg.Client.Get(ctx, c.cfg.Root+key)
	if err != nil {
		return a, fmt.Errorf("read %s from etcd: %s", c.cfg.Root+key, plain(err))
	}
	a.asOf = got.Header.Revision
	if len(got.Kvs) > 0 {
		a.value, a.found, a.changed = c.cfg.Decode(key, got.Kvs[0].Value), true, got.Kvs[0].ModRevision
	}
	return a, nil
}

// Invalidate forgets keys that were written or deleted. It is to be called when
// the change has become known, and before anything that goes with it is put in
// force; keys of which nothing is remembered cost little.
func (c *ReadCache[V]) Invalidate(keys ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		delete(c.reads, key)
		c.forget(key)
	}
}

// InvalidateAll forgets everything.
func (c *ReadCache[V]) InvalidateAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.reads)
	c.metrics.invalidated.Add(float64(c.kept.Len()))
	c.kept.Purge()
}

// Reconcile holds what is remembered to a complete list of the keys with the
// revision at which each was last modified, made at etcd's given revision, and
// forgets what differs from it. It returns how many keys that were: each is a
// change of which nobody told.
func (c *ReadCache[V]) Reconcile(revision int64, listed iter.Seq2[string, int64]) (differed int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.reads)
	unseen := make(map[string]struct{}, c.kept.Len()) // kept as present, and not in the list so far
	for _, key := range c.kept.Keys() {
		if kept, _ := c.kept.Peek(key); kept.found && kept.asOf <= revision {
			unseen[key] = struct{}{}
		}
	}
	for key, changed := range listed {
		kept, ok := c.kept.Peek(key)
		delete(unseen, key)
		if ok && kept.asOf <= revision && kept.changed != changed {
			c.forget(key)
			differed++
		}
	}
	for key := range unseen {
		c.forget(key)
		differed++
	}
	return differed
}

// forget removes a key. The lock is held.
func (c *ReadCache[V]) forget(key string) {
	if c.kept.Remove(key) {
		c.metrics.invalidated.Inc()
	}
}

// size returns how many keys are remembered, and how many reads are under way.
func (c *ReadCache[V]) size() (entries, reads int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.kept.Len(), c.count
}

// Close cuts the reads that are under way and waits until they have ended. What
// is remembered goes on being answered; all else is an error.
func (c *ReadCache[V]) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.cancel()
	c.running.Wait()
}
