package routermetrics_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/operator/routermetrics"
)

// TestRoutersThatDoNotAnswerHoldUpNobody follows 100 that answer and 100 that take connections and say
// nothing, with few reads at once.
func TestRoutersThatDoNotAnswerHoldUpNobody(t *testing.T) {
	var count atomic.Int64
	good := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "gridrouter_requests_total %d\n%s", count.Add(1), histogram)
	}))
	defer good.Close()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	s := routermetrics.NewSampler(routermetrics.SamplerOptions{Every: 100 * time.Millisecond, AtOnce: 8})
	dead, alive := map[string]routermetrics.Target{}, map[string]routermetrics.Target{}
	for i := range 100 {
		dead[fmt.Sprint("dead-", i)] = routermetrics.Target{Address: silent.Addr().String()}
		alive[fmt.Sprint("alive-", i)] = routermetrics.Target{Address: good.Listener.Addr().String()}
	}
	s.Set("alive", alive)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	all := func(holds func(id string) bool) func() bool {
		return func() bool {
			for id := range alive {
				if !holds(id) {
					return false
				}
			}
			return true
		}
	}
	testkit.Eventually(t, "all that answer have rates", all(func(id string) bool { _, ok := s.Rate(id); return ok }))
	s.Set("dead", dead)
	testkit.Eventually(t, "one that is silent is known to be", func() bool {
		for id := range dead {
			if s.Trouble(id) != nil {
				return true
			}
		}
		return false
	})
	since := time.Now()
	testkit.Eventually(t, "all that answer are read on", all(func(id string) bool { last, _ := s.Latest(id); return last.At.After(since) }))
	s.Set("alive", nil)
	if _, ok := s.Latest("alive-1"); ok {
		t.Error("a router that left its group is remembered")
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
