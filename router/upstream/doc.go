// Package upstream holds the connections to decks: what lives of a deck for longer than a table does.
// An exchange picks one of a deck's addresses ([Pick]), takes a connection to it ([Endpoint.Reuse],
// [Endpoint.Dial]), says what came of it ([Endpoint.Succeeded], [Endpoint.Failed], [Deck.Failed]), and
// gives the connection back ([Conn.Release], [Conn.Close]). The package knows no HTTP, and of
// documents only a deck's TLS and its name.
//
//   - decks.go: every deck, and the addresses on their way out
//   - deck.go: one deck: its addresses, its budget of retries, its failures
//   - endpoint.go: one address: the choice between several, ejection, making connections
//   - pool.go, conn.go: the idle connections to one address, and one connection
//   - tls.go: TLS towards decks, by files that are read again when they change
//   - cause.go: what can go wrong with a deck
//   - counters.go, status.go: what is counted, and how metrics and /decks show it
package upstream
