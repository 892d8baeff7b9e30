package gslb

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gridrouter.io/bench/testkit"
)

const testName = "orders.example"

// ask resolves testName at servers that say something: there is time for them to.
func ask(t testing.TB, servers ...*scripted) (v4, v6 reply, c *client) {
	t.Helper()
	return askWithin(t, testkit.Patience, servers...)
}

// aTry is a short time for each try, for servers that say nothing. Whatever is to be said within it may
// come too late on a slow machine.
const aTry = 200 * time.Millisecond

// askWithin resolves testName at servers.
func askWithin(t testing.TB, timeout time.Duration, servers ...*scripted) (v4, v6 reply, c *client) {
	t.Helper()
	c = &client{timeout: timeout, metrics: newResolverMetrics("test", nil)}
	for _, s := range servers {
		c.servers = append(c.servers, s.addr)
	}
	v4, v6 = c.resolve(context.Background(), testName)
	return v4, v6, c
}

func wantAddrs(t testing.TB, r reply, want ...string) {
	t.Helper()
	if r.err != nil || !slices.Equal(r.addrs, addrs(want...)) {
		t.Fatalf("addresses %v, error %v; want %v", r.addrs, r.err, want)
	}
}

func wantError(t testing.TB, r reply, want error, part string) {
	t.Helper()
	if !errors.Is(r.err, want) || !strings.Contains(r.err.Error(), part) || len(r.addrs) > 0 {
		t.Fatalf("addresses %v, error %v; want an error that is %q and says %q", r.addrs, r.err, want, part)
	}
}

func TestBothFamiliesAreAskedFor(t *testing.T) {
	s := serve(t, func(q *dns.Msg, _ string) [][]byte {
		if q.Question[0].Qtype == dns.TypeA {
			return pack(answerTo(q, "orders.example. 5 A 10.0.0.2", "orders.example. 5 A 10.0.0.1", "orders.example. 5 A 10.0.0.2"))
		}
		return pack(answerTo(q, "orders.example. 7 AAAA 2001:db8::2", "orders.example. 9 AAAA 2001:db8::1"))
	})
	v4, v6, _ := ask(t, s)
	wantAddrs(t, v4, "10.0.0.1", "10.0.0.2")
	wantAddrs(t, v6, "2001:db8::1", "2001:db8::2")
	if v4.ttl != 5*time.Second || v6.ttl != 7*time.Second {
		t.Errorf("TTLs %v and %v; want the least of each family, 5s and 7s", v4.ttl, v6.ttl)
	}
}

func TestQueriesAreHardToGuess(t *testing.T) {
	s := serve(t, records("orders.example. 5 A 10.0.0.1"))
	ids, ports := map[uint16]bool{}, map[uint16]bool{}
	for range 8 {
		ask(t, s)
	}
	for _, q := range s.received() {
		ids[q.msg.Id], ports[q.from.Port()] = true, true
		opt := q.msg.IsEdns0()
		if opt == nil || opt.UDPSize() != 1232 || !q.msg.RecursionDesired {
			t.Fatalf("query %v; want EDNS0 with 1232 bytes, and recursion desired", q.msg)
		}
	}
	if n := len(s.received()); n != 16 || len(ids) < 12 || len(ports) < 4 {
		t.Errorf("%d queries with %d ids from %d ports; want 16, with ids and sockets of their own", n, len(ids), len(ports))
	}
}

