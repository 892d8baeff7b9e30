package locks

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Lock is a lock that was taken. Its methods may be called at once. It must be released by
// [Lock.Unlock], also after it was lost, since that ends what keeps it alive.
type Lock struct {
	grant           Grant
	begun           time.Time
	atMost, atLeast time.Duration

	// ctx ends with the lock; end ends it with a cause.
	ctx context.Context
	end context.CancelCauseFunc
	// alive is what keeps the lock alive.
	alive     sync.WaitGroup
	keepAlive sync.Once

	// calls lets one call of the provider run at a time.
	calls    sync.Mutex
	released bool

	// mu guards until, when the lock is given up by our own clock, and ended, which says how it ended
	// once it has. Timer ends the lock at that time.
	mu    sync.Mutex
	until time.Time
	ended error
	timer *time.Timer
}

func newLock(ctx context.Context, grant Grant, begun time.Time, atMost, atLeast time.Duration) *Lock {
	l := &Lock{grant: grant, begun: begun, atMost: atMost, atLeast: atLeast, until: begun.Add(atMost)}
	l.ctx, l.end = context.WithCancelCause(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.timer = time.AfterFunc(time.Until(l.until), func() { _ = l.Err() })
	return l
}

// Token is to be compared by every write that the lock guards.
func (l *Lock) Token() Token { return l.grant.Token() }

// Context ends when the lock is lost or released, or when the context ends that it was taken with.
// Its cause is then [ErrLost], [ErrReleased], or that of the other context.
func (l *Lock) Context() context.Context { return l.ctx }

// Until is when the lock is given up if it is not extended.
func (l *Lock) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.until
}

// Err is nil as long as the lock is held by our own reckoning, and [ErrLost] or [ErrReleased] after
// that. It looks at the clock, so that it says the truth as well in a process that was stopped.
func (l *Lock) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !time.Now().Before(l.until) {
		l.conclude(fmt.Errorf("%w: its time is over", ErrLost))
	}
	return l.ended
}

// conclude notes how the lock ended, unless it has ended before, and ends its context. It is called
// with mu held.
func (l *Lock) conclude(how error) {
	if l.ended == nil {
		l.ended = how
		l.end(how)
	}
}

// Extend holds the lock for some time from now on. A lock that was lost is not taken again: the error
// is [ErrLost]. After any other error it is held until its former time, or the asked one if that is earlier.
func (l *Lock) Extend(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("extend a lock by %s", d)
	}
	l.calls.Lock()
	defer l.calls.Unlock()
	if err := l.Err(); err != nil {
		return err
	}
	begun := time.Now()
	// A shorter time counts before it is asked for: the answer may be lost.
	until := l.setUntil(func(former time.Time) time.Time { return earlier(former, begun.Add(d)) })
	call, cancel := context.WithTimeout(ctx, min(time.Until(until), patience))
	defer cancel()
	if err := l.grant.Extend(call, d); err != nil {
		if errors.Is(err, ErrLost) {
			l.mu.Lock()
			l.conclude(err)
			l.mu.Unlock()
		}
		return fmt.Errorf("extend lock %s: %w", l.Token().Name, err)
	}
	l.setUntil(func(time.Time) time.Time { return begun.Add(d) })
	return l.Err() // it may have been given up while the answer was on its way
}

// setUntil changes until when the lock is held, unless it has ended, and returns that.
func (l *Lock) setUntil(change func(former time.Time) time.Time) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended == nil && time.Now().Before(l.until) {
		l.until = change(l.until)
		l.timer.Reset(time.Until(l.until))
	}
	return l.until
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// KeepAlive extends the lock by its time whenever less than half of that is left, until it is released or lost.
// It returns at once; a second call does nothing. If the provider does not answer, it is asked again,
// until the lock's time is over.
func (l *Lock) KeepAlive() {
	l.keepAlive.Do(func() { l.alive.Go(l.stayAlive) })
}

func (l *Lock) stayAlive() {
	for {
		wait := time.Until(l.Until()) - l.atMost/2
		if wait <= 0 {
			if l.Extend(l.ctx, l.atMost) == nil {
				continue
			}
			wait = l.atMost / 20
		}
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// Unlock releases the lock: nobody can have it before atLeast is over, and anybody after that. The
// lock's context ends first. The error is [ErrLost] if the lock was lost before, so that another one
// may have run the same job meanwhile. After any other error it becomes free when its time is over. A
// second call does nothing.
func (l *Lock) Unlock(ctx context.Context) error {
	lost := l.Err()
	l.mu.Lock()
	l.conclude(ErrReleased)
	l.mu.Unlock()
	l.alive.Wait()
	l.calls.Lock()
	defer l.calls.Unlock()
	if l.released {
		return nil
	}
	l.released = true
	l.mu.Lock()
	l.timer.Stop()
	l.mu.Unlock()
	call, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := l.grant.Release(call, max(time.Until(l.begun.Add(l.atLeast)), 0))
	if errors.Is(lost, ErrLost) {
		return lost
	}
	if err != nil {
		return fmt.Errorf("release lock %s: %w", l.Token().Name, err)
	}
	return nil
}
