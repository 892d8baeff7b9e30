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

	// mu guards until, when the lock is given up by our own clock. Timer ends the context then.
	mu    sync.Mutex
	until time.Time
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
	over := !time.Now().Before(l.until)
	l.mu.Unlock()
	if over {
		l.end(fmt.Errorf("%w: its time is over", ErrLost))
	}
	cause := context.Cause(l.ctx)
	if errors.Is(cause, ErrLost) || errors.Is(cause, ErrReleased) {
		return cause
	}
	return nil
}

// Extend holds the lock for some time from now on. A lock that was lost is not taken again: the error
// is [ErrLost]. After any other error it is held until its former time.
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
	former := l.Until()
	if until := begun.Add(d); until.Before(former) {
		l.setUntil(until) // before it is asked for: the answer may be lost
		former = until
	}
	call, cancel := context.WithTimeout(ctx, min(time.Until(former), patience))
	defer cancel()
	err := l.grant.Extend(call, d)
	if errors.Is(err, ErrLost) {
		l.end(err)
	}
	if err != nil {
		return fmt.Errorf("extend lock %s: %w", l.Token().Name, err)
	}
	if err := l.Err(); err != nil { // it was given up while the answer was on its way
		return err
	}
	l.setUntil(begun.Add(d))
	return nil
}

func (l *Lock) setUntil(until time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = until
	l.timer.Reset(time.Until(until))
}

// KeepAlive extends the lock by its time whenever half of that is over, until it is released or lost.
// It returns at once; a second call does nothing. If the provider does not answer, it is asked again,
// until the lock's time is over.
func (l *Lock) KeepAlive() {
	l.keepAlive.Do(func() { l.alive.Go(l.stayAlive) })
}

func (l *Lock) stayAlive() {
	wait := time.Until(l.Until()) - l.atMost/2
	for {
		select {
		case <-l.ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = l.atMost / 2
		if err := l.Extend(l.ctx, l.atMost); err != nil {
			wait = l.atMost / 20
		}
	}
}

// Unlock releases the lock: nobody can have it before atLeast is over, and anybody after that. The
// lock's context ends first. The error is [ErrLost] if the lock was lost before, so that another one
// may have run the same job meanwhile. After any other error it becomes free when its time is over. A
// second call does nothing.
func (l *Lock) Unlock(ctx context.Context) error {
	lost := l.Err()
	l.end(ErrReleased)
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
