// Package router is the data path: it takes requests from clients and relays each to
// the deck that owns it.
//
// The life of a request is one function, serve in life.go:
//
//	admit    is the head unambiguous, and who is asking?        life.go, admission/, forwarding/
//	decide   which deck owns it, by the table of this moment?    life.go, published.go
//	address  where is that deck reached, by load and health?     life.go, upstream/
//	relay    send it there, and the answer back, as it flows     relay.go, deckhead.go, http1/, upload.go, download.go
//	finish   one place, on every path: fault, log, counters      finish.go
//
// Around it:
//
//   - config.go, router.go: what a Router is told and what it is made of; ready.go, drain.go: when it
//     is ready, how it ends
//   - listener.go, places.go, client.go, handshakes.go, refusals.go, requests.go: listeners, who gets
//     a place, client connections, what comes before the first request (PROXY header, TLS) and why
//     none may come, and one request after the other
//   - exchange.go: what is held for a request, and let go of behind it
//   - proxyproto/: how a PROXY header is read
//   - wire/: connections, buffers and the clock; watch.go: the one goroutine that bounds their waits
//   - tunnel.go, retry.go: upgraded connections, and asking a deck once more
//   - certs/: certificates for clients
//   - http1/: where heads and bodies end, the heads of answers; admission/: what is let in
//   - published.go: the table and the live decks, behind one atomic pointer
//   - history/: tables that were in force before
//   - upstream/: decks, their addresses, connections to them, TLS towards them, what goes wrong there
//   - faults/: every code, whose fault it is, and what the client gets
//   - metrics.go, metrics/, lograte/, accesslog/, admin/: what people see
//
// The package knows documents only in the form that package routing compiles them to. It
// takes addresses of names from a [Resolver], and everything else it needs by its [Config].
package router
