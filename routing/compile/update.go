package compile

import (
	"time"

	"gridrouter.io/routing"
)

// Decoder turns a stored value into a document: *[routing.Deck], *[routing.Tenant],
// *[routing.Pin], or anything else, which the compiler then counts but does not read. Beside an error it may return
// what could be read: a *Tenant with its hosts, so that these can answer for it.
type Decoder func(key string, value []byte) (document any, err error)

// Change is one stored pair that was written or deleted.
type Change struct {
	// Key is relative to docs/: "decks/NAME", "tenants/NAME", "pins/TENANT/KEY", "gslb/FQDN".
	Key string
	// Value is the stored value. Nobody may write to it, then or later.
	Value []byte
	// Deleted says that the pair is gone.
	Deleted bool
	// Revision is that of the last modification; 0 if unknown.
	Revision int64
	// Created is the revision at which the key was created; it decides between tenants that
	// claim one host. 0 if unknown: then names decide.
	Created int64
	// Origin is where a person finds the document; empty: Origin of the update.
	Origin string

	kind        documentKind
	was, sum    uint64 // hashes of the pair that was stored before, and of this one; 0: none
	tenant, key string // the tenant's name, and a pin's key
	packed      string // the record of the tenant before, if it was looked up
	review      bool   // what it refers to has to be looked at
	returns     bool   // the guard held the deletion of the document
}

// OriginFiles is the [Update.Origin] of a folder of files.
const OriginFiles = "files"

// Update is what happened up to a revision.
type Update struct {
	// Whole says that Changes are everything there is: what is not among them is gone.
	Whole bool
	// Revision is the newest revision under docs/.
	Revision int64
	// Listed is the revision that a whole list is of, if that is newer than Revision: what the list
	// does not name may have gone as late as that.
	Listed int64
	// Changes hold each key at most once. The compiler may reorder them.
	Changes []Change
	// Faults are the complete list of what the source cannot read at present. Documents whose
	// Origin is in a place that cannot be read (the Origin of a fault, or a line of it) are not
	// gone when a whole list does not name them.
	Faults []routing.Problem
	// Origin is where a person finds documents whose change does not say it. [OriginFiles] also says that
	// the source holds no word of what is meant.
	Origin string
	// At is the time of the update, for the guard against mass changes. The zero Time turns
	// the guard off for this update.
	At time.Time
	// Accepted is the revision up to which mass changes are known to be meant; 0: none.
	Accepted int64
	// Seen holds epochs of tenants that other routers have seen, by name: a lower one is refused
	// here too, even if this compiler never saw any.
	Seen map[string]uint64
	// MayLookEmpty says that the source may look empty although it is not, as a folder does until
	// something is mounted there: the guard holds a list that leaves no tenant, be it one.
	MayLookEmpty bool
	// SourceChanged says that revisions are counted anew from here on.
	SourceChanged bool
}
