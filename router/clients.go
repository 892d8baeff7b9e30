package router

import "sync"

// clientSet is every open connection from clients. It is touched once when a connection
// comes and once when it goes, never by requests.
type clientSet struct {
	mu    sync.Mutex
	all   map[*client]struct{}
	total uint64
}

func (s *clientSet) add(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[*client]struct{}{}
	}
	s.all[c] = struct{}{}
	s.total++
}

func (s *clientSet) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, c)
}

// count returns how many connections are open, and how many there ever were.
func (s *clientSet) count() (open int, total uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.total
}

// closeAll closes every connection under whoever uses it.
func (s *clientSet) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		_ = c.Conn.Close() // its user finds out
	}
}
