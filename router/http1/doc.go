// Package http1 reads and writes the grammar of HTTP/1.1: where messages begin and end in what a
// connection delivers, piece by piece as it comes, the heads of answers, chunks both ways, and the
// few lines that a router writes itself. It is strict: a message whose end could be seen in
// two places is refused, for one tenant could reach another between the two.
//
// It is pure: it opens no socket, reads no clock and allocates nothing but for words about what is
// wrong. Requests and the answers of decks are read by the same code; which requests are let in is
// decided by package admission, by this grammar.
//
//   - grammar.go: tokens, values, lists, comparing without regard to case
//   - headfinder.go: where the head of a request ends, and its first line
//   - answer.go: the head of an answer; badanswer.go: what is wrong with one, in words
//   - chunks.go, extensions.go: the chunked transfer coding read; chunk.go: written
//   - body.go: where a body ends, however that is told
//   - write.go: status lines, and what becomes of a connection
package http1
