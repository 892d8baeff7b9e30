package catalog

import (
	"context"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
)

// DeleteOptions are what a deletion says beside the document's name.
type DeleteOptions struct {
	Options
	// Force deletes a deck although documents refer to it. Their requests get deck_down.
	Force bool
	// WithPins deletes a tenant's pins along with it.
	WithPins bool
}

// fewReferrers is how many referrers a refusal names.
const fewReferrers = 5

// PlanDelete returns what deleting one document would do. key is the document's key:
// decks/NAME, tenants/NAME, gslb/FQDN or pins/TENANT/KEY with the key escaped as by
// [routing.EscapeKey].
//
// A deck that anything refers to is refused, unless forced. A tenant that has pins is
// refused, unless they are to go with it: they go after the tenant, so that none of its
// keys is ever routed without them; interrupted, the same call finishes. What does not
// exist is [ErrNotFound].
func (c *Catalog) PlanDelete(ctx context.Context, key string, options DeleteOptions) (*Plan, error) {
	if err := options.check(); err != nil {
		return nil, err
	}
	w := newWorld()
	it := &item{key: key, remove: true}
	w.items[key] = it
	w.given = append(w.given, it)
	s := &snapshot{Catalog: c}
	if err := s.gather(ctx, w); err != nil {
		return nil, err
	}
	folder, name := folderOf(key)
	if folder == FolderTenants {
		return c.planDeleteTenant(ctx, s, w, name, options)
	}
	if it.mod == 0 {
		return nil, fmt.Errorf("%s: %w in etcd", describe(key), ErrNotFound)
	}
	switch folder {
	case FolderDecks:
		return c.planDeleteDeck(ctx, s, w, name, options)
	case FolderPins:
		if err := refused(w.checkPinDeletion(it)); err != nil {
			return nil, err
		}
	}
	return s.planned(ctx, w, options.Options)
}

// checkPinDeletion refuses where the tenant's epoch cannot be raised.
func (w *world) checkPinDeletion(it *item) []error {
	owner := w.items[tenantKey(ownerOf(it))]
	if owner != nil && owner.wasErr != nil {
		return []error{refusal(it, "tenant", "tenant %q in etcd is bad, so its epoch cannot be raised (%v); apply a good document of it first",
			ownerOf(it), owner.wasErr)}
	}
	return nil
}

func (c *Catalog) planDeleteDeck(ctx context.Context, s *snapshot, w *world, name string, options DeleteOptions) (*Plan, error) {
	p := newPlanner(c, w, options.Options)
	it := w.items[deckKey(name)]
	p.change(it)
	piece := op{owner: it.key, docs: []string{it.key}}
	referrers, err := s.referrers(ctx, w, name)
	if err != nil {
		return nil, err
	}
	switch {
	case referrers.count > 0 && !options.Force:
		return nil, refused([]error{refusal(it, "", "%s; point them at other decks first, or delete it anyway with --force, so that their requests get deck_down",
			referrers.text())})
	case !options.Force:
		// Nobody may begin to refer to the deck before it is gone.
		for _, folder := range []string{FolderTenants, FolderPins, FolderDecks} {
			piece.conditions = append(piece.conditions, condition{key: c.at.doc(folder + "/"), how: noneNewer, revision: s.revision})
		}
	}
	if err := p.weigh(ctx, s, referrers.tenants); err != nil {
		return nil, err
	}
	if err := p.pack([][]op{{piece}}); err != nil {
		return nil, err
	}
	plan := p.plan()
	if referrers.count > 0 {
		plan.Notes = append(plan.Notes, referrers.text()+"; their requests get deck_down")
	}
	return plan, nil
}

// referrers are the documents that refer to a deck.
type referrers struct {
	few     []string
	count   int
	tenants int // of count
}

func (r *referrers) add(key string, doc any, deck string) {
	for _, ref := range references(doc) {
		if ref.deck == deck {
			r.count++
			if tenantOf(doc) != nil {
				r.tenants++
			}
			if len(r.few) < fewReferrers {
				r.few = append(r.few, describe(key)+" ("+ref.path+")")
			}
			return
		}
	}
}

