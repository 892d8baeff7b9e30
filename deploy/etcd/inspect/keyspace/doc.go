// Package keyspace tells what the keys of a cluster of etcd take, and which change most; and it removes those
// under a prefix ([DryRun], then [Apply]).
//
// All of it goes through the keys in small pages at a bounded rate. Where nothing is written, reads are
// serializable, so that a client that talks to one follower spares the leader.
package keyspace
