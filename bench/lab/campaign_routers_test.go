package lab_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"gridrouter.io/bench/lab"
)

// restart kills a router and starts it again; it goes on from its snapshot. Until it has listed what
// etcd holds it cannot read pins that changed since that was written.
func (c *campaign) restart(router string) error {
	c.withoutEtcd()
	defer c.traffic.excuses.stop(router)()
	if err := c.grid.Kill(router); err != nil {
		return err
	}
	c.model.restarted(router)
	return c.start(router)
}

// fresh kills a router and starts it with nothing that it had.
func (c *campaign) fresh(router string) error {
	defer c.traffic.excuses.stop(router)()
	if err := c.grid.Kill(router); err != nil {
		return err
	}
	path := c.snapshot(router)
	for _, file := range []string{path, path + ".1", path + ".addresses"} {
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	c.model.restarted(router)
	return c.start(router)
}

// routerIsKilled kills routers, one or all, while changes are being made.
func routerIsKilled(c *campaign) error {
	defer c.writer()()
	if c.chance(3) && len(c.corrupt) == 0 {
		router := c.router()
		c.note("%s, and its snapshot is gone", router)
		return c.fresh(router)
	}
	victims := c.victims()
	c.note("%v", victims)
	for _, router := range victims {
		if err := c.restart(router); err != nil {
			return err
		}
	}
	return nil
}

// victims are one router or all of them.
func (c *campaign) victims() []string {
	if c.chance(3) {
		return campaignRouters()
	}
	return []string{c.router()}
}

// remember waits until routers have written down where decks are: they do every five seconds,
// so that one that was just started with nothing has not yet.
func (c *campaign) remember(routers []string) error {
	return c.until("addresses are written down", func() error {
		for _, router := range routers {
			if _, err := os.Stat(c.snapshot(router) + ".addresses"); err != nil {
				return err
			}
			if _, err := os.Stat(c.snapshot(router)); err != nil {
				return err
			}
		}
		return nil
	})
}

// routerIsKilledWithoutEtcd starts routers while etcd is away, for them or for all.
func routerIsKilledWithoutEtcd(c *campaign) error {
	c.withoutEtcd()
	stop := c.writer()
	defer stop()
	victims := c.victims()
	c.note("%v", victims)
	if err := c.remember(victims); err != nil {
		return err
	}
	if c.chance(2) {
		if err := c.grid.Kill(lab.Etcd); err != nil {
			return err
		}
		for _, router := range victims {
			if err := c.restart(router); err != nil {
				return err
			}
		}
		return c.start(lab.Etcd)
	}
	how := []way{silent, broken}[c.rng.IntN(2)]
	c.note("cut off, %v", how)
	for _, router := range victims {
		c.relays[router].set(how)
		if err := c.restart(router); err != nil {
			return err
		}
	}
	stop()
	c.waitTells()
	for _, router := range victims {
		c.relays[router].set(open)
	}
	return nil
}

// routerStops freezes a router while changes are being made.
func routerStops(c *campaign) error {
	stop := c.writer()
	defer stop()
	router := c.router()
	defer c.traffic.excuses.stop(router)()
	if err := c.grid.Signal(router, syscall.SIGSTOP); err != nil {
		return err
	}
	c.last(time.Second, 6*time.Second)
	stop()
	if _, err := c.grid.Ctl(c.t.Context(), "fleet"); err != nil {
		return err
	}
	if err := c.grid.Signal(router, syscall.SIGCONT); err != nil {
		return err
	}
	return c.until(router+" answers", func() error {
		_, err := c.tableOf(router)
		return err
	})
}

// tableOf is table, by a router's name.
func (c *campaign) tableOf(router string) (tableTold, error) {
	for n, name := range campaignRouters() {
		if name == router {
			return c.table(n + 1)
		}
	}
	return tableTold{}, errors.New("there is no router " + router)
}

// namesFail breaks the DNS server in one of several ways, while changes are made and, now
// and then, routers are started anew.
func namesFail(c *campaign) error {
	stop := c.writer()
	defer stop()
	heal, err := c.breakNames()
	if err != nil {
		return err
	}
	c.last(time.Second, 5*time.Second)
	return heal()
}

// routerIsKilledWithoutNames starts routers while the DNS server is away.
func routerIsKilledWithoutNames(c *campaign) error {
	defer c.writer()()
	victims := c.victims()
	if err := c.remember(victims); err != nil {
		return err
	}
	heal, err := c.breakNames()
	if err != nil {
		return err
	}
	c.note("%v", victims)
	for _, router := range victims {
		if err := c.restart(router); err != nil {
			return err
		}
	}
	return heal()
}

// breakNames kills or freezes the DNS server, or makes it slow.
func (c *campaign) breakNames() (heal func() error, err error) {
	switch c.rng.IntN(3) {
	case 0:
		c.note("killed")
		return func() error { return c.start(lab.GSLB) }, c.grid.Kill(lab.GSLB)
	case 1:
		c.note("frozen")
		return func() error { return c.grid.Signal(lab.GSLB, syscall.SIGCONT) }, c.grid.Signal(lab.GSLB, syscall.SIGSTOP)
	}
	delay := time.Duration(c.rng.Int64N(int64(3 * time.Second)))
	c.note("slow by %s", delay.Round(time.Millisecond))
	c.setDelay(delay)
	return func() error { c.setDelay(0); return nil }, nil
}

func (c *campaign) setDelay(delay time.Duration) {
	for _, n := range c.names {
		n.delay.Store(int64(delay))
	}
}

// lifetime is what a router used over all of its processes.
type lifetime struct {
	pid             int
	now             usage
	before          time.Duration // CPU time of earlier processes
	peak            int64
	warm, warmFiles int64 // once it had settled at first
	warmLog, log    int64
}

// warm takes the measure of what routers use before any fault.
func (c *campaign) warm() {
	c.t.Helper()
	for _, router := range campaignRouters() {
		c.used[router] = &lifetime{}
	}
	c.measure("")
	for _, l := range c.used {
		l.warm, l.warmFiles, l.warmLog = l.now.resident, int64(l.now.descriptors), l.log
	}
}

// logBound is how many bytes a router may log of one fault. A fault is told in some dozens
// of lines at most, however long it lasts and however often something is tried.
const logBound = 256 << 10

// measure notes what the routers use, and holds what they logged of this round to a bound.
func (c *campaign) measure(kind string) {
	c.t.Helper()
	for _, router := range campaignRouters() {
		l := c.used[router]
		pid := c.grid.PID(router)
		u, err := usageOf(pid)
		if err != nil {
			c.t.Fatalf("%s: %v", router, err)
		}
		if l.pid != pid {
			l.pid, l.before = pid, l.before+l.now.cpu
		}
		l.now, l.peak = u, max(l.peak, u.peak)
		info, err := os.Stat(c.grid.Log(router))
		if err != nil {
			c.t.Fatal(err)
		}
		if more := info.Size() - l.log; kind != "" && more > logBound {
			c.fail("%s logged %d bytes of one fault (%s), more than %d", router, more, kind, logBound)
		}
		l.log = info.Size()
	}
}

// Bounds of what a router may use more at the end than at the beginning. They are generous,
// since the heap grows to its largest documents, and with the race detector to a multiple.
const (
	residentFactor = 4
	residentMore   = 256 << 20
	filesMore      = 64
)

// report tells the figures of the campaign, and holds them to bounds.
func (c *campaign) report() {
	c.t.Helper()
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	say("rounds: %v", c.counts)
	say("writes: %d acknowledged, %d broken off, %d refused", c.writes.acknowledged.Load(), c.writes.unknown.Load(), c.writes.refused.Load())
	for _, router := range campaignRouters() {
		l := c.used[router]
		say("%s: log %d bytes, %d per fault; resident %d MiB at first, %d now, peak %d; CPU %s; descriptors %d at first, %d now", router,
			l.log, (l.log-l.warmLog)/max(1, int64(sum(c.counts))), l.warm>>20, l.now.resident>>20, l.peak>>20, l.before+l.now.cpu, l.warmFiles, l.now.descriptors)
		if l.now.resident > residentFactor*l.warm+residentMore {
			c.fail("%s grew from %d to %d bytes", router, l.warm, l.now.resident)
		}
		if int64(l.now.descriptors) > l.warmFiles+filesMore {
			c.fail("%s had %d descriptors at first, and has %d", router, l.warmFiles, l.now.descriptors)
		}
	}
	c.t.Log(strings.Join(lines, "\n"))
}

func sum(counts map[string]int) (n int) {
	for _, m := range counts {
		n += m
	}
	return n
}
