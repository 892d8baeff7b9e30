package operator

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// leading lets writes through only while this operator surely leads. The election alone does not see to that:
// an operator that is stopped and goes on when its Lease is another's writes what it had in hand before it
// notices. A Lease is another's at the earliest when it was not renewed for Election.Duration; writes end at
// Election.Renew, so that one that is on its way has the time between both.
type leading struct {
	lease   string        // the path of the Lease
	valid   time.Duration // after a renewal was asked for
	begun   time.Time
	renewed atomic.Int64 // when the last renewal that succeeded was asked for, in ns since begun; 0: never
	refused prometheus.Counter
	now     func() time.Time
}

func newLeading(namespace string, valid time.Duration, registry prometheus.Registerer) *leading {
	l := &leading{
		lease: "/apis/coordination.k8s.io/v1/namespaces/" + namespace + "/leases",
		valid: valid, now: time.Now,
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gridrouter_operator_stale_writes_total",
			Help: "Writes to the API server that were held back because the Lease was not renewed in time: another operator may lead.",
		}),
	}
	l.begun = l.now()
	registry.MustRegister(l.refused)
	return l
}

// wrap returns a transport that holds writes back.
func (l *leading) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		asked := l.now()
		switch {
		case r.Method == http.MethodGet || r.Method == http.MethodHead || isReview(r.URL.Path):
			return next.RoundTrip(r)
		case l.isLease(r.URL.Path):
			answer, err := next.RoundTrip(r)
			if err == nil && answer.StatusCode/100 == 2 {
				l.renewed.Store(int64(asked.Sub(l.begun)) + 1)
			}
			return answer, err
		}
		if err := l.check(asked); err != nil {
			l.refused.Inc()
			if r.Body != nil {
				_, _ = io.Copy(io.Discard, r.Body) // what a transport owes to who gave it the body
				_ = r.Body.Close()
			}
			return nil, err
		}
		return next.RoundTrip(r)
	})
}

// check says by an error that the operator may not lead any more.
func (l *leading) check(at time.Time) error {
	renewed := l.renewed.Load()
	if renewed == 0 {
		return fmt.Errorf("this operator does not lead: it writes nothing")
	}
	if age := at.Sub(l.begun) - time.Duration(renewed); age > l.valid {
		return fmt.Errorf("this operator has not renewed its Lease for %s, and another may lead: it writes nothing until it has", age.Round(time.Millisecond))
	}
	return nil
}

func (l *leading) isLease(path string) bool {
	return path == l.lease || path == l.lease+"/"+LeaseName
}

// isReview says whether a path asks who somebody is or what they may do, which writes nothing.
func isReview(path string) bool {
	return strings.HasPrefix(path, "/apis/authentication.k8s.io/") || strings.HasPrefix(path, "/apis/authorization.k8s.io/")
}
