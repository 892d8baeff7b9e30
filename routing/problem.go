package routing

// Problem is one thing that is wrong with a stored document, or with what could not be
// read. The document's last good form stays in force, if it ever had one.
type Problem struct {
	// Key is the document's key, such as "tenants/acme"; empty if there is none.
	Key string `json:"key"`
	// Origin is where a person finds the document: "etcd", "tenants.yaml:12".
	Origin string `json:"origin,omitempty"`
	// Code is one of the Problem constants.
	Code string `json:"code"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Revision is that of the document's last modification; 0 if unknown.
	Revision int64 `json:"revision,omitempty"`
}

// Codes of problems.
const (
	// ProblemBadDocument: the value is no valid document.
	ProblemBadDocument = "bad_document"
	// ProblemBadKey: the key is not in the one spelling that documents have.
	ProblemBadKey = "bad_key"
	// ProblemUnknownDeck: the document names a deck that does not exist. If the form in force
	// does not name it, that form stays; else what is mapped to it gets deck_down.
	ProblemUnknownDeck = "unknown_deck"
	// ProblemUnknownTenant: a pin of a tenant that does not exist.
	ProblemUnknownTenant = "unknown_tenant"
	// ProblemEpochRewound: the tenant's epoch is lower than one that was seen before.
	ProblemEpochRewound = "epoch_rewound"
	// ProblemEpochLeapt: the tenant's epoch is so far above the one seen before that no change made it.
	ProblemEpochLeapt = "epoch_leapt"
	// ProblemHostConflict: the host belongs to another tenant, whose claim is older.
	ProblemHostConflict = "host_conflict"
	// ProblemNotDelegated: the host lies under another tenant's older wildcard and is not delegated.
	ProblemNotDelegated = "host_not_delegated"
	// ProblemWildcardContested: a host under the tenant's wildcard belongs to an older claim of another tenant.
	ProblemWildcardContested = "wildcard_contested"
	// ProblemHeld: the change came with so many others that it is held until somebody says
	// that it is meant. The form in force is the one before it.
	ProblemHeld = "held_by_guard"
	// ProblemUpdateFailed: an update could not be compiled, and no document could be told to
	// be the cause. All that is in force is from before it.
	ProblemUpdateFailed = "update_failed"
	// ProblemUnreadable: the source could not read something.
	ProblemUnreadable = "unreadable"
)
