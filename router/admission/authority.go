package admission

import (
	"bytes"
	"net/netip"

	"gridrouter.io/router/http1"
)

// maxHostBytes is the greatest length of a host name in its text form (RFC 1035 2.3.4).
const maxHostBytes = 253

// Authority is a host and, if one was given, a port. It is canonical: the same place
// has one spelling.
type Authority struct {
	// Host is in lower case and without a trailing dot; an IPv6 address stands in brackets.
	Host []byte
	// Port is its digits without leading zeros; empty if none was given (RFC 3986 3.2.3: a
	// colon alone gives none).
	Port []byte
}

// AppendTo appends the authority as it is written.
func (a *Authority) AppendTo(dst []byte) []byte {
	dst = append(dst, a.Host...)
	if len(a.Port) > 0 {
		dst = append(append(dst, ':'), a.Port...)
	}
	return dst
}

// appendAuthority reads an authority and appends its canonical host to dst, which out's
// Host is then part of. There is no userinfo, no list, no percent-encoding, and nothing
// beyond ASCII: only what a host name or address can consist of.
func appendAuthority(dst, raw []byte) (out Authority, buf []byte, reason string) {
	host, port, reason := splitPort(raw)
	if reason != "" {
		return Authority{}, dst, reason
	}
	start := len(dst)
	if raw[0] == '[' {
		address, err := netip.ParseAddr(string(host))
		if err != nil || !address.Is6() || address.Zone() != "" {
			return Authority{}, dst, "what stands in brackets in the host is no IPv6 address"
		}
		dst = append(address.AppendTo(append(dst, '[')), ']')
		return Authority{Host: dst[start:], Port: port}, dst, ""
	}
	if len(host) > 0 && host[len(host)-1] == '.' {
		host = host[:len(host)-1]
	}
	if reason := checkName(host); reason != "" {
		return Authority{}, dst, reason
	}
	for _, b := range host {
		dst = append(dst, http1.Lower(b))
	}
	return Authority{Host: dst[start:], Port: port}, dst, ""
}

// splitPort takes the port and the brackets, if any, off an authority.
func splitPort(raw []byte) (host, port []byte, reason string) {
	if len(raw) == 0 {
		return nil, nil, "the host is empty"
	}
	var rest []byte
	if raw[0] == '[' {
		end := bytes.IndexByte(raw, ']')
		if end < 0 {
			return nil, nil, "the host has a bracket that does not close"
		}
		host, rest = raw[1:end], raw[end+1:]
		if len(rest) == 0 {
			return host, nil, ""
		}
		if rest[0] != ':' {
			return nil, nil, "the host has something behind its bracket that is no port"
		}
	} else {
		colon := bytes.IndexByte(raw, ':')
		if colon < 0 {
			return raw, nil, ""
		}
		host, rest = raw[:colon], raw[colon:]
	}
	if port = rest[1:]; len(port) == 0 {
		return host, nil, ""
	}
	if !IsPort(port) {
		return nil, nil, "the host's port is not a number from 1 to 65535"
	}
	return host, bytes.TrimLeft(port, "0"), ""
}

// portOr returns the authority's port, or what stands for none.
func (a *Authority) portOr(usual []byte) []byte {
	if len(a.Port) == 0 {
		return usual
	}
	return a.Port
}

// IsPort says whether these are the digits of a port, from 1 to 65535, at most five of them.
func IsPort(digits []byte) bool {
	if len(digits) == 0 || len(digits) > 5 {
		return false
	}
	n := 0
	for _, b := range digits {
		if b < '0' || b > '9' {
			return false
		}
		n = n*10 + int(b-'0')
	}
	return n >= 1 && n <= 65535
}

// checkName says why a host is no name: labels of letters, digits, "-" and "_".
func checkName(host []byte) string {
	if len(host) == 0 {
		return "the host is empty"
	}
	if len(host) > maxHostBytes {
		return "the host is longer than 253 bytes"
	}
	label := 0
	for _, b := range host {
		switch {
		case octets[b]&hostOctet == 0:
			return "the host holds a character that no host name has"
		case b != '.':
			label++
		case label == 0:
			return "the host has an empty label"
		default:
			label = 0
		}
	}
	if label == 0 {
		return "the host has an empty label"
	}
	return ""
}
