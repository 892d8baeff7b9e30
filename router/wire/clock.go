package wire

import (
	"sync/atomic"
	"time"
)

// WatchEvery is how often the watch of the router calls [Clock.Tick], and looks whose time is over. A
// wait ends up to two of these after its time, and never before.
const WatchEvery = 100 * time.Millisecond

// Clock is the monotonic clock by which all waits, ages and back-offs of the router are counted.
// Its moments are nanoseconds since the router was made, and greater than 0. A step of the wall
// clock, by NTP or on a machine that is resumed, does not move it; the wall clock is for what
// people and other programs read alone: dates and the times in logs.
type Clock struct {
	origin  time.Time    // with its monotonic reading
	last    atomic.Int64 // the moment that the watch noted last
	stopped atomic.Int64 // by a test, at this moment; 0: it goes
}

// Init starts the clock; it comes before all else.
func (c *Clock) Init() {
	c.origin = time.Now().Add(-1) // so that no moment is NoWait
	c.Tick()
}

// Now returns the moment.
func (c *Clock) Now() int64 {
	if at := c.stopped.Load(); at != 0 {
		return at
	}
	return int64(time.Since(c.origin))
}

// Coarse returns the moment that was noted last: as long ago as the watch looks, or a little more on a
// busy machine. It costs a load.
func (c *Clock) Coarse() int64 { return c.last.Load() }

// After returns the moment d from now, as waits are bounded: it never comes early. It costs a load.
func (c *Clock) After(d time.Duration) int64 { return c.Coarse() + int64(d+WatchEvery) }

// Tick notes the moment, and returns it.
func (c *Clock) Tick() int64 {
	now := c.Now()
	c.last.Store(now)
	return now
}

// Stop makes the clock stand still, for tests, which then move it themselves.
func (c *Clock) Stop() {
	c.stopped.Store(c.Now())
	c.Tick()
}

// Advance moves a clock that was stopped.
func (c *Clock) Advance(d time.Duration) {
	c.stopped.Add(int64(d))
	c.Tick()
}
