package routermetrics_test

import (
	"math"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"gridrouter.io/deploy/operator/routermetrics"
)

type (
	sample  = routermetrics.Sample
	buckets = routermetrics.Buckets
)

var (
	start = time.Unix(1_800_000_000, 0)
	inf   = math.Inf(1)
)

func TestARestartIsToldFromAClockThatIsSet(t *testing.T) {
	at := func(after time.Duration, started time.Duration, requests float64) sample {
		return sample{At: start.Add(after), Started: start.Add(started), Requests: requests,
			Buckets: buckets{{Upper: inf, Count: requests}}, CPUSeconds: requests}
	}
	row := func(name string, now, before sample, want float64) {
		t.Helper()
		if did := routermetrics.Sub(now, before); did.Requests != want || did.Buckets.Total() != want {
			t.Errorf("%s: %v requests (%v observed), want %v", name, did.Requests, did.Buckets.Total(), want)
		}
	}
	before := at(time.Hour, 0, 100)
	row("it went on", at(time.Hour+5*time.Second, 0, 130), before, 30)
	row("nothing happened", at(time.Hour+5*time.Second, 0, 100), before, 0)
	row("it was started anew, and counts less", at(time.Hour+5*time.Second, time.Hour+time.Second, 20), before, 20)
	row("it was started anew, and counts more", at(time.Hour+5*time.Second, time.Hour+time.Second, 300), before, 300)
	row("anew, by a clock that is 20 s behind", at(time.Hour+5*time.Second, time.Hour-19*time.Second, 300), before, 300)
	row("its clock was set a minute forward", at(time.Hour+5*time.Second, time.Minute, 130), before, 30)
	row("its clock was set back", at(time.Hour+5*time.Second, -time.Hour, 130), before, 30)
	row("it does not tell its start", sample{At: start.Add(2 * time.Hour), Requests: 130, Buckets: buckets{{inf, 130}}, CPUSeconds: 130}, before, 30)
	row("there was nothing before", before, sample{}, 100)
	young := at(2*time.Second, 0, 10)
	row("a young one restarts", at(7*time.Second, 5*time.Second, 12), young, 12)
	row("the kernel's idea of its start wavers", at(7*time.Second, time.Second, 12), young, 2)
	other := before
	other.At, other.Requests, other.Buckets = start.Add(2*time.Hour), 300, buckets{{1, 100}, {inf, 300}}
	row("it has other buckets, so it is another", other, before, 300)
}

func TestThe99thPercentileIsInterpolated(t *testing.T) {
	row := func(name string, b buckets, want time.Duration, open, ok bool) {
		t.Helper()
		q, got := routermetrics.Delta{Buckets: b}.Quantile(0.99)
		if got != ok || (q.Time-want).Abs() > time.Microsecond || q.Open != open {
			t.Errorf("%s: %+v, %t; want %s, open %t, %t", name, q, got, want, open, ok)
		}
	}
	row("nothing known", nil, 0, false, false)
	row("nothing observed", buckets{{1, 0}, {inf, 0}}, 0, false, false)
	row("only the open bucket", buckets{{inf, 7}}, 0, true, true)
	row("all in the first", buckets{{0.01, 100}, {1, 100}, {inf, 100}}, 9900*time.Microsecond, false, true)
	row("all in the second", buckets{{1, 0}, {2, 100}, {inf, 100}}, 1990*time.Millisecond, false, true)
	row("on a bound", buckets{{1, 99}, {2, 100}, {inf, 100}}, time.Second, false, true)
	row("beyond the last bound", buckets{{1, 50}, {30, 90}, {inf, 100}}, 30*time.Second, true, true)
	row("one observation", buckets{{1, 0}, {2, 1}, {inf, 1}}, 1990*time.Millisecond, false, true)
	row("not numbers", buckets{{1, math.NaN()}, {inf, math.NaN()}}, 0, false, false)
}

func TestSumsKeepTheBoundsThatAllHave(t *testing.T) {
	a := routermetrics.Delta{Requests: 5, Buckets: buckets{{1, 1}, {2, 2}, {5, 4}, {inf, 5}}}
	b := routermetrics.Delta{Requests: 3, Buckets: buckets{{1, 1}, {5, 2}, {10, 3}, {inf, 3}}}
	sum := routermetrics.Delta{}.Add(a).Add(b).Add(routermetrics.Delta{Requests: 1})
	want := buckets{{1, 2}, {5, 6}, {inf, 8}}
	if sum.Requests != 9 || len(sum.Buckets) != len(want) {
		t.Fatalf("%+v", sum)
	}
	for i, b := range sum.Buckets {
		if b != want[i] {
			t.Errorf("bucket %d is %v, want %v", i, b, want[i])
		}
	}
	if len(a.Buckets) != 4 {
		t.Error("adding changed what was added")
	}
}

func TestErrorsArePercentOfRequests(t *testing.T) {
	row := func(d routermetrics.Delta, want float64, ok bool) {
		t.Helper()
		if got, is := d.ErrorPercent(); got != want || is != ok {
			t.Errorf("%+v: %v, %t", d, got, is)
		}
	}
	row(routermetrics.Delta{}, 0, false)
	row(routermetrics.Delta{Requests: 200, Errors: 3, Faults: 1}, 1.5, true)
	row(routermetrics.Delta{Requests: 200, Errors: 1, Faults: 3}, 1.5, true)
	row(routermetrics.Delta{Requests: 1, Errors: 3}, 100, true) // a deck left the table in between
	row(routermetrics.Delta{Requests: math.NaN()}, 0, false)
}

// TestWhoseAFaultIsStandsInTheDocuments holds the list of clients' faults to docs/FAULTS.md.
func TestWhoseAFaultIsStandsInTheDocuments(t *testing.T) {
	page, err := os.ReadFile("../../../docs/FAULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| \\d+ \\| (\\w+) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d faults were found on the page", len(rows))
	}
	for _, row := range rows {
		s, err := routermetrics.Parse(strings.NewReader("gridrouter_requests_total 1\ngridrouter_faults_total{fault=\"" + row[1] + "\"} 1\n" + histogram))
		if err != nil {
			t.Fatal(err)
		}
		if counted := s.Faults == 1; counted == (row[2] == "client") {
			t.Errorf("%s is the %s's: counted %t", row[1], row[2], counted)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("gridrouter_requests_total{deck=\"a\",class=\"5xx\"} 2\n" + histogram)
	f.Add("gridrouter_requests_total 1e300\nprocess_cpu_seconds_total NaN\n" + histogram)
	f.Add("gridrouter_requests_total 1\nprocess_start_time_seconds 1e99\n" + histogram)
	f.Add("# TYPE gridrouter_request_duration_seconds histogram\ngridrouter_request_duration_seconds_bucket{le=\"NaN\"} 3\ngridrouter_requests_total 1\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := routermetrics.Parse(strings.NewReader(text))
		if err != nil {
			return
		}
		if !(s.Requests >= 0 && s.Errors >= 0 && s.Errors <= s.Requests && s.Faults >= 0) || s.CPUSeconds < 0 {
			t.Fatalf("%+v", s)
		}
		if !math.IsInf(s.Buckets[len(s.Buckets)-1].Upper, 1) {
			t.Fatalf("no last bucket: %v", s.Buckets)
		}
		if same := routermetrics.Sub(s, s); !s.At.IsZero() && same.Requests != 0 {
			t.Fatalf("a sample differs from itself: %+v", same)
		}
		if p99, ok := routermetrics.Sub(s, sample{}).P99(); ok && p99 < 0 {
			t.Fatalf("p99 is %s", p99)
		}
	})
}
