package load

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"syscall"
	"time"
)

// schedule gives the times at which requests are due, since the run began, one after the
// other. One goroutine.
type schedule struct {
	rate   float64 // a second
	random *rand.Rand
	n      int64
	at     float64 // ns, of the last one
}

func newSchedule(c *Config) *schedule {
	s := &schedule{rate: c.Rate}
	if c.Arrivals == Poisson {
		s.random = rand.New(rand.NewPCG(c.Seed, 0x70616365))
	}
	return s
}

func (s *schedule) next() time.Duration {
	if s.random != nil {
		s.at += s.random.ExpFloat64() * 1e9 / s.rate
	} else {
		s.at = math.Round(float64(s.n) * 1e9 / s.rate)
	}
	s.n++
	return time.Duration(s.at)
}

// backlog is how many due requests may wait for a connection before the pacer waits too.
// Their latency counts from when they were due all the same.
const backlog = 1 << 16

// pace sends the times of the schedule to due when they have come, until ctx ends or the end
// is reached. It has a thread of its own, which sleeps by the kernel's finest timer: Go's are
// late by up to a millisecond in a process that has nothing else to do.
func pace(ctx context.Context, s *schedule, begun time.Time, end time.Duration, due chan<- time.Duration) {
	defer close(due)
	runtime.LockOSThread() // never unlocked: the thread ends, and its timer slack with it
	const prSetTimerSlack = 29
	_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetTimerSlack, 1, 0) // else it is 50 us
	for {
		at := s.next()
		if at >= end {
			return
		}
		for wait := at - time.Since(begun); wait > 0; wait = at - time.Since(begun) {
			pause := syscall.NsecToTimespec(int64(min(wait, 50*time.Millisecond)))
			_ = syscall.Nanosleep(&pause, nil) // a signal ends it early; the loop looks again
			if ctx.Err() != nil {
				return
			}
		}
		select {
		case due <- at:
		case <-ctx.Done():
			return
		}
	}
}
