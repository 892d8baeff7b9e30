package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// Action says what becomes of a document.
type Action string

// Actions.
const (
	Create    Action = "create"
	Update    Action = "update"
	Delete    Action = "delete"
	Unchanged Action = "unchanged"
)

// Change is what a plan does to one document.
type Change struct {
	// Key is the document's key, such as tenants/acme.
	Key string `json:"key"`
	// Place is where the given form was read: file:line, or "etcd".
	Place string `json:"place"`
	// Action says what becomes of the document.
	Action Action `json:"action"`
	// Claims are the hosts that a tenant claims, Releases those that it gives up.
	Claims   []string `json:"claims,omitempty"`
	Releases []string `json:"releases,omitempty"`
	// Takeovers say in words which stale claims are taken over or cleared away.
	Takeovers []string `json:"takeovers,omitempty"`
	// EpochFrom and EpochTo are the tenant's epoch before and after; both 0 for other kinds.
	EpochFrom uint64 `json:"epochFrom,omitempty"`
	EpochTo   uint64 `json:"epochTo,omitempty"`
}

// Plan is what [Catalog.Apply] would do. It is good for one Apply, and only as long as
// nobody changes what it relied upon, which Apply notices.
type Plan struct {
	// Revision is etcd's revision that the plan was made at.
	Revision int64 `json:"revision"`
	// Changes are all documents that were given, and tenants whose epoch is raised for
	// the sake of their pins, in the order in which they are written.
	Changes []Change `json:"changes"`
	// Notes are things that the operator should know.
	Notes []string `json:"notes,omitempty"`
	// Transactions is how many transactions the documents take.
	Transactions int `json:"transactions"`

	why      string
	moved    map[string]bool // names of tenants that it drops or repoints
	accepted bool            // by a mark of its own
	steps    []step
	reserved map[string]*reservation // by host: wildcards that are new
}

// Pending returns how many documents the plan would write or delete.
func (p *Plan) Pending() int {
	pending := 0
	for i := range p.Changes {
		if p.Changes[i].Action != Unchanged {
			pending++
		}
	}
	return pending
}

// Options are what a change says beside its documents.
type Options struct {
	// Why is kept in the change records; at most 1024 bytes.
	Why string
	// AllowMassChange says that the change is meant although the routers' guard would hold
	// it: a mark that accepts it goes into each transaction that drops tenants or changes
	// where they lead.
	AllowMassChange bool
	// Force says that what others changed meanwhile is to be overwritten: a document that was
	// made from an older form than the stored one is written all the same.
	Force bool
	// Restore says that the documents stood in etcd before, as those of a backup: what maps to a deck
	// that is draining is not new, a tenant that is not stored keeps its epoch, and is written after
	// its pins, since its keys would go elsewhere meanwhile.
	Restore bool
}

func (o Options) check() error {
	if len(o.Why) > maxWhyBytes {
		return refused([]error{&ReasonError{Place: "--why", Message: fmt.Sprintf("has %d bytes; at most %d", len(o.Why), maxWhyBytes)}})
	}
	return nil
}

// Plan checks documents against etcd and each other, and returns what applying them
// would do. It writes nothing. What is wrong with the documents comes back as a
// *[RefusedError] that holds all reasons, and what was made from older forms than the stored
// ones as a *[StaleError].
func (c *Catalog) Plan(ctx context.Context, docs []document.Parsed, options Options) (*Plan, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	w := newWorld()
	w.restoring = options.Restore
	if err := refused(w.admit(docs)); err != nil {
		return nil, err
	}
	s := &snapshot{Catalog: c}
	if err := s.gather(ctx, w); err != nil {
		return nil, err
	}
	for _, it := range w.given {
		it.verbatim = w.restoring && it.mod == 0 && tenantOf(it.given) != nil
	}
	if err := refused(w.check()); err != nil {
		return nil, err
	}
	overwrites, err := s.checkRead(ctx, w, options)
	if err != nil {
		return nil, err
	}
	plan, err := s.planned(ctx, w, options)
	if err != nil {
		return nil, err
	}
	left, err := s.leftPins(ctx, w)
	plan.Notes = slices.Concat(plan.Notes, overwrites, left)
	return plan, err
}