// Each of these is a packet that is not the answer to the question: it is passed over, and the answer behind it is taken.
func TestPacketsThatDoNotMatchArePassedOver(t *testing.T) {
	f := func(what string, spoil func(m *dns.Msg)) {
		t.Helper()
		v4, _, c := ask(t, serve(t, forged(true, spoil)))
		if v4.err != nil || !slices.Equal(v4.addrs, addrs("10.0.0.1")) {
			t.Errorf("%s: addresses %v, error %v; want the honest answer's 10.0.0.1", what, v4.addrs, v4.err)
		}
		if n := testutil.ToFloat64(c.metrics.ignored); n != 1 {
			t.Errorf("%s: %v packets counted as ignored; want 1", what, n)
		}
	}
	f("another id", func(m *dns.Msg) { m.Id++ })
	f("another name", func(m *dns.Msg) { m.Question[0].Name = "orders.evil." })
	f("another type", func(m *dns.Msg) { m.Question[0].Qtype = dns.TypeTXT })
	f("another class", func(m *dns.Msg) { m.Question[0].Qclass = dns.ClassCHAOS })
	f("no question", func(m *dns.Msg) { m.Question = nil })
	f("two questions", func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) })
	f("another opcode", func(m *dns.Msg) { m.Opcode = dns.OpcodeNotify })
	f("a question itself", func(m *dns.Msg) { m.Response = false })
	f("truncated, with another id", func(m *dns.Msg) { m.Id++; m.Truncated = true })
}

func TestDamagedPacketsArePassedOver(t *testing.T) {
	f := func(what string, damage func(packet []byte) []byte) {
		t.Helper()
		v4, _, _ := ask(t, serve(t, func(q *dns.Msg, _ string) [][]byte {
			good := pack(answerTo(q, "orders.example. 5 A 10.0.0.1"))[0]
			return [][]byte{damage(slices.Clone(good)), good}
		}))
		if v4.err != nil || !slices.Equal(v4.addrs, addrs("10.0.0.1")) {
			t.Errorf("%s: addresses %v, error %v; want 10.0.0.1", what, v4.addrs, v4.err)
		}
	}
	f("empty", func([]byte) []byte { return nil })
	f("shorter than a header", func(p []byte) []byte { return p[:7] })
	f("ends within a record", func(p []byte) []byte { return p[:len(p)-2] })
	f("noise", func(p []byte) []byte { return append(p[:2], []byte("noise noise noise noise noise")...) })
}

func TestOnlyForgedPacketsAreNoAnswer(t *testing.T) {
	v4, _, _ := askWithin(t, aTry, serve(t, forged(false, func(m *dns.Msg) { m.Id++ })))
	wantError(t, v4, errTimeout, "no answer in time")
}

func TestTheSpellingOfTheNameDoesNotMatter(t *testing.T) {
	v4, _, _ := ask(t, serve(t, func(q *dns.Msg, _ string) [][]byte {
		m := answerTo(q, "ORDERS.example. 5 A 10.0.0.1")
		m.Question[0].Name = "Orders.Example."
		return pack(m)
	}))
	wantAddrs(t, v4, "10.0.0.1")
}

// cut answers over UDP with a truncated message that ends within its last record, and over TCP as tcp says.
func cut(tcp script) script {
	return func(q *dns.Msg, network string) [][]byte {
		if network == "tcp" || q.Question[0].Qtype != dns.TypeA {
			return tcp(q, network)
		}
		m := answerTo(q, "orders.example. 5 A 6.6.6.6", "orders.example. 5 A 6.6.6.7")
		m.Truncated = true
		packet := pack(m)[0]
		return [][]byte{packet[:len(packet)-2]}
	}
}

func TestATruncatedAnswerIsAskedForOverTCP(t *testing.T) {
	s := serve(t, cut(records("orders.example. 5 A 10.0.0.1", "orders.example. 5 A 10.0.0.2")))
	v4, _, _ := ask(t, s)
	wantAddrs(t, v4, "10.0.0.1", "10.0.0.2")
	if q := s.received(); len(q) != 3 || q[1].network != "tcp" || q[0].msg.Id == q[1].msg.Id {
		t.Errorf("queries %v; want UDP, then TCP with an id of its own, then AAAA", q)
	}
}

