package gslb

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
)

// Kind is the value of a Gslb document's kind field.
const Kind = "Gslb"

// Limits and defaults of a document.
const (
	// MaxVIPs is the most VIPs that a document may list. An answer with that many addresses of either family still fits a packet of
	// 1232 bytes, so that a resolver with EDNS0 never has to fall back to TCP.
	MaxVIPs = 32
	// MaxWeight is the highest weight of a VIP.
	MaxWeight = 1000
	// DefaultWeight is the weight of a VIP that states none.
	DefaultWeight = 100
	// MaxPriority is the highest priority number of a VIP; 1 is the lowest, and goes first.
	MaxPriority = 1000
	// MaxTTL is the highest TTL in seconds: one day.
	MaxTTL = 86400
	// DefaultTTL is the TTL in seconds of a document that states none.
	DefaultTTL = 5
)

// Policy says which of a name's VIPs are handed out, and in which order.
type Policy string

// The policies. The empty policy means PolicyWeighted.
const (
	// PolicyWeighted hands out every VIP, the heavier ones first more often.
	PolicyWeighted Policy = "weighted"
	// PolicyFailover hands out only the VIPs with the lowest priority number.
	PolicyFailover Policy = "failover"
	// PolicyNearest hands out the VIPs of the asker's zone, or all when the zone is unknown or has none.
	PolicyNearest Policy = "nearest"
)

// A Document is what people write and etcd stores under docs/gslb/<name>: the VIPs that stand for one name.
// It is plain data: safe for concurrent reading, and not to be changed once it was handed to [NewZone].
type Document struct {
	// Kind is always "Gslb".
	Kind string `json:"kind"`
	// Name is the absolute host name: two labels or more, in lower case A-labels, without a trailing dot.
	Name string `json:"name"`
	// TTL is how many seconds answers may be kept, 1 to 86400. nil means 5.
	TTL *int `json:"ttl,omitempty"`
	// Policy is weighted (when empty), failover or nearest.
	Policy Policy `json:"policy,omitempty"`
	// VIPs holds 1 to 32 VIPs with distinct addresses.
	VIPs []VIP `json:"vips"`
	// Check is the active health check. It is not built yet, and Validate refuses it.
	Check *Check `json:"check,omitempty"`
}

// A VIP is one virtual IP that answers may hold.
type VIP struct {
	// Address is an IPv4 or IPv6 unicast address without port or zone.
	Address string `json:"address"`
	// Weight is the VIP's share, 0 to 1000. nil means 100. A VIP of weight 0 takes no traffic, unless all weights are 0.
	Weight *int `json:"weight,omitempty"`
	// Priority is the VIP's failover group, 1 to 1000; the lowest number goes first. Required by the policy failover, unused by others.
	Priority int `json:"priority,omitempty"`
	// Zone names where the VIP stands: [a-z0-9-], at most 63. Used by the policy nearest.
	Zone string `json:"zone,omitempty"`
}

// A Check is the active health check of a document's VIPs: either TCP or HTTP.
type Check struct {
	// TCP is the port to connect to.
	TCP int `json:"tcp,omitempty"`
	// HTTP is the request to make.
	HTTP *HTTPCheck `json:"http,omitempty"`
	// Interval is the time between two checks.
	Interval Duration `json:"interval,omitempty"`
	// Fall is how many failures in a row make a VIP unhealthy.
	Fall int `json:"fall,omitempty"`
	// Rise is how many successes in a row make it healthy again.
	Rise int `json:"rise,omitempty"`
}

// An HTTPCheck is a GET request that a healthy VIP answers with a status of 200 to 399.
type HTTPCheck struct {
	// Port is the port to connect to.
	Port int `json:"port,omitempty"`
	// Path is the request's path.
	Path string `json:"path,omitempty"`
	// Host is the request's Host header.
	Host string `json:"host,omitempty"`
}

// A FieldError says what is wrong with one field of a document, and how to mend it.
type FieldError struct {
	// Path is the field, as in vips[1].address.
	Path string
	// Message is the fault and its mend, in lower case.
	Message string
}

// Error returns the path and the message.
func (e *FieldError) Error() string { return e.Path + ": " + e.Message }

// FieldPath returns the path of the field, for callers that know where in a file that field stands.
func (e *FieldError) FieldPath() string { return e.Path }

