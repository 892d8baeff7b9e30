package gslb

import (
	"errors"
	"net/netip"
	"slices"
	"time"
)

// reply is what one resolution learnt about one address family of a name. Without an error and addresses, the family has none.
type reply struct {
	addrs []netip.Addr
	ttl   time.Duration // not yet clamped
	err   error
}

// state is everything known of one name; immutable once published.
type state struct {
	addrs    []netip.Addr // both families, sorted
	v4, v6   family
	good     time.Time     // of the last answer with addresses; zero: never
	ttl      time.Duration // of that answer
	problem  string        // what was wrong with the last resolution
	failures int           // resolutions with a problem, in a row
	silent   bool          // no server answered the last resolution
	kept     bool          // the last resolution failed, and addresses from before it are still served
	next     time.Time     // of the next resolution; zero: never
}

// family is the last good answer for one address family.
type family struct {
	addrs   []netip.Addr
	expires time.Time // the end of the TTL
}

// errNoAddress stands for an answer that is in order, but empty.
var errNoAddress = errors.New("the name exists, but has no address; add one, or stop using the name")

// merge makes the next state of the last one (nil at first) and two fresh replies. It holds the rule that decides everything here:
// only addresses replace addresses. When neither reply brings any, all that was known stays; when one does, the other family is taken at
// its word if it is empty, and keeps what it had if it failed. Kept addresses end with StaleFor.
func merge(old *state, v4, v6 reply, now time.Time, cfg ResolverConfig) *state {
	if old == nil {
		old = &state{}
	}
	next := &state{good: old.good, ttl: old.ttl, problem: problemOf(v4, v6)}
	answered := len(v4.addrs) > 0 || len(v6.addrs) > 0
	next.v4 = old.v4.merge(v4, answered, now, cfg)
	next.v6 = old.v6.merge(v6, answered, now, cfg)
	next.addrs = union(next.v4.addrs, next.v6.addrs)

	next.silent = unanswered(v4.err) || unanswered(v6.err)
	if answered {
		next.good, next.ttl = now, clamp(leastTTL(v4, v6), cfg.MinTTL, cfg.MaxTTL)
		next.next = now.Add(refreshAfter(next.ttl))
	}
	if next.problem != "" {
		next.failures = old.failures + 1
		retry := now.Add(cfg.retryAfter(next.failures))
		if !answered || retry.Before(next.next) {
			next.next = retry
		}
		next.kept = keeps(next.v4, v4) || keeps(next.v6, v6)
	}
	return next
}

// merge returns what becomes of a family. answered says that the resolution brought addresses, of this family or the other.
func (f family) merge(r reply, answered bool, now time.Time, cfg ResolverConfig) family {
	switch {
	case len(r.addrs) > 0:
		return family{addrs: r.addrs, expires: now.Add(clamp(r.ttl, cfg.MinTTL, cfg.MaxTTL))}
	case r.err == nil && answered:
		return family{}
	case now.After(f.expires.Add(cfg.StaleFor)):
		return family{}
	}
	return f
}

// unanswered says whether an error is of the servers, which may answer any moment, and not about the name.
func unanswered(err error) bool {
	return errors.Is(err, errTimeout) || errors.Is(err, errNetwork) || errors.Is(err, errServfail) || errors.Is(err, errRefused)
}

// keeps says whether the family f, made with the reply r, holds addresses that r did not bring.
func keeps(f family, r reply) bool { return len(f.addrs) > 0 && len(r.addrs) == 0 }

func problemOf(v4, v6 reply) string {
	switch {
	case v4.err != nil:
		return v4.err.Error()
	case v6.err != nil:
		return v6.err.Error()
	case len(v4.addrs) == 0 && len(v6.addrs) == 0:
		return errNoAddress.Error()
	}
	return ""
}

// leastTTL returns the lower TTL of the replies that hold addresses.
func leastTTL(v4, v6 reply) time.Duration {
	switch {
	case len(v4.addrs) == 0:
		return v6.ttl
	case len(v6.addrs) == 0:
		return v4.ttl
	}
	return min(v4.ttl, v6.ttl)
}

func clamp(d, low, high time.Duration) time.Duration { return min(max(d, low), high) }

// union returns the addresses of both, sorted, each once, with no room to append in place.
func union(a, b []netip.Addr) []netip.Addr {
	all := slices.Concat(a, b)
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Clip(slices.Compact(all))
}

// stale says whether some address is served beyond the end of its TTL.
func (s *state) stale(now time.Time) bool {
	expired := func(f family) bool { return len(f.addrs) > 0 && now.After(f.expires) }
	return expired(s.v4) || expired(s.v6)
}

// describe fills in everything but the name.
func (s *state) describe(status *NameStatus, now time.Time) {
	status.Tried = true
	status.Addresses = append(status.Addresses, s.addrs...)
	status.Stale = s.stale(now)
	status.LastError = s.problem
	status.TTLSeconds = s.ttl.Seconds()
	if !s.good.IsZero() {
		status.AgeSeconds = max(0, now.Sub(s.good).Seconds())
	}
	if !s.next.IsZero() {
		status.NextSeconds = max(0, s.next.Sub(now).Seconds())
	}
}
