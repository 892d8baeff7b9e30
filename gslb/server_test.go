package gslb

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
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
