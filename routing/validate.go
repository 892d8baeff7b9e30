package routing

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Limits of the documents. Each is named by the error that refuses more.
const (
	// MaxNameBytes bounds the names of decks, tenants and rules, and zones.
	MaxNameBytes = 63
	// MaxHosts bounds the hosts, and the delegates, of one tenant.
	MaxHosts = 10_000
	// MaxRules bounds the rules of one tenant.
	MaxRules = 1_000
	// MaxRanges bounds the ranges of one rule.
	MaxRanges = 10_000
	// MaxConditions bounds the methods, headers, cookies and query parameters, each, of one match.
	MaxConditions = 100
	// MaxAddresses bounds the addresses of one deck.
	MaxAddresses = 1_000
	// MaxSplitDecks bounds the decks of one split.
	MaxSplitDecks = 1_000
	// MaxWeight is the greatest weight in a split.
	MaxWeight = 1_000
	// MaxEpoch is the greatest epoch. Changes that raise it by one never get there, so that there
	// always is a next one; and every reader of JSON reads it exactly (RFC 8259 6).
	MaxEpoch = 1 << 48
	// MaxFirstEpoch is the greatest epoch of a tenant that was never seen before, MaxEpochStep the
	// greatest step to the next one: far more than changes make, and far less than MaxEpoch.
	MaxFirstEpoch = 1 << 40
	MaxEpochStep  = 1 << 32
	// MaxPathSegment is the greatest number of a path segment that can be a key.
	MaxPathSegment = 64
)

// FieldError says what is wrong with one field of a document, and how to mend it.
type FieldError struct {
	// Path leads to the field: "rules[2].split.orders-east-9". Empty: the document as a whole.
	Path string
	// Message says what is wrong, and the mend.
	Message string
}

// Error returns "path: message".
func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// FieldPath returns Path; readers of documents use it to find the line.
func (e *FieldError) FieldPath() string { return e.Path }

// complaints gathers the field errors of one document.
type complaints []error

func (c *complaints) add(path, format string, args ...any) {
	*c = append(*c, &FieldError{Path: path, Message: fmt.Sprintf(format, args...)})
}

func (c complaints) join() error { return errors.Join(c...) }

// name checks the name of a deck, tenant or rule.
func (c *complaints) name(path, name string) {
	if name == "" {
		c.add(path, "is missing; give a name of a-z, 0-9 and \"-\"")
		return
	}
	if err := CheckName(name); err != nil {
		c.add(path, "%v", err)
	}
}

// notYet refuses a field whose behaviour is not built.
func (c *complaints) notYet(path string, given bool) {
	if given {
		c.add(path, "is not supported yet; leave it out")
	}
}

func (c *complaints) kind(got, want string) {
	if got != want {
		c.add("kind", "is %q, not %s", got, want)
	}
}

func (c *complaints) duration(path string, d Duration, most time.Duration) {
	if d < 0 || d.Std() > most {
		c.add(path, "is %s; it is 0s to %s", d, most)
	}
}

// EpochFollows says whether an epoch may be the next one of a tenant whose highest one was seen;
// 0: none was. A leap is nothing that a change by apply makes, and could leave no room for the next.
func EpochFollows(seen, epoch uint64) bool {
	if seen == 0 {
		return epoch <= MaxFirstEpoch
	}
	return epoch <= seen+MaxEpochStep
}

// CheckName says whether name may name a deck, a tenant or a rule: 1 to 63 of a-z,
// 0-9 and "-", with no "-" at either end.
func CheckName(name string) error {
	if name == "" || len(name) > MaxNameBytes {
		return fmt.Errorf("a name has 1 to %d characters, this has %d", MaxNameBytes, len(name))
	}
	for i := range len(name) {
		b := name[i]
		if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' {
			return fmt.Errorf("%q has a character other than a-z, 0-9 and \"-\"", name)
		}
	}
	if name[0] == '-' || name[len(name)-1] == '-' {
		return fmt.Errorf("%q begins or ends with \"-\"", name)
	}
	return nil
}

