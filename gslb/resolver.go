package gslb

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
)

// Defaults of a ResolverConfig.
const (
	DefaultTryTimeout = 400 * time.Millisecond
	DefaultMinTTL     = time.Second
	DefaultMaxTTL     = 5 * time.Minute
	DefaultStaleFor   = 72 * time.Hour
)

// maxResolving bounds how many names are resolved at the same time, so that a start with thousands of names is no storm of sockets.
const maxResolving = 128

// A ResolverConfig configures a Resolver. Only Name is required; the zero value of every other field means its default.
type ResolverConfig struct {
	// Name tells this resolver from the process's others ("gslb", "resolver"): the label "resolver" of its metrics, and its logger's name.
	Name string
	// Servers are the DNS servers to ask, in order, as IP:port or IP (port 53). Empty means those of /etc/resolv.conf, read once.
	Servers []string
	// TryTimeout is how long one server may take over one question, before the next is asked; a repetition over TCP may take as long again.
	// Where all were silent the first is asked once more, and may take five times as long.
	TryTimeout time.Duration
	// MinTTL and MaxTTL are the bounds that the TTLs of answers are clamped to. A TTL of 0 counts as MinTTL.
	MinTTL, MaxTTL time.Duration
	// StaleFor is how long after the end of their TTL addresses are kept, while no server gives better ones.
	StaleFor time.Duration
	// Logger receives changes of answers and the beginning and end of failures. nil logs nothing.
	Logger *zap.Logger
	// Registerer receives the metrics. nil registers nothing.
	Registerer prometheus.Registerer

	retryAfter func(failures int) time.Duration // the wait after failures in a row; nil, outside of tests: retryAfter
}

// A Resolver keeps the addresses of a set of names in memory, resolved in the background ahead of need. All methods may be called
// concurrently. The package comment tells what it does about failures.
type Resolver struct {
	cfg     ResolverConfig
	client  *client
	metrics *resolverMetrics
	log     *zap.Logger
	permits chan struct{} // one held per name being resolved

	names     atomic.Pointer[map[string]*tracked] // replaced whole, by Track only
	listeners atomic.Pointer[[]func(name string)] // replaced whole, by Notify only

	mu sync.Mutex // held to write names and listeners, and to start loops
	// remembered are answers of an earlier process, for names that are not tracked yet.
	remembered map[string]*state
	ctx        context.Context // of Run; nil until then
	ended      bool            // no loop is started any more
	loops      sync.WaitGroup
}

// tracked is one name and the loop that keeps it.
type tracked struct {
	name    string
	invalid error                 // why the name cannot be asked for, or nil
	current atomic.Pointer[state] // nil until the first resolution ended; written by the name's loop only
	wake    chan struct{}         // ends a wait after silence before its time
	stop    context.CancelFunc    // ends the loop; nil until it was started
}

// NewResolver checks the configuration and registers the metrics. Nothing is asked before Run.
func NewResolver(cfg ResolverConfig) (*Resolver, error) {
	if cfg.Name == "" {
		return nil, errors.New("resolver: no name; give one, it labels the metrics")
	}
	if cfg.Logger == nil {
		cfg.Logger = zap.NewNop()
	}
	setDefault(&cfg.TryTimeout, DefaultTryTimeout)
	setDefault(&cfg.MinTTL, DefaultMinTTL)
	setDefault(&cfg.MaxTTL, DefaultMaxTTL)
	setDefault(&cfg.StaleFor, DefaultStaleFor)
	if cfg.retryAfter == nil {
		cfg.retryAfter = retryAfter
	}
	if cfg.MinTTL > cfg.MaxTTL {
		return nil, fmt.Errorf("resolver %s: lowest TTL %v is above the highest, %v; swap them", cfg.Name, cfg.MinTTL, cfg.MaxTTL)
	}
	servers, err := serversOf(cfg.Servers)
	if err != nil {
		return nil, fmt.Errorf("resolver %s: %w", cfg.Name, err)
	}
	r := &Resolver{cfg: cfg, log: cfg.Logger.Named(cfg.Name), permits: make(chan struct{}, maxResolving)}
	r.names.Store(&map[string]*tracked{})
	r.listeners.Store(&[]func(string){})
	r.metrics = newResolverMetrics(cfg.Name, r)
	if err := r.metrics.register(cfg.Registerer); err != nil {
		return nil, fmt.Errorf("resolver %s: %w", cfg.Name, err)
	}
	r.client = &client{servers: servers, timeout: cfg.TryTimeout, metrics: r.metrics}
	r.log.Info("DNS servers in use", zap.Strings("servers", servers))
	return r, nil
}

func setDefault(d *time.Duration, def time.Duration) {
	if *d <= 0 {
		*d = def
	}
}

