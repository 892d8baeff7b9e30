// Package analysis says whether the canaries of a fleet are as good as its stable routers, by what both
// counted of themselves. Verdicts are reckoned from numbers alone.
package analysis

import (
	"fmt"
	"math"
	"time"

	"gridrouter.io/deploy/api/v1alpha1"
	"gridrouter.io/deploy/operator/routermetrics"
)

// Verdict is what was found of canaries.
type Verdict string

// The verdicts.
const (
	// Passed says that they are as good as they must be.
	Passed Verdict = "Passed"
	// Failed says that they are worse.
	Failed Verdict = "Failed"
	// Inconclusive says that too little was seen to tell.
	Inconclusive Verdict = "Inconclusive"
)

// sureness is how many standard errors a difference must have to count as none of chance: 99 of 100 times.
// A step is judged again and again, so the usual 95 would fail good canaries now and then.
const sureness = 2.326

// Judge compares canaries with the stable routers over the same time. What the spec leaves out has the CRD's
// defaults. The reason is CanaryPassed, TooManyErrors, TooSlow or, of an inconclusive verdict,
// TooFewRequests; why names the numbers that were compared.
//
// Canaries fail if they are above what is allowed and chance does not explain it; they pass if they are not
// above it. What is above, but may be chance, is inconclusive. So 2 errors in 100 requests with 1 % allowed
// wait for more requests, and 20 in 1000 fail.
//
// Errors are compared twice: answers of 5xx or none, and faults, which cut answers are too. Decks' own errors
// are in both tracks alike, so what counts is the difference. Without enough requests of the stable routers
// that is not known: canaries then pass if even their own errors are allowed, and else it is inconclusive.
//
// Times are known by the buckets of a histogram. In the same bucket nobody is slower. In different ones the
// percentiles are interpolated, and it must be sure that more of the canaries' requests end above the stable
// routers' bucket.
func Judge(canary, stable routermetrics.Delta, spec v1alpha1.CanaryAnalysis) (Verdict, v1alpha1.Reason, string) {
	least := or(spec.MinRequests, 100)
	if !finite(canary) || !finite(stable) {
		return Inconclusive, v1alpha1.ReasonTooFewRequests, "the routers' metrics hold numbers that cannot be counts; nothing can be compared"
	}
	if canary.Requests < float64(least) {
		return Inconclusive, v1alpha1.ReasonTooFewRequests, fmt.Sprintf("canaries served %.0f requests; %d are needed (analysis.minRequests)", canary.Requests, least)
	}
	if canary.Requests == 0 {
		return Passed, v1alpha1.ReasonCanaryPassed, "canaries served no request, and analysis.minRequests is 0: nothing was compared"
	}
	allowed := or(spec.MaxErrorPercent, 1)
	errors := judgeErrors("were answered by 5xx or nothing", part{canary.Errors, canary.Requests}, part{stable.Errors, stable.Requests}, allowed)
	faults := judgeErrors("ended in a fault", part{canary.Faults, canary.Requests}, part{stable.Faults, stable.Requests}, allowed)
	times := judgeTimes(canary, stable, or(spec.MaxP99Ratio, 1.5))
	for _, wanted := range []Verdict{Failed, Inconclusive} {
		for _, found := range []finding{errors, faults, times} {
			if found.verdict == wanted {
				return found.verdict, found.reason, found.why
			}
		}
	}
	return Passed, v1alpha1.ReasonCanaryPassed, errors.why + "; " + times.why
}

func or[T any](value *T, otherwise T) T {
	if value == nil {
		return otherwise
	}
	return *value
}

func finite(d routermetrics.Delta) bool {
	for _, n := range []float64{d.Requests, d.Errors, d.Faults, d.Buckets.Total()} {
		if math.IsNaN(n) || math.IsInf(n, 0) || n < 0 {
			return false
		}
	}
	return true
}

type finding struct {
	verdict Verdict
	reason  v1alpha1.Reason
	why     string
}

// part is how many of all.
type part struct{ some, all float64 }

func (p part) percent() float64 {
	if p.all <= 0 {
		return 0
	}
	return min(100, 100*p.some/p.all)
}

// surelyAbove says whether p's share is above other's by more than a margin, and not by chance: the
// difference of both, with one more of each kind counted in each, so that few requests do not look sure
// (Agresti and Caffo).
func (p part) surelyAbove(other part, margin float64) bool {
	a, n := (min(p.some, p.all)+1)/(p.all+2), p.all+2
	b, m := (min(other.some, other.all)+1)/(other.all+2), other.all+2
	return a-b-margin > sureness*math.Sqrt(a*(1-a)/n+b*(1-b)/m)
}

func judgeErrors(what string, canary, stable part, allowed float64) finding {
	why := fmt.Sprintf("%.2f %% of the canaries' %.0f requests %s, and %.2f %% of the stable routers' %.0f; %g %% more than theirs are allowed",
		canary.percent(), canary.all, what, stable.percent(), stable.all, allowed)
	switch {
	case canary.percent() <= stable.percent()+allowed:
		return finding{Passed, v1alpha1.ReasonCanaryPassed, why}
	case stable.all > 0 && canary.surelyAbove(stable, allowed/100):
		return finding{Failed, v1alpha1.ReasonTooManyErrors, why}
	}
	return finding{Inconclusive, v1alpha1.ReasonTooFewRequests, why + ", and these are too few requests to tell it from chance"}
}

func judgeTimes(canary, stable routermetrics.Delta, allowed float64) finding {
	// Both are seen through the same bounds, those that both have.
	ours, theirs := same(canary.Buckets, stable.Buckets)
	slow, known := routermetrics.Delta{Buckets: ours}.Quantile(0.99)
	usual, knownToo := routermetrics.Delta{Buckets: theirs}.Quantile(0.99)
	if !known || !knownToo {
		return finding{Passed, v1alpha1.ReasonCanaryPassed, "answer times were not compared, since the canaries or the stable routers have none"}
	}
	why := fmt.Sprintf("the canaries' 99th percentile is %s, the stable routers' %s; %g times as long is allowed", words(slow), words(usual), allowed)
	if slow.Bucket <= usual.Bucket || slow.Time.Seconds() <= allowed*usual.Time.Seconds() {
		return finding{Passed, v1alpha1.ReasonCanaryPassed, why}
	}
	above := func(b routermetrics.Buckets) part { return part{b.Total() - b[usual.Bucket].Count, b.Total()} }
	if above(ours).surelyAbove(above(theirs), 0) {
		return finding{Failed, v1alpha1.ReasonTooSlow, why}
	}
	return finding{Inconclusive, v1alpha1.ReasonTooFewRequests, why + ", and these are too few requests to tell it from chance"}
}

// same returns both histograms with the bounds that both have.
func same(a, b routermetrics.Buckets) (ofA, ofB routermetrics.Buckets) {
	inB := map[float64]float64{}
	for _, bucket := range b {
		inB[bucket.Upper] = bucket.Count
	}
	for _, bucket := range a {
		if n, both := inB[bucket.Upper]; both {
			ofA = append(ofA, bucket)
			ofB = append(ofB, routermetrics.Bucket{Upper: bucket.Upper, Count: n})
		}
	}
	return ofA, ofB
}

func words(q routermetrics.Quantile) string {
	if q.Open {
		return "more than " + q.From.String()
	}
	return q.Time.Round(10 * time.Microsecond).String()
}