// Validate checks the document by itself, and returns nil or the [errors.Join] of one *FieldError for each fault.
// It does not fill in defaults; see [Document.Canonical].
func (d *Document) Validate() error {
	var faults []error
	fault := func(path, format string, args ...any) {
		faults = append(faults, &FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if d.Kind != Kind {
		fault("kind", "%q is not a GSLB document's kind; write %s", d.Kind, Kind)
	}
	if err := checkDocumentName(d.Name); err != nil {
		fault("name", "%v", err)
	}
	if d.TTL != nil && (*d.TTL < 1 || *d.TTL > MaxTTL) {
		fault("ttl", "%d is out of range; give whole seconds from 1 to %d, or leave it out for %d", *d.TTL, MaxTTL, DefaultTTL)
	}
	if !slices.Contains([]Policy{"", PolicyWeighted, PolicyFailover, PolicyNearest}, d.Policy) {
		fault("policy", "%q is unknown; use weighted, failover or nearest", string(d.Policy))
	}
	if d.Check != nil {
		fault("check", "not supported yet; remove it (until it is, every VIP counts as healthy)")
	}
	d.validateVIPs(fault)
	return errors.Join(faults...)
}

func (d *Document) validateVIPs(fault func(path, format string, args ...any)) {
	if len(d.VIPs) == 0 {
		fault("vips", "is empty; list at least one VIP, or delete the document")
	}
	if len(d.VIPs) > MaxVIPs {
		fault("vips", "has %d entries; keep at most %d, so that an answer fits one packet", len(d.VIPs), MaxVIPs)
		return // one fault says it all; thousands of others would hide it
	}
	zoned := false
	first := make(map[netip.Addr]int, len(d.VIPs))
	for i, vip := range d.VIPs {
		at := fmt.Sprintf("vips[%d]", i)
		if addr, err := parseVIP(vip.Address); err != nil {
			fault(at+".address", "%v", err)
		} else if other, twice := first[addr]; twice {
			fault(at+".address", "%s is listed before, in vips[%d]; keep one of them", addr, other)
		} else {
			first[addr] = i
		}
		if vip.Weight != nil && (*vip.Weight < 0 || *vip.Weight > MaxWeight) {
			fault(at+".weight", "%d is out of range; give a whole number from 0 to %d", *vip.Weight, MaxWeight)
		}
		switch {
		case vip.Priority < 0 || vip.Priority > MaxPriority:
			fault(at+".priority", "%d is out of range; give a whole number from 1 to %d", vip.Priority, MaxPriority)
		case vip.Priority == 0 && d.Policy == PolicyFailover:
			fault(at+".priority", "is missing; the policy failover needs a whole number from 1 (goes first) to %d", MaxPriority)
		}
		if vip.Zone != "" && !isZoneName(vip.Zone) {
			fault(at+".zone", "%q is not a zone name; use at most 63 of a-z, 0-9 and -", vip.Zone)
		}
		zoned = zoned || vip.Zone != ""
	}
	if d.Policy == PolicyNearest && len(d.VIPs) > 0 && !zoned {
		fault("vips", "none has a zone; the policy nearest needs one on at least one VIP, or use the policy weighted")
	}
}

// Canonical returns a deep copy with the defaults filled in and the addresses in their canonical spelling, so that TTL and every Weight
// are set. Equal documents have equal canonical forms. It is meant for a document that passed Validate; of another, what is wrong stays.
func (d *Document) Canonical() *Document {
	c := *d
	c.TTL = new(valueOr(d.TTL, DefaultTTL))
	if c.Policy == "" {
		c.Policy = PolicyWeighted
	}
	c.VIPs = slices.Clone(d.VIPs)
	for i := range c.VIPs {
		vip := &c.VIPs[i]
		vip.Weight = new(valueOr(vip.Weight, DefaultWeight))
		if addr, err := parseVIP(vip.Address); err == nil {
			vip.Address = addr.String()
		}
	}
	if d.Check != nil {
		check := *d.Check
		if check.HTTP != nil {
			check.HTTP = new(*check.HTTP)
		}
		c.Check = &check
	}
	return &c
}

func valueOr(p *int, absent int) int {
	if p == nil {
		return absent
	}
	return *p
}

// parseVIP accepts the addresses that a router elsewhere can connect to. Loopback is among them: a grid may live on one machine.
func parseVIP(s string) (netip.Addr, error) {
	addr, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return addr, fmt.Errorf("%q is not an IP address; write one without port, as in 10.9.0.1 or 2001:db8::1", s)
	case addr.Zone() != "":
		return addr, fmt.Errorf("%q has an IPv6 zone, which means nothing to other machines; use a global address", s)
	case addr.Is4In6():
		return addr, fmt.Errorf("%q is an IPv4 address in IPv6 clothes; write %s", s, addr.Unmap())
	case addr.IsLinkLocalUnicast():
		return addr, fmt.Errorf("%q is link-local, which means nothing to other networks; use a global or private address", s)
	case !isUsable(addr):
		return addr, fmt.Errorf("%q is not a unicast address; use one that a client can connect to", s)
	}
	return addr, nil
}

// isUsable says whether a connection to addr can make sense.
func isUsable(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}
