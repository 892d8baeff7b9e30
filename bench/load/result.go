package load

import (
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run saw.
type Result struct {
	// Seconds is how long was counted.
	Seconds float64 `json:"seconds"`
	// Requests is how many answers came and were right, Bytes the size of their bodies.
	Requests int64 `json:"requests"`
	Bytes    int64 `json:"bytes"`
	// Rate is Requests a second; Offered what was due a second, 0 in a closed loop.
	Rate    float64 `json:"rate"`
	Offered float64 `json:"offered,omitempty"`
	// Errors counts by kind what failed or was wrong; Examples has one of each.
	Errors   map[string]int64  `json:"errors,omitempty"`
	Examples map[string]string `json:"examples,omitempty"`
	// Latency is that of right answers, from when they were due.
	Latency Latency `json:"latency"`
	// Lag is how late waiting clients were sent off: the generator's own part in Latency.
	// Empty in a closed loop.
	Lag Latency `json:"lag"`
	// Curve is the latency by percentile, for plots.
	Curve []Point `json:"curve"`
	// Timeline has a value for each second.
	Timeline []Second `json:"timeline"`
	// CPUMicros is what the generator itself spent on a request, in us; other work in the
	// same process counts.
	CPUMicros float64 `json:"cpuMicros"`
	// Doubts say why the result is not to be believed; empty: it is.
	Doubts []string `json:"doubts,omitempty"`

	histogram *hdr.Histogram
}

// Latency are percentiles in microseconds.
type Latency struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p999"`
	Max  float64 `json:"max"`
}

// Point is a latency in microseconds that Percentile percent of the answers did not exceed.
type Point struct {
	Percentile float64 `json:"percentile"`
	Micros     float64 `json:"micros"`
}

// Second is what happened in one second of a run.
type Second struct {
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`
	P50      float64 `json:"p50"`
	P99      float64 `json:"p99"`
}

// Failed returns how many requests failed or were answered wrongly.
func (r *Result) Failed() (failed int64) {
	for _, n := range r.Errors {
		failed += n
	}
	return failed
}

// Kinds returns the kinds of errors in order.
func (r *Result) Kinds() []string { return slices.Sorted(maps.Keys(r.Errors)) }

// Beyond these a result is in doubt.
const (
	mostLag      = time.Millisecond // of the 99th percentile
	leastOffered = 0.99             // of what was due
)

func update(sum uint32, body []byte) uint32 { return crc32.Update(sum, castagnoli, body) }

// result merges what the clients wrote down.
func (r *run) result(counted, spent time.Duration) *Result {
	out := &Result{Seconds: math.Max(counted.Seconds(), 1e-9), Offered: r.Rate, Errors: map[string]int64{}, Examples: map[string]string{}, histogram: newHistogram(digits)}
	lag := newHistogram(digits)
	var seconds []second
	for _, rec := range r.records {
		out.histogram.Merge(rec.latency)
		lag.Merge(rec.lag)
		out.Requests += rec.requests
		out.Bytes += rec.bytes
		for kind, n := range rec.errors {
			out.Errors[kind] += n
			out.Examples[kind] = rec.example[kind]
		}
		for at, s := range rec.seconds {
			if at == len(seconds) {
				seconds = append(seconds, second{latency: newHistogram(2)})
			}
			seconds[at].requests += s.requests
			seconds[at].errors += s.errors
			seconds[at].latency.Merge(s.latency)
		}
	}
	out.Rate = float64(out.Requests) / out.Seconds
	out.Latency, out.Lag = latencyOf(out.histogram), latencyOf(lag)
	for _, p := range curve {
		out.Curve = append(out.Curve, Point{p, micros(out.histogram.ValueAtQuantile(p))})
	}
	for _, s := range seconds {
		out.Timeline = append(out.Timeline, Second{s.requests, s.errors, micros(s.latency.ValueAtQuantile(50)), micros(s.latency.ValueAtQuantile(99))})
	}
	all := out.Requests + out.Failed()
	if all > 0 {
		out.CPUMicros = float64(spent.Microseconds()) / float64(all)
	}
	r.addDoubts(out, lag, all)
	return out
}

// addDoubts says where the generator did not keep up.
func (r *run) addDoubts(out *Result, lag *hdr.Histogram, all int64) {
	if out.Requests == 0 {
		out.Doubts = append(out.Doubts, "not one right answer came")
	}
	if r.Rate == 0 || r.Requests > 0 {
		return
	}
	if due := r.Rate * out.Seconds; float64(all) < leastOffered*due-5*math.Sqrt(due) {
		out.Doubts = append(out.Doubts, fmt.Sprintf("%d requests were made of %.0f that were due: the connections, or the generator, are too few or too slow", all, due))
	}
	if late := lag.ValueAtQuantile(99); late > int64(mostLag) {
		out.Doubts = append(out.Doubts, fmt.Sprintf("one request in a hundred was sent %.1f ms late or more by the generator itself: give it more of the machine, or a lower rate", float64(late)/1e6))
	}
}

// curve is where the latency curve is drawn: finer towards 100.
var curve = []float64{0, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 92.5, 95, 96, 97, 98, 99, 99.5, 99.75, 99.9, 99.95, 99.99, 99.999, 100}

func latencyOf(h *hdr.Histogram) Latency {
	if h.TotalCount() == 0 {
		return Latency{}
	}
	return Latency{
		Mean: h.Mean() / 1e3, P50: micros(h.ValueAtQuantile(50)), P90: micros(h.ValueAtQuantile(90)),
		P99: micros(h.ValueAtQuantile(99)), P999: micros(h.ValueAtQuantile(99.9)), Max: micros(h.Max()),
	}
}

func micros(ns int64) float64 { return float64(ns) / 1e3 }
