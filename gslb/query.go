package gslb

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the largest UDP message that is sent or announced: it crosses every common network in one piece (DNS flag day 2020).
const udpSize = 1232

// client asks DNS servers. It holds no state between questions: each has its own socket and its own random id, so that an answer has to
// guess both. miekg/dns brings the message format; matching, repeating and falling back to TCP are done here.
type client struct {
	servers []string // IP:port
	timeout time.Duration
	metrics *resolverMetrics
}

// Why a question was not answered with addresses. Each maps to one value of the metric label "outcome".
var (
	errNXDomain = errors.New("no such name (NXDOMAIN); create it, or stop using it")
	errTimeout  = errors.New("no answer in time")
	errNetwork  = errors.New("cannot be reached")
	errServfail = errors.New("server failure (SERVFAIL)")
	errRefused  = errors.New("refused to answer (REFUSED)")
	errProtocol = errors.New("answer of no use")
)

// resolve asks for the A, then the AAAA records of a canonical name. Where the first outcome stands for both, the second question is spared:
// NXDOMAIN speaks of the name and not of the type, and servers that were all silent just now would only be silent again.
func (c *client) resolve(ctx context.Context, name string) (v4, v6 reply) {
	v4 = c.lookup(ctx, name, dns.TypeA)
	if errors.Is(v4.err, errNXDomain) || errors.Is(v4.err, errTimeout) {
		return v4, reply{err: v4.err}
	}
	return v4, c.lookup(ctx, name, dns.TypeAAAA)
}

// lookup asks for one type and goes after CNAMEs, over as many answers as it takes.
func (c *client) lookup(ctx context.Context, name string, qtype uint16) reply {
	walk := newChain(dns.Fqdn(name), qtype)
	for {
		m, err := c.ask(ctx, walk.name, qtype)
		if err != nil {
			return reply{err: fmt.Errorf("%s %s: %w", dns.TypeToString[qtype], walk.name, err)}
		}
		more, err := walk.follow(m)
		if err != nil {
			return reply{err: fmt.Errorf("%s %s: %w", dns.TypeToString[qtype], walk.name, err)}
		}
		if !more {
			return reply{addrs: walk.addrs, ttl: walk.ttl}
		}
	}
}

// slowTimes is how many times as long a server may take that is asked again.
const slowTimes = 5

// ask puts one question to one server after the other, until one gives a NOERROR or NXDOMAIN answer. A lone server that was silent is
// asked a second time: packets get lost. Where all were silent the first is given longer once: it may be slow, and not away.
func (c *client) ask(ctx context.Context, name string, qtype uint16) (*dns.Msg, error) {
	var err error
	for i := range len(c.servers) + 1 {
		patience := c.timeout
		if i == len(c.servers) {
			if !errors.Is(err, errTimeout) {
				break
			}
			patience *= slowTimes
		}
		server := c.servers[i%len(c.servers)]
		start := time.Now()
		var m *dns.Msg
		m, err = c.exchange(ctx, patience, server, name, qtype)
		if ctx.Err() != nil {
			return nil, ctx.Err() // cut off by the end: no outcome, and nobody's fault
		}
		c.metrics.queried(err, m, time.Since(start))
		if err == nil {
			return m, nil
		}
		err = fmt.Errorf("server %s: %w", server, err)
	}
	return nil, err
}

// exchange puts one question to one server over UDP, and again over TCP when the answer was cut short.
func (c *client) exchange(ctx context.Context, patience time.Duration, server, name string, qtype uint16) (*dns.Msg, error) {
	m, err := c.exchangeOver(ctx, patience, "udp", server, newQuestion(name, qtype))
	if err == nil && m.Truncated {
		m, err = c.exchangeOver(ctx, patience, "tcp", server, newQuestion(name, qtype))
	}
	if err != nil {
		return nil, err
	}
	if m.Truncated {
		return nil, fmt.Errorf("%w: truncated over TCP too", errProtocol)
	}
	switch m.Rcode {
	case dns.RcodeNameError:
		if slices.ContainsFunc(m.Answer, func(r dns.RR) bool { return r.Header().Rrtype == qtype }) {
			return nil, fmt.Errorf("%w: it says that there is no such name, and what its addresses are", errProtocol)
		}
		return m, nil
	case dns.RcodeSuccess:
		return m, nil
	case dns.RcodeServerFailure:
		return nil, errServfail
	case dns.RcodeRefused:
		return nil, errRefused
	}
	return nil, fmt.Errorf("%w: rcode %d", errProtocol, m.Rcode)
}

