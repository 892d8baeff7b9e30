// Package framing finds where messages of HTTP/1.1 begin and end in what a connection
// delivers, piece by piece as it comes. It is strict: a message whose end could be seen in
// two places is refused, for one tenant could reach another between the two.
//
// It is pure: it opens no socket, reads no clock and allocates nothing. Requests and the
// answers of decks are framed by the same code.
//
//   - head.go: where a head ends, and its first line
//   - chunks.go: the chunked transfer coding
package framing
