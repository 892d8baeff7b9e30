package lab_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// campaignPace is how long a client of a router rests between two requests.
const campaignPace = 3 * time.Millisecond

// excuses are what routers may answer, at the moment, beside the right deck's answer.
type excuses struct {
	mu    sync.Mutex
	codes map[string]int // fault code -> how many reasons there are for it
	down  map[string]int // routers that do not run
	stops map[string]int // router -> how often it was stopped so far
}

// allow excuses fault codes until the returned function is called.
func (e *excuses) allow(codes ...string) (end func()) { return e.count(e.codes, codes) }

// stop excuses a router from answering at all.
func (e *excuses) stop(routers ...string) (end func()) {
	e.mu.Lock()
	for _, router := range routers {
		e.stops[router]++
	}
	e.mu.Unlock()
	return e.count(e.down, routers)
}

func (e *excuses) count(in map[string]int, names []string) (end func()) {
	add := func(n int) {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, name := range names {
			in[name] += n
		}
	}
	add(1)
	return sync.OnceFunc(func() { add(-1) })
}

// now returns what is excused of a router at this moment, and how often it was stopped before.
func (e *excuses) now(router string) (codes map[string]int, down bool, stops int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.codes), e.down[router] > 0, e.stops[router]
}

// traffic is the requests of a campaign, and what came of them.
type traffic struct {
	model   *model
	excuses *excuses
	keys    []string
	fail    func(format string, args ...any)
	stop    chan struct{}
	workers sync.WaitGroup

	mu     sync.Mutex
	good   int
	others map[string]int // excused: by what they were
	bad    int
}

func newTraffic(m *model, keys []string, fail func(string, ...any)) *traffic {
	return &traffic{
		model: m, keys: keys, fail: fail, stop: make(chan struct{}), others: map[string]int{},
		excuses: &excuses{codes: map[string]int{}, down: map[string]int{}, stops: map[string]int{}},
	}
}

// client sends requests of random tenants to one router until end.
func (l *traffic) client(router, address string, rng *rand.Rand) {
	l.workers.Go(func() {
		w := &wire{address: address}
		defer w.close()
		ticks := time.NewTicker(campaignPace)
		defer ticks.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-ticks.C:
			}
			l.ask(w, router, l.model.names[rng.IntN(len(l.model.names))], l.keys[rng.IntN(len(l.keys))])
		}
	})
}

// ask sends one request and judges its answer.
func (l *traffic) ask(w *wire, router, tenant, key string) {
	before, wasDown, stops := l.excuses.now(router)
	s := sight{router: router, tenant: tenant, key: key, since: l.model.since(router, tenant)}
	a, err := w.ask(campaignRequest(tenant, key))
	after, isDown, stopped := l.excuses.now(router)
	isDown = isDown || stopped != stops // it ran at both ends, and not between
	what := ""
	switch {
	case err != nil:
		what = "connection lost"
		if !wasDown && !isDown {
			l.note(what, fmt.Sprintf("%s gave no answer to a request of %s: %v", router, tenant, err))
			return
		}
	case a.header.Get("X-Grid-Fault") != "" || a.status != 200:
		what = fmt.Sprintf("%d %s", a.status, a.header.Get("X-Grid-Fault"))
		code := a.header.Get("X-Grid-Fault")
		excused := wasDown || isDown || before[code]+after[code] > 0 // who starts may serve before it is ready
		if code == "pin_unreadable" {
			// What is held is never unreadable. What is not may come late where nothing is wrong but the machine, which is
			// told by how rare that is.
			isCached := l.model.tenants[tenant].pins == cached
			if isCached && !excused {
				what = latePin
			}
			excused = isCached
		}
		if !excused && (code != "no_tenant" || !l.model.mayLack(tenant, s.since)) {
			l.note(what, fmt.Sprintf("%s answered a request of %s (key %q) with %s", router, tenant, key, a))
			return
		}
	default:
		if wrong := l.model.judge(s.seen(a)); wrong != "" {
			l.note("wrong deck", wrong)
			return
		}
	}
	l.note(what, "")
}

// campaignRequest asks for a tenant's host, with a key.
func campaignRequest(tenant, key string) request {
	return request{method: "GET", host: tenant + ".campaign.example", target: "/", headers: []string{"x-user-id: " + key}}
}

// seen takes what the deck told of a request.
func (s sight) seen(a *answer) sight {
	told := a.deck()
	if told == nil {
		return s
	}
	s.deck = told.Deck
	s.meant, _ = told.Header("X-Grid-Deck")
	s.of, _ = told.Header("X-Grid-Tenant")
	epoch, _ := told.Header("X-Grid-Epoch")
	s.epoch, _ = strconv.ParseUint(epoch, 10, 64)
	return s
}

func (l *traffic) note(what, wrong string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case wrong != "":
		if l.bad++; l.bad <= 20 { // the rest would say the same
			l.fail("%s", wrong)
		}
	case what != "":
		l.others[what]++
	default:
		l.good++
	}
}

// latePin is a pin that was not read in time while nothing was broken.
const latePin = "503 pin_unreadable with nothing broken"

// latePins is of how many good answers one may be such.
const latePins = 10_000

// end stops the clients and returns what was counted, for people.
func (l *traffic) end() string {
	close(l.stop)
	l.workers.Wait()
	if late := l.others[latePin]; late > 2+l.good/latePins {
		l.fail("%d of %d pins that could be read came too late", late, l.good)
	}
	lines := []string{fmt.Sprintf("%d good, %d bad", l.good, l.bad)}
	for _, what := range slices.Sorted(maps.Keys(l.others)) {
		lines = append(lines, fmt.Sprintf("%d x %s (excused)", l.others[what], what))
	}
	return strings.Join(lines, ", ")
}

// usage is what a process uses, or used.
type usage struct {
	resident, peak int64 // bytes
	cpu            time.Duration
	descriptors    int
}

// clockTick is the unit of CPU times under /proc, the same on every Linux.
const clockTick = 10 * time.Millisecond

// usageOf reads what the kernel tells of a process.
func usageOf(pid int) (u usage, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
		switch name {
		case "VmRSS":
			u.resident = kib << 10
		case "VmHWM":
			u.peak = kib << 10
		}
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return u, err
	}
	// The name in parentheses may hold anything; after it, user and system time are the 12th and 13th.
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	if len(fields) < 13 {
		return u, errors.New("/proc tells no times")
	}
	for _, field := range fields[11:13] {
		ticks, _ := strconv.ParseInt(field, 10, 64)
		u.cpu += time.Duration(ticks) * clockTick
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.descriptors = len(open)
	return u, err
}
