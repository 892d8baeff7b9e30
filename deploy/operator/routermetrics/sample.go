package routermetrics

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// The metrics that are read, as docs/METRICS.md has them.
const (
	requestsName  = "gridrouter_requests_total"
	faultsName    = "gridrouter_faults_total"
	durationsName = "gridrouter_request_duration_seconds"
	startedName   = "process_start_time_seconds"
	cpuName       = "process_cpu_seconds_total"
)

// mostBuckets bounds a histogram; that of a router has 15.
const mostBuckets = 256

// Sample is what a router had counted at one moment, since its process started.
type Sample struct {
	// At is when it was read, by the clock of the reader.
	At time.Time
	// Started is when the router's process started, by the router's clock; zero where it does not tell.
	Started time.Time
	// Requests are those finished, tunnels included.
	Requests float64
	// Errors are those of them that were answered with a status of 5xx, the decks' own included, or with
	// nothing at all.
	Errors float64
	// Faults are those that did not reach their deck, or came back without its whole answer, for another
	// cause than the client. Most are Errors too; an answer that was cut after its head is not.
	Faults float64
	// CPUSeconds is the time on processors, user's and system's; NaN where the router does not tell.
	CPUSeconds float64
	// Buckets are of the time from a request's head to the end of its answer.
	Buckets Buckets

	// decks are the parts that Requests and Errors are the sums of. A router shows a deck as long as it is in
	// its table, so that the sums fall when one is taken out, in a process that goes on.
	decks map[string]count
}

type count struct{ requests, errors float64 }

// byDeck returns the parts of the sums; of a sample that was not read from a router it is one part.
func (s Sample) byDeck() map[string]count {
	if s.decks == nil {
		return map[string]count{"": {requests: s.Requests, errors: s.Errors}}
	}
	return s.decks
}

// Parse reads a sample out of metrics in the text format of Prometheus. What is of others is passed over.
// Text that is no such format, that lacks the requests, or whose numbers cannot be counts is an error. At is
// left zero.
func Parse(text io.Reader) (Sample, error) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(text)
	if err != nil {
		return Sample{}, fmt.Errorf("read metrics: %w", err)
	}
	if families[requestsName] == nil || families[durationsName] == nil {
		return Sample{}, fmt.Errorf("the answer lacks %s or %s: the address must be the admin address of gridrouter serve", requestsName, durationsName)
	}
	s := Sample{}
	if err := s.readRequests(families[requestsName], families[faultsName]); err != nil {
		return Sample{}, err
	}
	if s.Buckets, err = bucketsOf(families[durationsName]); err != nil {
		return Sample{}, fmt.Errorf("%s: %w", durationsName, err)
	}
	return s, s.readProcess(families[startedName], families[cpuName])
}

func (s *Sample) readRequests(requests, faults *dto.MetricFamily) error {
	s.decks = map[string]count{}
	for _, m := range requests.GetMetric() {
		n, deck := value(m), label(m, "deck")
		if !isCount(n) {
			return fmt.Errorf("%s is %v, which is no count", requestsName, n)
		}
		c := s.decks[deck]
		c.requests += n
		if class := label(m, "class"); class == "5xx" || class == "none" {
			c.errors += n
		}
		s.decks[deck] = c
	}
	for _, c := range s.decks {
		s.Requests, s.Errors = s.Requests+c.requests, s.Errors+c.errors
	}
	for _, m := range faults.GetMetric() {
		n := value(m)
		if !isCount(n) {
			return fmt.Errorf("%s is %v, which is no count", faultsName, n)
		}
		if !clientFault(label(m, "fault")) {
			s.Faults += n
		}
	}
	return nil
}

func (s *Sample) readProcess(started, cpu *dto.MetricFamily) error {
	s.CPUSeconds = math.NaN()
	if m := cpu.GetMetric(); len(m) == 1 {
		if s.CPUSeconds = value(m[0]); !isCount(s.CPUSeconds) {
			return fmt.Errorf("%s is %v, which is no time", cpuName, s.CPUSeconds)
		}
	}
	if m := started.GetMetric(); len(m) == 1 {
		at, err := moment(value(m[0]))
		if err != nil {
			return fmt.Errorf("%s: %w", startedName, err)
		}
		s.Started = at
	}
	return nil
}

// clientFault says whether a fault is the client's, by docs/FAULTS.md. A code that is not known is not: a
// new version of the router may have faults that this one has not.
func clientFault(code string) bool {
	switch code {
	case "bad_request", "key_missing", "no_tenant", "no_rule", "method_not_allowed", "request_timeout",
		"body_too_large", "uri_too_long", "expectation_failed", "misdirected", "rate_limited",
		"head_too_large", "client_gone", "not_implemented", "version_not_supported":
		return true
	}
	return false
}

// value is that of a counter or a gauge; whichever the text calls it.
func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// isCount says whether a number can be a count: finite, and not so large that sums lose ones.
func isCount(n float64) bool { return n >= 0 && n < 1<<53 }

// moment is a time in seconds since 1970, between then and the year 2286.
func moment(seconds float64) (time.Time, error) {
	if !(seconds >= 0 && seconds < 1e10) {
		return time.Time{}, fmt.Errorf("%v is no time in seconds since 1970", seconds)
	}
	whole, part := math.Modf(seconds)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// Bucket is one bucket of a cumulative histogram.
type Bucket struct {
	// Upper is the bucket's upper bound in seconds, itself included; +Inf in the last one.
	Upper float64
	// Count is how many took at most so long.
	Count float64
}

// Buckets are a histogram: bounds rise, counts do not fall, and the last bound is +Inf. None: nothing is
// known, not even that there was nothing.
type Buckets []Bucket

// Total returns how many were observed in all.
func (b Buckets) Total() float64 {
	if len(b) == 0 {
		return 0
	}
	return b[len(b)-1].Count
}

func bucketsOf(family *dto.MetricFamily) (Buckets, error) {
	if len(family.GetMetric()) != 1 || family.GetMetric()[0].GetHistogram() == nil {
		return nil, errors.New("this is not one histogram")
	}
	histogram := family.GetMetric()[0].GetHistogram()
	if len(histogram.GetBucket()) > mostBuckets {
		return nil, fmt.Errorf("%d buckets are more than %d", len(histogram.GetBucket()), mostBuckets)
	}
	var out Buckets
	for _, b := range histogram.GetBucket() {
		out = append(out, Bucket{Upper: b.GetUpperBound(), Count: float64(b.GetCumulativeCount())})
	}
	slices.SortFunc(out, func(a, b Bucket) int { return compareBounds(a.Upper, b.Upper) })
	if total := float64(histogram.GetSampleCount()); len(out) == 0 || !math.IsInf(out[len(out)-1].Upper, 1) {
		out = append(out, Bucket{Upper: math.Inf(1), Count: total})
	}
	return out, out.check()
}

func compareBounds(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// check holds a histogram to what [Buckets] says.
func (b Buckets) check() error {
	below, count := math.Inf(-1), 0.0
	for _, bucket := range b {
		if !(bucket.Upper > below) {
			return errors.New("its buckets' bounds do not rise")
		}
		if bucket.Count < count || !isCount(bucket.Count) {
			return errors.New("its buckets' counts are not cumulative")
		}
		below, count = bucket.Upper, bucket.Count
	}
	return nil
}

// bounds names the bounds of the buckets, to compare.
func (b Buckets) bounds() string {
	var out strings.Builder
	for _, bucket := range b {
		fmt.Fprintf(&out, "%g ", bucket.Upper)
	}
	return out.String()
}
