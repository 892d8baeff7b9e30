// Package admission checks the head of a request once, before anything routes by it,
// and makes of it the one view that everything afterwards uses.
//
// It is pure: bytes go in, a checked [Head] or a refusal comes out. It opens no socket,
// reads no clock and allocates nothing for an ordinary request. The data path and
// [Explain] run the very same code, so that an explanation cannot disagree with what
// happens to a request.
//
// The router stands between tenants that do not trust each other. Where two parsers
// could read a message in two ways, one tenant could reach another; so what RFC 9110
// and 9112 leave to choice is refused here.
//
//   - head.go: the checks, in the order in which they are made
//   - authority.go: the one canonical authority
//   - target.go: the request target
//   - fields.go: field lines and what kind of field each one is
//   - explain.go: the same checks and the decision, for people
package admission
