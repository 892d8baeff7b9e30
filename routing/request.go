package routing

import "net/netip"

// Fields reads the header of a request.
type Fields interface {
	// Field returns the value of the first field line whose name equals the given
	// lower-case name without regard to case (surrounding white space removed), and the
	// number of lines that bear the name. The value stays valid until the request ends.
	// It must not allocate.
	Field(name string) (value []byte, lines int)
	// Line returns the value of the nth line of that name, from 0, in the same way; nil where
	// there are not so many. A line without a value is not nil.
	Line(name string, n int) (value []byte)
}

// Request is the view of a request that a decision is made from. The byte slices
// belong to the caller and must not change while a [Decision] made from them is in
// use. A Request carries scratch space of its own, so keep and reuse it: the zero
// value is ready, one goroutine at a time.
type Request struct {
	// Host is the canonical authority without its port: lower case, no trailing dot.
	Host []byte
	// Method is the request method.
	Method []byte
	// Path is the path of the request target as it came, without the query.
	Path []byte
	// Query is the query of the request target as it came, without the "?".
	Query []byte
	// Fields reads the request's header. nil: there is none.
	Fields Fields
	// ClientIP is the client's address, as far as it is believed. The zero Addr: unknown.
	ClientIP netip.Addr

	path    []byte // canonical path, made once a decision for tenants that use paths; aliases Path or pathBuf
	pathBuf []byte
	key     [MaxKeyBytes]byte // the key, where it cannot alias the request
	value   [MaxKeyBytes]byte // a decoded value that is compared, not kept
	token   []byte            // the decoded payload of a bearer token
	pin     []byte            // "TENANT/KEY"
}

// field reads one routing field. lines is 0 where there is none.
func (r *Request) field(name string) (value []byte, lines int) {
	if r.Fields == nil {
		return nil, 0
	}
	return r.Fields.Field(name)
}

// canonicalize makes the path that rules and keys are compared with, and keeps the
// space that this took. It is false for a path that decks may read in two ways.
func (r *Request) canonicalize(slashes bool) bool {
	canonical, ok := canonicalPath(r.pathBuf, r.Path, slashes)
	if len(canonical) > 0 && len(r.Path) > 0 && &canonical[0] != &r.Path[0] {
		r.pathBuf = canonical[:0]
	}
	r.path = canonical
	return ok
}
