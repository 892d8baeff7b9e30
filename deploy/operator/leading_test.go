package operator

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/zap"
)

// TestAnOperatorWritesOnlyWhileItSurelyLeads renews the Lease of an operator, and lets time pass.
func TestAnOperatorWritesOnlyWhileItSurelyLeads(t *testing.T) {
	const (
		deployment = "/apis/apps/v1/namespaces/grid/deployments/edge"
		leases     = "/apis/coordination.k8s.io/v1/namespaces/home/leases"
		lease      = leases + "/" + LeaseName
	)
	l := newLeading("home", 10*time.Second, prometheus.NewRegistry())
	now, status, sent := l.begun, http.StatusOK, 0
	l.now = func() time.Time { return now }
	transport := l.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
		sent++
		now = now.Add(time.Second) // that the API server takes
		return &http.Response{StatusCode: status, Body: http.NoBody}, nil
	}))
	f := func(method, path string, want bool) {
		t.Helper()
		sent = 0
		answer, err := transport.RoundTrip(httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader("{}")))
		if (err == nil) != want || (sent == 1) != want {
			t.Errorf("%s %s: %v, and %d requests were sent; passes: %v", method, path, err, sent, want)
		}
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			_ = answer.Body.Close()
		}
	}
	writes := func(want bool) {
		t.Helper()
		for _, method := range []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
			f(method, deployment, want)
			now = now.Add(-time.Second)
			if !want {
				now = now.Add(time.Second)
			}
		}
	}
	writes(false)
	f(http.MethodGet, deployment, true)
	f(http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", true)
	f(http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", true)
	f(http.MethodPost, strings.Replace(leases, "home", "other", 1), false) // another's
	status = http.StatusConflict
	f(http.MethodPut, lease, true) // it was not had
	writes(false)
	status = http.StatusCreated
	f(http.MethodPost, leases, true)
	writes(true)
	now = now.Add(9 * time.Second) // and one that the renewal took
	writes(true)
	now = now.Add(time.Millisecond)
	writes(false)
	f(http.MethodGet, deployment, true)
	status = http.StatusOK
	f(http.MethodPut, lease, true)
	writes(true)
	if n := testutil.ToFloat64(l.refused); n != 13 {
		t.Errorf("%v writes were counted, want 13", n)
	}
}

// TestTheOperatorsMetricsAreThoseOfTheirPage holds docs/METRICS.md to what an operator registers.
func TestTheOperatorsMetricsAreThoseOfTheirPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	var listed, have []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(gridrouter_operator_[a-z_]+)`").FindAllSubmatch(page, -1) {
		listed = append(listed, string(row[1]))
	}
	registry := prometheus.NewRegistry()
	newForbidden(zap.NewNop(), registry).count.WithLabelValues("GET", "pods")
	newLeading("home", time.Second, registry)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		have = append(have, family.GetName())
	}
	if slices.Sort(listed); !slices.Equal(listed, have) {
		t.Errorf("the page has %v, and an operator %v", listed, have)
	}
}