// CheckHost says whether host is a host name in canonical form: lower case, no
// trailing dot, no port, every label 1 to 63 of a-z, 0-9, "-" and "_", at most 253
// bytes (RFC 1035 2.3.4, RFC 5890 for A-labels), or an IPv4 or bracketed IPv6 address in its
// canonical text (RFC 5952). With wildcard it may begin with "*.", which stands for one or more labels,
// or be [CatchAll].
func CheckHost(host string, wildcard bool) error {
	if host == CatchAll && wildcard {
		return nil
	}
	if rest, ok := strings.CutPrefix(host, "*."); ok {
		if !wildcard {
			return fmt.Errorf("%q is a wildcard; a single host is wanted here", host)
		}
		if looksLikeAddress(rest) {
			return fmt.Errorf("%q puts a wildcard before an address", host)
		}
		return checkLabels(rest)
	}
	if looksLikeAddress(host) {
		return checkHostAddress(host)
	}
	return checkLabels(host)
}

func checkLabels(host string) error {
	if host == "" || len(host) > 253 {
		return fmt.Errorf("a host has 1 to 253 characters, this has %d", len(host))
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("%q has a label of %d characters; a label has 1 to 63", host, len(label))
		}
		for i := range len(label) {
			b := label[i]
			if (b < 'a' || b > 'z') && (b < '0' || b > '9') && b != '-' && b != '_' {
				return fmt.Errorf("%q has the character %q; a host is written in lower case, without port, with A-labels for other scripts", host, b)
			}
		}
		if label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q has a label that begins or ends with \"-\"", host)
		}
	}
	return nil
}

