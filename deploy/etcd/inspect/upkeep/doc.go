// Package upkeep maintains clusters of etcd: it compacts, defragments one member at a time, and brings a
// cluster back that takes no writes for want of space.
//
// Every act looks first and does only what is needed, so that it may be called again after an error, the end of
// its context or of its process: it goes on with what is left.
package upkeep
