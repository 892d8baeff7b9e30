package gslb

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// resolver returns a resolver that asks s, and runs for the length of the test. TTLs are short so that refreshes come soon.
func resolver(t testing.TB, s *scripted, change ...func(*ResolverConfig)) *Resolver {
	t.Helper()
	cfg := ResolverConfig{
		Name: "test", Servers: []string{s.addr}, TryTimeout: 200 * time.Millisecond,
		MinTTL: 20 * time.Millisecond, MaxTTL: 50 * time.Millisecond,
	}
	for _, f := range change {
		f(&cfg)
	}
	r, err := NewResolver(cfg)
	if err != nil {
		t.Fatal(err)
	}
	run(t, r.Run)
	return r
}

// run runs f for the length of the test, and fails the test if it returns an error.
func run(t testing.TB, f func(context.Context) error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- f(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// eventuallyAddrs waits until the name has exactly these addresses.
func eventuallyAddrs(t testing.TB, r *Resolver, name string, want ...string) {
	t.Helper()
	eventually(t, name+" has "+strings.Join(want, ", "), func() bool {
		got, tried := r.Lookup(name)
		return tried && slices.Equal(got, addrs(want...))
	})
}

// statusOf returns the status of one name.
func statusOf(t testing.TB, r *Resolver, name string) NameStatus {
	t.Helper()
	for _, s := range r.Status() {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no status of %s", name)
	return NameStatus{}
}

func TestATrackedNameIsResolvedAndRefreshed(t *testing.T) {
	s := serve(t, records("orders.example. 1 A 10.0.0.2", "orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s)
	if got, tried := r.Lookup(testName); tried || got != nil {
		t.Fatalf("before Track: %v, %v", got, tried)
	}
	r.Track([]string{"Orders.Example."})
	eventuallyAddrs(t, r, testName, "10.0.0.1", "10.0.0.2")
	s.play(records("orders.example. 1 A 10.0.0.3"))
	eventuallyAddrs(t, r, testName, "10.0.0.3")
	eventuallyAddrs(t, r, "ORDERS.example.", "10.0.0.3")
}

func TestNamesAreAbsolute(t *testing.T) {
	s := serve(t, records("orders. 1 A 10.0.0.1"))
	r := resolver(t, s)
	r.Track([]string{"orders"})
	eventuallyAddrs(t, r, "orders", "10.0.0.1")
	for _, q := range s.questions() {
		if q != "A orders." && q != "AAAA orders." {
			t.Errorf("asked for %q; no search domain may be tried", q)
		}
	}
}

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
	r := resolver(t, s)
	names := slices.Sorted(maps.Keys(failures))
	r.Track(names)
	for _, name := range names {
		eventuallyAddrs(t, r, name, "10.0.0.1")
		if got := statusOf(t, r, name); got.LastError != "" {
			t.Errorf("status before the failure: %+v", got)
		}
	}
	s.play(func(q *dns.Msg, network string) [][]byte {
		return failures[canonicalName(q.Question[0].Name)].script(q, network)
	})
	for _, name := range names {
		eventually(t, name+" failed twice", func() bool { return (*r.names.Load())[name].current.Load().failures >= 2 })
		got := statusOf(t, r, name)
		if !strings.Contains(got.LastError, failures[name].reason) || !slices.Equal(got.Addresses, addrs("10.0.0.1")) || !got.Stale || got.AgeSeconds <= 0 {
			t.Errorf("status %+v; want 10.0.0.1 with an age, stale, and the reason %q", got, failures[name].reason)
		}
	}
	if stale, kept := testutil.ToFloat64(r.metrics.stale), testutil.ToFloat64(r.metrics.kept); int(stale) != len(names) || int(kept) < 2*len(names) {
		t.Errorf("%v stale names and %v kept answers counted; want all %d, each at least twice", stale, kept, len(names))
	}
	s.play(answering("10.0.0.2"))
	for _, name := range names {
		eventuallyAddrs(t, r, name, "10.0.0.2")
		if got := statusOf(t, r, name); got.LastError != "" {
			t.Errorf("status after the failure: %+v", got)
		}
	}
}

func TestStaleAddressesEnd(t *testing.T) {
	t.Parallel()
	s := serve(t, records("orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.StaleFor = 100 * time.Millisecond })
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

func TestListenersAreToldOfChangesOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, records("orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s)
	told := make(chan string, 1000)
	r.Notify(func(name string) { told <- name })
	r.Track([]string{testName})
	<-told
	eventually(t, "five refreshes", func() bool { return len(s.received()) >= 12 })
	if n := len(told); n != 0 {
		t.Errorf("told %d times without a change", n)
	}
	s.play(records("orders.example. 1 A 10.0.0.2"))
	<-told
}

func TestTrackReplacesTheSet(t *testing.T) {
	s := serve(t, func(q *dns.Msg, network string) [][]byte {
		return records(q.Question[0].Name+" 1 A 10.0.0.1")(q, network)
	})
	r := resolver(t, s)
	r.Track([]string{"a.example", "b.example", "a.example."})
	eventuallyAddrs(t, r, "a.example", "10.0.0.1")
	eventuallyAddrs(t, r, "b.example", "10.0.0.1")
	kept := (*r.names.Load())["b.example"]

	r.Track([]string{"b.example", "c.example"})
	if _, tried := r.Lookup("a.example"); tried {
		t.Error("a.example is still known")
	}
	if got, _ := r.Lookup("b.example"); !slices.Equal(got, addrs("10.0.0.1")) || (*r.names.Load())["b.example"] != kept {
		t.Errorf("b.example started over, with %v", got)
	}
	eventuallyAddrs(t, r, "c.example", "10.0.0.1")
	names := []string{}
	for _, status := range r.Status() {
		names = append(names, status.Name)
	}
	if !slices.Equal(names, []string{"b.example", "c.example"}) {
		t.Errorf("status of %q; want b and c, sorted", names)
	}

	before := r.names.Load()
	r.Track([]string{"c.example.", "B.example"})
	if r.names.Load() != before {
		t.Error("the same set was taken for a new one")
	}
}

func TestADroppedNameIsNotAskedForAnyMore(t *testing.T) {
	t.Parallel()
	s := serve(t, func(q *dns.Msg, network string) [][]byte {
		return records(q.Question[0].Name+" 1 A 10.0.0.1")(q, network)
	})
	r := resolver(t, s)
	r.Track([]string{testName, "other.example"})
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	r.Track([]string{"other.example"})
	count := func(name string) (n int) {
		for _, q := range s.questions() {
			if q == "A "+name {
				n++
			}
		}
		return n
	}
	goesOn := func(more int) {
		end := count("other.example.") + more
		eventually(t, "the other name goes on", func() bool { return count("other.example.") >= end })
	}
	goesOn(2) // by then, a question that was under way has arrived
	dropped := count("orders.example.")
	goesOn(10)
	if n := count("orders.example."); n != dropped {
		t.Errorf("%d questions for the dropped name", n-dropped)
	}
}

func TestOneQuestionInFlightForAName(t *testing.T) {
	s := serve(t, silence)
	r := resolver(t, s)
	for range 20 {
		r.Track([]string{testName})
		r.Notify(func(string) {})
	}
	eventually(t, "the first question", func() bool { return len(s.received()) > 0 })
	r.Track([]string{testName, "other.example"})
	r.Track([]string{testName})
	eventually(t, "the resolution ended", func() bool { _, tried := r.Lookup(testName); return tried })
	own := slices.DeleteFunc(s.questions(), func(q string) bool { return !strings.HasSuffix(q, " orders.example.") })
	if !slices.Equal(own, []string{"A orders.example.", "A orders.example."}) {
		t.Errorf("questions %q; want one and its repetition", own)
	}
}

func TestLocalhostIsNeverAskedFor(t *testing.T) {
	s := serve(t, rcode(dns.RcodeNameError))
	r := resolver(t, s)
	r.Track([]string{"localhost", "deck.localhost."})
	eventuallyAddrs(t, r, "localhost", "127.0.0.1", "::1")
	eventuallyAddrs(t, r, "deck.localhost", "127.0.0.1", "::1")
	if q := s.questions(); len(q) > 0 {
		t.Errorf("asked %q (RFC 6761, section 6.3)", q)
	}
	if got := statusOf(t, r, "localhost"); got.Stale || got.LastError != "" {
		t.Errorf("status %+v", got)
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
	eventually(t, "the good name is tried", func() bool { _, tried := r.Lookup("my_service.example"); return tried })
	for _, q := range s.questions() {
		if !strings.HasSuffix(q, " my_service.example.") {
			t.Errorf("asked %q", q)
		}
	}
}

func TestRunEndsAtOnce(t *testing.T) {
	s := serve(t, silence)
	r, err := NewResolver(ResolverConfig{Name: "test", Servers: []string{s.addr}, TryTimeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	r.Track([]string{"a.example", "b.example", "localhost"}) // before Run is as good as after
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	eventually(t, "questions are in flight", func() bool { return len(s.received()) >= 2 })
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Run did not end while questions were in flight")
	}
	if _, tried := r.Lookup("a.example"); tried {
		t.Error("a resolution that was cut off counts as tried")
	}
	r.Track([]string{"c.example"}) // starts nothing: goleak would see it
	if err := r.Run(t.Context()); err == nil {
		t.Error("a second Run was accepted")
	}
}

func TestLookupRacesWithEverything(t *testing.T) {
	n := byte(0)
	s := serve(t, nil)
	s.play(func(q *dns.Msg, network string) [][]byte {
		n++
		return records(q.Question[0].Name+" 1 A "+netip.AddrFrom4([4]byte{10, 0, 0, n}).String())(q, network)
	})
	r := resolver(t, s)
	r.Notify(func(name string) { r.Lookup(name) })
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for i := range 300 {
				r.Lookup(testName)
				if i%10 == 0 {
					r.Track([]string{testName, "other.example"}[:1+i/10%2])
					r.Status()
				}
			}
		})
	}
	work.Wait()
	eventually(t, "an answer", func() bool { got, _ := r.Lookup(testName); return len(got) == 1 })
}

func TestLookupAllocatesNothing(t *testing.T) {
	s := serve(t, records("orders.example. 300 A 10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.MaxTTL = time.Hour })
	r.Track([]string{testName})
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	for _, name := range []string{testName, testName + ".", "unknown.example"} {
		if n := testing.AllocsPerRun(1000, func() { r.Lookup(name) }); n != 0 {
			t.Errorf("Lookup(%q): %v allocations", name, n)
		}
	}
	got, _ := r.Lookup(testName)
	_ = append(got, netip.IPv6Loopback())
	if cap(got) != len(got) {
		t.Error("an append by one reader would be seen by another")
	}
}

func BenchmarkLookup(b *testing.B) {
	s := serve(b, records("orders.example. 300 A 10.0.0.1"))
	r := resolver(b, s, func(c *ResolverConfig) { c.MaxTTL = time.Hour })
	r.Track([]string{testName})
	eventuallyAddrs(b, r, testName, "10.0.0.1")
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r.Lookup(testName)
		}
	})
}

func TestStatusIsReadableJSON(t *testing.T) {
	s := serve(t, records("orders.example. 60 A 10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.MaxTTL = time.Minute })
	r.Track([]string{testName})
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	got := statusOf(t, r, testName)
	if got.TTLSeconds != 60 || got.NextSeconds < 35 || got.NextSeconds > 48 || got.Stale || !got.Tried {
		t.Errorf("status %+v; want a TTL of 60, refreshed at 80 %% of it or a little before", got)
	}
	text, err := json.Marshal(NameStatus{Name: "a", Addresses: addrs("10.0.0.1"), Tried: true})
	const want = `{"name":"a","addresses":["10.0.0.1"],"tried":true,"ageSeconds":0,"ttlSeconds":0,"stale":false,"nextSeconds":0}`
	if err != nil || string(text) != want {
		t.Errorf("JSON %s, error %v; want %s", text, err, want)
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
