package certs

import (
	"crypto/tls"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
)

// maxServerName is the longest host name there is.
const maxServerName = 253

// choice is the certificates for one name: at most one for each kind of key, in the order
// in which they are preferred.
type choice [keyKinds]*tls.Certificate

// The kinds of keys, in the order of preference: a signature by ECDSA or Ed25519 costs the
// router a tenth of one by RSA.
const (
	keyECDSA = iota
	keyOther
	keyRSA
	keyKinds
)

func kindOf(p *pair) int {
	switch p.leaf.PublicKeyAlgorithm { //nolint:exhaustive // servers use no other kind of key
	case x509.ECDSA:
		return keyECDSA
	case x509.RSA:
		return keyRSA
	}
	return keyOther
}

// add adds a pair, unless there is one of its kind.
func (c *choice) add(p *pair) {
	if kind := kindOf(p); c[kind] == nil {
		c[kind] = &p.cert
	}
}

// pick returns the first certificate that a client can make use of, or else the first: then
// the handshake fails for a reason that the client is told. It is never nil.
func (c *choice) pick(hello *tls.ClientHelloInfo) *tls.Certificate {
	var first *tls.Certificate
	nameless := *hello
	nameless.ServerName = "" // the name has chosen already, or nobody has it
	for _, cert := range c {
		switch {
		case cert == nil:
		case nameless.SupportsCertificate(cert) == nil:
			return cert
		case first == nil:
			first = cert
		}
	}
	return first
}

// index finds certificates by name. It is made anew for each change and then immutable.
type index struct {
	pairs    map[string]*pair
	exact    map[string]*choice // by name in lower case
	wildcard map[string]*choice // by what follows "*."
	other    *choice            // for all other names
}

// newIndex makes an index of at least one pair.
func newIndex(pairs map[string]*pair) *index {
	x := &index{pairs: pairs, exact: map[string]*choice{}, wildcard: map[string]*choice{}}
	names := slices.Sorted(maps.Keys(pairs))
	for _, name := range names {
		p := pairs[name]
		for _, host := range p.leaf.DNSNames {
			host = canonical(host)
			place := x.exact
			if parent, ok := strings.CutPrefix(host, "*."); ok {
				place, host = x.wildcard, parent
			}
			if place[host] == nil {
				place[host] = new(choice)
			}
			place[host].add(p)
		}
	}
	x.other = x.forOthers(names)
	return x
}

// forOthers returns what clients get that ask for a name nobody has, or for none: the pair
// "default" or else the first, and those of other kinds of key that are for a name of its.
func (x *index) forOthers(names []string) *choice {
	chief := x.pairs[names[0]]
	if p := x.pairs[defaultPair]; p != nil {
		chief = p
	}
	other := new(choice)
	other.add(chief)
	for _, name := range names {
		if p := x.pairs[name]; slices.ContainsFunc(p.leaf.DNSNames, func(host string) bool { return slices.Contains(chief.leaf.DNSNames, host) }) {
			other.add(p)
		}
	}
	return other
}

// lookup returns the certificates for a name as a client gave it; it is never nil.
func (x *index) lookup(serverName string) *choice {
	if serverName == "" || len(serverName) > maxServerName+1 {
		return x.other
	}
	name := canonical(serverName)
	if found := x.exact[name]; found != nil {
		return found
	}
	if label, parent, ok := strings.Cut(name, "."); ok && label != "" && label != "*" {
		if found := x.wildcard[parent]; found != nil {
			return found
		}
	}
	return x.other
}

// canonical is a host name in lower case without the dot of the root.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
