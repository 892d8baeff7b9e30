// Package metrics holds the counters of the request path, and shows them to Prometheus. What every
// request counts is kept in [Lanes] copies, so that cores do not fight over them; a scrape adds the
// copies up. Counting allocates nothing and takes no lock.
package metrics

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Lanes is in how many copies the counters of the request path are kept. A connection from a client
// belongs to one of them, from 0 to Lanes-1.
const Lanes = 8

// StatusClasses is how many classes of statuses there are: nothing sent, and 1xx to 5xx.
const StatusClasses = 6

var classNames = [StatusClasses]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

// Classes counts finished requests by the class of their status. The zero value is ready. All
// methods may be called at once from any goroutine.
type Classes [StatusClasses]atomic.Uint64

// Count counts a request that ended with a status; 0: the client was sent none.
func (c *Classes) Count(status int) { c[min(status/100, StatusClasses-1)].Add(1) }

// ClassSums is the sum of the [Classes] of several lanes.
type ClassSums [StatusClasses]uint64

// Add adds what one lane has counted.
func (s *ClassSums) Add(lane *Classes) {
	for k := range s {
		s[k] += lane[k].Load()
	}
}

// Show shows one series for each class, whose labels are the deck and the class. All are there from
// the start: the first of a kind would go unseen where a series begins with it. 1xx is never final.
func (s *ClassSums) Show(out chan<- prometheus.Metric, desc *prometheus.Desc, deck string) {
	for k, n := range s {
		if classNames[k] != "1xx" || n > 0 {
			Count(out, desc, n, deck, classNames[k])
		}
	}
}

// bounds are the upper bounds of a latency histogram's buckets.
var bounds = [...]time.Duration{
	250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond,
	10 * time.Millisecond, 25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond,
	500 * time.Millisecond, time.Second, 5 * time.Second, 30 * time.Second,
}

// Latencies are the counts of one lane for a histogram. The zero value is ready. All methods may be
// called at once from any goroutine.
type Latencies struct {
	buckets [len(bounds) + 1]atomic.Uint64
	spent   atomic.Int64 // nanoseconds of all
}

// Observe counts something that took so long.
func (l *Latencies) Observe(took time.Duration) {
	i := 0
	for i < len(bounds) && took > bounds[i] {
		i++
	}
	l.buckets[i].Add(1)
	l.spent.Add(int64(took))
}

// Histogram is the sum of the [Latencies] of several lanes.
type Histogram struct {
	buckets [len(bounds) + 1]uint64
	spent   int64 // nanoseconds
}

// Add adds what one lane has counted.
func (h *Histogram) Add(lane *Latencies) {
	for k := range h.buckets {
		h.buckets[k] += lane.buckets[k].Load()
	}
	h.spent += lane.spent.Load()
}

// Total returns how many observations there are in all.
func (h *Histogram) Total() (n uint64) {
	for _, bucket := range h.buckets {
		n += bucket
	}
	return n
}

// Show shows the histogram, in seconds.
func (h *Histogram) Show(out chan<- prometheus.Metric, desc *prometheus.Desc, labels ...string) {
	cumulative, total := map[float64]uint64{}, uint64(0)
	for k, bound := range bounds {
		total += h.buckets[k]
		cumulative[bound.Seconds()] = total
	}
	total += h.buckets[len(bounds)]
	out <- prometheus.MustNewConstHistogram(desc, total, time.Duration(h.spent).Seconds(), cumulative, labels...)
}

// Gauge shows a value that may fall.
func Gauge(out chan<- prometheus.Metric, desc *prometheus.Desc, value float64, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}

// Count shows a counter.
func Count(out chan<- prometheus.Metric, desc *prometheus.Desc, value uint64, labels ...string) {
	out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(value), labels...)
}
