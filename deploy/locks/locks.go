// Package locks has locks for jobs that must not run twice at once, such as backups and inspections.
// They mean what the locks of ShedLock mean: a lock is held at most for some time, so that a dead
// holder blocks nobody for ever, and at least for some time, so that a short job is not done again by
// a process whose clock is behind. A job that cannot have its lock is skipped, not queued.
//
// No lock over a network is safe by itself: a holder may be stopped past its time and go on believing
// that it holds the lock. Therefore a lock has a [Token], and every write that it guards must compare
// that at the moment of writing; the providers in etcdlock and leaselock say how.
package locks

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"
)

var (
	// ErrLost says that a lock is not held any more, though it was not released: its time is over,
	// another one has it, or it was deleted.
	ErrLost = errors.New("the lock is lost")
	// ErrReleased says that a lock was released.
	ErrReleased = errors.New("the lock was released")
)

// HeldError says that another one holds a lock, so that the job is to be skipped.
type HeldError struct {
	// Name is that of the lock, and Holder who has it, as it named itself.
	Name, Holder string
	// Until is when it becomes free if its holder neither extends nor releases it, reckoned by the
	// clock of this process; zero if that is not known.
	Until time.Time
}

// Error names the holder, and says until when.
func (e *HeldError) Error() string {
	until := ""
	if !e.Until.IsZero() {
		until = " until " + e.Until.Format(time.RFC3339)
	}
	return fmt.Sprintf("lock %s is held by %s%s", e.Name, e.Holder, until)
}

// Token tells one holding of a lock from all others of that name. Later holdings have higher fences.
type Token struct {
	Name  string
	Fence int64
}

// Provider keeps locks. Its methods may be called at once by many goroutines.
type Provider interface {
	// Acquire takes a free lock for some time, which begins no earlier than the call. It does not
	// wait: if another one holds the lock, the error is [*HeldError]. After any other error the lock
	// is not held, or becomes free by itself when that time is over.
	Acquire(ctx context.Context, name, holder string, ttl time.Duration) (Grant, error)
}

// Grant is one holding of a lock, as its provider sees it. Only one of its methods is called at once.
type Grant interface {
	// Token is the same as long as the lock is held.
	Token() Token
	// Extend lets the lock be held for some time from now on. The error is [ErrLost] if it is not
	// held any more; after any other error it may have been extended or not.
	Extend(ctx context.Context, ttl time.Duration) error
	// Release gives the lock up, but lets nobody have it for some time more; 0 means that it is free
	// at once. The error is [ErrLost] if it was not held any more.
	Release(ctx context.Context, keep time.Duration) error
}

// patience bounds each call of a provider.
const patience = 5 * time.Second

// validName is what locks may be called, so that every provider can keep them.
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?$`)

// Locker takes locks for one holder. Its methods may be called at once.
type Locker struct {
	provider Provider
	holder   string
}

// New returns a locker. The holder is what others are told of who holds a lock, such as the name of a
// pod; no two processes should share it.
func New(provider Provider, holder string) *Locker {
	return &Locker{provider: provider, holder: holder}
}

// Lock takes a lock or says at once why not: [*HeldError] if another one has it. It is held until it
// is released, at most for atMost unless it is extended, and nobody gets it before atLeast is over.
//
// A name has at most 63 of a-z, 0-9, "-" and ".". Since atMost is only the net for a dead holder, it is
// to be much longer than the job, or kept alive. Providers count in seconds, rounded up.
func (l *Locker) Lock(ctx context.Context, name string, atMost, atLeast time.Duration) (*Lock, error) {
	if !validName.MatchString(name) {
		return nil, fmt.Errorf("lock %q: a name has at most 63 of a-z, 0-9, \"-\" and \".\"", name)
	}
	if atMost <= 0 || atLeast < 0 || atLeast > atMost {
		return nil, fmt.Errorf("lock %s: at most %s and at least %s do not fit", name, atMost, atLeast)
	}
	begun := time.Now() // before the request is sent: whatever its way takes is our loss, not the next holder's
	call, cancel := context.WithTimeout(ctx, min(atMost, patience))
	defer cancel()
	grant, err := l.provider.Acquire(call, name, l.holder, atMost)
	if err != nil {
		var held *HeldError
		if errors.As(err, &held) {
			return nil, err
		}
		return nil, fmt.Errorf("lock %s: %w", name, err)
	}
	return newLock(ctx, grant, begun, atMost, atLeast), nil
}

// Do runs a job under a lock, which is kept alive as long as the job runs. The job's context ends when
// the lock is lost. The error is [*HeldError] if the job was skipped; else it is the job's, joined with
// what went wrong with the lock.
func (l *Locker) Do(ctx context.Context, name string, atMost, atLeast time.Duration, job func(context.Context, Token) error) (err error) {
	lock, err := l.Lock(ctx, name, atMost, atLeast)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Unlock(context.WithoutCancel(ctx))) }()
	lock.KeepAlive()
	return job(lock.Context(), lock.Token())
}
