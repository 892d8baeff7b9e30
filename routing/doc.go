// Package routing decides which deck owns a request.
//
// It is pure: a view of a request goes in and a [Decision] comes out of an immutable
// [Table]. It opens no file and no socket, starts no goroutine, reads no clock and keeps
// no package-level state, so that everything it says can be said again by anybody with
// the same documents.
//
//	Deck, Tenant, Pin    what people write          (document)
//	      |  package routing/compile
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
//   - table.go: what a table holds; policy.go, compiled.go, compiled_deck.go: the forms that
//     policies and decks are compiled to; problem.go: what can be wrong with a document
//   - decide.go: the life of a decision, in one function; explain.go: the same
//     function with a trace
//   - key.go, key_jwt.go, path.go: how a key is read out of a request
//   - split.go: slots and weighted rendezvous, fixed for ever by golden vectors
//
// Package routing/compile makes tables of documents; routing/store has the maps that a table
// is made of; routing/document reads documents from YAML or JSON and says where and how to
// mend what is wrong.
package routing
