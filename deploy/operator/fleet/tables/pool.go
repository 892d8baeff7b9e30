// Package tables knows what the tables of fleets' routers are: it reads the status keys that routers keep
// in etcd, compares them, and says who lags behind its peers or has another table than they.
//
// It knows nothing of Kubernetes: a source is an etcd with its credentials, a router is a name.
package tables

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Options are the times of a [Pool]. What is zero gets its default.
type Options struct {
	// Every is how often the keys of a source are read, give or take a tenth. Default 5 s.
	Every time.Duration
	// Timeout bounds one call to etcd; a look is at most a few of them. Default 4 s.
	Timeout time.Duration
	// LagAfter is how long a router may be at what its peers have left before it lags. Default 8 s. The
	// looks of that time are kept.
	LagAfter time.Duration
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		value    *time.Duration
		standard time.Duration
	}{{&o.Every, 5 * time.Second}, {&o.Timeout, 4 * time.Second}, {&o.LagAfter, 8 * time.Second}} {
		if *d.value <= 0 {
			*d.value = d.standard
		}
	}
	return o
}

// Pool reads the status keys of fleets, each source in a goroutine of its own however many fleets follow
// it, and with one client for all sources that differ in nothing but their prefix. Its methods may be
// called at once from any goroutine; none but Close waits for anything.
type Pool struct {
	options Options
	log     *zap.Logger
	running sync.WaitGroup

	mu          sync.Mutex // guards the rest; never held while anything is awaited or anybody called
	followers   map[string]*feed
	feeds       map[identity]*feed
	connections map[identity]*connection
	closed      bool
}

// NewPool makes a pool, which nobody follows yet. A nil logger: nothing is logged. Messages of etcd's
// clients go to it from level warn on; they hold no secrets.
func NewPool(log *zap.Logger, options Options) *Pool {
	if log == nil {
		log = zap.NewNop()
	}
	return &Pool{
		options: options.withDefaults(), log: log,
		followers: map[string]*feed{}, feeds: map[identity]*feed{}, connections: map[identity]*connection{},
	}
}

// Follow has the status keys of a source read for a fleet, which id names, until it is forgotten. Called
// again with the same source it only replaces changed; with another one it goes over to that. What was
// read is kept if only the credentials are new.
//
// changed is called by the goroutine that reads, after a look at which something was another than before:
// who is there, with which revision, hashes and version, or what keeps the keys from being read. The first look counts as such; who comes later finds its
// report by Latest at once. It must return at once, and may call the pool's other methods but Close. It may be called once more after
// Forget. After Close, Follow does nothing.
func (p *Pool) Follow(id string, s Source, changed func()) {
	key := s.identity()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	before := p.followers[id]
	if before != nil && before.key == key {
		before.follow(id, changed)
		return
	}
	f := p.feeds[key]
	if f == nil {
		f = p.begin(key, s, before)
	}
	p.leave(id)
	p.followers[id] = f
	f.follow(id, changed)
}

// Latest returns what was read last for a fleet; false: it is not followed, or its first look is not over.
// It never reads itself. Its content is shared and must not be changed.
func (p *Pool) Latest(id string) (Report, bool) {
	p.mu.Lock()
	f := p.followers[id]
	p.mu.Unlock()
	if f == nil {
		return Report{}, false
	}
	return f.latest()
}

// Forget ends reading for a fleet. The source's goroutine and client end soon after, unless others
// follow it too.
func (p *Pool) Forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.leave(id)
}

// Close ends all, and returns when no goroutine is left. The pool cannot be used after it.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	for id := range p.followers {
		p.leave(id)
	}
	p.mu.Unlock()
	p.running.Wait()
}

// begin starts to read a source. before: the feed that a follower comes from, if any.
func (p *Pool) begin(key identity, s Source, before *feed) *feed {
	access := s.access()
	shared := p.connections[access]
	if shared == nil {
		shared = &connection{source: s, log: p.log}
		p.connections[access] = shared
	}
	shared.users++
	ctx, stop := context.WithCancel(context.Background())
	f := &feed{key: key, source: s, options: p.options, connection: shared, stop: stop, followers: map[string]func(){}}
	if before != nil && before.source.sameKeys(s) {
		f.report, f.looked = before.latest()
	}
	p.feeds[key] = f
	p.running.Go(func() {
		defer p.release(access)
		f.run(ctx)
	})
	return f
}

// leave takes a follower from its feed, which ends with the last.
func (p *Pool) leave(id string) {
	f := p.followers[id]
	if f == nil {
		return
	}
	delete(p.followers, id)
	if f.unfollow(id) == 0 {
		delete(p.feeds, f.key)
		f.stop()
	}
}

// release lets go of a connection, which is closed with its last user.
func (p *Pool) release(access identity) {
	p.mu.Lock()
	shared := p.connections[access]
	shared.users--
	last := shared.users == 0
	if last {
		delete(p.connections, access)
	}
	p.mu.Unlock()
	if last {
		shared.close()
	}
}
