package testkit

import (
	"testing"
	"time"
)

// Patience bounds the waits of this package. It is far more than anything takes, on a busy machine
// and under the race detector too: only what would never happen uses it up.
const Patience = 30 * time.Second

// pause is the time between two looks.
const pause = 2 * time.Millisecond

// Eventually looks again and again whether something holds, and fails the test with what that is if
// it does not within [Patience]. It is for what announces itself to nobody. It must be called by the
// goroutine that runs the test.
func Eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	if !within(Patience, holds) {
		t.Fatalf("not within %s: %s", Patience, what)
	}
}

// within says whether something holds before a time is over. The last look begins after that, so that
// a process which was not let run for long has looked after all.
func within(patience time.Duration, holds func() bool) bool {
	deadline := time.Now().Add(patience)
	for {
		last := time.Now().After(deadline)
		if holds() {
			return true
		}
		if last {
			return false
		}
		time.Sleep(pause)
	}
}
