package router

import (
	"sync/atomic"
	"time"
)

// clock is the monotonic clock by which all waits, ages and back-offs of the router are counted.
// Its moments are nanoseconds since the router was made, and greater than 0. A step of the wall
// clock, by NTP or on a machine that is resumed, does not move it; the wall clock is for what
// people and other programs read alone: dates and the times in logs.
type clock struct {
	origin  time.Time    // with its monotonic reading
	last    atomic.Int64 // the moment that the watch noted last
	stopped atomic.Int64 // by a test, at this moment; 0: it goes
}

func (c *clock) init() {
	c.origin = time.Now().Add(-1) // so that no moment is noWait
	c.tick()
}

// now returns the moment.
func (c *clock) now() int64 {
	if at := c.stopped.Load(); at != 0 {
		return at
	}
	return int64(time.Since(c.origin))
}

// coarse returns the moment that was noted last: up to watchEvery ago, or a little more on a
// busy machine. It costs a load.
func (c *clock) coarse() int64 { return c.last.Load() }

// tick notes the moment, and returns it.
func (c *clock) tick() int64 {
	now := c.now()
	c.last.Store(now)
	return now
}

// stop makes the clock stand still, for tests, which then move it themselves.
func (c *clock) stop() {
	c.stopped.Store(c.now())
	c.tick()
}

// advance moves a clock that was stopped.
func (c *clock) advance(d time.Duration) {
	c.stopped.Add(int64(d))
	c.tick()
}
