package analysis_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/fleet/analysis"
	"gridrouter.io/deploy/operator/routermetrics"
)

var bounds = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 1, 5, 30, math.Inf(1)}

// did is requests of which some failed, and all but slow of a hundred took up to a bound, the rest up to
// another.
func did(requests, errors float64, most, slow int) routermetrics.Delta {
	d := routermetrics.Delta{Requests: requests, Errors: errors}
	for i, upper := range bounds {
		n := 0.0
		if i >= most {
			n = requests * 0.9
		}
		if i >= slow {
			n = requests
		}
		d.Buckets = append(d.Buckets, routermetrics.Bucket{Upper: upper, Count: n})
	}
	return d
}

func TestCanariesAreJudgedBesideTheStableRouters(t *testing.T) {
	none, faults := routermetrics.Delta{}, did(1000, 0, 1, 1)
	faults.Faults = 100
	notNumbers := did(1000, 0, 1, 1)
	notNumbers.Requests = math.NaN()
	row := func(name string, canary, stable routermetrics.Delta, spec v1alpha1.CanaryAnalysis, verdict analysis.Verdict, reason v1alpha1.Reason, says string) {
		t.Helper()
		v, r, why := analysis.Judge(canary, stable, spec)
		if v != verdict || r != reason || !strings.Contains(why, says) {
			t.Errorf("%s: %s, %s, %q; want %s, %s, with %q", name, v, r, why, verdict, reason, says)
		}
	}
	number, count := func(f float64) *float64 { return &f }, func(n int64) *int64 { return &n }
	defaults, anyCount := v1alpha1.CanaryAnalysis{}, v1alpha1.CanaryAnalysis{MinRequests: count(0)}
	good := did(10_000, 10, 1, 1)
	const (
		pass, fail, wait = analysis.Passed, analysis.Failed, analysis.Inconclusive
		passed, errors   = v1alpha1.ReasonCanaryPassed, v1alpha1.ReasonTooManyErrors
		slow, few        = v1alpha1.ReasonTooSlow, v1alpha1.ReasonTooFewRequests
	)
	row("as good", did(1000, 1, 1, 1), good, defaults, pass, passed, "0.10 % of the canaries' 1000 requests")
	row("too few", did(99, 99, 1, 1), good, defaults, wait, few, "99 requests; 100 are needed")
	row("none, and none needed", none, good, anyCount, pass, passed, "nothing was compared")
	row("1 of 100 is what is allowed", did(100, 1, 1, 1), good, defaults, pass, passed, "1.00 %")
	row("2 of 100 may be chance", did(100, 2, 1, 1), good, defaults, wait, few, "too few requests")
	row("20 of 1000 is none", did(1000, 30, 1, 1), good, defaults, fail, errors, "3.00 %")
	row("all fail", did(100, 100, 1, 1), good, defaults, fail, errors, "100.00 %")
	row("decks fail everybody", did(1000, 300, 1, 1), did(1000, 298, 1, 1), defaults, pass, passed, "30.00 %")
	row("canaries are better", did(1000, 0, 1, 1), did(1000, 500, 4, 4), defaults, pass, passed, "")
	row("cut answers", faults, good, defaults, fail, errors, "10.00 % of the canaries' 1000 requests ended in a fault")
	row("none allowed, one is chance", did(100, 1, 1, 1), did(1000, 0, 1, 1), v1alpha1.CanaryAnalysis{MaxErrorPercent: number(0)}, wait, few, "")
	row("no stable traffic, no errors", did(1000, 0, 1, 1), none, defaults, pass, passed, "not compared")
	row("no stable traffic, errors", did(1000, 100, 1, 1), none, defaults, wait, few, "stable routers' 0")
	row("hardly any stable traffic", did(1000, 100, 1, 1), did(3, 0, 1, 1), defaults, wait, few, "")
	row("not numbers", notNumbers, good, defaults, wait, few, "cannot be counts")
	row("slower", did(1000, 0, 1, 5), good, defaults, fail, slow, "99th percentile")
	row("slower, may be chance", did(3, 0, 1, 5), good, anyCount, wait, few, "chance")
	row("tiny times in one bucket", did(1000, 0, 0, 0), did(1000, 0, 0, 0), defaults, pass, passed, "990")
	row("one bucket, the whole of it apart", did(1000, 0, 5, 5), did(1000, 0, 4, 5), defaults, pass, passed, "")
	row("beyond the last bound", did(1000, 0, 1, 8), good, defaults, fail, slow, "more than 30s")
	row("both beyond it", did(1000, 0, 1, 8), did(1000, 0, 1, 8), defaults, pass, passed, "more than 30s")
	row("a higher ratio is allowed", did(1000, 0, 1, 3), good, v1alpha1.CanaryAnalysis{MaxP99Ratio: number(10)}, pass, passed, "10 times")
}

func TestAWindowCountsWhatHappenedInIt(t *testing.T) {
	began := time.Unix(1_800_000_000, 0)
	sample := func(after, started time.Duration, requests float64) routermetrics.Sample {
		return routermetrics.Sample{At: began.Add(after), Started: began.Add(started), Requests: requests,
			Buckets: routermetrics.Buckets{{Upper: math.Inf(1), Count: requests}}}
	}
	var all analysis.Windows
	w := all.Of("ns/edge", "2", began)
	w.Add("old", false, sample(-time.Second, -time.Hour, 900)) // before the step
	w.Add("old", false, sample(time.Second, -time.Hour, 1000)) // where it begins
	w.Add("old", false, sample(5*time.Second, -time.Hour, 1010))
	w.Add("old", false, sample(5*time.Second, -time.Hour, 1010)) // the same once more
	w.Add("old", false, sample(4*time.Second, -time.Hour, 1005)) // late
	w.Add("new", true, sample(5*time.Second, 2*time.Second, 7))
	w.Add("new", true, sample(9*time.Second, 6*time.Second, 4)) // it restarted
	w.Add("other", true, sample(9*time.Second, 8*time.Second, 2))
	if canary, stable := w.Deltas(); canary.Requests != 13 || stable.Requests != 10 {
		t.Errorf("canaries %v, stable %v; want 13, 10", canary.Requests, stable.Requests)
	}
	if all.Of("ns/edge", "2", began.Add(time.Hour)) != w {
		t.Error("the same step began anew")
	}
	if next := all.Of("ns/edge", "3", began.Add(time.Hour)); next == w || !next.Began().Equal(began.Add(time.Hour)) {
		t.Error("the next step goes on with the window of the last")
	}
}
