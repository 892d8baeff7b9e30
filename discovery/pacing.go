package discovery

import (
	"context"
	"math/rand/v2"
	"time"
)

// Waits between attempts are drawn evenly from nothing up to a ceiling that
// doubles from firstWait to longestWait ("full jitter"): a fleet that lost
// etcd at one moment does not come back to it at one moment.
const (
	firstWait   = 100 * time.Millisecond
	longestWait = 30 * time.Second
)

// pacing spaces attempts. Its zero value is ready; it belongs to one goroutine.
type pacing struct{ attempts int }

// wait waits for the next attempt's turn and reports whether ctx is still
// alive. The first attempt waits too, up to firstWait: that is the jitter of a
// fleet that starts at one moment.
func (b *pacing) wait(ctx context.Context) bool {
	timer := time.NewTimer(rand.N(b.ceiling()))
	defer timer.Stop()
	b.attempts++
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}

// ceiling is the longest that the next wait may be.
func (b *pacing) ceiling() time.Duration {
	ceiling := firstWait
	for range b.attempts {
		if ceiling *= 2; ceiling >= longestWait {
			return longestWait
		}
	}
	return ceiling
}

// reset is called when the other side has proved that it works.
func (b *pacing) reset() { b.attempts = 0 }
