// Package routing decides which deck owns a request.
//
// It is pure: documents go in and an immutable [Table] comes out; a view of a
// request goes in and a [Decision] comes out. It opens no file and no socket,
// starts no goroutine, reads no clock and keeps no package-level state, so that
// everything it says can be said again by anybody with the same documents.
//
//	Deck, Tenant, Pin    what people write          (document)
//	      |  Compiler
//	      v
//	    Table            what requests are held to  (compiled, immutable)
//	      |  Decide / Explain
//	      v
//	   Decision          tenant, rule, key, deck, epoch, or a fault and its reason
//
// Where to look:
//
//   - deck.go, tenant.go, pin.go: the documents and what each field means
//   - validate.go and its neighbours: what a document must be to be taken
//   - compiler.go, claims.go: how documents become a table, one bad document never
//     stopping the others
//   - decide.go: the life of a decision, in one function; explain.go: the same
//     function with a trace
//   - key.go, claim.go, path.go: how a key is read out of a request
//   - split.go: slots and weighted rendezvous, fixed for ever by golden vectors
//
// Reading documents from YAML or JSON, with places and mends, is the business of
// the package routing/document.
package routing
