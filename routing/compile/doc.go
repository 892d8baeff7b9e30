// Package compile turns documents into tables: a [Compiler] is handed what changed in a source and
// returns the [routing.Table] that is then in force. One bad document never stops the others: it
// keeps its last good form, and the table lists a problem.
//
// Like package routing it is pure: it opens no file and no socket, starts no goroutine and reads no
// clock. docs/TABLE.md follows a document's change through the package.
//
//   - update.go: what a compiler is told; batch.go: the changes of an update that change something
//   - compiler.go: an update from its changes to the table
//   - decks.go, tenants.go, pins.go: what a change of each kind of document does; reader.go: how
//     they are read; review.go: which of them refer to what does not exist
//   - claims.go, delegates.go: who owns which host
//   - guard.go, hazards.go: what holds back changes that concern too many tenants at once
//   - setback.go: tenants that a restore of the source has set back
//   - ledger.go: which pairs are stored, and which are in force; problems.go: what is wrong
//   - policies.go: compiled policies by ID; shortcut.go: the fast way to read a tenant
//   - checkpoint.go, rebuild.go: two ways to go on after a stop: from a snapshot, and from the table
package compile