// Run keeps the tracked names resolved until ctx ends, waits for everything it started, and returns nil. It can run once; a second call
// returns an error. After it ended, Lookup goes on answering what was known last.
func (r *Resolver) Run(ctx context.Context) error {
	r.mu.Lock()
	if r.ctx != nil {
		r.mu.Unlock()
		return errors.New("resolver: Run was called twice; make a new resolver instead")
	}
	r.ctx = ctx
	for _, t := range *r.names.Load() {
		r.start(t)
	}
	r.loops.Go(func() { r.probe(ctx) })
	r.mu.Unlock()

	<-ctx.Done()
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
	r.loops.Wait()
	return nil
}

// start starts the loop of a name, if the resolver runs. r.mu is held.
func (r *Resolver) start(t *tracked) {
	if r.ctx == nil || r.ended {
		return
	}
	ctx, stop := context.WithCancel(r.ctx)
	t.stop = stop
	r.loops.Go(func() {
		defer stop()
		r.keep(ctx, t)
	})
}

// Track replaces the set of names to keep resolved. Names that stay keep their answers, names that go lose them, without a notification.
// Names are absolute, with or without the trailing dot, in any case; no search domain is ever appended. An IP address or a malformed name
// is the caller's error: it counts as tried, without addresses, and Status says why. Calling it with the set that is in force is cheap.
func (r *Resolver) Track(names []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old := *r.names.Load()
	next := make(map[string]*tracked, len(names))
	fresh := []*tracked{}
	for _, name := range names {
		name = canonicalName(name)
		if _, twice := next[name]; twice {
			continue
		}
		t := old[name]
		if t == nil {
			t = &tracked{name: name, invalid: checkHostName(name, true), wake: make(chan struct{}, 1)}
			if s := r.remembered[name]; s != nil && t.invalid == nil {
				t.current.Store(s)
			}
			delete(r.remembered, name)
			fresh = append(fresh, t)
		}
		next[name] = t
	}
	if len(fresh) == 0 && len(next) == len(old) {
		return
	}
	r.names.Store(&next)
	for name, t := range old {
		if next[name] == nil && t.stop != nil {
			t.stop()
		}
	}
	for _, t := range fresh {
		r.start(t)
	}
}

// Lookup returns the addresses of a tracked name as they are in memory, sorted, and whether a resolution of it has ended yet, well or not.
// An unknown name was never tried. It takes no lock, asks nobody, and for a name in lower case allocates nothing.
// The slice is shared and immutable: callers must not write to it.
func (r *Resolver) Lookup(name string) (addrs []netip.Addr, tried bool) {
	names := *r.names.Load()
	t := names[name]
	if t == nil {
		t = names[canonicalName(name)]
	}
	if t == nil {
		return nil, false
	}
	s := t.current.Load()
	if s == nil {
		return nil, false
	}
	return s.addrs, true
}

// Notify registers f to be called each time after the addresses of a name changed, or its first resolution ended; Lookup then already
// answers the new. f runs in the name's own goroutine: for one name the calls come one after another, for different names at the same
// time, and while f runs that name is not refreshed, so it should be short. It must not wait for Run to end. What changed before Notify
// is not told again: register before Track.
func (r *Resolver) Notify(f func(name string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := append(slices.Clone(*r.listeners.Load()), f)
	r.listeners.Store(&next)
}

// A NameStatus is what a Resolver knows of one name, for people.
type NameStatus struct {
	Name      string       `json:"name"`
	Addresses []netip.Addr `json:"addresses"`
	// Tried is false until the first resolution ended.
	Tried bool `json:"tried"`
	// AgeSeconds is the time since the last good answer; 0 when there was none.
	AgeSeconds float64 `json:"ageSeconds"`
	// TTLSeconds is the clamped TTL of the last good answer; 0 when there was none, or it never ends (localhost).
	TTLSeconds float64 `json:"ttlSeconds"`
	// Stale says that addresses are kept beyond the end of their TTL.
	Stale bool `json:"stale"`
	// LastError is why the last resolution failed, wholly or for one address family; empty when it did not.
	LastError string `json:"lastError,omitempty"`
	// NextSeconds is the time until the next resolution; 0 when it is due, under way, or will never be.
	NextSeconds float64 `json:"nextSeconds"`
}

// Status returns what is known of each tracked name, sorted by name.
func (r *Resolver) Status() []NameStatus {
	now := time.Now()
	names := *r.names.Load()
	all := make([]NameStatus, 0, len(names))
	for _, t := range names {
		status := NameStatus{Name: t.name, Addresses: []netip.Addr{}}
		if s := t.current.Load(); s != nil {
			s.describe(&status, now)
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b NameStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// staleNames counts the names that have nothing but stale addresses, or stale ones among others.
func (r *Resolver) staleNames() int {
	now, n := time.Now(), 0
	for _, t := range *r.names.Load() {
		if s := t.current.Load(); s != nil && s.stale(now) {
			n++
		}
	}
	return n
}
