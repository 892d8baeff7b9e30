package discovery

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestPacingCeilingDoublesAndStops(t *testing.T) {
	var p pacing
	f := func(attempts int, want time.Duration) {
		t.Helper()
		p.attempts = attempts
		if got := p.ceiling(); got != want {
			t.Errorf("ceiling after %d attempts is %s, want %s", attempts, got, want)
		}
	}
	f(0, 100*time.Millisecond)
	f(1, 200*time.Millisecond)
	f(5, 3200*time.Millisecond)
	f(9, 30*time.Second)
	f(1_000_000, 30*time.Second)
}

func TestPacingWaitsWithinItsCeilingAndNotPastItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pacing
		var longest time.Duration
		for range 200 {
			ceiling, started := p.ceiling(), time.Now()
			if !p.wait(t.Context()) {
				t.Fatal("wait gave up")
			}
			took := time.Since(started)
			if took >= ceiling {
				t.Errorf("waited %s, the ceiling is %s", took, ceiling)
			}
			longest = max(longest, took)
		}
		if longest < longestWait/2 {
			t.Errorf("the longest of 200 waits was %s: that is no jitter up to %s", longest, longestWait)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		started := time.Now()
		for p.wait(ctx) {
		}
		if took := time.Since(started); took > time.Millisecond {
			t.Errorf("wait went on for %s after its context had ended", took)
		}
	})
}

// flap lets etcd go and come back.
func (c *Contact) flap() {
	c.missed()
	c.answered()
}

func TestAReturnOfEtcdEndsWaits(t *testing.T) {
	f := func(what string, ends bool, happens func(b *pacing, c *Contact)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			c := NewContact()
			b := &pacing{contact: c, draw: endless}
			b.wait(t.Context())
			go func() {
				time.Sleep(time.Minute)
				happens(b, c)
			}()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			started := time.Now()
			if b.wait(ctx) != ends {
				t.Errorf("%s: ended %v, want %v", what, !ends, ends)
			}
			if took := time.Since(started); ends && took > time.Minute+returnSpread {
				t.Errorf("%s: the next attempt came after %s", what, took)
			}
		})
	}
	f("it is back", true, func(_ *pacing, c *Contact) { c.flap() })
	f("an answer, with nothing missed before", false, func(_ *pacing, c *Contact) { c.answered() })
	f("no answer", false, func(_ *pacing, c *Contact) { c.missed() })
	f("errors that are etcd's own", true, func(_ *pacing, c *Contact) {
		c.observe(status.Error(codes.Unavailable, "connection refused"))
		c.observe(status.Error(codes.PermissionDenied, "etcdserver: permission denied"))
	})
	f("errors that say nothing", false, func(_ *pacing, c *Contact) {
		c.observe(status.Error(codes.Unavailable, "connection refused"))
		c.observe(context.Canceled)
		c.observe(status.Error(codes.Internal, "stream terminated"))
	})
}

func TestAReturnDuringAnAttemptCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewContact()
		b := pacing{contact: c, draw: endless}
		b.wait(t.Context())
		c.flap() // while the attempt, made too early, is on its way to fail
		started := time.Now()
		b.wait(t.Context())
		if took := time.Since(started); took > returnSoonest {
			t.Errorf("the next attempt came after %s", took)
		}
	})
}

func TestAReturnMakesNoWaitLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewContact()
		b := pacing{contact: c, draw: func(int) time.Duration { return time.Millisecond }}
		started := time.Now()
		for range 100 {
			c.flap()
			b.wait(t.Context())
		}
		if took := time.Since(started); took > 100*time.Millisecond {
			t.Errorf("100 waits of a millisecond took %s", took)
		}
	})
}

// TestAnEtcdThatComesAndGoesIsNotWornDown has etcd come back a hundred times a second, and every attempt fail.
func TestAnEtcdThatComesAndGoesIsNotWornDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewContact()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		go func() {
			for pauses(ctx, 10*time.Millisecond) {
				c.flap()
			}
		}()
		b := pacing{contact: c, draw: endless}
		attempts := 0
		for b.wait(ctx) {
			attempts++
		}
		if attempts < 2 || attempts > 9 { // at once, then after 1, 2, 4, 8, 16, 32, 32 s
			t.Errorf("%d attempts in two minutes", attempts)
		}
		b.reset()
		b.wait(t.Context())
		started := time.Now()
		c.flap()
		b.wait(t.Context())
		if took := time.Since(started); took > returnSoonest {
			t.Errorf("after a success the next attempt came after %s", took)
		}
	})
}

// TestAFleetComesBackSpread has a hundred routers of three waits each learn at one moment that etcd is back.
func TestAFleetComesBackSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const routers, waits, slots = 100, 3, 10
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var at [600 * slots]atomic.Int32 // attempts in each tenth of a second
		var all sync.WaitGroup
		started := time.Now()
		for range routers {
			c := NewContact()
			for range waits {
				all.Go(func() {
					b := pacing{contact: c, draw: endless}
					for b.wait(ctx) {
						at[time.Since(started)*slots/time.Second].Add(1)
					}
				})
			}
			all.Go(func() {
				if pauses(ctx, time.Minute) {
					c.flap()
				}
			})
		}
		all.Wait()
		began, total, most := int32(0), int32(0), int32(0)
		for slot := range at {
			n := at[slot].Load()
			if total += n; slot < 60*slots {
				began += n
				continue
			}
			most = max(most, n)
		}
		if began != routers*waits || total != 2*began {
			t.Errorf("%d attempts before etcd was back and %d in all, want one and then another of each", began, total)
		}
		if most > routers*waits/3 { // a tenth, by the draw
			t.Errorf("%d of %d attempts fell into one tenth of a second", most, routers*waits)
		}
	})
}