func TestTCPAnswersAreMatchedToo(t *testing.T) {
	f := func(what string, tcp script, want error) {
		t.Helper()
		timeout := testkit.Patience
		if errors.Is(want, errTimeout) {
			timeout = aTry
		}
		v4, _, _ := askWithin(t, timeout, serve(t, cut(tcp)))
		if !errors.Is(v4.err, want) || len(v4.addrs) > 0 {
			t.Errorf("%s: addresses %v, error %v; want error %v", what, v4.addrs, v4.err, want)
		}
	}
	f("another id", forged(true, func(m *dns.Msg) { m.Id++ }), errProtocol)
	f("another name", forged(true, func(m *dns.Msg) { m.Question[0].Name = "orders.evil." }), errProtocol)
	f("truncated again", forged(false, func(m *dns.Msg) { m.Truncated = true }), errProtocol)
	f("silence", silence, errTimeout)
}

func TestAfterAFailureTheNextServerIsAsked(t *testing.T) {
	second := serve(t, records("orders.example. 5 A 10.0.0.1"))
	f := func(what string, first script) {
		t.Helper()
		v4, _, _ := ask(t, serve(t, first), second)
		if v4.err != nil || !slices.Equal(v4.addrs, addrs("10.0.0.1")) {
			t.Errorf("%s: addresses %v, error %v; want the second server's 10.0.0.1", what, v4.addrs, v4.err)
		}
	}
	silent := func(what string, first script) {
		t.Helper()
		s := serve(t, first)
		testkit.Eventually(t, what+": the second server is asked, and heard", func() bool {
			v4, _, _ := askWithin(t, aTry, s, second)
			return v4.err == nil && slices.Equal(v4.addrs, addrs("10.0.0.1"))
		})
	}
	silent("silence", silence)
	f("SERVFAIL", rcode(dns.RcodeServerFailure))
	f("REFUSED", rcode(dns.RcodeRefused))
	f("NOTIMP", rcode(dns.RcodeNotImplemented))
	f("FORMERR", rcode(dns.RcodeFormatError))
	silent("forged", forged(false, func(m *dns.Msg) { m.Id++ }))
	silent("truncated, and silent over TCP", cut(silence))

	closed := serve(t, silence)
	closed.close()
	v4, _, c := ask(t, closed, serve(t, records("orders.example. 5 A 10.0.0.1")))
	wantAddrs(t, v4, "10.0.0.1")
	if n := testutil.ToFloat64(c.metrics.queries.WithLabelValues("network")); n != 2 {
		t.Errorf("%v queries counted as network faults; want 2", n)
	}
}

func TestATryIsBounded(t *testing.T) {
	start := time.Now()
	servers := []*scripted{serve(t, silence), serve(t, silence)}
	v4, v6, _ := askWithin(t, aTry, servers...)
	wantError(t, v4, errTimeout, "A orders.example.")
	wantError(t, v6, errTimeout, "")
	if took := time.Since(start); took < (2+slowTimes)*aTry {
		t.Errorf("took %v; want two tries of %v, and a longer one", took, aTry)
	}
	for i, s := range servers {
		s.close()
		if q := s.questions(); len(q) > 2-i || slices.Contains(q, "AAAA orders.example.") {
			t.Errorf("questions %q to server %d; want one each and the first's repetition, and none for AAAA after all were silent", q, i)
		}
	}
}

func TestNXDOMAINIsAnAnswer(t *testing.T) {
	first, second := serve(t, rcode(dns.RcodeNameError)), serve(t, records("orders.example. 5 A 10.0.0.1"))
	v4, v6, _ := ask(t, first, second)
	wantError(t, v4, errNXDomain, "NXDOMAIN")
	wantError(t, v6, errNXDomain, "NXDOMAIN")
	if n, m := len(first.received()), len(second.received()); n != 1 || m != 0 {
		t.Errorf("%d and %d queries; want 1 and 0: it speaks for both types, and of the other servers", n, m)
	}
}

