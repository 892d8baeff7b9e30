package routing

import "time"

// Policy is the compiled form of what a tenant's document says of its requests. Tenants
// whose documents say the same share one.
type Policy struct {
	// Total bounds a request as a whole; 0: no bound.
	Total time.Duration
	// Attempts is how often a request may be sent to its deck at most, the first time
	// included: 1 to [MaxAttempts].
	Attempts int

	document   *Tenant // without what is the tenant's own; nil: never good
	decks      []int32 // IDs of those that it names, each once
	rules      []compiledRule
	usesPaths  bool
	cachesPins bool
	// passesSlashes says that an encoded slash is a part of its segment.
	passesSlashes bool
	headers       []decidingHeader // those with a mark in their name that the rules read
}

// decidingHeader is a header that rules read.
type decidingHeader struct {
	name   string // lower-case
	marked string // the name with "-" for every mark
}

// Shadows says whether a field name, which is a token, is that of a header that decides the
// deck but for other marks. Servers that read marks alike, as CGI and its heirs do with "_" and
// "-", and some with every mark, would go by another value than the router did. It allocates
// nothing.
func (p *Policy) Shadows(name []byte) bool {
	shadows := false
	for i := range p.headers {
		header := &p.headers[i]
		if len(header.name) != len(name) {
			continue
		}
		if equalFold(name, header.name) {
			return false
		}
		shadows = shadows || equalMarked(name, header.marked)
	}
	return shadows
}

// equalMarked says whether a token is marked, without regard to case and to which mark stands where.
func equalMarked(token []byte, marked string) bool {
	for i, b := range token {
		if b >= 'A' && b <= 'Z' {
			b += 'a' - 'A'
		}
		if markAsDash(b) != marked[i] {
			return false
		}
	}
	return true
}

// markAsDash returns "-" for every octet that is no letter or digit.
func markAsDash(b byte) byte {
	if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' {
		return b
	}
	return '-'
}

// Document returns the document that the policy was compiled from, which says nothing of a tenant's
// own: name, hosts, delegates, epoch. nil: the policy is that of tenants whose document never was
// good. It must not be changed.
func (p *Policy) Document() *Tenant { return p.document }

// Decks returns the IDs of the decks that the rules name, each once. It must not be changed.
func (p *Policy) Decks() []int32 { return p.decks }

// CachesPins says whether a rule looks at pins that are read on demand ([PinsCached]).
func (p *Policy) CachesPins() bool { return p.cachesPins }
