package gslb

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

const (
	// maxChain is the most CNAMEs between a name and its addresses.
	maxChain = 8
	// maxAddresses is the most addresses of one family that are kept of an answer, the lowest ones. An answer over TCP could hold thousands.
	maxAddresses = 256
)

// chain is the walk from a name over CNAMEs to its addresses, within one answer or over several.
type chain struct {
	qtype uint16
	name  string        // where the walk stands: a canonical name with its trailing dot
	seen  []string      // every name it came by, for loops
	ttl   time.Duration // the least of all records on the way
	addrs []netip.Addr  // what was found at the end, sorted
}

func newChain(name string, qtype uint16) *chain {
	return &chain{qtype: qtype, name: name, seen: []string{name}, ttl: time.Duration(1<<31-1) * time.Second}
}

// follow walks on through one answer to a question for c.name. It says whether another question is needed, for what c.name is then.
// Records that do not belong to the walk - of other names, types or classes - are passed over.
func (c *chain) follow(m *dns.Msg) (more bool, err error) {
	from := c.name
	for {
		if c.addrs = c.addresses(m.Answer); len(c.addrs) > 0 {
			return false, nil
		}
		alias := c.alias(m.Answer)
		if alias == nil {
			break
		}
		if err := c.step(dns.CanonicalName(alias.Target)); err != nil {
			return false, err
		}
		c.lower(alias.Hdr.Ttl)
	}
	switch {
	case m.Rcode == dns.RcodeNameError:
		return false, errNXDomain
	case c.name != from:
		return !c.denied(m), nil // a server that is not authoritative for the target leaves it out
	case isReferral(m):
		return false, fmt.Errorf("%w: the server refers to others; it is neither authoritative for the name nor a resolver", errProtocol)
	}
	return false, nil
}

// step moves the walk to the target of a CNAME.
func (c *chain) step(target string) error {
	if slices.Contains(c.seen, target) {
		return fmt.Errorf("%w: CNAME loop at %s", errProtocol, target)
	}
	if len(c.seen) > maxChain {
		return fmt.Errorf("%w: more than %d CNAMEs in a row", errProtocol, maxChain)
	}
	c.seen = append(c.seen, target)
	c.name = target
	return nil
}

// addresses returns the addresses that the records give c.name, sorted, and lowers the TTL to theirs.
func (c *chain) addresses(records []dns.RR) []netip.Addr {
	var addrs []netip.Addr
	for _, rr := range records {
		if !c.owns(rr) || rr.Header().Rrtype != c.qtype {
			continue
		}
		if addr := addressOf(rr); isUsable(addr) {
			addrs = append(addrs, addr)
			c.lower(rr.Header().Ttl)
		}
	}
	slices.SortFunc(addrs, netip.Addr.Compare)
	addrs = slices.Compact(addrs)
	return slices.Clip(addrs[:min(len(addrs), maxAddresses)])
}

// alias returns the CNAME record of c.name, or nil.
func (c *chain) alias(records []dns.RR) *dns.CNAME {
	for _, rr := range records {
		if alias, ok := rr.(*dns.CNAME); ok && c.owns(rr) {
			return alias
		}
	}
	return nil
}

func (c *chain) owns(rr dns.RR) bool {
	return rr.Header().Class == dns.ClassINET && dns.CanonicalName(rr.Header().Name) == c.name
}

// lower lowers the TTL of the walk. A TTL with the highest bit set counts as 0 (RFC 2181, section 8).
func (c *chain) lower(ttl uint32) {
	if ttl > 1<<31-1 {
		ttl = 0
	}
	c.ttl = min(c.ttl, time.Duration(ttl)*time.Second)
}

// denied says whether the answer states that c.name, the target of its CNAMEs, has no such records: with a SOA of the target's zone
// (RFC 2308, section 2.2).
func (c *chain) denied(m *dns.Msg) bool {
	return slices.ContainsFunc(m.Ns, func(rr dns.RR) bool {
		_, soa := rr.(*dns.SOA)
		return soa && dns.IsSubDomain(rr.Header().Name, c.name)
	})
}

// isReferral says whether an answer without records points elsewhere, which is of no use to a client that does not iterate.
func isReferral(m *dns.Msg) bool {
	if m.Authoritative || len(m.Answer) > 0 || len(m.Ns) == 0 {
		return false
	}
	return !slices.ContainsFunc(m.Ns, func(rr dns.RR) bool { return rr.Header().Rrtype != dns.TypeNS })
}

// addressOf returns the address in an A or AAAA record, and the invalid address for all else.
func addressOf(rr dns.RR) netip.Addr {
	var addr netip.Addr
	switch rr := rr.(type) {
	case *dns.A:
		addr, _ = netip.AddrFromSlice(rr.A.To4())
	case *dns.AAAA:
		addr, _ = netip.AddrFromSlice(rr.AAAA.To16())
		if addr.Is4In6() {
			return netip.Addr{} // an IPv4 address belongs in an A record
		}
	}
	return addr
}
