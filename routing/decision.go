package routing

import "gridrouter.io/routing/store"

// Fault is the code of a decision that leads to no deck, as clients see it in
// X-Grid-Fault. The empty Fault means that there is none.
type Fault string

// Faults that a decision can end in.
const (
	// FaultNone: the decision names a deck.
	FaultNone Fault = ""
	// FaultBadRequest: what decides the deck can be read in more than one way.
	FaultBadRequest Fault = "bad_request"
	// FaultKeyMissing: the rule's key is absent or empty, and the rule rejects that.
	FaultKeyMissing Fault = "key_missing"
	// FaultNoTenant: no tenant owns the host.
	FaultNoTenant Fault = "no_tenant"
	// FaultNoTable: no tenant that is known owns the host, and not all documents have been read yet.
	FaultNoTable Fault = "no_table"
	// FaultNoRule: no rule of the tenant yields a deck.
	FaultNoRule Fault = "no_rule"
	// FaultDeckDown: the deck is down or gone, and no standby serves.
	FaultDeckDown Fault = "deck_down"
	// FaultTenantInvalid: the tenant's document is bad and never was good.
	FaultTenantInvalid Fault = "tenant_invalid"
	// FaultPinUnreadable: the key is pinned, but where cannot be read.
	FaultPinUnreadable Fault = "pin_unreadable"
)

// Via says which part of a rule yielded the deck.
type Via string

// Parts of a rule.
const (
	ViaNone    Via = ""
	ViaDeck    Via = "deck"
	ViaPin     Via = "pin"
	ViaRange   Via = "range"
	ViaSplit   Via = "split"
	ViaMissing Via = "missing"
)

// Decision is what a [Table] says of a request. Its strings are parts of the table
// and stay valid for ever; Key aliases the request or its scratch space, and is valid
// until the request is used again.
type Decision struct {
	// Fault is empty if Deck serves the request.
	Fault Fault
	// Reason says in a few constant words why it came to the fault; empty without one.
	Reason string
	// Tenant is the owner of the host; empty if there is none.
	Tenant string
	// Epoch is the tenant's epoch.
	Epoch uint64
	// Policy is the tenant's compiled form; nil if there is none.
	Policy *Policy
	// Rule is the rule that ended the search; empty if none did.
	Rule string
	// Key is the key that the rule read; nil if it reads none or there was none.
	Key []byte
	// Via is the part of the rule that yielded the deck.
	Via Via
	// Mapped is the deck that the rule names; it differs from Deck while a standby serves.
	Mapped *CompiledDeck
	// Deck is the deck that serves; nil on a fault.
	Deck *CompiledDeck
	// PinWanted says that the decision waits for the pin of Tenant and Key, which is read on
	// demand: read it, and call [Table.DecidePinned]. Fault is empty and Deck nil then.
	PinWanted bool
}

// PinState says what became of the search for a pin.
type PinState uint8

// What can become of it.
const (
	// PinUnread: nobody knows whether there is one. The request gets pin_unreadable.
	PinUnread PinState = iota
	// PinAbsent: there is none, though the table knows of one. Another table may; until then the
	// key goes nowhere, as with PinUnread: without the pin it could lead to another deck than it is on.
	PinAbsent
	// PinFound: there is one, and Deck is its deck.
	PinFound
)

// Pinned is what was found out about a pin that is read on demand.
type Pinned struct {
	State PinState
	// Deck is the deck that the pin names, if one was found.
	Deck string
	// Sum is what [PinSum] makes of what is stored, if a pin was found.
	Sum uint64
}

// PinSum returns the hash of a stored pin, by its document's key, such as pins/acme/10086, and its
// value. A table takes a pin that was read on demand only if it knows it by the same hash: whoever
// reads pins asks etcd by itself, and may find those of a time before the table, as after a restore
// from a backup, or of one after it.
func PinSum(key string, value []byte) uint64 { return store.PairDigest(key, value) }
