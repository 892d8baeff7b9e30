package gslb

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// maxName is the longest host name in its text form without a trailing dot (RFC 1035, section 3.1).
const maxName = 253

// canonicalName returns the one spelling by which names are compared: lower case, no trailing dot. It allocates only for upper case.
func canonicalName(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}

// checkDocumentName accepts the names that a document may have, and only in their canonical spelling: the name is also an etcd key.
func checkDocumentName(name string) error {
	for i := range len(name) {
		if name[i] >= 0x80 {
			return fmt.Errorf("%q has characters outside ASCII; write its A-label form (xn--...)", name)
		}
	}
	if canonical := canonicalName(name); canonical != name && checkHostName(canonical, false) == nil {
		return fmt.Errorf("%q is not in its canonical form; write %q", name, canonical)
	}
	if err := checkHostName(name, false); err != nil {
		return err
	}
	if !strings.Contains(name, ".") {
		return fmt.Errorf("%q has a single label; write the absolute name, as in %s.deck.example", name, name)
	}
	if isLocalhost(name) {
		return fmt.Errorf("%q always means the asking machine itself (RFC 6761); use another name", name)
	}
	return nil
}

// checkHostName checks the syntax of a canonical name. Underscores are no part of host names, but exist in the names of services.
func checkHostName(name string, underscores bool) error {
	if name == "" {
		return errors.New("is missing; write the absolute name, as in orders-west-1.deck.example")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%q is an address and not a name", name)
	}
	if len(name) > maxName {
		return fmt.Errorf("has %d characters; a host name has at most %d", len(name), maxName)
	}
	last := ""
	for label := range strings.SplitSeq(name, ".") {
		if err := checkLabel(label, underscores); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
		last = label
	}
	if strings.Trim(last, "0123456789") == "" {
		return fmt.Errorf("%q ends in a number, as only addresses do", name)
	}
	return nil
}

func checkLabel(label string, underscores bool) error {
	switch {
	case label == "":
		return errors.New("has an empty label; write single dots between labels, and none in front")
	case len(label) > 63:
		return fmt.Errorf("label %.20s... has %d characters; a label has at most 63", label, len(label))
	case label[0] == '-' || label[len(label)-1] == '-':
		return fmt.Errorf("label %q begins or ends with a hyphen", label)
	}
	for i := range len(label) {
		switch c := label[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_' && underscores:
		default:
			return fmt.Errorf("has %q; use only a-z, 0-9, - and dots", c)
		}
	}
	return nil
}

// isZoneName says whether s may name a zone: [a-z0-9-], 1 to 63.
func isZoneName(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// isLocalhost says whether the canonical name is one that always means this machine (RFC 6761, section 6.3).
func isLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}

// parentOf returns what follows the first label of a canonical name, and "" of a single label. A name from the wire may hold escaped dots,
// which separate nothing.
func parentOf(name string) string {
	next, end := dns.NextLabel(name, 0)
	if end {
		return ""
	}
	return name[next:]
}
