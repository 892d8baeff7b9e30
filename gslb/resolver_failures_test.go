package gslb

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gridrouter.io/bench/testkit"
)

// Every way to fail keeps the addresses, flags them once the TTL is over, and counts. Each name fails in a way of its own.
func TestGoodAddressesOutliveEveryFailure(t *testing.T) {
	t.Parallel()
	failures := map[string]struct {
		script script
		reason string
	}{
		"servfail.example": {rcode(dns.RcodeServerFailure), "SERVFAIL"},
		"refused.example":  {rcode(dns.RcodeRefused), "REFUSED"},
		"nxdomain.example": {rcode(dns.RcodeNameError), "NXDOMAIN"},
		"empty.example":    {records(), "no address"},
		"silence.example":  {silence, "no answer in time"},
		"loop.example":     {records("loop.example. 1 CNAME loop.example."), "CNAME loop"},
		"unusable.example": {records("unusable.example. 1 A 0.0.0.0"), "no address"},
	}
	answering := func(addr string) script {
		return func(q *dns.Msg, network string) [][]byte { return records(q.Question[0].Name+" 1 A "+addr)(q, network) }
	}
	s := serve(t, answering("10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.TryTimeout = aTry })
	names := slices.Sorted(maps.Keys(failures))
	r.Track(names)
	for _, name := range names {
		eventuallyAddrs(t, r, name, "10.0.0.1")
		testkit.Eventually(t, "no error is told of before the failure", func() bool { return statusOf(t, r, name).LastError == "" })
	}
	s.play(func(q *dns.Msg, network string) [][]byte {
		return failures[canonicalName(q.Question[0].Name)].script(q, network)
	})
	for _, name := range names {
		testkit.Eventually(t, name+" failed twice", func() bool { return (*r.names.Load())[name].current.Load().failures >= 2 })
		testkit.Eventually(t, name+" fails by "+failures[name].reason, func() bool { // and not since its server was slow to say so
			return strings.Contains(statusOf(t, r, name).LastError, failures[name].reason)
		})
		if got := statusOf(t, r, name); !slices.Equal(got.Addresses, addrs("10.0.0.1")) || !got.Stale || got.AgeSeconds <= 0 {
			t.Errorf("status %+v; want 10.0.0.1 with an age, and stale", got)
		}
	}
	if stale := testutil.ToFloat64(r.metrics.stale); int(stale) != len(names) {
		t.Errorf("%v stale names counted; want all %d", stale, len(names))
	}
	testkit.Eventually(t, "each kept answer is counted", func() bool { return int(testutil.ToFloat64(r.metrics.kept)) >= 2*len(names) })
	s.play(answering("10.0.0.2"))
	for _, name := range names {
		eventuallyAddrs(t, r, name, "10.0.0.2")
		testkit.Eventually(t, "no error is told of after the failure", func() bool { return statusOf(t, r, name).LastError == "" })
	}
}

func TestStaleAddressesEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, records("orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.StaleFor, c.TryTimeout = 100*time.Millisecond, aTry })
	r.Track([]string{testName})
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	s.play(silence)
	eventuallyAddrs(t, r, testName)
}

func TestTheFirstResolutionMayFail(t *testing.T) {
	t.Parallel()
	s := serve(t, rcode(dns.RcodeServerFailure))
	r := resolver(t, s)
	told := make(chan string, 16)
	r.Notify(func(name string) { told <- name })
	r.Track([]string{testName})
	if name := <-told; name != testName {
		t.Fatalf("told of %q", name)
	}
	if got, tried := r.Lookup(testName); !tried || len(got) > 0 {
		t.Errorf("after the first failure: %v, tried %v; want none, and tried", got, tried)
	}
	s.play(records("orders.example. 1 A 10.0.0.1"))
	<-told
	if got, _ := r.Lookup(testName); !slices.Equal(got, addrs("10.0.0.1")) {
		t.Errorf("when told, addresses are %v; Lookup must already answer the new", got)
	}
}

func TestWhatIsNoNameIsTriedAndNeverAskedFor(t *testing.T) {
	s := serve(t, records("orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s)
	bad := []string{"10.0.0.1", "::1", "1.2.3", "a..b", "", "white space.example", strings.Repeat("a", 64) + ".example"}
	r.Track(append([]string{"my_service.example"}, bad...))
	for _, name := range bad {
		eventuallyAddrs(t, r, name)
		if got := statusOf(t, r, name); got.LastError == "" {
			t.Errorf("%q: no error in the status", name)
		}
	}
	testkit.Eventually(t, "the good name is tried", func() bool { _, tried := r.Lookup("my_service.example"); return tried })
	for _, q := range s.questions() {
		if !strings.HasSuffix(q, " my_service.example.") {
			t.Errorf("asked %q", q)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := func(what string, cfg ResolverConfig, part string) {
		t.Helper()
		if _, err := NewResolver(cfg); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s: error %v; want %q", what, err, part)
		}
	}
	f("no name", ResolverConfig{}, "give one")
	f("a name for a server", ResolverConfig{Name: "x", Servers: []string{"dns:53"}}, "write IP:port")
	f("TTLs", ResolverConfig{Name: "x", MinTTL: time.Hour}, "swap them")
	for _, name := range []string{"gslb", "resolver"} {
		if _, err := NewResolver(ResolverConfig{Name: name, Registerer: reg}); err != nil {
			t.Errorf("two resolvers on one registry: %v", err)
		}
	}
	f("the same twice", ResolverConfig{Name: "gslb", Registerer: reg}, "duplicate")
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestOutcomesAreCounted(t *testing.T) {
	f := func(want string, err error, m *dns.Msg) {
		t.Helper()
		if got := outcomeOf(err, m); got != want {
			t.Errorf("outcome %q; want %q", got, want)
		}
	}
	q := newQuestion("a.", dns.TypeA)
	nx := answerTo(q)
	nx.Rcode = dns.RcodeNameError
	f("answered", nil, answerTo(q, "a. 1 A 10.0.0.1"))
	f("empty", nil, answerTo(q))
	f("nxdomain", nil, nx)
	f("timeout", errTimeout, nil)
	f("servfail", errServfail, nil)
	f("refused", errRefused, nil)
	f("network", errNetwork, nil)
	f("protocol", errProtocol, nil)
	f("protocol", errors.New("anything else"), nil)
}

// TestTheFirstAnswerEndsEveryWaitAfterSilence has many names wait for servers that do not answer, as
// good as for ever, and then lets one of them be asked for. One at a time, as they are asked for while
// servers are silent, they would take minutes.
func TestTheFirstAnswerEndsEveryWaitAfterSilence(t *testing.T) {
	var answers atomic.Bool
	s := serve(t, func(q *dns.Msg, network string) [][]byte {
		if !answers.Load() {
			return silence(q, network)
		}
		return pack(answerTo(q, q.Question[0].Name+" 5 A 10.0.0.1"))
	})
	r := resolver(t, s, func(c *ResolverConfig) {
		c.TryTimeout = 20 * time.Millisecond
		c.retryAfter = func(int) time.Duration { return 1000 * time.Hour }
	})
	names := make([]string, 100)
	for i := range names {
		names[i] = fmt.Sprintf("n%02d.example", i)
	}
	r.Track(names)
	silent := func() (n int) {
		for _, t := range *r.names.Load() {
			if s := t.current.Load(); s != nil && s.silent {
				n++
			}
		}
		return n
	}
	testkit.Eventually(t, "all wait", func() bool { return silent() == len(names) })
	answers.Store(true)
	r.retryUnanswered(1)
	for _, name := range names {
		eventuallyAddrs(t, r, name, "10.0.0.1")
	}
}
