package upstream

import (
	"sync"
	"sync/atomic"
	"time"

	"gridrouter.io/router/wire"
)

const (
	poolShards = 4
	// maxIdle is how many idle connections one address keeps.
	maxIdle = 512
)

// pool keeps the idle connections to one address of one deck. The last one put back is
// the first one taken: the fewest stay in use, and the others grow old and close. It is
// in shards, so that no lock is shared by all cores.
type pool struct {
	shards [poolShards]poolShard
	idle   atomic.Int64
}

type poolShard struct {
	count atomic.Int32 // of conns, to pass over an empty shard without its lock
	mu    sync.Mutex
	conns []*Conn
	_     [64]byte // a cache line between neighbours
}

// get takes a connection, from the caller's own shard if there is one; nil: none is idle.
func (p *pool) get(lane int) *Conn {
	if p.idle.Load() == 0 {
		return nil
	}
	for i := range poolShards {
		if c := p.shards[(lane+i)%poolShards].pop(); c != nil {
			p.idle.Add(-1)
			return c
		}
	}
	return nil
}

func (s *poolShard) pop() *Conn {
	if s.count.Load() == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := len(s.conns) - 1
	if last < 0 {
		return nil
	}
	c := s.conns[last]
	s.conns[last] = nil
	s.conns = s.conns[:last]
	s.count.Add(-1)
	return c
}

// put keeps a connection for later, or closes it if there are enough or its address is
// out of use for good.
func (p *pool) put(c *Conn, lane int) {
	if p.idle.Add(1) > maxIdle {
		p.idle.Add(-1)
		c.Close(ClosedSurplus)
		return
	}
	s := &p.shards[lane%poolShards]
	s.mu.Lock()
	retired := c.endpoint.retired.Load() // under the lock: closeAll takes it after retired is set
	if !retired {
		s.conns = append(s.conns, c)
		s.count.Add(1)
	}
	s.mu.Unlock()
	if retired {
		p.idle.Add(-1)
		c.Close(ClosedRetired)
	}
}

// closeAll closes every idle connection.
func (p *pool) closeAll(why CloseReason) {
	p.filter(func(c *Conn) bool {
		c.Close(why)
		return false
	})
}

// sweep closes the connections that were idle for too long, and those that the deck
// closed or spoke on meanwhile.
func (p *pool) sweep(now int64, idle time.Duration) {
	p.filter(func(c *Conn) bool {
		if now-c.idleSince > int64(idle) {
			c.Close(ClosedIdle)
			return false
		}
		switch c.idling() {
		case wire.Shut:
			c.Close(ClosedByDeck)
		case wire.Speaks:
			c.Close(ClosedUnsolicited)
		case wire.Quiet:
			return true
		}
		return false
	})
}

// filter keeps the idle connections that keep says to, in their order.
func (p *pool) filter(keep func(*Conn) bool) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		kept := s.conns[:0]
		for _, c := range s.conns {
			if keep(c) {
				kept = append(kept, c)
			}
		}
		gone := len(s.conns) - len(kept)
		clear(s.conns[len(kept):])
		s.conns = kept
		s.count.Store(int32(len(kept)))
		s.mu.Unlock()
		p.idle.Add(-int64(gone))
	}
}
