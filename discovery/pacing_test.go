package discovery

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
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
