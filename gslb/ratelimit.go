package gslb

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Bounds of the response rate limit.
const (
	// maxSources is how many source prefixes have a budget of their own at a time; the one not heard of for longest gives way.
	maxSources = 16384
	// slipEvery is how many answers over the limit there are to each that is sent truncated, and not dropped.
	slipEvery = 2
)

// verdict is what becomes of one answer over UDP.
type verdict int

const (
	pass verdict = iota
	slip         // send it empty and truncated: an honest asker comes back over TCP, a forged source is not flooded
	drop
)

// limiter holds a budget of answers for each source prefix, so that forged sources cannot make the server flood somebody. Askers share the
// budget of their /24 or /56. Memory is bounded.
type limiter struct {
	rate, burst float64 // answers a second, and at once

	mu      sync.Mutex
	budgets *simplelru.LRU[netip.Prefix, *budget]
}

type budget struct {
	left float64
	at   time.Time // when left was right
	over uint      // answers over the limit
}

// newLimiter returns a limiter of so many answers a second for a prefix, twice that at once. A nil limiter lets everything pass.
func newLimiter(rate int) *limiter {
	budgets, err := simplelru.NewLRU[netip.Prefix, *budget](maxSources, nil)
	if err != nil {
		panic(err) // the size is a positive constant
	}
	return &limiter{rate: float64(rate), burst: 2 * float64(rate), budgets: budgets}
}

// admit takes one answer from the budget of source. Safe for concurrent use.
func (l *limiter) admit(source netip.Addr) verdict {
	if l == nil {
		return pass
	}
	key := sourcePrefix(source)
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	b, known := l.budgets.Get(key)
	if !known {
		b = &budget{left: l.burst, at: now}
		l.budgets.Add(key, b)
	}
	b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.rate)
	b.at = now
	if b.left >= 1 {
		b.left--
		return pass
	}
	b.over++
	if b.over%slipEvery == 0 {
		return slip
	}
	return drop
}

// sourcePrefix returns the /24 or /56 of an address; of an invalid one, the invalid prefix.
func sourcePrefix(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 24
	if addr.Is6() {
		bits = 56
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}