func TestALoneServerThatWasSilentIsAskedTwice(t *testing.T) {
	testkit.Eventually(t, "a repetition is heard", func() bool {
		lost := 1
		v4, _, _ := askWithin(t, aTry, serve(t, func(q *dns.Msg, network string) [][]byte {
			if lost--; lost >= 0 {
				return nil
			}
			return records("orders.example. 5 A 10.0.0.1")(q, network)
		}))
		return v4.err == nil && slices.Equal(v4.addrs, addrs("10.0.0.1"))
	})

	s := serve(t, rcode(dns.RcodeServerFailure))
	ask(t, s)
	if got := s.questions(); !slices.Equal(got, []string{"A orders.example.", "AAAA orders.example."}) {
		t.Errorf("questions %q; want no repetition after SERVFAIL", got)
	}
}

func TestServersAreAddresses(t *testing.T) {
	f := func(want string, configured ...string) {
		t.Helper()
		got, err := serversOf(configured)
		text := strings.Join(got, " ")
		if err != nil {
			text = err.Error()
		}
		if !strings.Contains(text, want) {
			t.Errorf("%q: got %s; want %s", configured, text, want)
		}
	}
	f("10.0.0.53:53 [2001:db8::53]:53", "10.0.0.53", "2001:db8::53")
	f("10.0.0.53:5300 [2001:db8::53]:5300", "10.0.0.53:5300", "[2001:db8::53]:5300")
	f("write IP:port", "dns.example:53")
	f("write IP:port", "10.0.0.53:0")
	f("write IP:port", "")
}

func TestTheSystemsServers(t *testing.T) {
	f := func(conf, want string) {
		t.Helper()
		file := filepath.Join(t.TempDir(), "resolv.conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(systemServers(file), " "); got != want {
			t.Errorf("%q: servers %q; want %q", conf, got, want)
		}
	}
	f("search a.example\nnameserver 10.0.0.53\nnameserver 2001:db8::53\noptions ndots:5\n", "10.0.0.53:53 [2001:db8::53]:53")
	f("search a.example\n", "127.0.0.1:53")
	if got := systemServers(filepath.Join(t.TempDir(), "absent")); !slices.Equal(got, []string{"127.0.0.1:53"}) {
		t.Errorf("without the file: %q; want this machine", got)
	}
}

// TestWhatContradictsItselfIsOfNoUse sends answers that say two things, or less than their header says.
func TestWhatContradictsItselfIsOfNoUse(t *testing.T) {
	v4, _, _ := ask(t, serve(t, forged(false, func(m *dns.Msg) {
		m.Rcode = dns.RcodeNameError
		m.Answer = answerTo(m, "orders.example. 5 A 10.0.0.9").Answer
	})))
	wantError(t, v4, errProtocol, "no such name, and what its addresses are")
	// Cut between two records, without a word of it; and with more announced than there is.
	short := func(q *dns.Msg, _ string) [][]byte {
		packet := pack(answerTo(q, "orders.example. 5 A 10.0.0.1"))[0]
		packet[7]++ // ANCOUNT
		return [][]byte{packet}
	}
	s := serve(t, short)
	testkit.Eventually(t, "packets are counted as ignored", func() bool {
		v4, _, c := askWithin(t, aTry, s)
		wantError(t, v4, errTimeout, "no answer in time")
		return testutil.ToFloat64(c.metrics.ignored) >= 1
	})
}

// TestASlowServerIsNotAway has the only server, or the first of two, take longer than a try.
func TestASlowServerIsNotAway(t *testing.T) {
	slowly := func(q *dns.Msg, _ string) [][]byte {
		time.Sleep(aTry * 7 / 4)
		return pack(answerTo(q, "orders.example. 5 A 10.0.0.1"))
	}
	for _, servers := range [][]*scripted{{serve(t, slowly)}, {serve(t, slowly), serve(t, silence)}} {
		testkit.Eventually(t, "the slow server is heard", func() bool {
			v4, _, _ := askWithin(t, aTry, servers...)
			return v4.err == nil && slices.Equal(v4.addrs, addrs("10.0.0.1"))
		})
	}
}
