package discovery

import (
	"testing"
	"time"
)

// TestAnAgeGoesOnWhileTheMachineIsSuspended has the clock jump by what a suspended machine was away,
// which the monotonic clock of this process does not see.
func TestAnAgeGoesOnWhileTheMachineIsSuspended(t *testing.T) {
	track := newTracker("x", "y")
	at := bootTime()
	track.now = func() time.Duration { return at }
	track.proved(7)
	at += time.Hour
	if age := track.read().Age; age != time.Hour {
		t.Errorf("after an hour away the age is %v", age)
	}
	track.proved(8)
	if age := track.read().Age; age != 0 {
		t.Errorf("right after a proof the age is %v", age)
	}
}

// TestBootTimeNeverGoesBack reads it many times.
func TestBootTimeNeverGoesBack(t *testing.T) {
	last := bootTime()
	if last <= 0 {
		t.Fatalf("it is %v", last)
	}
	for range 1000 {
		now := bootTime()
		if now < last {
			t.Fatalf("%v behind %v", now, last)
		}
		last = now
	}
}
