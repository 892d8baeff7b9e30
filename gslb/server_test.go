package gslb

import (
	"context"
	"fmt"
	"net"
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

// server returns a server of the documents that runs for the length of the test.
func server(t testing.TB, z *Zone, change ...func(*ServerConfig)) *Server {
	t.Helper()
	cfg := ServerConfig{Addr: "127.0.0.1:0"}
	for _, f := range change {
		f(&cfg)
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if z != nil {
		s.SetZone(z)
	}
	run(t, s.Run)
	return s
}

// westZone has orders.deck.example (two families), a.b.deck.example, and many.deck.example with 32 addresses.
func westZone(change ...func(*ZoneConfig)) *Zone {
	many := valid(func(d *Document) { d.Name, d.VIPs = "many.deck.example", nil })
	for i := range MaxVIPs {
		many.VIPs = append(many.VIPs, VIP{Address: fmt.Sprintf("2001:db8::%x", i+1)})
	}
	cfg := ZoneConfig{
		Origins: []string{"deck.example"}, Serial: 42, NegativeTTL: 7,
		NameServers: []NameServer{{Name: "ns1.deck.example", Addresses: addrs("10.0.0.53", "2001:db8::53")}, {Name: "ns2.elsewhere.example"}},
		Networks:    map[string][]netip.Prefix{"west-a": {netip.MustParsePrefix("127.0.0.0/8")}, "west-b": {netip.MustParsePrefix("10.2.0.0/16")}},
	}
	for _, f := range change {
		f(&cfg)
	}
	near := valid(func(d *Document) {
		d.Name, d.Policy = "near.deck.example", PolicyNearest
		d.VIPs[0].Zone, d.VIPs[1].Zone = "west-a", "west-b"
	})
	return NewZone([]*Document{
		valid(func(d *Document) { d.VIPs[1].Address, d.TTL = "2001:db8::1", new(9) }),
		valid(func(d *Document) { d.Name, d.VIPs = "a.b.deck.example", d.VIPs[:1] }),
		many, near,
	}, cfg)
}

// exchange sends q as it is over a network, and returns the answer; nil when none comes.
func exchange(t testing.TB, s *Server, network string, q *dns.Msg) *dns.Msg {
	t.Helper()
	conn, err := dns.Dial(network, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.UDPSize = dns.DefaultMsgSize
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	if err := conn.WriteMsg(q); err != nil {
		t.Fatal(err)
	}
	m, err := conn.ReadMsg()
	if err != nil {
		t.Fatalf("no answer over %s to %v: %v", network, q.Question, err)
	}
	if m.Id != q.Id || !m.Response || m.RecursionAvailable {
		t.Fatalf("answer %v; want the id of the query, QR set and RA clear", m)
	}
	return m
}

// question returns a query without EDNS, as in "A orders.deck.example.".
func question(text string) *dns.Msg {
	qtype, name, _ := strings.Cut(text, " ")
	return new(dns.Msg).SetQuestion(name, dns.StringToType[qtype])
}

// summary says what an answer holds, in one line that ignores the order of addresses.
func summary(m *dns.Msg) string {
	parts := []string{dns.RcodeToString[m.Rcode]}
	if m.Authoritative {
		parts[0] += " aa"
	}
	if m.Truncated {
		parts[0] += " tc"
	}
	section := func(label string, rrs []dns.RR) {
		var lines []string
		for _, rr := range rrs {
			if rr.Header().Rrtype != dns.TypeOPT {
				lines = append(lines, label+" "+strings.Join(strings.Fields(rr.String()), " "))
			}
		}
		slices.Sort(lines)
		parts = append(parts, lines...)
	}
	section("answer", m.Answer)
	section("authority", m.Ns)
	section("additional", m.Extra)
	return strings.Join(parts, "; ")
}

const negative = "authority deck.example. 7 IN SOA ns1.deck.example. hostmaster.deck.example. 42 3600 600 86400 7"

func TestAnswersWithAuthority(t *testing.T) {
	s := server(t, westZone())
	f := func(text, want string) {
		t.Helper()
		for _, network := range []string{"udp", "tcp"} {
			if got := summary(exchange(t, s, network, question(text))); got != want {
				t.Errorf("%s over %s:\n got %s\nwant %s", text, network, got, want)
			}
		}
	}
	f("A orders.deck.example.", "NOERROR aa; answer orders.deck.example. 9 IN A 10.9.0.1")
	f("AAAA orders.deck.example.", "NOERROR aa; answer orders.deck.example. 9 IN AAAA 2001:db8::1")
	f("A ORDERS.deck.Example.", "NOERROR aa; answer ORDERS.deck.Example. 9 IN A 10.9.0.1")
	f("A a.b.deck.example.", "NOERROR aa; answer a.b.deck.example. 5 IN A 10.9.0.1")

	// the name exists, but not with this type
	f("AAAA a.b.deck.example.", "NOERROR aa; "+negative)
	f("MX orders.deck.example.", "NOERROR aa; "+negative)
	f("CNAME orders.deck.example.", "NOERROR aa; "+negative)
	f("SOA orders.deck.example.", "NOERROR aa; "+negative)
	f("A deck.example.", "NOERROR aa; "+negative)
	f("A b.deck.example.", "NOERROR aa; "+negative) // only names below it have records
	f("ANY b.deck.example.", "NOERROR aa; answer b.deck.example. 3600 IN HINFO \"RFC8482\" \"\"")

	f("A new.deck.example.", "NXDOMAIN aa; "+negative)
	f("MX new.deck.example.", "NXDOMAIN aa; "+negative)
	f("ANY new.deck.example.", "NXDOMAIN aa; "+negative)
	f("A x.orders.deck.example.", "NXDOMAIN aa; "+negative)

	f("SOA deck.example.", "NOERROR aa; answer deck.example. 3600 IN SOA ns1.deck.example. hostmaster.deck.example. 42 3600 600 86400 7")
	f("NS deck.example.", "NOERROR aa; answer deck.example. 3600 IN NS ns1.deck.example.; answer deck.example. 3600 IN NS ns2.elsewhere.example.; "+
		"additional ns1.deck.example. 86400 IN A 10.0.0.53; additional ns1.deck.example. 86400 IN AAAA 2001:db8::53")
	f("A ns1.deck.example.", "NOERROR aa; answer ns1.deck.example. 86400 IN A 10.0.0.53")
	f("ANY orders.deck.example.", "NOERROR aa; answer orders.deck.example. 3600 IN HINFO \"RFC8482\" \"\"")

	f("A example.", "REFUSED")
	f("A www.elsewhere.example.", "REFUSED")
	f("A notdeck.example.", "REFUSED")
	f("NS .", "REFUSED")
	f(`A orders\.deck.example.`, "REFUSED") // the dot is part of a label
	f("AXFR deck.example.", "REFUSED")
	f("IXFR deck.example.", "REFUSED")
	f("MAILB deck.example.", "REFUSED")
}

func TestWithoutNameServersThereIsOneByDefault(t *testing.T) {
	s := server(t, NewZone([]*Document{valid()}, ZoneConfig{}))
	f := func(text, want string) {
		t.Helper()
		if got := summary(exchange(t, s, "udp", question(text))); got != want {
			t.Errorf("%s: got %s; want %s", text, got, want)
		}
	}
	f("NS deck.example.", "NOERROR aa; answer deck.example. 3600 IN NS ns.deck.example.")
	f("A ns.deck.example.", "NOERROR aa; authority deck.example. 5 IN SOA ns.deck.example. hostmaster.deck.example. 0 3600 600 86400 5")
}

func TestOnlyPlainQuestionsAreAnswered(t *testing.T) {
	s := server(t, westZone())
	f := func(what, want string, change func(q *dns.Msg)) {
		t.Helper()
		q := question("A orders.deck.example.")
		change(q)
		m := exchange(t, s, "udp", q)
		if got := dns.RcodeToString[m.Rcode]; got != want || len(m.Answer) > 0 {
			t.Errorf("%s: %v; want %s", what, m, want)
		}
	}
	f("class CH", "REFUSED", func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassCHAOS })
	f("class ANY", "REFUSED", func(q *dns.Msg) { q.Question[0].Qclass = dns.ClassANY })
	f("NOTIFY", "NOTIMP", func(q *dns.Msg) { q.Opcode = dns.OpcodeNotify })
	f("UPDATE", "NOTIMP", func(q *dns.Msg) { q.Opcode = dns.OpcodeUpdate })
	f("STATUS", "NOTIMP", func(q *dns.Msg) { q.Opcode = dns.OpcodeStatus })
	f("two questions", "FORMERR", func(q *dns.Msg) { q.Question = append(q.Question, q.Question[0]) })
	f("no question", "FORMERR", func(q *dns.Msg) { q.Question = nil })
}

func TestAnswersAreNotAnswered(t *testing.T) {
	s := server(t, westZone())
	conn, err := net.Dial("udp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	response := answerTo(question("A orders.deck.example."))
	response.Id = 1
	honest := question("A orders.deck.example.")
	honest.Id = 2
	for _, packet := range append([][]byte{nil, []byte("noise"), []byte(strings.Repeat("x", 40))}, pack(response, honest)...) {
		conn.Write(packet)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(buf[:n]); err != nil {
			t.Fatal(err)
		}
		if m.Id == 1 {
			t.Fatalf("a response was answered: %v", m)
		}
		if m.Id == 2 {
			break
		}
	}
}

func TestWithoutAZoneNothingIsDenied(t *testing.T) {
	s := server(t, nil)
	if got := summary(exchange(t, s, "udp", question("A orders.deck.example."))); got != "SERVFAIL" {
		t.Errorf("got %s; want SERVFAIL, so that resolvers keep what they have", got)
	}
	s.SetZone(westZone())
	if m := exchange(t, s, "udp", question("A orders.deck.example.")); len(m.Answer) != 1 {
		t.Errorf("after SetZone: %v", m)
	}
	s.SetZone(NewZone(nil, ZoneConfig{Origins: []string{"deck.example"}}))
	if m := exchange(t, s, "udp", question("A orders.deck.example.")); m.Rcode != dns.RcodeNameError {
		t.Errorf("after another SetZone: %v; want NXDOMAIN", m)
	}
}

func TestEDNSIsAnswered(t *testing.T) {
	s := server(t, westZone())
	plain := exchange(t, s, "udp", question("A orders.deck.example."))
	if plain.IsEdns0() != nil {
		t.Errorf("answer %v; want no OPT unless asked with one", plain)
	}
	for _, do := range []bool{true, false} {
		m := exchange(t, s, "udp", question("A orders.deck.example.").SetEdns0(4096, do))
		if opt := m.IsEdns0(); opt == nil || opt.UDPSize() != 1232 || opt.Do() != do || opt.Version() != 0 || len(m.Answer) != 1 {
			t.Errorf("answer %v; want EDNS0 of 1232 bytes, DO %v", m, do)
		}
	}
	q := question("A orders.deck.example.").SetEdns0(1232, false)
	q.IsEdns0().SetVersion(1)
	if m := exchange(t, s, "udp", q); m.Rcode != dns.RcodeBadVers || m.IsEdns0() == nil || len(m.Answer) > 0 {
		t.Errorf("EDNS version 1: %v; want BADVERS", m)
	}
	q = question("A orders.deck.example.").SetEdns0(1232, false).SetEdns0(1232, false)
	if m := exchange(t, s, "udp", q); m.Rcode != dns.RcodeFormatError {
		t.Errorf("two OPT records: %v; want FORMERR", m)
	}
}

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

func TestNearestGoesByClientSubnetOrSource(t *testing.T) {
	s := server(t, westZone())
	f := func(want, subnet string) {
		t.Helper()
		q := question("A near.deck.example.").SetEdns0(1232, false)
		option := &dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET}
		if subnet != "" {
			prefix := netip.MustParsePrefix(subnet)
			option.Family, option.SourceNetmask, option.Address = 1, uint8(prefix.Bits()), net.IP(prefix.Addr().AsSlice())
			if prefix.Addr().Is6() {
				option.Family = 2
			}
			q.IsEdns0().Option = append(q.IsEdns0().Option, option)
		}
		m := exchange(t, s, "udp", q)
		var got []string
		for _, rr := range m.Answer {
			got = append(got, rr.(*dns.A).A.String())
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("subnet %q: %q; want %q", subnet, got, want)
		}
		if subnet == "" {
			return
		}
		echo, ok := m.IsEdns0().Option[0].(*dns.EDNS0_SUBNET)
		if !ok || echo.Family != option.Family || echo.SourceNetmask != option.SourceNetmask || echo.SourceScope != option.SourceNetmask {
			t.Errorf("subnet %q: echo %+v; want it with its own length as scope (RFC 7871)", subnet, echo)
		}
	}
	f("10.9.0.1", "")
	f("10.9.0.2", "10.2.3.0/24")
	f("10.9.0.1 10.9.0.2", "192.0.2.0/24")
	f("10.9.0.1 10.9.0.2", "2001:db8::/56")
	f("10.9.0.1", "0.0.0.0/0") // "do not use where I am": the source counts

	q := question("A near.deck.example.").SetEdns0(1232, false)
	q.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, SourceScope: 24, Address: net.IP{10, 2, 3, 0}}}
	if m := exchange(t, s, "udp", q); m.Rcode != dns.RcodeFormatError {
		t.Errorf("a query with a scope: %v; want FORMERR", m)
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
	eventually(t, "every query was answered or dropped", func() bool {
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

func TestZonesChangeUnderLoad(t *testing.T) {
	s := server(t, westZone())
	other := westZone(func(c *ZoneConfig) { c.NegativeTTL = 8 })
	var work sync.WaitGroup
	for range 4 {
		work.Go(func() {
			for range 100 {
				m := exchange(t, s, "udp", question("A new.deck.example."))
				if soa := m.Ns[0].(*dns.SOA); soa.Hdr.Ttl != soa.Minttl {
					t.Errorf("an answer from two zones: %v", m)
				}
			}
		})
	}
	for range 200 {
		s.SetZone(other)
		s.SetZone(westZone())
	}
	work.Wait()
}

func TestCloseEndsEverything(t *testing.T) {
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
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %v, although nobody is being served", took)
	}
	udp, tcp, err := listen(s.Addr().String())
	if err != nil {
		t.Fatalf("the address is still taken: %v", err)
	}
	udp.Close()
	tcp.Close()
	if err := s.Run(context.Background()); err == nil {
		t.Error("Run after Close was accepted")
	}
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
	eventually(t, "one is refused", func() bool { return testutil.ToFloat64(s.metrics.refused) == 1 })
	open[0].Close()
	eventually(t, "another takes its place", func() bool {
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

func TestTheResolverFollowsTheServer(t *testing.T) {
	s := server(t, westZone())
	r, err := NewResolver(ResolverConfig{Name: "test", Servers: []string{s.Addr().String()}, MinTTL: 10 * time.Millisecond, MaxTTL: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	run(t, r.Run)
	r.Track([]string{"orders.deck.example"})
	eventuallyAddrs(t, r, "orders.deck.example", "10.9.0.1", "2001:db8::1")
	s.SetZone(NewZone([]*Document{valid(func(d *Document) { d.VIPs[0].Weight = new(0) })}, ZoneConfig{}))
	eventuallyAddrs(t, r, "orders.deck.example", "10.9.0.2")
}

func FuzzRespond(f *testing.F) {
	z := westZone()
	subnet := question("A near.deck.example.").SetEdns0(1232, true)
	subnet.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: net.IP{10, 2, 3, 0}}}
	for _, packet := range pack(question("A orders.deck.example."), question("NS deck.example."), question("ANY b.deck.example."), subnet,
		question("AAAA many.deck.example."), question("AXFR deck.example."), question("A example.")) {
		f.Add(packet)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		q := new(dns.Msg)
		if q.Unpack(raw) != nil {
			return
		}
		m := z.respond(q, netip.MustParseAddr("127.0.0.1"))
		if m.RecursionAvailable || m.Id != q.Id || !m.Response {
			t.Fatalf("answer %v", m)
		}
		if m.Rcode == dns.RcodeRefused && (m.Authoritative || len(m.Answer)+len(m.Ns) > 0) {
			t.Fatalf("a refusal that says something: %v", m)
		}
		fit(m, q)
		packet, err := m.Pack()
		if err != nil {
			t.Fatalf("the answer to %v cannot be sent: %v", q, err)
		}
		if len(packet) > udpSize {
			t.Fatalf("%d bytes", len(packet))
		}
	})
}
