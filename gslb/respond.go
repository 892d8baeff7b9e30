package gslb

import (
	"errors"
	"net"
	"net/netip"
	"slices"

	"github.com/miekg/dns"
)

// originTTL is the TTL in seconds of SOA and NS records, and of the answer to ANY.
const originTTL = 3600

// respond returns the answer to a query from the given source. It never fails: every query has an answer, if only a refusal.
// A nil zone, before the first documents are known, is a server failure: "not known yet" must not be taken for "does not exist".
func (z *Zone) respond(q *dns.Msg, source netip.Addr) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.Compress = true
	if q.Opcode != dns.OpcodeQuery {
		m.Rcode = dns.RcodeNotImplemented
		return m
	}
	asker, err := answerEDNS(m, q, source)
	switch {
	case errors.Is(err, errBadVersion):
		m.Rcode = dns.RcodeBadVers
	case err != nil || len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
	case q.Question[0].Qclass != dns.ClassINET || isMetaType(q.Question[0].Qtype):
		m.Rcode = dns.RcodeRefused
	case z == nil:
		m.Rcode = dns.RcodeServerFailure
	default:
		z.answer(m, q.Question[0], asker)
	}
	return m
}

// isMetaType says whether a type asks for something else than records of that type: a zone transfer, for instance. ANY is one that is answered.
func isMetaType(qtype uint16) bool {
	return qtype == dns.TypeOPT || qtype >= 128 && qtype <= 255 && qtype != dns.TypeANY
}

// answer fills in the sections for a question of class IN.
func (z *Zone) answer(m *dns.Msg, q dns.Question, asker netip.Addr) {
	name := canonicalName(q.Name)
	o := z.originOf(name)
	if z.partial && z.records[name] == nil && (o == nil || name != o.name || q.Qtype != dns.TypeSOA && q.Qtype != dns.TypeNS) {
		m.Rcode = dns.RcodeServerFailure // a document that could not be read may be of it
		return
	}
	if o == nil {
		m.Rcode = dns.RcodeRefused
		return
	}
	m.Authoritative = true
	switch {
	case !z.exists[name]:
		m.Rcode = dns.RcodeNameError
	case q.Qtype == dns.TypeANY:
		m.Answer = []dns.RR{&dns.HINFO{Hdr: header(q.Name, dns.TypeHINFO, originTTL), Cpu: "RFC8482"}}
	case q.Qtype == dns.TypeSOA && name == o.name:
		m.Answer = []dns.RR{o.soa(q.Name, originTTL)}
	case q.Qtype == dns.TypeNS && name == o.name:
		m.Answer = o.ns(q.Name)
		m.Extra = append(z.glue(o), m.Extra...)
	case q.Qtype == dns.TypeA || q.Qtype == dns.TypeAAAA:
		addrs, ttl, _ := z.Answer(name, asker)
		m.Answer = addressRecords(q.Name, q.Qtype, ttl, addrs)
	}
	if len(m.Answer) == 0 {
		m.Ns = []dns.RR{o.soa(dns.Fqdn(o.name), o.negativeTTL)} // RFC 2308, section 3
	}
}

// addressRecords returns the records for those addresses that are of the type's family, in their order.
func addressRecords(owner string, qtype uint16, ttl uint32, addrs []netip.Addr) []dns.RR {
	var records []dns.RR
	for _, addr := range addrs {
		switch {
		case qtype == dns.TypeA && addr.Is4():
			records = append(records, &dns.A{Hdr: header(owner, qtype, ttl), A: net.IP(addr.AsSlice())})
		case qtype == dns.TypeAAAA && addr.Is6():
			records = append(records, &dns.AAAA{Hdr: header(owner, qtype, ttl), AAAA: net.IP(addr.AsSlice())})
		}
	}
	return records
}

