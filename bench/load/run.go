package load

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// What histograms hold: 1 us to 60 s, with three digits.
const (
	leastLatency = int64(time.Microsecond)
	mostLatency  = int64(time.Minute)
	digits       = 3
)

// recorder is where some of the clients write down what they saw.
type recorder struct {
	mu       sync.Mutex
	latency  *hdr.Histogram
	lag      *hdr.Histogram // how late a waiting client was sent off: ours, not the server's
	requests int64
	errors   map[string]int64
	example  map[string]string
	bytes    int64
	seconds  []second
}

type second struct {
	requests, errors int64
	latency          *hdr.Histogram
}

func newHistogram(digits int) *hdr.Histogram { return hdr.New(leastLatency, mostLatency, digits) }

// run is a run under way.
type run struct {
	*Config
	begun    time.Time
	counting time.Duration // since begun, when counting begins
	end      time.Duration
	due      chan time.Duration
	records  []*recorder
	taken    atomic.Int64 // of the bound of requests: those begun
	counted  atomic.Int64 // those done
	stop     context.CancelFunc
}

// Run makes the load and returns what it saw. It ends by itself, or when ctx does; then what
// was seen so far is returned beside the context's error. An error of a single request is
// counted, never returned.
func Run(ctx context.Context, config Config) (*Result, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r := &run{Config: &config, stop: stop, counting: config.Warmup, end: config.Warmup + config.Duration}
	if config.Duration == 0 {
		r.end = 1 << 62
	}
	for range min(config.Connections, 4*runtime.GOMAXPROCS(0)) {
		r.records = append(r.records, &recorder{latency: newHistogram(digits), lag: newHistogram(digits), errors: map[string]int64{}, example: map[string]string{}})
	}
	body, sum := r.pattern()
	clients := make([]*client, config.Connections)
	for i := range clients {
		clients[i] = newClient(&config, i, body, sum)
	}
	var all sync.WaitGroup
	var spentAtStart atomic.Int64
	r.begun = time.Now()
	if config.Rate > 0 {
		r.due = make(chan time.Duration, backlog)
		all.Go(func() { pace(ctx, newSchedule(&config), r.begun, r.end, r.due) })
	}
	for i, c := range clients {
		all.Go(func() { r.work(ctx, c, r.records[i%len(r.records)]) })
	}
	done := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() { r.reportProgress(done) })
	counting := time.AfterFunc(r.counting, func() { spentAtStart.Store(int64(ownCPU())) })
	all.Wait()
	counting.Stop()
	spent := ownCPU() - time.Duration(spentAtStart.Load())
	close(done)
	beside.Wait()
	for _, c := range clients {
		c.hangUp()
	}
	result := r.result(min(time.Since(r.begun), r.end)-r.counting, spent)
	if err := ctx.Err(); err != nil && !r.enough() {
		return result, err
	}
	return result, nil
}

// enough says whether the bound of requests ended the run.
func (r *run) enough() bool { return r.Requests > 0 && r.counted.Load() >= r.Requests }

// pattern returns what is sent: the body's pattern with the sum of the whole body, or the message.
func (r *run) pattern() (pattern []byte, sum uint32) {
	if r.MessageBytes > 0 {
		return Body(r.MessageBytes), 0
	}
	if r.BodyBytes == 0 {
		return nil, 0
	}
	pattern = Body(int(min(r.BodyBytes, 1<<20)))
	for left := r.BodyBytes; left > 0; left -= int64(len(pattern)) {
		sum = update(sum, pattern[:min(left, int64(len(pattern)))])
	}
	return pattern, sum
}

// work is what one client does until the run ends.
func (r *run) work(ctx context.Context, c *client, rec *recorder) {
	for ctx.Err() == nil {
		var due time.Duration
		lag := time.Duration(-1)
		if r.due == nil {
			if due = time.Since(r.begun); due >= r.end {
				return
			}
		} else {
			var open bool
			select {
			case due, open = <-r.due: // it waited for us
			default:
				if due, open = <-r.due; open {
					lag = time.Since(r.begun) - due
				}
			}
			if !open || time.Since(r.begun)-r.Timeout > r.end { // what is left then was never sent, and is missed by the doubts
				return
			}
		}
		if r.Requests > 0 && due >= r.counting && r.taken.Add(1) > r.Requests {
			return
		}
		err := c.do(ctx)
		if ctx.Err() != nil && err != nil {
			return
		}
		if due < r.counting {
			continue
		}
		rec.note(time.Since(r.begun), due, lag, r.counting, c.answer.bytes, err)
		if r.Requests > 0 && r.counted.Add(1) >= r.Requests {
			r.stop()
			return
		}
	}
}

func (rec *recorder) note(now, due, lag, counting time.Duration, bytes int64, err error) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	at := int((now - counting) / time.Second)
	for len(rec.seconds) <= at {
		rec.seconds = append(rec.seconds, second{latency: newHistogram(2)})
	}
	if lag >= 0 {
		_ = rec.lag.RecordValue(bounded(lag)) // it is within the bounds
	}
	if err != nil {
		kind := kindOf(err)
		rec.errors[kind]++
		rec.seconds[at].errors++
		if rec.example[kind] == "" {
			rec.example[kind] = err.Error()
		}
		return
	}
	rec.requests++
	rec.bytes += bytes
	rec.seconds[at].requests++
	took := bounded(now - due)
	_ = rec.latency.RecordValue(took) // as above
	_ = rec.seconds[at].latency.RecordValue(took)
}

func bounded(d time.Duration) int64 { return max(leastLatency, min(int64(d), mostLatency)) }

// ownCPU returns the CPU time of this process.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(fmt.Sprintf("load: getrusage: %v", err)) // it fails for bad arguments only
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// reportProgress calls Progress every second.
func (r *run) reportProgress(done <-chan struct{}) {
	if r.Progress == nil {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	var before int64
	last := time.Now()
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		p := Progress{Elapsed: time.Since(r.begun) - r.counting}
		all := newHistogram(digits)
		for _, rec := range r.records {
			rec.mu.Lock()
			all.Merge(rec.latency)
			p.Requests += rec.requests
			for _, n := range rec.errors {
				p.Errors += n
			}
			rec.mu.Unlock()
		}
		now := time.Now()
		p.Rate = float64(p.Requests-before) / now.Sub(last).Seconds()
		before, last = p.Requests, now
		p.P50, p.P99 = time.Duration(all.ValueAtQuantile(50)), time.Duration(all.ValueAtQuantile(99))
		r.Progress(p)
	}
}
