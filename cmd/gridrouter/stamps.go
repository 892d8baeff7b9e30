package main

import (
	"time"

	"gridrouter.io/routing/compile"
)

// stamps tell up to which revision of the source the documents in force were at the times of the
// guard's window, the oldest first, so that what a mass change began after can be told.
type stamps []stamp

type stamp struct {
	at       time.Time
	revision int64
}

// stampEvery keeps the stamps few. Where one is left out an older revision stands for
// its time.
const stampEvery = 100 * time.Millisecond

// note adds what is in force now.
func (s *stamps) note(now time.Time, revision int64) {
	if last := len(*s) - 1; last < 0 || now.Sub((*s)[last].at) >= stampEvery {
		*s = append(*s, stamp{now, revision})
	}
}

// before is up to which revision the documents in force were when the window of the guard
// began, or as early as is known; 0: it is not known.
func (s *stamps) before() int64 {
	if len(*s) == 0 {
		return 0
	}
	return (*s)[0].revision
}

// forget drops the stamps that are not needed any more; the newest one from before the
// window is.
func (s *stamps) forget(now time.Time) {
	begin := 0
	for begin+1 < len(*s) && now.Sub((*s)[begin+1].at) >= compile.GuardWindow {
		begin++
	}
	*s = append((*s)[:0], (*s)[begin:]...)
}
