package routermetrics

import (
	"math"
	"time"
)

// Delta is what routers did in some time: the difference of two samples of one, or the sum of several. The
// zero value is nothing, to which others are added.
type Delta struct {
	// Requests, Errors and Faults are as in [Sample].
	Requests, Errors, Faults float64
	// CPUSeconds is the time on processors; NaN where a router did not tell.
	CPUSeconds float64
	// Buckets are of the times of the requests that ended; see [Sample].
	Buckets Buckets
}

// slackOfClocks is by how much the clock of a router may differ from the reader's, or be set.
const slackOfClocks = 30 * time.Second

// Sub returns what one router did from one sample to a later one. Of a process that was started in between
// it is all since then: what the former process did after the first sample is not known. A zero before
// stands for nothing counted: the result is all since the start. Of a deck that was taken out of the table in
// between, nothing is counted.
func Sub(now, before Sample) Delta {
	if before.At.IsZero() || restarted(now, before) {
		before = Sample{CPUSeconds: now.CPUSeconds - now.CPUSeconds} // NaN stays NaN
	}
	d := Delta{
		Faults: now.Faults - before.Faults, CPUSeconds: now.CPUSeconds - before.CPUSeconds,
		Buckets: append(Buckets{}, now.Buckets...),
	}
	earlier := before.byDeck()
	for deck, c := range now.byDeck() {
		was := earlier[deck]
		if c.requests < was.requests || c.errors < was.errors { // it was taken out of the table, and put in again
			was = count{}
		}
		d.Requests, d.Errors = d.Requests+c.requests-was.requests, d.Errors+c.errors-was.errors
	}
	if len(before.Buckets) > 0 {
		last := 0.0
		for i := range d.Buckets {
			// A scrape does not stop the router: of two samples close together one bucket may be ahead.
			last = max(d.Buckets[i].Count-before.Buckets[i].Count, last)
			d.Buckets[i].Count = last
		}
	}
	return d
}

// restarted says whether the samples are of two processes: something of the process was counted backwards,
// which nothing else explains, or the histogram has other buckets, or the start moved past the first sample.
// That it moved is not enough: it does too where the router's clock is set.
func restarted(now, before Sample) bool {
	if now.Faults < before.Faults || now.CPUSeconds < before.CPUSeconds || now.Buckets.Total() < before.Buckets.Total() ||
		now.Buckets.bounds() != before.Buckets.bounds() {
		return true
	}
	if now.Started.IsZero() || before.Started.IsZero() {
		return false
	}
	moved, age := now.Started.Sub(before.Started), before.At.Sub(before.Started)
	return moved > 2*time.Second && moved >= age-slackOfClocks
}

// Add returns what both did together. Where the histograms have different buckets, the bounds that both have
// are kept, so that every count stays exact.
func (d Delta) Add(other Delta) Delta {
	return Delta{
		Requests: d.Requests + other.Requests, Errors: d.Errors + other.Errors, Faults: d.Faults + other.Faults,
		CPUSeconds: d.CPUSeconds + other.CPUSeconds, Buckets: d.Buckets.add(other.Buckets),
	}
}

func (b Buckets) add(other Buckets) Buckets {
	if len(b) == 0 || len(other) == 0 {
		return append(append(Buckets{}, b...), other...)
	}
	var out Buckets
	for i, k := 0, 0; i < len(b) && k < len(other); {
		switch compareBounds(b[i].Upper, other[k].Upper) {
		case -1:
			i++
		case 1:
			k++
		default:
			out = append(out, Bucket{Upper: b[i].Upper, Count: b[i].Count + other[k].Count})
			i, k = i+1, k+1
		}
	}
	return out
}

// ErrorPercent returns how many percent of the requests were errors or faults, whichever are more, from 0 to
// 100; false if there was no request.
func (d Delta) ErrorPercent() (float64, bool) {
	if !(d.Requests > 0) {
		return 0, false
	}
	return min(100, 100*max(d.Errors, d.Faults)/d.Requests), true
}

// P99 returns the time that 99 of 100 requests took at most, by interpolation within its bucket, as
// histogram_quantile does: in the last bucket, which has no end, it is that bucket's beginning, and the
// truth may be any longer. False if nothing was observed.
func (d Delta) P99() (time.Duration, bool) {
	at, ok := d.Quantile(0.99)
	return at.Time, ok
}

// Quantile is where a share of the requests ends, and what the histogram knows of it for sure.
type Quantile struct {
	// Time is by interpolation between From and To; From where To is open.
	Time time.Duration
	// From and To are the bounds of its bucket: the truth lies above From, and is at most To.
	From, To time.Duration
	// Open says that it lies in the last bucket: the truth is longer than From, nobody knows by how much.
	// To is zero then.
	Open bool
	// Bucket is the index of the bucket in Delta.Buckets.
	Bucket int
}

// Quantile returns the time that a share of the requests, between 0 and 1, took at most; false if nothing
// was observed.
func (d Delta) Quantile(share float64) (Quantile, bool) {
	total := d.Buckets.Total()
	if !(total > 0) || math.IsInf(total, 0) {
		return Quantile{}, false
	}
	rank := share * total
	i := 0
	for i < len(d.Buckets)-1 && d.Buckets[i].Count < rank {
		i++
	}
	from, below := 0.0, 0.0
	if i > 0 {
		from, below = max(0, d.Buckets[i-1].Upper), d.Buckets[i-1].Count
	}
	q := Quantile{Bucket: i, From: seconds(from)}
	if math.IsInf(d.Buckets[i].Upper, 1) {
		q.Time, q.Open = q.From, true
		return q, true
	}
	to := max(from, d.Buckets[i].Upper)
	part := 1.0
	if in := d.Buckets[i].Count - below; in > 0 {
		part = max(0, min(1, (rank-below)/in))
	}
	q.Time, q.To = seconds(from+(to-from)*part), seconds(to)
	return q, true
}

// seconds is a duration of at most 292 years.
func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), math.MaxInt64/2))
}
