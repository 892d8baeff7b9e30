package catalog

import (
	"fmt"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/document"
)

// Check looks across documents without etcd, as if they were all there is: a document
// given twice or too large, a deck or tenant that nobody describes, a host claimed twice,
// a host under another tenant's wildcard that is not delegated. What a document has wrong
// by itself stands in its own Err and is not repeated here. The errors are *[ReasonError], in
// the order of the documents.
func Check(docs []document.Parsed) []error {
	w := newWorld()
	w.offline = true
	readable := make([]document.Parsed, 0, len(docs))
	var bad []document.Parsed
	for _, doc := range docs {
		if doc.Err != nil {
			bad = append(bad, doc)
			continue
		}
		readable = append(readable, doc)
	}
	reasons := w.admit(readable)
	// A deck whose document is bad is not missing as well.
	for i := range bad {
		if key := bad[i].Key; key != "" && w.items[key] == nil {
			w.items[key] = &item{key: key, origin: bad[i].Origin, mod: 1}
		}
	}
	return append(reasons, w.check()...)
}

// check returns every reason to refuse what is given, in the order of the documents.
func (w *world) check() []error {
	owners := w.owners()
	var reasons []error
	for _, it := range w.given {
		reasons = append(reasons, w.checkReferences(it)...)
		switch doc := it.given.(type) {
		case *routing.Tenant:
			reasons = append(reasons, w.checkHosts(it, doc, owners)...)
			if !w.offline && !routing.EpochFollows(it.epoch, doc.Epoch) {
				reasons = append(reasons, refusal(it, "epoch", "is %d, and the tenant's last one was %d: routers refuse such a step; leave it out, and the next one is written", doc.Epoch, it.epoch))
			}
		case *routing.Pin:
			reasons = append(reasons, w.checkPin(it, doc)...)
		}
		reasons = append(reasons, w.checkDraining(it)...)
	}
	return append(reasons, w.checkWildcards(owners)...)
}

// checkReferences finds decks that do not exist.
func (w *world) checkReferences(it *item) []error {
	var reasons []error
	for _, ref := range references(it.given) {
		if w.exists(deckKey(ref.deck)) {
			continue
		}
		mend := "describe it beside this document, or correct the name"
		if near := w.nearestDeck(ref.deck); near != "" {
			mend = fmt.Sprintf("did you mean %q? otherwise %s", near, mend)
		}
		reasons = append(reasons, refusal(it, ref.path, "there is no deck %q; %s", ref.deck, mend))
	}
	return reasons
}

// checkPin finds pins of tenants that do not exist, or cannot be read.
func (w *world) checkPin(it *item, pin *routing.Pin) []error {
	owner := w.items[tenantKey(pin.Tenant)]
	switch {
	case !w.exists(tenantKey(pin.Tenant)):
		return []error{refusal(it, "tenant", "there is no tenant %q; describe it beside this document, or correct the name", pin.Tenant)}
	case owner.given == nil && owner.wasErr != nil:
		return []error{refusal(it, "tenant", "tenant %q in etcd is bad, so its epoch cannot be raised (%v); apply a good document of it first",
			pin.Tenant, owner.wasErr)}
	}
	return nil
}

// nearestDeck is the deck whose name is likely meant by name; empty: none is near.
func (w *world) nearestDeck(name string) string {
	if w.deckNames == nil {
		w.deckNames = []string{}
		for _, key := range sortedKeys(w.items) {
			if other, isDeck := strings.CutPrefix(key, FolderDecks+"/"); isDeck && w.exists(key) {
				w.deckNames = append(w.deckNames, other)
			}
		}
	}
	return document.Nearest(name, w.deckNames)
}
