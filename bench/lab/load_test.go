package lab_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// load is a steady stream of requests whose every failure is counted.
type load struct {
	stop    chan struct{}
	workers sync.WaitGroup

	mu       sync.Mutex
	good     int
	failures []string
	decks    map[string]int
}

// pace is how often a worker sends a request: often enough that something is always
// under way, seldom enough to leave a small machine to the grid.
const pace = 2 * time.Millisecond

// startLoad sends the request from some workers, each over its own connection, until
// stopped. Good is an answer 200 of one of the decks; no decks: of any.
func startLoad(address string, r request, workers int, decks []string) *load {
	l := &load{stop: make(chan struct{}), decks: map[string]int{}}
	for range workers {
		l.workers.Go(func() {
			w := &wire{address: address}
			defer w.close()
			ticks := time.NewTicker(pace)
			defer ticks.Stop()
			for {
				select {
				case <-l.stop:
					return
				case <-ticks.C:
				}
				a, err := w.ask(r)
				l.note(a, err, decks)
			}
		})
	}
	return l
}

func (l *load) note(a *answer, err error, decks []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.failures = append(l.failures, err.Error())
	case a.status != 200:
		l.failures = append(l.failures, fmt.Sprintf("%d %s", a.status, a.header.Get("X-Grid-Fault")))
	case len(decks) > 0 && !slices.Contains(decks, a.header.Get("X-Deck")):
		l.failures = append(l.failures, "wrong deck "+a.header.Get("X-Deck"))
	default:
		l.good++
		l.decks[a.header.Get("X-Deck")]++
	}
}

// goodSoFar returns how many requests have been answered as they should.
func (l *load) goodSoFar() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.good
}

// end stops the load and returns what it counted.
func (l *load) end() (good int, failures []string) {
	close(l.stop)
	l.workers.Wait()
	return l.good, l.failures
}

// tally counts equal failures, for people.
func tally(failures []string) string {
	counts := map[string]int{}
	for _, f := range failures {
		counts[f]++
	}
	var lines []string
	for f, n := range counts {
		lines = append(lines, fmt.Sprintf("%d x %s", n, f))
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}
