package routermetrics_test

import (
	"context"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/routertest"
	"gridrouter.io/deploy/operator/routermetrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// grid has a deck that answers, one that answers 500 and one where nobody listens.
func grid(t *testing.T) string {
	deck := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		return server.Listener.Addr().String()
	}
	var out strings.Builder
	for name, address := range map[string]string{"good": deck(200), "bad": deck(500), "gone": testkit.FreeAddr(t)} {
		fmt.Fprintf(&out, "kind: Deck\nname: %[1]s\ndomain: %[1]s.deck.example\nattach: direct\naddresses: [%[2]q]\n---\n", name, address)
		fmt.Fprintf(&out, "kind: Tenant\nname: %[1]s\nhosts: [%[1]s.example]\nrules: [{name: all, deck: %[1]s}]\n---\n", name)
	}
	return out.String()
}

func TestARoutersOwnCountsAreRead(t *testing.T) {
	documents := grid(t)
	router := routertest.Start(t, routertest.Build(t), documents)
	reader := routermetrics.NewReader()
	defer reader.Close()
	read := func() routermetrics.Sample {
		t.Helper()
		sample, err := reader.Read(t.Context(), routermetrics.Target{Address: router.Admin, Token: routertest.Token})
		if err != nil {
			t.Fatal(err)
		}
		return sample
	}
	before := read()
	if before.Requests != 0 || math.IsNaN(before.CPUSeconds) || time.Since(before.Started) > time.Hour || before.Buckets.Total() != 0 {
		t.Errorf("a router that has just begun: %+v", before)
	}
	for host, n := range map[string]int{"good.example": 6, "bad.example": 2, "gone.example": 1, "nobody.example": 3} {
		for range n {
			router.Get(host)
		}
	}
	// Two answers of 500 passed on, one fault of the deck's; what the clients are to blame for is none.
	did := routermetrics.Sub(settled(t, read, 12), before)
	if did.Requests != 12 || did.Errors != 3 || did.Faults != 1 || did.Buckets.Total() != 12 {
		t.Errorf("after 12 requests: %+v", did)
	}
	if p99, ok := did.P99(); !ok || p99 <= 0 || p99 > 30*time.Second {
		t.Errorf("p99 is %s, %t", p99, ok)
	}
	t.Run("a deck that leaves the table takes its series along", func(t *testing.T) {
		before := read()
		var left []string
		for d := range strings.SplitSeq(documents, "---\n") {
			if !strings.Contains(d, "name: bad") {
				left = append(left, d)
			}
		}
		router.Write(strings.Join(left, "---\n"))
		testkit.Eventually(t, "the sums fall", func() bool { return read().Requests < before.Requests })
		if did := routermetrics.Sub(read(), before); did.Requests != 0 || did.Errors != 0 {
			t.Errorf("it was taken for a restart: %+v", did)
		}
	})
	t.Run("a process that was started anew counts since its start", func(t *testing.T) {
		before := read()
		router.Restart()
		for range 20 { // more than the former process
			router.Get("good.example")
		}
		if did := routermetrics.Sub(settled(t, read, 20), before); did.Requests != 20 {
			t.Errorf("%v requests after a restart, of 20", did.Requests)
		}
	})
	t.Run("another token is refused", func(t *testing.T) {
		_, err := reader.Read(t.Context(), routermetrics.Target{Address: router.Admin, Token: "guessed"})
		if err == nil || !strings.Contains(err.Error(), "--admin-token-file") || strings.Contains(err.Error(), "guessed") {
			t.Errorf("the error is %v", err)
		}
	})
}

// settled reads until so many requests are counted: a client has its answer a little before that.
func settled(t *testing.T, read func() routermetrics.Sample, requests float64) (s routermetrics.Sample) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprint(requests, " requests are counted"), func() bool {
		s = read()
		return s.Requests == requests && s.Buckets.Total() == requests
	})
	return s
}

func TestWhoIsNoRouterIsAnError(t *testing.T) {
	var elsewhere atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Store(true) }))
	defer other.Close()
	for name, row := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"redirects": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, "redirects are not followed"},
		"other metrics": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "go_goroutines 7\n") },
			"lacks gridrouter_requests_total"},
		"a page":       {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "read metrics"},
		"not found":    {http.NotFound, "admin address"},
		"without end":  {endless, "more than 8 MiB"},
		"cut":          {cutShort, "EOF"},
		"a huge head":  {hugeHead, "exceeded"},
		"no histogram": {text("gridrouter_requests_total 1\ngridrouter_request_duration_seconds 1\n"), "not one histogram"},
		"no numbers":   {text("gridrouter_requests_total NaN\n" + histogram), "no count"},
		"negative":     {text("gridrouter_requests_total -1\n" + histogram), "no count"},
		"not cumulative": {text("gridrouter_requests_total 1\n" + strings.Replace(histogram, "} 3", "} 30", 1)),
			"not cumulative"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(row.answer)
			defer server.Close()
			reader := routermetrics.NewReader()
			defer reader.Close()
			_, err := reader.Read(t.Context(), routermetrics.Target{Address: server.Listener.Addr().String(), Token: "secret-token"})
			if err == nil || !strings.Contains(err.Error(), row.says) || strings.Contains(err.Error(), "secret-token") {
				t.Errorf("the error is %v, and should say %q", err, row.says)
			}
		})
	}
	if elsewhere.Load() {
		t.Error("the redirect was followed")
	}
}

const histogram = `# TYPE gridrouter_request_duration_seconds histogram
gridrouter_request_duration_seconds_bucket{le="0.1"} 3
gridrouter_request_duration_seconds_bucket{le="1"} 4
gridrouter_request_duration_seconds_bucket{le="+Inf"} 5
gridrouter_request_duration_seconds_sum 9
gridrouter_request_duration_seconds_count 5
`

func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

func endless(w http.ResponseWriter, _ *http.Request) {
	line := strings.Repeat("# more\n", 10_000)
	for {
		if _, err := fmt.Fprint(w, line); err != nil {
			return
		}
	}
}

func cutShort(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	fmt.Fprint(w, histogram)
}

func hugeHead(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("X-Much", strings.Repeat("a", 1<<20))
}

func TestARouterThatDoesNotAnswerIsGivenUp(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, and never says a word
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	reader := routermetrics.NewReader()
	defer reader.Close()
	for _, address := range []string{silent.Addr().String(), testkit.FreeAddr(t), "nonsense", ""} {
		if _, err := reader.Read(t.Context(), routermetrics.Target{Address: address}); err == nil {
			t.Errorf("%q was read", address)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := reader.Read(ctx, routermetrics.Target{Address: silent.Addr().String()}); err == nil {
		t.Error("a read went on after its context")
	}
}

func TestWhatIsMissingIsNotTakenForZero(t *testing.T) {
	s, err := routermetrics.Parse(strings.NewReader("gridrouter_requests_total{deck=\"a\",class=\"5xx\"} 2\n" + histogram))
	if err != nil {
		t.Fatal(err)
	}
	if !math.IsNaN(s.CPUSeconds) || !s.Started.IsZero() || s.Requests != 2 || s.Errors != 2 {
		t.Errorf("%+v", s)
	}
}
