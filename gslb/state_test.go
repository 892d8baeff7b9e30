package gslb

import (
	"errors"
	"slices"
	"testing"
	"time"
)

var (
	mergeConfig = ResolverConfig{MinTTL: DefaultMinTTL, MaxTTL: DefaultMaxTTL, StaleFor: DefaultStaleFor, retryAfter: retryAfter}
	mergeStart  = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	errSome     = errors.New("some failure")
)

func good(ttl time.Duration, texts ...string) reply { return reply{addrs: addrs(texts...), ttl: ttl} }

func TestOnlyAddressesReplaceAddresses(t *testing.T) {
	both := merge(nil, good(time.Minute, "10.0.0.1"), good(time.Minute, "2001:db8::1"), mergeStart, mergeConfig)
	f := func(what string, v4, v6 reply, kept bool, want ...string) {
		t.Helper()
		next := merge(both, v4, v6, mergeStart.Add(50*time.Second), mergeConfig)
		if !slices.Equal(next.addrs, addrs(want...)) || next.kept != kept {
			t.Errorf("%s: addresses %v, kept %v; want %v, %v", what, next.addrs, next.kept, want, kept)
		}
	}
	fails, empty := reply{err: errSome}, reply{}
	f("both anew", good(5, "10.0.0.2"), good(5, "2001:db8::2"), false, "10.0.0.2", "2001:db8::2")
	f("both fail", fails, fails, true, "10.0.0.1", "2001:db8::1")
	f("both are empty", empty, empty, true, "10.0.0.1", "2001:db8::1")
	f("one is empty, one fails", empty, fails, true, "10.0.0.1", "2001:db8::1")
	f("one is empty beside a good one", good(5, "10.0.0.2"), empty, false, "10.0.0.2")
	f("one fails beside a good one", good(5, "10.0.0.2"), fails, true, "10.0.0.2", "2001:db8::1")
	f("the other way round", fails, good(5, "2001:db8::2"), true, "10.0.0.1", "2001:db8::2")
}

func TestAFamilyThatNeverWasIsNotKept(t *testing.T) {
	next := merge(nil, good(time.Minute, "10.0.0.1"), reply{err: errSome}, mergeStart, mergeConfig)
	if next.kept || next.problem == "" || !slices.Equal(next.addrs, addrs("10.0.0.1")) {
		t.Errorf("state %+v; want 10.0.0.1, a problem, and nothing kept", next)
	}
	if wait := next.next.Sub(mergeStart); wait > 2*time.Second {
		t.Errorf("the family that failed is asked for in %v; want that soon, not after the other's TTL", wait)
	}
}

func TestStaleness(t *testing.T) {
	s := merge(nil, good(10*time.Second, "10.0.0.1"), reply{}, mergeStart, mergeConfig)
	f := func(after time.Duration, stale bool, want ...string) {
		t.Helper()
		now := mergeStart.Add(after)
		next := merge(s, reply{err: errSome}, reply{err: errSome}, now, mergeConfig)
		if !slices.Equal(next.addrs, addrs(want...)) || next.stale(now) != stale {
			t.Errorf("after %v: addresses %v, stale %v; want %v, %v", after, next.addrs, next.stale(now), want, stale)
		}
		s = next // staleness is counted from the last good answer, however many failures follow
	}
	f(9*time.Second, false, "10.0.0.1")
	f(11*time.Second, true, "10.0.0.1")
	f(24*time.Hour, true, "10.0.0.1")
	f(72*time.Hour+9*time.Second, true, "10.0.0.1")
	f(72*time.Hour+11*time.Second, false)
}

func TestTTLsAreClamped(t *testing.T) {
	f := func(ttl, want time.Duration) {
		t.Helper()
		s := merge(nil, good(ttl, "10.0.0.1"), reply{}, mergeStart, mergeConfig)
		if wait := s.next.Sub(mergeStart); s.ttl != want || wait > want*8/10 || wait < want*7/10 {
			t.Errorf("TTL %v: %v, refreshed after %v; want %v, at 70 to 80 %% of it", ttl, s.ttl, wait, want)
		}
	}
	f(0, time.Second)
	f(time.Second, time.Second)
	f(time.Minute, time.Minute)
	f(5*time.Minute, 5*time.Minute)
	f(time.Hour, 5*time.Minute)
}

func TestTheTTLIsTheLeastOfBothFamilies(t *testing.T) {
	s := merge(nil, good(30*time.Second, "10.0.0.1"), good(20*time.Second, "::1"), mergeStart, mergeConfig)
	if s.ttl != 20*time.Second {
		t.Errorf("TTL %v; want 20s", s.ttl)
	}
}

func TestFailuresBackOff(t *testing.T) {
	var s *state
	longest := time.Duration(0)
	for i := range 40 {
		s = merge(s, reply{err: errSome}, reply{err: errSome}, mergeStart, mergeConfig)
		wait := s.next.Sub(mergeStart)
		end := min(time.Second<<min(i+1, 10), 30*time.Second)
		if wait < time.Second || wait > end {
			t.Fatalf("failure %d waits %v; want 1s to %v", i+1, wait, end)
		}
		longest = max(longest, wait)
	}
	if longest < 5*time.Second {
		t.Errorf("the longest wait was %v; waits should grow", longest)
	}
	s = merge(s, good(time.Minute, "10.0.0.1"), reply{}, mergeStart, mergeConfig)
	if s.failures != 0 {
		t.Error("a success does not end the row of failures")
	}
}

func TestWaitsAreJittered(t *testing.T) {
	refresh, retry := map[time.Duration]bool{}, map[time.Duration]bool{}
	for range 100 {
		refresh[refreshAfter(time.Minute)], retry[retryAfter(3)] = true, true
	}
	if len(refresh) < 50 || len(retry) < 50 {
		t.Errorf("%d and %d different waits of 100", len(refresh), len(retry))
	}
}
