// Package catalog is the write side of the documents in etcd: what gridctl, and every
// other tool that changes them, goes through, so that all of them keep the same rules.
//
//	documents -> Plan   checks everything first, against etcd as it stands
//	          -> Apply  writes in transactions, each compare-and-set on all that was relied upon
//
// What it keeps:
//
//   - a host belongs to one tenant: hosts are claimed by compare-and-set under
//     <prefix>hosts/, and one under another tenant's wildcard needs its delegation
//   - every deck that is referred to exists, and nothing new is mapped to a draining one
//   - a tenant's epoch grows, in the same transaction, whenever one of its keys may change
//     its deck, and never falls, not even when the tenant was deleted and comes back
//   - each change leaves a record of who, when, why, before and after under <prefix>changes/
//
// Each transaction is atomic, the whole is not. At the first conflict Apply stops and
// says what was written and what was not; planning and applying again finishes.
//
// Where to look:
//
//   - reader.go: the kinds of document; layout.go: the keys
//   - check.go, hosts.go, draining.go: why documents are refused
//   - read.go, gather.go: what is read from etcd, at one revision
//   - plan.go, order.go, order_tenant.go, tenant.go, pack.go: from documents to transactions
//   - apply.go, conditions.go: from transactions to etcd; wildcard.go: the one race that
//     a transaction alone cannot hold
//   - record.go, history.go: what was changed, and back to it
//   - fleet.go, await.go: who follows the prefix, and how far they came
//   - guard_mass.go, guard_mark.go, guard_discard.go: the guard of the routers against mass
//     changes: what it would hold, what tells it that a change is meant, and the way back
//   - delete.go, pins.go, list.go: the rest, one story each
package catalog
