package router

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"

	"gridrouter.io/router/wire"
)

// Connections from clients take places, of which there are Config.MaxClients. When they run out,
// the connection that its client has kept waiting longest makes room, so that who opens
// connections and says nothing keeps nobody out. One address has a share of the places, trusted
// peers excepted.

// What stands in waitingSince in place of a moment.
const (
	evicted     int64 = -1 // the connection has been closed to make room
	longWaiting int64 = 1  // since ever
)

// evictAfter is how long a connection must have said nothing before it makes room for another:
// those that have just come, and whose request may be on its way, keep their places, and the
// next ones wait in the system's queue. bodyAfter is the same of one whose body stands still.
const (
	evictAfter = 500 * time.Millisecond
	bodyAfter  = 2 * time.Second
)

// candidates is how many connections are looked at to find the one that waits longest. Of more
// than that many, these are taken at random: among the longest waiting of many it need not be
// the very longest.
const candidates = 64

// evictions counts connections closed to make room.
type evictions struct {
	places  atomic.Uint64 // for a new one, when all places were taken
	address atomic.Uint64 // for a new one of the same address, when its share was taken
}

// peerSet is the connections of one address.
type peerSet struct {
	all []*client // each at its peerPlace
}

// beginsWaiting notes that the client is waited for: it has a head to send. What it had to send
// before, such as its part of a handshake, belongs to the same wait. false: it was evicted.
func (c *client) beginsWaiting() bool {
	return c.waitingSince.CompareAndSwap(wire.NoWait, c.router.clock.Coarse()) || c.waitingSince.Load() != evicted
}

// endsWaiting notes that a request has come. false: the connection was evicted meanwhile, and
// nothing is done for it any more.
func (c *client) endsWaiting() bool { return c.waitingSince.Swap(wire.NoWait) != evicted }

// shareOf returns whose share a connection takes: its address, of IPv6 the network of 64 bits
// that one customer has. The zero Addr: nobody's, for a trusted peer.
func (c *client) shareOf() netip.Addr {
	switch {
	case c.trusted || !c.peer.IsValid():
		return netip.Addr{}
	case c.peer.Is6():
		prefix, err := c.peer.Prefix(64)
		if err != nil {
			return c.peer
		}
		return prefix.Addr()
	}
	return c.peer
}

// takeShare counts the connection to its address, and to no other from now on. Where the share
// of limit connections is taken, the longest waiting of that address makes room; false: none
// waits, and there is no place for this one.
func (s *clientSet) takeShare(c *client, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leaveShare(c)
	c.share = c.shareOf()
	if !c.share.IsValid() {
		return true
	}
	if peer := s.peers[c.share]; peer != nil && len(peer.all) >= limit {
		if !s.evict(peer.all) {
			c.share = netip.Addr{}
			return false
		}
		s.evicted.address.Add(1)
	}
	peer := s.peers[c.share] // what was evicted may have been the last of it
	if peer == nil {
		peer = &peerSet{}
		if s.peers == nil {
			s.peers = map[netip.Addr]*peerSet{}
		}
		s.peers[c.share] = peer
	}
	c.peerPlace = len(peer.all)
	peer.all = append(peer.all, c)
	return true
}

// leaveShare takes the connection from its address. The lock is held.
func (s *clientSet) leaveShare(c *client) {
	peer := s.peers[c.share]
	if !c.share.IsValid() || peer == nil {
		return
	}
	last := len(peer.all) - 1
	peer.all[c.peerPlace] = peer.all[last]
	peer.all[c.peerPlace].peerPlace = c.peerPlace
	peer.all[last] = nil
	if peer.all = peer.all[:last]; last == 0 {
		delete(s.peers, c.share)
	}
	c.share = netip.Addr{}
}

// makeRoom evicts the longest waiting connection of all. false: none waits.
func (s *clientSet) makeRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.evict(s.all) {
		return false
	}
	s.evicted.places.Add(1)
	return true
}

// canMakeRoom says whether some connection waits.
func (s *clientSet) canMakeRoom() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, _, _ := mostSilent(s.all)
	return c != nil
}

// takesShare has the connection counted to its address. false: it has no place, and says why.
func (c *client) takesShare() bool {
	r := c.router
	return r.clients.takeShare(c, r.cfg.MaxClientsPerAddress) || c.refuse(refusedAddressShare, nil)
}

// evict closes the longest waiting of some connections, and takes it from its address: where none
// waits for its next request, one whose body stands still. false: there is neither. The lock is held.
func (s *clientSet) evict(from []*client) bool {
	for range 3 { // somebody may send a request just now
		c, wait, since := mostSilent(from)
		if c == nil {
			return false
		}
		if wait.CompareAndSwap(since, evicted) {
			if s.leaveShare(c); c.place != noPlace {
				s.evicting++
			}
			c.wasEvicted = true
			_ = c.TCP.Close() // its goroutine finds out
			return true
		}
	}
	return false
}

// mostSilent returns the connection that makes room first, with what it waits in and since when;
// nil: none may.
func mostSilent(from []*client) (c *client, wait *atomic.Int64, since int64) {
	for _, kind := range []struct {
		wait  func(*client) *atomic.Int64
		after time.Duration
	}{
		{func(c *client) *atomic.Int64 { return &c.waitingSince }, evictAfter},
		{func(c *client) *atomic.Int64 { return &c.bodySince }, bodyAfter},
	} {
		if c, since = longestWaiting(from, kind.wait, kind.after); c != nil {
			return c, kind.wait(c), since
		}
	}
	return nil, nil, 0
}

// longestWaiting returns whose client has been silent for longest in one kind of wait, and since
// when; nil: nobody for long enough, or none from whom nothing has come that is not read yet. Of
// many it looks at some, and at all where those show none.
func longestWaiting(from []*client, wait func(*client) *atomic.Int64, after time.Duration) (longest *client, since int64) {
	if len(from) == 0 {
		return nil, 0
	}
	before := from[0].router.clock.Now() - int64(after)
	look := func(c *client) {
		if at := wait(c).Load(); at > 0 && at <= before && (longest == nil || at < since) && !c.hasUnread() {
			longest, since = c, at
		}
	}
	if len(from) > candidates {
		for range candidates {
			look(from[rand.IntN(len(from))]) // a choice is no secret
		}
	}
	if longest == nil {
		for _, c := range from {
			look(c)
		}
	}
	return longest, since
}

// hasUnread says whether something has come that nobody has read yet. Unlike LookAt it may be asked
// by anybody at any time.
func (c *client) hasUnread() (said bool) {
	err := c.Raw.Control(func(fd uintptr) {
		var one [1]byte
		n, _ := wire.RawPeek(fd, one[:]) // an end, or a break, is nothing said
		said = n > 0
	})
	return err == nil && said
}
