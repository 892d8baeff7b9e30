package gslb

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"gridrouter.io/bench/testkit"
)

func TestLargeAnswersAreTruncatedOverUDP(t *testing.T) {
	s := server(t, westZone())
	f := func(what, network string, q *dns.Msg, whole bool, limit int) {
		t.Helper()
		m := exchange(t, s, network, q)
		if m.Truncated == whole || (len(m.Answer) == MaxVIPs) != whole {
			t.Errorf("%s: %d records, TC %v; want the whole answer: %v", what, len(m.Answer), m.Truncated, whole)
		}
		m.Compress = true
		if m.Len() > limit {
			t.Errorf("%s: %d bytes; want at most %d", what, m.Len(), limit)
		}
	}
	plain := question("AAAA many.deck.example.")
	f("UDP", "udp", plain.Copy(), false, 512)
	f("UDP with EDNS 512", "udp", plain.Copy().SetEdns0(512, false), false, 512)
	f("UDP with EDNS 0", "udp", plain.Copy().SetEdns0(0, false), false, 512)
	f("UDP with EDNS 1232", "udp", plain.Copy().SetEdns0(1232, false), true, 1232)
	f("UDP with EDNS 65535", "udp", plain.Copy().SetEdns0(65535, false), true, 1232)
	f("TCP", "tcp", plain.Copy(), true, dns.MaxMsgSize)
}

func TestNoPacketIsLargerThanPromised(t *testing.T) {
	f := func(announced uint16, want int) {
		t.Helper()
		q := question("A orders.deck.example.").SetEdns0(announced, false)
		m := new(dns.Msg).SetReply(q)
		for i := range 200 {
			m.Answer = append(m.Answer, addressRecords(q.Question[0].Name, dns.TypeA, 5, []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})})...)
		}
		fit(m, q)
		if n := m.Len(); n > want || n < want-16 || !m.Truncated {
			t.Errorf("announced %d: %d bytes, TC %v; want just under %d, and TC", announced, n, m.Truncated, want)
		}
	}
	f(0, 512)
	f(600, 600)
	f(4096, 1232)
	f(65535, 1232)
}

func TestTheLargestAnswerFitsOnePacket(t *testing.T) {
	d := valid(func(d *Document) { d.Name, d.VIPs = strings.Repeat("abcdefg.", 31)+"abcde", nil })
	for i := range MaxVIPs {
		d.VIPs = append(d.VIPs, VIP{Address: fmt.Sprintf("2001:db8::%x", i+1)})
	}
	s := server(t, NewZone([]*Document{d}, ZoneConfig{}))
	m := exchange(t, s, "udp", new(dns.Msg).SetQuestion(dns.Fqdn(d.Name), dns.TypeAAAA).SetEdns0(1232, false))
	if m.Truncated || len(m.Answer) != MaxVIPs {
		t.Errorf("%d records, TC %v; MaxVIPs promises all %d", len(m.Answer), m.Truncated, MaxVIPs)
	}
}

func TestTheRateLimitSparesTCP(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := server(t, westZone(), func(c *ServerConfig) { c.ResponseRate, c.Registerer = 1, reg })
	conn, err := dns.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const n = 40
	for range n {
		if err := conn.WriteMsg(question("NS deck.example.").SetEdns0(1232, false)); err != nil {
			t.Fatal(err)
		}
	}
	limited := func(action string) float64 { return testutil.ToFloat64(s.metrics.limited.WithLabelValues(action)) }
	whole, empty := 0, 0
	testkit.Eventually(t, "every query was answered or dropped", func() bool {
		conn.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
		for m, err := conn.ReadMsg(); err == nil; m, err = conn.ReadMsg() {
			switch {
			case len(m.Answer) > 0:
				whole++
			case m.Truncated && len(m.Ns) == 0 && len(m.Extra) == 1:
				empty++
			default:
				t.Errorf("answer %v; want it whole, or empty and truncated", m)
			}
		}
		return whole+empty+int(limited("dropped")) == n
	})
	if whole < 2 || whole > 12 || empty < 10 || float64(empty) != limited("truncated") || limited("dropped") < 10 {
		t.Errorf("%d whole, %d truncated, %v dropped of %d at a rate of 1; want 2 or a few, and half of the rest", whole, empty, limited("dropped"), n)
	}
	for range 10 {
		if m := exchange(t, s, "tcp", question("NS deck.example.")); len(m.Answer) != 2 {
			t.Fatalf("over TCP: %v", m)
		}
	}
}

func TestQueriesAreCountedByBoundedLabels(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := server(t, westZone(), func(c *ServerConfig) { c.Registerer = reg })
	for i := range 300 {
		q := question("A orders.deck.example.")
		q.Question[0].Qtype, q.Question[0].Qclass = uint16(i), uint16(1+i%2)
		exchange(t, s, "udp", q)
	}
	exchange(t, s, "tcp", question("A new.deck.example."))
	if n := testutil.ToFloat64(s.metrics.queries.WithLabelValues("tcp", "A", "NXDOMAIN")); n != 1 {
		t.Errorf("%v counted for A and NXDOMAIN over TCP; want 1", n)
	}
	if n := testutil.CollectAndCount(s.metrics.queries); n > 16 {
		t.Errorf("%d series of 300 types", n)
	}
	if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v, %v", problems, err)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	testkit.Eventually(t, "closing waits for nobody, since nobody is being served", func() bool {
		return closedAfter(t) < shutdownTimeout
	})
}

// closedAfter closes a server to which somebody is connected who asks nothing, and returns how long that took.
func closedAfter(t *testing.T) time.Duration {
	t.Helper()
	s, err := NewServer(ServerConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(context.Background()) }()
	exchange(t, s, "udp", question("A orders.deck.example."))
	idle, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	exchange(t, s, "tcp", question("A orders.deck.example.")) // by now the idle connection is accepted
	start := time.Now()
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	took := time.Since(start)
	udp, tcp, err := listen(s.Addr().String())
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	udp.Close()
	tcp.Close()
	if err := s.Run(context.Background()); err == nil {
		t.Error("Run after Close was accepted")
	}
	return took
}

func TestCloseWithoutRunReleasesTheSockets(t *testing.T) {
	s, err := NewServer(ServerConfig{Addr: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewServer(ServerConfig{Addr: s.Addr().String()}); err == nil {
		t.Error("an address was bound twice")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Run(context.Background()); err == nil {
		t.Error("Run after Close was accepted")
	}
	again, err := NewServer(ServerConfig{Addr: s.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestTooManyConnectionsAreRefused(t *testing.T) {
	s := server(t, westZone())
	var open []net.Conn
	defer func() {
		for _, conn := range open {
			conn.Close()
		}
	}()
	for range maxConnsPerSource + 1 {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	testkit.Eventually(t, "one is refused", func() bool { return testutil.ToFloat64(s.metrics.refused) == 1 })
	open[0].Close()
	testkit.Eventually(t, "another takes its place", func() bool {
		conn, err := dns.Dial("tcp", s.Addr().String())
		if err != nil {
			return false
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(time.Second))
		if conn.WriteMsg(question("A orders.deck.example.")) != nil {
			return false
		}
		_, err = conn.ReadMsg()
		return err == nil
	})
}