func header(owner string, rrtype uint16, ttl uint32) dns.RR_Header {
	return dns.RR_Header{Name: owner, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

func (o *origin) soa(owner string, ttl uint32) dns.RR {
	return &dns.SOA{
		Hdr: header(owner, dns.TypeSOA, ttl), Ns: dns.Fqdn(o.servers[0]), Mbox: "hostmaster." + dns.Fqdn(o.name),
		Serial: o.serial, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: o.negativeTTL,
	}
}

func (o *origin) ns(owner string) []dns.RR {
	records := make([]dns.RR, 0, len(o.servers))
	for _, server := range o.servers {
		records = append(records, &dns.NS{Hdr: header(owner, dns.TypeNS, originTTL), Ns: dns.Fqdn(server)})
	}
	return records
}

// glue returns the addresses of an origin's name servers, as far as the zone has them.
func (z *Zone) glue(o *origin) []dns.RR {
	records := make([]dns.RR, 0, len(o.servers))
	for _, server := range o.servers {
		addrs, ttl, _ := z.Answer(server, netip.Addr{})
		records = slices.Concat(records, addressRecords(dns.Fqdn(server), dns.TypeA, ttl, addrs), addressRecords(dns.Fqdn(server), dns.TypeAAAA, ttl, addrs))
	}
	return records
}

var (
	errBadVersion = errors.New("unknown version of EDNS")
	errBadEDNS    = errors.New("malformed EDNS")
)

// answerEDNS gives m an OPT record if q has one (RFC 6891), and returns the address that stands for the asker: that of the client subnet
// if a resolver passed one on (RFC 7871), else the source of the packet.
func answerEDNS(m, q *dns.Msg, source netip.Addr) (netip.Addr, error) {
	var asked *dns.OPT
	for _, rr := range q.Extra {
		opt, ok := rr.(*dns.OPT)
		if ok && asked != nil {
			return source, errBadEDNS
		}
		if ok {
			asked = opt
		}
	}
	if asked == nil {
		return source, nil
	}
	m.SetEdns0(udpSize, asked.Do())
	if asked.Version() != 0 {
		return source, errBadVersion
	}
	for _, option := range asked.Option {
		subnet, ok := option.(*dns.EDNS0_SUBNET)
		if !ok {
			continue
		}
		asker, ok := subnetAddr(subnet)
		if !ok {
			return source, errBadEDNS
		}
		echo := *subnet
		echo.SourceScope = subnet.SourceNetmask // the answer holds for exactly the subnet that was asked for
		m.IsEdns0().Option = append(m.IsEdns0().Option, &echo)
		if subnet.SourceNetmask > 0 {
			return asker, nil
		}
		return source, nil
	}
	return source, nil
}

// subnetAddr returns the first address of a client subnet, and whether the option is well formed.
func subnetAddr(subnet *dns.EDNS0_SUBNET) (netip.Addr, bool) {
	if subnet.SourceScope != 0 {
		return netip.Addr{}, false
	}
	if subnet.Family == 0 && subnet.SourceNetmask == 0 {
		return netip.Addr{}, true // "do not pass on where I am"
	}
	addr, ok := netip.AddrFromSlice(subnet.Address)
	if subnet.Family == 1 {
		addr = addr.Unmap()
	}
	if !ok || (subnet.Family == 1) != addr.Is4() || subnet.Family > 2 {
		return netip.Addr{}, false
	}
	prefix, err := addr.Prefix(int(subnet.SourceNetmask))
	return prefix.Addr(), err == nil
}

// empty takes all records but OPT from an answer, and sets TC: the asker is to come back over TCP.
func empty(m *dns.Msg) {
	m.Answer, m.Ns, m.Truncated = nil, nil, true
	m.Extra = slices.DeleteFunc(m.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeOPT })
}

// fit cuts an answer down to what the asker takes over UDP, and sets TC if records had to go: 512 bytes, or what its EDNS announced, up to 1232.
func fit(m, q *dns.Msg) {
	size := dns.MinMsgSize
	if opt := q.IsEdns0(); opt != nil {
		size = min(max(int(opt.UDPSize()), dns.MinMsgSize), udpSize)
	}
	m.Truncate(size)
}