// looksLikeAddress says whether a host is an IP literal, or would be read as one: a
// last label of digits only is never a name (RFC 3696 2).
func looksLikeAddress(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

func checkHostAddress(host string) error {
	bare := strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	addr, err := netip.ParseAddr(bare)
	if err != nil || addr.Zone() != "" || addr.Is4In6() {
		return fmt.Errorf("%q is not an address; write IPv4 as 192.0.2.1, IPv6 as [2001:db8::1]", host)
	}
	canonical := addr.String()
	if addr.Is6() {
		canonical = "[" + canonical + "]"
	}
	if host != canonical {
		return fmt.Errorf("%q is not the canonical spelling of its address; write %q", host, canonical)
	}
	return nil
}

// Validate checks the pin by itself; whether its tenant and deck exist is for others.
func (p *Pin) Validate() error {
	var c complaints
	c.kind(p.Kind, KindPin)
	c.name("tenant", p.Tenant)
	c.name("deck", p.Deck)
	switch {
	case p.Key == "":
		c.add("key", "is missing; give the key, in quotes")
	case len(p.Key) > MaxKeyBytes:
		c.add("key", "has %d bytes; at most %d", len(p.Key), MaxKeyBytes)
	}
	return c.join()
}

// Validate checks the deck by itself; whether its standby exists is for others. Hosts
// must already be canonical.
func (d *Deck) Validate() error {
	var c complaints
	c.kind(d.Kind, KindDeck)
	c.name("name", d.Name)
	if d.Name == MissingReject || d.Name == MissingNext {
		c.add("name", "%q has a meaning of its own in a rule's \"missing\"; choose another", d.Name)
	}
	if d.Domain == "" {
		c.add("domain", "is missing; give the host name that the deck answers to")
	} else if err := CheckHost(d.Domain, false); err != nil {
		c.add("domain", "%v", err)
	} else if d.Attach == AttachMesh && looksLikeAddress(d.Domain) {
		c.add("domain", "is an address; a mesh deck's domain is a name that GSLB resolves")
	}
	d.validateAttach(&c)
	switch d.State {
	case "", DeckActive, DeckDraining, DeckDown:
	default:
		c.add("state", "is %q; write active, draining or down", d.State)
	}
	if d.Standby != "" {
		c.name("standby", d.Standby)
		if d.Standby == d.Name {
			c.add("standby", "is the deck itself; name another, or leave it out")
		}
	}
	switch d.HostHeader {
	case "", HostHeaderDeck, HostHeaderOriginal:
	default:
		c.add("hostHeader", "is %q; write deck or original", d.HostHeader)
	}
	if len(d.Zone) > MaxNameBytes || strings.ContainsFunc(d.Zone, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		c.add("zone", "has 1 to %d printable ASCII characters without spaces", MaxNameBytes)
	}
	if t := d.TLS; t != nil {
		if t.ServerName != "" {
			if err := CheckHost(t.ServerName, false); err != nil {
				c.add("tls.serverName", "%v", err)
			}
		}
		if (t.CertFile == "") != (t.KeyFile == "") {
			c.add("tls", "has only one of certFile and keyFile; give both, or neither")
		}
	}
	c.notYet("health", d.Health != nil)
	c.notYet("limits", d.Limits != nil)
	if t := d.Timeouts; t != nil {
		c.duration("timeouts.connect", t.Connect, time.Minute)
		c.duration("timeouts.firstByte", t.FirstByte, time.Hour)
		c.duration("timeouts.idle", t.Idle, time.Hour)
	}
	return c.join()
}

func (d *Deck) validateAttach(c *complaints) {
	switch d.Attach {
	case AttachDirect:
		if len(d.Addresses) == 0 {
			c.add("addresses", "is missing; a direct deck names at least one ip:port or name:port")
		}
		if d.Port != 0 {
			c.add("port", "is for mesh decks; a direct deck has its ports in its addresses")
		}
	case AttachMesh:
		if len(d.Addresses) != 0 {
			c.add("addresses", "is for direct decks; a mesh deck is found by its domain")
		}
		if d.Port < 0 || d.Port > math.MaxUint16 {
			c.add("port", "is %d; a port is 1 to 65535", d.Port)
		}
	case "":
		c.add("attach", "is missing; write direct or mesh")
	default:
		c.add("attach", "is %q; write direct or mesh", d.Attach)
	}
	if len(d.Addresses) > MaxAddresses {
		c.add("addresses", "has %d entries; at most %d", len(d.Addresses), MaxAddresses)
		return
	}
	seen := make(map[string]bool, len(d.Addresses))
	for i, address := range d.Addresses {
		path := fmt.Sprintf("addresses[%d]", i)
		if _, err := ParseEndpoint(address); err != nil {
			c.add(path, "%v", err)
		}
		if seen[address] {
			c.add(path, "%q stands twice", address)
		}
		seen[address] = true
	}
}

// ParseEndpoint reads one of a direct deck's addresses: ip:port, [v6]:port or name:port,
// with a port of 1 to 65535 and a name that is absolute (no search domains apply).
func ParseEndpoint(address string) (Endpoint, error) {
	at := strings.LastIndexByte(address, ':')
	if at < 0 {
		return Endpoint{}, fmt.Errorf("%q has no port; write ip:port, [v6]:port or name:port", address)
	}
	host, portText := address[:at], address[at+1:]
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil || port == 0 || portText[0] == '0' || portText[0] == '+' {
		return Endpoint{}, fmt.Errorf("%q has the port %q; a port is 1 to 65535", address, portText)
	}
	if looksLikeAddress(host) {
		if err := checkHostAddress(host); err != nil {
			return Endpoint{}, err
		}
		addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if err != nil {
			return Endpoint{}, err
		}
		return Endpoint{Address: addr, Port: uint16(port)}, nil
	}
	if strings.ContainsRune(host, ':') {
		return Endpoint{}, fmt.Errorf("%q is IPv6 without brackets; write [address]:port", address)
	}
	if err := checkLabels(host); err != nil {
		return Endpoint{}, err
	}
	return Endpoint{Name: host, Port: uint16(port)}, nil
}
