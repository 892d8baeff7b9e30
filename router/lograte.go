package router

import (
	"sync"
	"time"
)

const (
	// sampledLines is how many lines one cause may log within sampledEvery.
	sampledLines = 5
	sampledEvery = time.Second
)

// sampledLog bounds how often one cause is logged, where others decide how often it occurs:
// at most [sampledLines] lines in any window of [sampledEvery]. What is left out is counted,
// and told with the next line. The zero value is ready. All methods may be called at once
// from any goroutine, and allocate nothing.
type sampledLog struct {
	mu    sync.Mutex
	lines [sampledLines]time.Time // when the last lines were logged; a ring
	next  int                     // the oldest of them
	left  int                     // lines left out since the last one
}

// allow says whether a line may be logged at now, and if so, how many were left out since
// the last one that was. The line should say how many, if there were any. now must be of
// this process's clock ([time.Now]); setting the system's clock then changes nothing.
func (s *sampledLog) allow(now time.Time) (ok bool, suppressed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	oldest := s.lines[s.next]
	if !oldest.IsZero() && now.Sub(oldest) < sampledEvery {
		s.left++
		return false, 0
	}
	s.lines[s.next] = now
	s.next = (s.next + 1) % sampledLines
	suppressed, s.left = s.left, 0
	return true, suppressed
}
