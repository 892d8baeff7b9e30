package gslb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

func TestAReferralIsNoAnswer(t *testing.T) {
	lame := serve(t, func(q *dns.Msg, _ string) [][]byte {
		m := answerTo(q)
		ns, _ := dns.NewRR("example. 5 NS ns.example.")
		m.Ns = []dns.RR{ns}
		return pack(m)
	})
	v4, _, _ := ask(t, lame)
	wantError(t, v4, errProtocol, "refers to others")
}

// links returns n CNAME records from orders.example. over c1.example. to cn.example.
func links(n int) []string {
	var rrs []string
	from := "orders.example."
	for i := range n {
		to := fmt.Sprintf("c%d.example.", i+1)
		rrs = append(rrs, from+" 60 CNAME "+to)
		from = to
	}
	return rrs
}

func TestCNAMEChains(t *testing.T) {
	f := func(what, want string, rrs ...string) {
		t.Helper()
		v4, _, _ := ask(t, serve(t, records(rrs...)))
		got := fmt.Sprint(v4.addrs)
		if v4.err != nil {
			got = v4.err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %s; want %s", what, got, want)
		}
	}
	f("one", "[10.0.0.1]", append(links(1), "c1.example. 5 A 10.0.0.1")...)
	f("eight", "[10.0.0.1]", append(links(8), "c8.example. 5 A 10.0.0.1")...)
	f("nine", "more than 8 CNAMEs", append(links(9), "c9.example. 5 A 10.0.0.1")...)
	f("in another order", "[10.0.0.1]", "c2.example. 5 A 10.0.0.1", links(2)[1], links(2)[0])
	f("to itself", "CNAME loop", "orders.example. 5 CNAME orders.example.")
	f("back to the start", "CNAME loop", append(links(2), "c2.example. 5 CNAME ORDERS.example.")...)
}

func TestTheTTLIsTheLeastOfTheChain(t *testing.T) {
	f := func(want time.Duration, rrs ...string) {
		t.Helper()
		v4, _, _ := ask(t, serve(t, records(rrs...)))
		if v4.err != nil || len(v4.addrs) == 0 || v4.ttl != want {
			t.Errorf("%q: TTL %v, error %v; want %v", rrs, v4.ttl, v4.err, want)
		}
	}
	f(30*time.Second, "orders.example. 30 A 10.0.0.1", "orders.example. 40 A 10.0.0.2")
	f(7*time.Second, "orders.example. 7 CNAME c1.example.", "c1.example. 30 A 10.0.0.1")
	f(6*time.Second, "orders.example. 7 CNAME c1.example.", "c1.example. 9 CNAME c2.example.", "c2.example. 6 A 10.0.0.1")
	f(30*time.Second, "orders.example. 30 A 10.0.0.1", "other.example. 2 A 10.0.0.2")
	f(0, "orders.example. 4294967295 A 10.0.0.1")
}

func TestATargetThatIsLeftOutIsAskedFor(t *testing.T) {
	s := serve(t, func(q *dns.Msg, network string) [][]byte {
		if q.Question[0].Name == "vip.example." {
			return records("vip.example. 60 A 10.0.0.1")(q, network)
		}
		return pack(answerTo(q, "orders.example. 3 CNAME vip.example."))
	})
	v4, v6, _ := ask(t, s)
	wantAddrs(t, v4, "10.0.0.1")
	wantAddrs(t, v6)
	if v4.ttl != 3*time.Second {
		t.Errorf("TTL %v; want the CNAME's 3s", v4.ttl)
	}
}

func TestALoopOverSeveralAnswersIsRefused(t *testing.T) {
	s := serve(t, func(q *dns.Msg, _ string) [][]byte {
		target := map[string]string{"orders.example.": "b.example.", "b.example.": "orders.example."}[q.Question[0].Name]
		return pack(answerTo(q, q.Question[0].Name+" 5 CNAME "+target))
	})
	v4, _, _ := ask(t, s)
	wantError(t, v4, errProtocol, "CNAME loop")

	n := 0
	s.play(func(q *dns.Msg, _ string) [][]byte {
		n++
		return pack(answerTo(q, fmt.Sprintf("%s 5 CNAME n%d.example.", q.Question[0].Name, n)))
	})
	v4, _, _ = ask(t, s)
	wantError(t, v4, errProtocol, "more than 8 CNAMEs")
}

