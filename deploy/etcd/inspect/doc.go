// Package inspect examines clusters of etcd from outside: what works and how fast ([Probe]), what of their
// configuration and state needs a person ([Configuration]), whether their members hold the same data
// ([Consistency]).
//
// It knows etcd's own interfaces and nothing of where members run. What changes a cluster is elsewhere: in
// keyspace, which also tells what the keys take, and in upkeep.
//
// Results marshal to JSON of at most 16 KiB. They are for people: what is cut says so, and every finding comes
// with what to do about it. Nothing in them is secret but the names of keys.
package inspect