// leftPins notes tenants that come back to pins that were left behind.
func (s *snapshot) leftPins(ctx context.Context, w *world) ([]string, error) {
	var fresh, notes []string
	for _, it := range w.given {
		if tenantOf(it.given) != nil && it.mod == 0 {
			fresh = append(fresh, ownName(it))
		}
	}
	read := func(tenant string) clientv3.Op {
		return clientv3.OpGet(pinFolder(s.at, tenant), s.options(clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))...)
	}
	err := s.many(ctx, fresh, read, func(tenant string, kvs []*mvccpb.KeyValue) {
		if len(kvs) > 0 {
			notes = append(notes, fmt.Sprintf("tenant %q finds pins in etcd that were left behind; they are in force if its rules use pins", tenant))
		}
	})
	return notes, err
}

// planned turns a checked world into transactions.
func (s *snapshot) planned(ctx context.Context, w *world, options Options) (*Plan, error) {
	p := newPlanner(s.Catalog, w, options)
	if err := p.weigh(ctx, s, 0); err != nil {
		return nil, err
	}
	if err := p.pack(p.units()); err != nil {
		return nil, err
	}
	return p.plan(), nil
}

// plan returns what was packed.
func (p *planner) plan() *Plan {
	return &Plan{
		Revision:     p.w.revision,
		Notes:        p.notes,
		moved:        p.moved,
		accepted:     len(p.masses) > 0,
		Changes:      p.summary(),
		Transactions: len(p.steps),
		why:          p.options.Why,
		steps:        p.steps,
		reserved:     p.reserved,
	}
}

// same says whether applying the given form would change nothing: equal to the stored
// one, where an epoch lower than the stored one is no difference.
func same(it *item) bool {
	if it.given == nil || it.mod == 0 || it.wasErr != nil || it.was == nil {
		return false
	}
	switch given := it.given.(type) {
	case *routing.Pin:
		was, ok := it.was.(*routing.Pin)
		return ok && *was == *given
	case *routing.Tenant:
		was := it.wasTenant()
		return was != nil && given.Epoch <= was.Epoch && was.Epoch >= it.seen && was.Epoch <= routing.MaxFirstEpoch && equal(epochless(was), epochless(given))
	}
	return equal(it.was, it.given)
}

func epochless(tenant *routing.Tenant) *routing.Tenant {
	c := *tenant
	c.Epoch = 1
	return &c
}

// equal compares documents by their stored forms.
func equal(a, b any) bool {
	left, err1 := document.Encode(a)
	right, err2 := document.Encode(b)
	return err1 == nil && err2 == nil && bytes.Equal(left, right)
}

// sameRules says whether two tenants map every request alike.
func sameRules(a, b *routing.Tenant) bool {
	left, err1 := json.Marshal(a.Rules)
	right, err2 := json.Marshal(b.Rules)
	return err1 == nil && err2 == nil && bytes.Equal(left, right)
}

// newDecks are the decks that a given document maps something to, or names, that the
// stored form did not: the plan relies upon their being there, and not draining.
func newDecks(it *item) []string {
	decks := map[string]bool{}
	known := map[string]bool{}
	for _, ref := range references(it.was) {
		known[ref.deck] = true
	}
	for _, ref := range references(it.given) {
		decks[ref.deck] = decks[ref.deck] || !known[ref.deck]
	}
	for _, m := range mappings(it) {
		decks[m.deck] = true
	}
	var found []string
	for _, deck := range sortedKeys(decks) {
		if decks[deck] {
			found = append(found, deck)
		}
	}
	return found
}