func (r *referrers) text() string {
	text := fmt.Sprintf("%d documents refer to it: ", r.count)
	if r.count == 1 {
		text = "one document refers to it: "
	}
	text += strings.Join(r.few, ", ")
	if rest := r.count - len(r.few); rest > 0 {
		text += fmt.Sprintf(" and %d more", rest)
	}
	return text
}

// referrers reads all documents that may refer to a deck.
func (s *snapshot) referrers(ctx context.Context, w *world, deck string) (*referrers, error) {
	found := &referrers{}
	for _, key := range sortedKeys(w.items) {
		found.add(key, w.items[key].was, deck)
	}
	for _, folder := range []string{FolderTenants, FolderPins} {
		err := s.scan(ctx, s.at.doc(folder+"/"), documentPage, func(kvs []*mvccpb.KeyValue) error {
			for _, kv := range kvs {
				// Most documents do not even hold the name.
				if !strings.Contains(string(kv.Value), deck) {
					continue
				}
				key := strings.TrimPrefix(string(kv.Key), s.at.docs())
				doc, _ := s.reader.Decode(key, kv.Value)
				found.add(key, doc, deck)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// pinsPerDeletion is how many pins one transaction deletes. Each is an event to every router.
const pinsPerDeletion = 1_000

func (c *Catalog) planDeleteTenant(ctx context.Context, s *snapshot, w *world, name string, options DeleteOptions) (*Plan, error) {
	it := w.items[tenantKey(name)]
	spans, count, err := s.pinSpans(ctx, name)
	if err != nil {
		return nil, err
	}
	switch {
	case it.mod == 0 && count == 0:
		return nil, fmt.Errorf("%s: %w in etcd", describe(it.key), ErrNotFound)
	case count > 0 && !options.WithPins && it.mod == 0:
		return nil, fmt.Errorf("%s: %w in etcd, but %s of it %s left; delete with --with-pins", describe(it.key), ErrNotFound, counted(count), reason(count == 1, "is", "are"))
	case count > 0 && !options.WithPins:
		return nil, refused([]error{refusal(it, "", "has %s; delete along with it by --with-pins", counted(count))})
	}
	p := newPlanner(c, w, options.Options)
	if err := p.weigh(ctx, s, 0); err != nil {
		return nil, err
	}
	var units [][]op
	if it.mod != 0 {
		// A pin that comes meanwhile raises the tenant's epoch, and so stops this.
		units = p.tenantUnits([]*item{it})
	}
	for _, span := range spans {
		units = append(units, []op{{owner: it.key, ranges: []keyRange{span}, conditions: []condition{p.creationCondition(it.key)}}})
	}
	p.change(it)
	if err := p.pack(units); err != nil {
		return nil, err
	}
	plan := p.plan()
	if count > 0 {
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s of tenant %q %s with it; the last values stay in the change records",
			counted(count), name, reason(count == 1, "goes", "go")))
	}
	return plan, nil
}

// counted writes "one pin", "2 pins".
func counted(pins int) string {
	if pins == 1 {
		return "one pin"
	}
	return fmt.Sprintf("%d pins", pins)
}

func pinFolder(at layout, tenant string) string { return at.doc(FolderPins + "/" + tenant + "/") }

// pinSpans divides a tenant's pins into spans that a transaction may delete.
func (s *snapshot) pinSpans(ctx context.Context, tenant string) (spans []keyRange, count int, err error) {
	folder := pinFolder(s.at, tenant)
	from := folder
	err = s.scan(ctx, folder, keyPage, func(kvs []*mvccpb.KeyValue) error {
		for _, kv := range kvs {
			if count++; count%pinsPerDeletion == 0 {
				next := string(kv.Key) + "\x00"
				spans = append(spans, keyRange{from, next})
				from = next
			}
		}
		return nil
	}, clientv3.WithKeysOnly())
	if end := clientv3.GetPrefixRangeEnd(folder); count > 0 {
		spans = append(spans, keyRange{from, end})
	}
	return spans, count, err
}

// PinKey returns the document key of a tenant's pin.
func PinKey(tenant, key string) string {
	return FolderPins + "/" + tenant + "/" + routing.EscapeKey(key)
}
