package routermetrics

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// SamplerOptions say how often routers are read. What is zero gets the default.
type SamplerOptions struct {
	// Every is the time between two reads of one router. Default: 5 s.
	Every time.Duration
	// AtOnce is how many routers that answered the last time are read at once. Default: 32. As many, in
	// addition, are for those that were never read, and a quarter of it for those that failed the last time,
	// so that these hold up nobody else.
	AtOnce int
	// Window is the time that rates are of. Default: 30 s.
	Window time.Duration
}

// Sampler reads routers again and again in the background, and remembers what they did of late. Routers that
// fail are asked less often, at last every fourth time. Its methods may be called at once, and never wait for
// a router.
type Sampler struct {
	options                SamplerOptions
	reader                 *Reader
	sound, fresh, doubtful chan struct{} // a place for each read that is under way

	mu       sync.Mutex
	running  context.Context // nil before Start and after it //nolint:containedctx // the time that followers live
	routers  map[string]*router
	watching sync.WaitGroup
}

// router is one that is followed.
type router struct {
	group string
	stop  context.CancelFunc // nil as long as nobody reads it

	// Guarded by Sampler.mu.
	target   Target
	last     Sample
	err      error
	failures int
	recent   []step
}

// step is what a router did between two reads.
type step struct {
	from, to      time.Time
	requests, cpu float64
}

// NewSampler returns a sampler of nothing, at rest.
func NewSampler(o SamplerOptions) *Sampler {
	if o.Every <= 0 {
		o.Every = 5 * time.Second
	}
	if o.AtOnce <= 0 {
		o.AtOnce = 32
	}
	if o.Window <= 0 {
		o.Window = 30 * time.Second
	}
	return &Sampler{
		options: o, reader: NewReader(), routers: map[string]*router{},
		sound: make(chan struct{}, o.AtOnce), fresh: make(chan struct{}, o.AtOnce), doubtful: make(chan struct{}, max(1, o.AtOnce/4)),
	}
}

// NeedLeaderElection says that each process samples for itself, whichever of them leads.
func (s *Sampler) NeedLeaderElection() bool { return false }

// Start samples until ctx ends, and returns nil once nothing goes on in the background any more. It may be
// called once.
func (s *Sampler) Start(ctx context.Context) error {
	s.mu.Lock()
	if s.running != nil {
		s.mu.Unlock()
		return errors.New("the sampler was started already")
	}
	s.running = ctx
	for _, r := range s.routers {
		s.watch(r)
	}
	s.mu.Unlock()
	<-ctx.Done()
	s.watching.Wait()
	s.reader.Close()
	return nil
}

// Set says which routers a group has, by IDs that no other group uses, such as the pods of a fleet by their
// UID. Others that the group had are forgotten. What is known of those that stay is kept, also if their target
// changed.
func (s *Sampler) Set(group string, targets map[string]Target) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, r := range s.routers {
		if _, stays := targets[id]; r.group == group && !stays {
			if r.stop != nil {
				r.stop()
			}
			delete(s.routers, id)
		}
	}
	for id, target := range targets {
		if r := s.routers[id]; r != nil {
			r.group, r.target = group, target
			continue
		}
		r := &router{group: group, target: target}
		s.routers[id] = r
		s.watch(r)
	}
}

// watch begins to read a router, if the sampler runs. The lock is held.
func (s *Sampler) watch(r *router) {
	if s.running == nil || s.running.Err() != nil {
		return
	}
	ctx, stop := context.WithCancel(s.running)
	r.stop = stop
	s.watching.Go(func() {
		defer stop()
		s.follow(ctx, r)
	})
}

// follow reads one router until ctx ends.
func (s *Sampler) follow(ctx context.Context, r *router) {
	// Those that come together are not read together, then or ever after.
	wait := time.NewTimer(time.Duration(rand.Float64() * float64(s.options.Every) / 4))
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		began := time.Now()
		failures, ok := s.read(ctx, r)
		if !ok {
			return
		}
		pause := s.options.Every << min(failures, 2)
		wait.Reset(max(0, pause-time.Since(began)))
	}
}

// read reads one router once there is a place for it, and says how often in a row it has failed; false: ctx
// ended.
func (s *Sampler) read(ctx context.Context, r *router) (failures int, ok bool) {
	s.mu.Lock()
	target, places := r.target, s.sound
	switch {
	case r.failures > 0:
		places = s.doubtful
	case r.last.At.IsZero():
		places = s.fresh
	}
	s.mu.Unlock()
	select {
	case <-ctx.Done():
		return 0, false
	case places <- struct{}{}:
	}
	sample, err := s.reader.Read(ctx, target)
	<-places
	if ctx.Err() != nil {
		return 0, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.err = err; err != nil {
		r.failures++
		return r.failures, true
	}
	r.failures = 0
	r.remember(sample, s.options.Window)
	return 0, true
}

// remember adds a sample, and forgets what is older than the window.
func (r *router) remember(sample Sample, window time.Duration) {
	if before := r.last; !before.At.IsZero() {
		did := Sub(sample, before)
		r.recent = append(r.recent, step{from: before.At, to: sample.At, requests: did.Requests, cpu: did.CPUSeconds})
	}
	r.last = sample
	for len(r.recent) > 1 && r.recent[0].from.Before(sample.At.Add(-window)) {
		r.recent = r.recent[1:]
	}
}

// Latest returns the newest sample of a router; false if none was read yet. It may be old: see its time, and
// [Sampler.Trouble].
func (s *Sampler) Latest(id string) (Sample, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routers[id]
	if r == nil || r.last.At.IsZero() {
		return Sample{}, false
	}
	return r.last, true
}

// Trouble returns why a router could not be read the last time; nil if it could, or was not tried yet.
func (s *Sampler) Trouble(id string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.routers[id]; r != nil {
		return r.err
	}
	return nil
}

// Rate is what a router does in a second.
type Rate struct {
	// At is the end of the time that it is of, and Window its length.
	At     time.Time
	Window time.Duration
	// RequestsPerSecond are the requests that ended.
	RequestsPerSecond float64
	// CPUCores is how many processors it kept busy; NaN where the router does not tell.
	CPUCores float64
}

// Rate returns what a router did in the last window; false if it was read less than twice, or not for a whole
// window: an old number is none.
func (s *Sampler) Rate(id string) (Rate, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.routers[id]
	if r == nil || len(r.recent) == 0 || time.Since(r.last.At) > max(s.options.Window, 3*s.options.Every) {
		return Rate{}, false
	}
	rate := Rate{At: r.last.At, Window: r.last.At.Sub(r.recent[0].from)}
	for _, did := range r.recent {
		rate.RequestsPerSecond += did.requests
		rate.CPUCores += did.cpu
	}
	length := rate.Window.Seconds()
	rate.RequestsPerSecond, rate.CPUCores = rate.RequestsPerSecond/length, rate.CPUCores/length
	return rate, length > 0 && !math.IsInf(rate.RequestsPerSecond, 0)
}
