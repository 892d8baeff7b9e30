package metrics

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
)

// Bucket is one of a histogram: so many observations were at most Upper seconds, the former buckets' included.
type Bucket struct{ Upper, Count float64 }

// Buckets are a histogram's, by rising bounds; the last bound is infinite.
type Buckets []Bucket

// Total is the number of observations.
func (b Buckets) Total() float64 {
	if len(b) == 0 {
		return 0
	}
	return b[len(b)-1].Count
}

// Between returns what was observed of a histogram from one sample to a later one. A zero before stands for
// the start of the process, and so does one of a process that was started anew in between. Nil if the member
// does not tell.
func Between(before, now Sample, name Name) Buckets {
	later, earlier := now.histograms[name], before.histograms[name]
	if len(earlier) != len(later) || later.Total() < earlier.Total() || restarted(before, now) {
		return slices.Clone(later)
	}
	out, last := slices.Clone(later), 0.0
	for i := range out {
		if out[i].Upper != earlier[i].Upper {
			return slices.Clone(later)
		}
		// A scrape does not stop the member: of two samples close together one bucket may be ahead.
		last = max(out[i].Count-earlier[i].Count, last)
		out[i].Count = last
	}
	return out
}

// Increase returns by how much a counter rose from one sample to a later one, as [Between] does; false if the
// member does not tell.
func Increase(before, now Sample, name Name) (float64, bool) {
	later, ok := now.numbers[name]
	if !ok {
		return 0, false
	}
	earlier := before.numbers[name]
	if later < earlier || restarted(before, now) {
		return later, true
	}
	return later - earlier, true
}

// restarted says whether the samples are of two processes. A start is rounded differently by whoever tells it.
func restarted(before, now Sample) bool {
	was, known := before.numbers[Started]
	is, knownToo := now.numbers[Started]
	return known && knownToo && math.Abs(is-was) > 2
}

// Quantile returns the time that a share of the observations, between 0 and 1, took at most, by interpolation
// within its bucket. Open says that it lies in the last bucket: the truth is longer, nobody knows by how much.
// False if nothing was observed.
func (b Buckets) Quantile(share float64) (at time.Duration, open, ok bool) {
	total := b.Total()
	if !(total > 0) || math.IsInf(total, 0) {
		return 0, false, false
	}
	rank, i := share*total, 0
	for i < len(b)-1 && b[i].Count < rank {
		i++
	}
	from, below := 0.0, 0.0
	if i > 0 {
		from, below = max(0, b[i-1].Upper), b[i-1].Count
	}
	if math.IsInf(b[i].Upper, 1) {
		return seconds(from), true, true
	}
	part := 1.0
	if in := b[i].Count - below; in > 0 {
		part = max(0, min(1, (rank-below)/in))
	}
	return seconds(from + (max(from, b[i].Upper)-from)*part), false, true
}

// seconds is a duration of at most 146 years.
func seconds(s float64) time.Duration {
	return time.Duration(max(0, min(s*float64(time.Second), math.MaxInt64/2)))
}

// slowest returns the histogram whose 99th percentile is the highest, or else the sum of all.
func slowest(family *dto.MetricFamily, oneOf bool) (Buckets, error) {
	var out Buckets
	worst := time.Duration(-1)
	for _, m := range family.GetMetric() {
		b, err := bucketsOf(m.GetHistogram())
		if err != nil {
			return nil, err
		}
		if !oneOf {
			if out, err = out.plus(b); err != nil {
				return nil, err
			}
			continue
		}
		if p99, _, ok := b.Quantile(0.99); ok && p99 > worst {
			out, worst = b, p99
		}
	}
	return out, nil
}

func (b Buckets) plus(other Buckets) (Buckets, error) {
	if len(b) == 0 {
		return other, nil
	}
	if len(b) != len(other) {
		return nil, errors.New("the histograms of its labels have different buckets")
	}
	for i := range b {
		b[i].Count += other[i].Count
	}
	return b, nil
}

func bucketsOf(h *dto.Histogram) (Buckets, error) {
	if h == nil {
		return nil, errors.New("it is no histogram")
	}
	if len(h.GetBucket()) > mostBuckets {
		return nil, fmt.Errorf("it has %d buckets; at most %d are read", len(h.GetBucket()), mostBuckets)
	}
	out := make(Buckets, 0, len(h.GetBucket())+1)
	for _, b := range h.GetBucket() {
		out = append(out, Bucket{Upper: b.GetUpperBound(), Count: float64(b.GetCumulativeCount())})
	}
	if len(out) == 0 || !math.IsInf(out[len(out)-1].Upper, 1) {
		out = append(out, Bucket{Upper: math.Inf(1), Count: float64(h.GetSampleCount())})
	}
	for i := range out {
		falls := i > 0 && (out[i].Upper <= out[i-1].Upper || out[i].Count < out[i-1].Count)
		if math.IsNaN(out[i].Upper) || falls {
			return nil, fmt.Errorf("bucket %d does not follow the one before it", i)
		}
	}
	return out, nil
}
