// Package table measures what the project promises of the table that routers decide by:
// memory, lookups, updates, starts, pins, and how soon a change in etcd is in effect.
//
// It measures the real parts: the documents have the form in which they are stored, the
// reader, the compiler and the source are those of gridrouter, etcd is a process of its
// own. What is measured, its bar and its stretch goal are in [Report]; how, in
// docs/performance.md.
//
// Only what does not depend on the machine may fail a run: see [Report.Missed].
package table