func TestATargetThatIsDeniedIsNotAskedFor(t *testing.T) {
	s := serve(t, func(q *dns.Msg, _ string) [][]byte {
		m := answerTo(q, "orders.example. 3 CNAME vip.other.example.")
		soa, _ := dns.NewRR("other.example. 5 SOA ns.other.example. host.other.example. 1 2 3 4 5")
		m.Ns = []dns.RR{soa}
		return pack(m)
	})
	v4, _, _ := ask(t, s)
	wantAddrs(t, v4)
	if got := s.questions(); len(got) != 2 {
		t.Errorf("questions %q; want one for A and one for AAAA", got)
	}
}

func TestRecordsThatWereNotAskedForAreIgnored(t *testing.T) {
	f := func(what string, want []netip.Addr, rrs ...string) {
		t.Helper()
		v4, _, _ := ask(t, serve(t, records(rrs...)))
		if v4.err != nil || !slices.Equal(v4.addrs, want) {
			t.Errorf("%s: addresses %v, error %v; want %v", what, v4.addrs, v4.err, want)
		}
	}
	const good = "orders.example. 5 A 10.0.0.1"
	f("another name", addrs("10.0.0.1"), good, "other.example. 5 A 6.6.6.6")
	f("another class", addrs("10.0.0.1"), good, "orders.example. 5 CH A 6.6.6.6")
	f("another type", addrs("10.0.0.1"), good, "orders.example. 5 AAAA 2001:db8::6")
	f("a CNAME of another name", addrs("10.0.0.1"), good, "other.example. 5 CNAME evil.example.", "evil.example. 5 A 6.6.6.6")
	f("nothing else", nil, "other.example. 5 A 6.6.6.6")
	f("no unicast address", addrs("10.0.0.1"), good, "orders.example. 5 A 0.0.0.0", "orders.example. 5 A 224.0.0.1", "orders.example. 5 A 255.255.255.255")
}

func TestTheAdditionalSectionIsNoAnswer(t *testing.T) {
	v4, _, _ := ask(t, serve(t, func(q *dns.Msg, _ string) [][]byte {
		m := answerTo(q)
		rr, _ := dns.NewRR("orders.example. 5 A 6.6.6.6")
		m.Extra = []dns.RR{rr}
		return pack(m)
	}))
	wantAddrs(t, v4)
}

func FuzzAnswer(f *testing.F) {
	q := newQuestion("orders.example.", dns.TypeA)
	chained := answerTo(q, append(links(3), "c3.example. 5 A 10.0.0.1")...)
	cutShort := answerTo(q, "orders.example. 5 A 10.0.0.1")
	cutShort.Truncated = true
	for _, packet := range pack(answerTo(q, "orders.example. 5 A 10.0.0.1"), chained, cutShort, answerTo(q, links(9)...), answerTo(q)) {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
			if len(raw) < 2 {
				return
			}
			q := newQuestion("orders.example.", qtype)
			q.Id = uint16(raw[0])<<8 | uint16(raw[1]) // the id is guessed right, so that the fuzzer gets somewhere
			m := readAnswer(raw, q)
			if m == nil {
				continue
			}
			walk := newChain("orders.example.", qtype)
			more, err := walk.follow(m)
			if (more || err != nil) && len(walk.addrs) > 0 {
				t.Fatalf("addresses %v although more=%v, error %v", walk.addrs, more, err)
			}
			if len(walk.seen) > maxChain+1 || walk.ttl < 0 || !slices.IsSortedFunc(walk.addrs, netip.Addr.Compare) {
				t.Fatalf("walk %+v breaks its bounds", walk)
			}
			for _, addr := range walk.addrs {
				if !isUsable(addr) || addr.Is4() != (qtype == dns.TypeA) {
					t.Fatalf("address %v for a question of type %d", addr, qtype)
				}
			}
		}
	})
}
