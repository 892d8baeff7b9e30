package certs

import (
	"crypto/tls"
	"maps"
	"slices"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// cachedNames is how many names asked for are remembered with what was found.
	cachedNames = 4096
	// maxServerName is the longest host name there is.
	maxServerName = 253
)

// index finds certificates by name. It is made anew for each change, with a cache of its
// own, so that nothing found in one form can be remembered for the next.
type index struct {
	pairs    map[string]*pair
	exact    map[string]*tls.Certificate // by name in lower case
	wildcard map[string]*tls.Certificate // by what follows "*."
	other    *tls.Certificate            // for all other names
	cache    *lru.Cache[string, *tls.Certificate]
}

// newIndex makes an index of at least one pair.
func newIndex(pairs map[string]*pair) *index {
	x := &index{pairs: pairs, exact: map[string]*tls.Certificate{}, wildcard: map[string]*tls.Certificate{}}
	x.cache, _ = lru.New[string, *tls.Certificate](cachedNames) // it fails for sizes below 1 only
	for _, name := range slices.Sorted(maps.Keys(pairs)) {
		p := pairs[name]
		if x.other == nil || name == defaultPair {
			x.other = &p.cert
		}
		for _, host := range p.leaf.DNSNames {
			host = canonical(host)
			names := x.exact
			if parent, ok := strings.CutPrefix(host, "*."); ok {
				names, host = x.wildcard, parent
			}
			if _, taken := names[host]; !taken {
				names[host] = &p.cert
			}
		}
	}
	return x
}

// lookup returns the certificate for a name as a client gave it; it is never nil. What a
// client makes up is not remembered: it would drive out the names that exist.
func (x *index) lookup(serverName string) *tls.Certificate {
	if serverName == "" || len(serverName) > maxServerName+1 {
		return x.other
	}
	if cert, ok := x.cache.Get(serverName); ok {
		return cert
	}
	name := canonical(serverName)
	cert := x.exact[name]
	if cert == nil {
		if label, parent, ok := strings.Cut(name, "."); ok && label != "" && label != "*" {
			cert = x.wildcard[parent]
		}
	}
	if cert == nil {
		return x.other
	}
	if name == serverName { // other spellings would take room without end
		x.cache.Add(serverName, cert)
	}
	return cert
}

// canonical is a host name in lower case without the dot of the root.
func canonical(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }
