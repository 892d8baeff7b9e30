package gslb

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
)

// Bounds of the wait after a failure.
const (
	minBackoff = time.Second
	maxBackoff = 30 * time.Second
)

// keep is the loop of one name: resolve, merge, publish, tell, wait. One loop per name means one resolution in flight per name.
func (r *Resolver) keep(ctx context.Context, t *tracked) {
	if s := localState(t); s != nil {
		r.publish(t, nil, s)
		return
	}
	for {
		v4, v6, err := r.resolve(ctx, t.name)
		if err != nil || ctx.Err() != nil {
			return // an answer that was cut off by the end is no answer
		}
		old := t.current.Load()
		next := merge(old, v4, v6, time.Now(), r.cfg)
		r.publish(t, old, next)
		if old != nil && old.silent && !next.silent {
			r.retryUnanswered(len(*r.names.Load())) // the servers answer again: nobody need wait any longer
		}
		if !t.sleep(ctx, time.Until(next.next)) {
			return
		}
	}
}

// localState returns the state of a name that no server needs to be asked for: localhost, and what is no name. Others yield nil.
func localState(t *tracked) *state {
	switch {
	case isLocalhost(t.name):
		addrs := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
		return &state{addrs: addrs, good: time.Now()}
	case t.invalid != nil:
		return &state{problem: t.invalid.Error() + "; mend it where it is written"}
	}
	return nil
}

// resolve asks for both address families, one after the other. The error is that of ctx.
func (r *Resolver) resolve(ctx context.Context, name string) (v4, v6 reply, err error) {
	select {
	case r.permits <- struct{}{}:
		defer func() { <-r.permits }()
	case <-ctx.Done():
		return reply{}, reply{}, ctx.Err()
	}
	v4, v6 = r.client.resolve(ctx, name)
	return v4, v6, nil
}

// publish stores a new state, then writes the log, then calls the listeners.
func (r *Resolver) publish(t *tracked, old, next *state) {
	t.current.Store(next)
	var before []netip.Addr
	problem := ""
	if old != nil {
		before, problem = old.addrs, old.problem
	}
	changed := !slices.Equal(before, next.addrs)
	name := zap.String("name", t.name)
	switch {
	case next.problem != "" && problem == "":
		r.log.Warn("name does not resolve, or not wholly; known addresses are kept", name,
			zap.String("reason", next.problem), zap.Stringers("addresses", next.addrs))
	case next.problem == "" && problem != "":
		r.log.Info("name resolves again", name, zap.Stringers("addresses", next.addrs))
	case changed:
		r.log.Info("addresses changed", name, zap.Stringers("before", before), zap.Stringers("addresses", next.addrs))
	}
	if next.kept {
		r.metrics.kept.Inc()
	}
	if changed || old == nil {
		for _, f := range *r.listeners.Load() {
			f(t.name)
		}
	}
}

// probeEvery is how often, while servers do not answer, one of the names that wait is asked for before its time: waits grow so that
// thousands of names are no storm, and the first answer ends them all.
const probeEvery = 2 * time.Second

// probe asks for one name now and then while servers are silent, until ctx ends.
func (r *Resolver) probe(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			r.retryUnanswered(1)
		}
	}
}

// retryUnanswered ends the waits of at most so many names that no server answered.
func (r *Resolver) retryUnanswered(most int) {
	for _, t := range *r.names.Load() { // in no order
		if most == 0 {
			return
		}
		if s := t.current.Load(); s != nil && s.silent {
			select {
			case t.wake <- struct{}{}:
				most--
			default: // it was woken already
			}
		}
	}
}

// sleep waits for d, or until it is woken, and says whether the context still lives.
func (t *tracked) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.wake:
		return true
	case <-ctx.Done():
		return false
	}
}

// refreshAfter returns when to ask again for an answer of the given TTL: at 80 % of it, less up to a tenth of the TTL as jitter.
func refreshAfter(ttl time.Duration) time.Duration {
	return ttl*8/10 - rand.N(ttl/10+1)
}

// retryAfter returns the wait after so many failures in a row, at least one: between 1 s and an end that doubles from 2 s to 30 s.
func retryAfter(failures int) time.Duration {
	end := min(minBackoff<<min(failures, 10), maxBackoff)
	return minBackoff + rand.N(end-minBackoff+1)
}