// newQuestion returns a query with a fresh random id.
func newQuestion(name string, qtype uint16) *dns.Msg {
	q := new(dns.Msg).SetQuestion(name, qtype)
	q.SetEdns0(udpSize, false)
	return q
}

// exchangeOver sends q from a fresh socket, and waits for the answer to it. Whatever else arrives is passed over until the time is up.
func (c *client) exchangeOver(ctx context.Context, patience time.Duration, network, server string, q *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, network, server)
	if err != nil {
		return nil, networkError(err)
	}
	defer func() { _ = conn.Close() }()                                              // one question a socket
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })() // it fails only once closed

	wire := &dns.Conn{Conn: conn, UDPSize: dns.DefaultMsgSize}
	if err := wire.WriteMsg(q); err != nil {
		return nil, networkError(err)
	}
	for {
		raw, err := wire.ReadMsgHeader(nil)
		switch {
		case errors.Is(err, dns.ErrShortRead):
		case err != nil:
			return nil, networkError(err)
		default:
			if m := readAnswer(raw, q); m != nil {
				return m, nil
			}
		}
		c.metrics.ignored.Inc()
		if network == "tcp" {
			return nil, fmt.Errorf("%w: it is not the answer to the question", errProtocol)
		}
	}
}

// networkError tells a time-out from other faults of the network, in words without ports of ours.
func networkError(err error) error {
	var timeout net.Error
	var number syscall.Errno
	switch {
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return errTimeout
	case errors.As(err, &number):
		return fmt.Errorf("%w: %w", errNetwork, number)
	}
	return fmt.Errorf("%w: %w", errNetwork, err)
}

// readAnswer returns the message in raw if it is the answer to q, and nil if it is anything else.
func readAnswer(raw []byte, q *dns.Msg) *dns.Msg {
	m := new(dns.Msg)
	if err := m.Unpack(raw); err != nil && !m.Truncated {
		return nil // a truncated message may end within a record
	}
	if !m.Truncated && !whole(raw, m) {
		return nil
	}
	if !m.Response || m.Id != q.Id || m.Opcode != dns.OpcodeQuery || len(m.Question) != 1 {
		return nil
	}
	asked, echoed := q.Question[0], m.Question[0]
	if asked.Qtype != echoed.Qtype || asked.Qclass != echoed.Qclass || dns.CanonicalName(asked.Name) != dns.CanonicalName(echoed.Name) {
		return nil
	}
	return m
}

// whole says whether a message holds as many records as its header says (RFC 1035 4.1.1). One that was cut on its way, between two
// records, unpacks as well as any.
func whole(raw []byte, m *dns.Msg) bool {
	count := func(at int) int { return int(binary.BigEndian.Uint16(raw[at:])) }
	return count(6) == len(m.Answer) && count(8) == len(m.Ns) && count(10) == len(m.Extra)
}

// serversOf brings the configured servers, or else the system's, into the form IP:port.
func serversOf(configured []string) ([]string, error) {
	if len(configured) == 0 {
		return systemServers("/etc/resolv.conf"), nil
	}
	servers := make([]string, 0, len(configured))
	for _, s := range configured {
		if addr, err := netip.ParseAddr(s); err == nil {
			servers = append(servers, netip.AddrPortFrom(addr, 53).String())
			continue
		}
		server, err := netip.ParseAddrPort(s)
		if err != nil || server.Port() == 0 {
			return nil, fmt.Errorf("DNS server %q is not an address; write IP:port or IP, as in 10.0.0.53:53 (a name would need DNS itself)", s)
		}
		servers = append(servers, server.String())
	}
	return servers, nil
}

// systemServers reads the name servers of a file in the form of resolv.conf(5). Where it names none, that page says: this machine.
func systemServers(file string) []string {
	var servers []string
	if conf, err := dns.ClientConfigFromFile(file); err == nil {
		for _, s := range conf.Servers {
			servers = append(servers, net.JoinHostPort(s, conf.Port))
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1:53"}
	}
	return servers
}
