package router

import (
	"net/netip"
	"sync"
)

// clientSet is every open connection from clients. It is touched once when a connection
// comes and once when it goes, never by requests.
type clientSet struct {
	mu    sync.Mutex
	all   []*client // each at its place
	total uint64

	peers    map[netip.Addr]*peerSet // by whose share they take
	evicting int                     // of all: those that were evicted, and have not gone yet
	evicted  evictions
}

// noPlace is the place of a connection that has none.
const noPlace = -1

func (s *clientSet) add(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.place = len(s.all)
	s.all = append(s.all, c)
	s.total++
	if c.wasEvicted {
		s.evicting++
	}
}

// refuse counts a connection that gets no place.
func (s *clientSet) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total++
}

func (s *clientSet) remove(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveShare(c)
	if c.place == noPlace {
		return
	}
	if c.wasEvicted {
		s.evicting--
	}
	last := len(s.all) - 1
	s.all[c.place] = s.all[last]
	s.all[c.place].place = c.place
	s.all[last] = nil
	s.all = s.all[:last]
}

// each calls f with every connection. None comes or goes meanwhile.
func (s *clientSet) each(f func(*client)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.all {
		f(c)
	}
}

// count returns how many connections are open, and how many there ever were.
func (s *clientSet) count() (open int, total uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.total
}

// full says whether so many connections are open, those that were evicted left out.
func (s *clientSet) full(limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)-s.evicting >= limit
}

// closeAll closes every connection under whoever uses it, and the one to a deck with it.
func (s *clientSet) closeAll() {
	s.each((*client).cut)
}
