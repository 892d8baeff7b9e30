package gslb

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script says what a scripted server sends back for a query that came over "udp" or "tcp": any packets, none, or many.
type script func(q *dns.Msg, network string) [][]byte

// asked is one query that a scripted server received.
type asked struct {
	network string
	from    netip.AddrPort
	msg     *dns.Msg
}

// scripted is a DNS server on real sockets that behaves as badly as a test wants it to.
type scripted struct {
	addr string
	udp  net.PacketConn
	tcp  net.Listener
	work sync.WaitGroup

	mu      sync.Mutex
	script  script
	queries []asked
}

// serve starts a scripted server for the length of the test.
func serve(t testing.TB, play script) *scripted {
	t.Helper()
	udp, tcp, err := listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{addr: udp.LocalAddr().String(), udp: udp, tcp: tcp, script: play}
	s.work.Go(s.serveUDP)
	s.work.Go(s.serveTCP)
	t.Cleanup(s.close)
	return s
}

func (s *scripted) close() {
	s.udp.Close()
	s.tcp.Close()
	s.work.Wait()
}

// play changes the script.
func (s *scripted) play(next script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.script = next
}

// received returns the queries so far.
func (s *scripted) received() []asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

// questions returns the questions so far, in the form "A name.".
func (s *scripted) questions() []string {
	var all []string
	for _, q := range s.received() {
		all = append(all, dns.TypeToString[q.msg.Question[0].Qtype]+" "+q.msg.Question[0].Name)
	}
	return all
}

func (s *scripted) serveUDP() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.udp.ReadFrom(buf)
		if err != nil {
			return
		}
		for _, packet := range s.answer(buf[:n], "udp", from) {
			s.udp.WriteTo(packet, from)
		}
	}
}

func (s *scripted) serveTCP() {
	for {
		conn, err := s.tcp.Accept()
		if err != nil {
			return
		}
		s.work.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			head := make([]byte, 2)
			if _, err := io.ReadFull(conn, head); err != nil {
				return
			}
			packet := make([]byte, binary.BigEndian.Uint16(head))
			if _, err := io.ReadFull(conn, packet); err != nil {
				return
			}
			for _, answer := range s.answer(packet, "tcp", conn.RemoteAddr()) {
				conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...))
			}
			io.Copy(io.Discard, conn) // until the client closes
		})
	}
}

func (s *scripted) answer(packet []byte, network string, from net.Addr) [][]byte {
	q := new(dns.Msg)
	if err := q.Unpack(packet); err != nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queries = append(s.queries, asked{network: network, from: netip.MustParseAddrPort(from.String()), msg: q.Copy()})
	return s.script(q, network)
}

// records answers every A question with the given records, and every other with an empty answer.
func records(rrs ...string) script {
	return func(q *dns.Msg, _ string) [][]byte {
		if q.Question[0].Qtype != dns.TypeA {
			return pack(answerTo(q))
		}
		return pack(answerTo(q, rrs...))
	}
}

// rcode answers every question with a response code.
func rcode(code int) script {
	return func(q *dns.Msg, _ string) [][]byte {
		m := answerTo(q)
		m.Rcode = code
		return pack(m)
	}
}

// silence answers nothing.
func silence(*dns.Msg, string) [][]byte { return nil }

// forged sends what spoil made of a good answer with the address 6.6.6.6, and then, if honest is set, the good answer with 10.0.0.1.
func forged(honest bool, spoil func(m *dns.Msg)) script {
	return func(q *dns.Msg, network string) [][]byte {
		if q.Question[0].Qtype != dns.TypeA {
			return pack(answerTo(q))
		}
		evil := answerTo(q, q.Question[0].Name+" 5 IN A 6.6.6.6")
		spoil(evil)
		packets := pack(evil)
		if honest {
			packets = append(packets, pack(answerTo(q, q.Question[0].Name+" 5 IN A 10.0.0.1"))...)
		}
		return packets
	}
}

// answerTo returns a NOERROR answer to q with records in zone file form.
func answerTo(q *dns.Msg, rrs ...string) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true
	for _, text := range rrs {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		m.Answer = append(m.Answer, rr)
	}
	return m
}

func pack(messages ...*dns.Msg) [][]byte {
	var packets [][]byte
	for _, m := range messages {
		packet, err := m.Pack()
		if err != nil {
			panic(err)
		}
		packets = append(packets, packet)
	}
	return packets
}

// addrs parses addresses.
func addrs(texts ...string) []netip.Addr {
	all := []netip.Addr{}
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}
