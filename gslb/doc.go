// Package gslb turns names into addresses: it answers for the VIPs of mesh decks, and it keeps the answers that routers need in memory.
//
// Both ends of that story live here, and meet only over the wire:
//
//	Gslb documents                                                  the request path
//	      |                                                               |
//	   NewZone            DNS over UDP and TCP                         Lookup   (no lock, no query, no allocation)
//	      v                                                               v
//	+-----------+  SetZone  +--------+   A, AAAA    +--------------------------------+
//	|   Zone    | --------> | Server | <----------- | Resolver: one loop for a name  | --> Notify, Status
//	| immutable |           |        | -----------> | ask, merge, publish, wait, ask |
//	+-----------+           +--------+  addresses   +--------------------------------+
//
// A [Document] says which VIPs stand for a name and by which policy they are handed out. [NewZone] compiles documents into an immutable
// [Zone], and the authoritative [Server] answers from whichever Zone was set last. It serves nothing else: it neither recurses, nor
// transfers, nor forwards, and it refuses every name that is not its own.
//
// A [Resolver] is the router's side, and works with any DNS server. Resolution is never in the request path: the names in use are tracked,
// each by a loop of its own that asks ahead of the TTL's end, and Lookup only reads what the loop published last. DNS is allowed to fail
// in every way it knows. A forged or misdirected packet is passed over; a server that is silent or broken is followed by the next;
// a failure, and an answer without addresses, never takes away addresses that worked, for up to three days.
//
// The Server hands out all VIPs that may take traffic and not a single one, in an order drawn by weight. A client that uses the first
// address follows the weights; a router keeps the whole set, which therefore stays the same from one answer to the next, spreads by load,
// and has somewhere to go when a VIP dies between two answers. See [Zone.Answer].
//
// The package knows nothing of tenants, decks or etcd: callers hand it documents and names.
package gslb
