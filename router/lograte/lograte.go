// Package lograte bounds how often one cause is logged, where others decide how often it occurs.
package lograte

import (
	"sync"
	"time"
)

const (
	// Lines is how many lines one cause may log within [Every].
	Lines = 5
	// Every is the window in which [Lines] lines may be logged.
	Every = time.Second
)

// Limit bounds how often one cause is logged: at most [Lines] lines in any window of [Every]. What
// is left out is counted, and told with the next line. The zero value is ready. All methods may be
// called at once from any goroutine, and allocate nothing.
type Limit struct {
	mu    sync.Mutex
	lines [Lines]time.Time // when the last lines were logged; a ring
	next  int              // the oldest of them
	left  int              // lines left out since the last one
}

// Allow says whether a line may be logged at now, and if so, how many were left out since
// the last one that was. The line should say how many, if there were any. now must be of
// this process's clock ([time.Now]); setting the system's clock then changes nothing.
func (l *Limit) Allow(now time.Time) (ok bool, suppressed int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := l.lines[l.next]
	if !oldest.IsZero() && now.Sub(oldest) < Every {
		l.left++
		return false, 0
	}
	l.lines[l.next] = now
	l.next = (l.next + 1) % Lines
	suppressed, l.left = l.left, 0
	return true, suppressed
}
