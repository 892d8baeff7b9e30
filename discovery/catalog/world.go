package catalog

import (
	"cmp"
	"maps"
	"slices"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// MaxDocumentBytes is the greatest size of a document's JSON form. A change record holds
// it twice, before and after, beside the document itself, and all that must fit one
// transaction of 1 MiB.
const MaxDocumentBytes = 320 << 10

// maxRestoredBytes is the same for a document that was written past any catalog and comes back: of
// one over [MaxDocumentBytes] a record holds no form.
const maxRestoredBytes = maxTxnBytes - 64<<10

// item is one document: as it is given, as etcd holds it, or both.
type item struct {
	key    string
	origin string // where the given form was read
	given  any    // nil: not given
	json   []byte // the given form as it is to be stored
	remove bool   // it is to be deleted
	// verbatim says that a tenant comes back to just what it was, so that its epoch stands.
	verbatim bool

	was     any   // the stored form; nil: there is none, or nothing of it can be read
	wasErr  error // why the stored form is bad
	value   []byte
	mod     int64 // modification revision; 0: not stored
	created int64 // creation revision; 0: not stored

	record int64  // number of the newest change record; 0: none
	read   int64  // the revision of the stored form that the given one was made from; 0: it does not say
	seen   uint64 // the highest epoch that routers tell of; 0: none does
	epoch  uint64 // highest epoch that the tenant is known to have had; 0: never was
}

// place is where a person finds the document.
func (it *item) place() string {
	if it.origin != "" {
		return it.origin
	}
	return "etcd"
}

// final is the form that the document will have when the plan is done; nil: none.
func (it *item) final() any {
	switch {
	case it == nil || it.remove:
		return nil
	case it.given != nil:
		return it.given
	}
	return it.was
}

// changing says whether the plan may write the document.
func (it *item) changing() bool { return it.given != nil || it.remove }

// claim is the value of a host's claim, as read from etcd.
type claim struct {
	tenant string // empty: the value cannot be read
	mod    int64
}

// world is all that a plan looks at: what is given and what etcd holds at one revision.
// Without etcd it holds only what is given.
type world struct {
	revision int64
	items    map[string]*item
	given    []*item // in the order of the input
	claims   map[string]claim
	offline  bool // there is no etcd
	// restoring says that what is given stood in etcd before: nothing of it is new.
	restoring bool

	deckNames []string // of all decks, once somebody asked for the nearest
}

func newWorld() *world {
	return &world{items: map[string]*item{}, claims: map[string]claim{}}
}

// admit takes the documents that were given. It returns what is wrong with them by
// themselves: unreadable, too large, or given twice.
func (w *world) admit(docs []document.Parsed) []error {
	var reasons []error
	for i := range docs {
		doc := &docs[i]
		if doc.Err != nil {
			reasons = append(reasons, doc.Err)
		}
		if doc.Key == "" || doc.Document == nil {
			continue
		}
		it := &item{key: doc.Key, origin: doc.Origin, given: doc.Document, json: doc.JSON, read: doc.Revision}
		if first, twice := w.items[doc.Key]; twice {
			reasons = append(reasons, refusal(it, "", "is given twice, first at %s; keep one of the two", first.place()))
			continue
		}
		limit := MaxDocumentBytes
		if w.restoring {
			limit = maxRestoredBytes
		}
		if size := len(doc.JSON); size > limit {
			reasons = append(reasons, refusal(it, "", "is %d KiB long as JSON, at most %d fit etcd with a change record; %s",
				(size+1023)>>10, limit>>10, howToShorten(doc.Document)))
		}
		w.items[doc.Key] = it
		w.given = append(w.given, it)
	}
	return reasons
}

// howToShorten is the mend for a document that is too large.
func howToShorten(doc any) string {
	if _, tenant := doc.(*routing.Tenant); tenant {
		return "turn long lists of ranges into pins or a split, or divide the tenant's hosts among several tenants"
	}
	return "shorten its lists"
}

// deck returns the form that a deck will have; nil: there is none.
func (w *world) deck(name string) *routing.Deck {
	deck, _ := w.items[deckKey(name)].final().(*routing.Deck)
	return deck
}

// exists says whether a document will be there, readable or not.
func (w *world) exists(key string) bool {
	it := w.items[key]
	return it != nil && !it.remove && (it.given != nil || it.mod != 0)
}

// wasTenant is the stored form of a tenant; nil: none, or not readable.
func (it *item) wasTenant() *routing.Tenant { return tenantOf(it.was) }

// tenantOf is a document as a tenant; nil: it is none.
func tenantOf(doc any) *routing.Tenant {
	tenant, _ := doc.(*routing.Tenant)
	return tenant
}

// hostsOf is nil-safe.
func hostsOf(tenant *routing.Tenant) []string {
	if tenant == nil {
		return nil
	}
	return tenant.Hosts
}

// delegatesOf is nil-safe.
func delegatesOf(tenant *routing.Tenant) []string {
	if tenant == nil {
		return nil
	}
	return tenant.Delegates
}

// without returns what is in list and not in other, in order.
func without(list, other []string) []string {
	if len(list) == 0 {
		return nil
	}
	in := make(map[string]bool, len(other))
	for _, s := range other {
		in[s] = true
	}
	var rest []string
	for _, s := range list {
		if !in[s] {
			rest = append(rest, s)
		}
	}
	return rest
}

// delegated says whether the owner of a wildcard lets others claim host.
func delegated(owner *routing.Tenant, host string) bool {
	return owner != nil && slices.ContainsFunc(owner.Delegates, func(d string) bool { return routing.Covers(d, host) })
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
