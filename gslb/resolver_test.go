package gslb

import (
	"context"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"gridrouter.io/bench/testkit"
)

// resolver returns a resolver that asks s, and runs for the length of the test. TTLs are short so that refreshes come soon.
// A server that is to say something has time to; one that is silent has to be waited for in short tries.
func resolver(t testing.TB, s *scripted, change ...func(*ResolverConfig)) *Resolver {
	t.Helper()
	cfg := ResolverConfig{
		Name: "test", Servers: []string{s.addr}, TryTimeout: testkit.Patience,
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
	testkit.Eventually(t, name+" has "+strings.Join(want, ", "), func() bool {
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

func TestListenersAreToldOfChangesOnly(t *testing.T) {
	t.Parallel()
	s := serve(t, records("orders.example. 1 A 10.0.0.1"))
	r := resolver(t, s)
	told := make(chan string, 1000)
	r.Notify(func(name string) { told <- name })
	r.Track([]string{testName})
	<-told
	testkit.Eventually(t, "five refreshes", func() bool { return len(s.received()) >= 12 })
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
		testkit.Eventually(t, "the other name goes on", func() bool { return count("other.example.") >= end })
	}
	goesOn(2) // by then, a question that was under way has arrived
	dropped := count("orders.example.")
	goesOn(10)
	if n := count("orders.example."); n != dropped {
		t.Errorf("%d questions for the dropped name", n-dropped)
	}
}

func TestOneQuestionInFlightForAName(t *testing.T) {
	asked, answer := make(chan struct{}, 100), make(chan struct{})
	s := serve(t, func(q *dns.Msg, network string) [][]byte {
		asked <- struct{}{}
		<-answer
		return records("orders.example. 300 A 10.0.0.1")(q, network)
	})
	r := resolver(t, s, func(c *ResolverConfig) { c.MinTTL, c.MaxTTL = time.Hour, time.Hour })
	for range 20 {
		r.Track([]string{testName})
		r.Notify(func(string) {})
	}
	<-asked
	r.Track([]string{testName, "other.example"})
	r.Track([]string{testName})
	close(answer)
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	own := slices.DeleteFunc(s.questions(), func(q string) bool { return !strings.HasSuffix(q, " orders.example.") })
	if !slices.Equal(own, []string{"A orders.example.", "AAAA orders.example."}) {
		t.Errorf("questions %q; want one for each family", own)
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
	testkit.Eventually(t, "questions are in flight", func() bool { return len(s.received()) >= 2 })
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
	r.Track([]string{"c.example"})
	if (*r.names.Load())["c.example"].stop != nil {
		t.Error("a loop was started after the end")
	}
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
	testkit.Eventually(t, "an answer", func() bool { got, _ := r.Lookup(testName); return len(got) == 1 })
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
}

func TestReadersCannotAppendInPlace(t *testing.T) {
	var many []string
	for i := range 11 { // a number that the allocator rounds up
		many = append(many, netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}).String())
	}
	got := merge(nil, good(time.Minute, many...), reply{}, mergeStart, mergeConfig).addrs
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
	s := serve(t, records("orders.example. 3600 A 10.0.0.1"))
	r := resolver(t, s, func(c *ResolverConfig) { c.MaxTTL = time.Hour })
	r.Track([]string{testName})
	eventuallyAddrs(t, r, testName, "10.0.0.1")
	got := statusOf(t, r, testName)
	if got.TTLSeconds != 3600 || got.NextSeconds < 2400 || got.NextSeconds > 2880 || got.Stale || !got.Tried {
		t.Errorf("status %+v; want a TTL of 3600, refreshed at 80 %% of it or a little before", got)
	}
	text, err := json.Marshal(NameStatus{Name: "a", Addresses: addrs("10.0.0.1"), Tried: true})
	const want = `{"name":"a","addresses":["10.0.0.1"],"tried":true,"ageSeconds":0,"ttlSeconds":0,"stale":false,"nextSeconds":0}`
	if err != nil || string(text) != want {
		t.Errorf("JSON %s, error %v; want %s", text, err, want)
	}
}
