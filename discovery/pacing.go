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

// A wait ends early when etcd has answered somebody else in this process. The
// next attempt is then made within returnSpread, drawn evenly: all routers of a
// fleet may learn of it at one moment. It is never made sooner than
// returnSoonest after the one before began, doubled with each such attempt that
// has led to nothing: an etcd that comes and goes is not worn down.
const (
	returnSpread  = time.Second
	returnSoonest = time.Second
	connectWithin = 2 * time.Second // for the connection to come back too
	mostReturns   = 5               // doublings
)

// pacing spaces attempts. Its zero value is ready; it belongs to one goroutine.
type pacing struct {
	// contact tells when etcd is back; nil: nobody does.
	contact *Contact
	// connect, if set, waits until a call need not fail for the lack of a
	// connection, or until ctx ends.
	connect func(ctx context.Context)
	// probe, if set, asks an etcd that is away for a sign of life, which contact
	// will hear of; every probeEvery, on average, of a wait.
	probe      func(ctx context.Context)
	probeEvery time.Duration
	// draw, if set, says how long to wait after so many attempts; for tests.
	draw func(attempts int) time.Duration

	attempts int
	returns  int             // attempts in a row that the return of etcd has brought about
	began    time.Time       // the last attempt
	back     context.Context // ends when etcd returns after that; nil before the first
}

// wait waits for the next attempt's turn and reports whether ctx is still
// alive. The first attempt waits too, up to firstWait: that is the jitter of a
// fleet that starts at one moment.
func (b *pacing) wait(ctx context.Context) bool {
	due := time.Now().Add(b.drawn())
	if b.untilReturn(ctx, due) {
		b.settle(ctx, due)
	}
	b.attempts++
	b.began, b.back = time.Now(), b.contact.returned()
	return ctx.Err() == nil
}

// untilReturn waits until due, or ctx ends, or etcd is back: then it says so.
func (b *pacing) untilReturn(ctx context.Context, due time.Time) bool {
	back := b.back
	if back == nil {
		back = context.Background()
	}
	ctx, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	defer context.AfterFunc(back, cancel)()
	for b.probe != nil && pauses(ctx, around(b.probeEvery)) {
		if b.contact.isAway() {
			b.probe(ctx)
		}
	}
	<-ctx.Done()
	return back.Err() != nil
}

// settle waits for an attempt's turn after the return of etcd, until due at most.
func (b *pacing) settle(ctx context.Context, due time.Time) {
	ctx, cancel := context.WithDeadline(ctx, due)
	defer cancel()
	soonest := b.began.Add(returnSoonest << min(b.returns, mostReturns))
	b.returns++
	if pauses(ctx, max(rand.N(returnSpread), time.Until(soonest))) && b.connect != nil {
		ctx, cancel := context.WithTimeout(ctx, connectWithin)
		defer cancel()
		b.connect(ctx)
	}
}

// drawn is how long the next wait is to be.
func (b *pacing) drawn() time.Duration {
	if b.draw != nil {
		return b.draw(b.attempts)
	}
	return rand.N(b.ceiling())
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
func (b *pacing) reset() { b.attempts, b.returns, b.back = 0, 0, b.contact.returned() }
