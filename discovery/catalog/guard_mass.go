package catalog

import (
	"context"
	"fmt"
	"maps"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing/compile"
)

// weigh refuses a plan that the guard of the routers or of the GSLB servers would hold, or, if it is allowed,
// notes which documents' transactions tell them that it is meant. onDecks is how many
// tenants are on decks that it deletes.
//
// Routers count all changes of [compile.GuardWindow] together, and so does this, as far as the
// calls before it have left word.
func (p *planner) weigh(ctx context.Context, s *snapshot, onDecks int) error {
	m := p.mass()
	changed := len(m.changed) + onDecks
	if changed == 0 && len(m.names) == 0 {
		return nil
	}
	p.moved = maps.Clone(m.changed)
	maps.Copy(p.moved, m.names)
	if p.options.AllowMassChange {
		p.masses = m.keys
		return p.checkNothingHeld(ctx, s)
	}
	recent, names := s.readRecent(ctx).split()
	if err := s.checkMassOfNames(ctx, m.names, names); err != nil || changed == 0 {
		return err
	}
	together := recent.with(m.changed) + onDecks
	if together <= compile.GuardLimit(0) {
		return nil // whatever the number of tenants: no plan deletes more than one
	}
	tenants, err := s.countDocuments(ctx, FolderTenants)
	if err != nil {
		return err
	}
	limit := compile.GuardLimit(tenants)
	switch {
	case together <= limit:
		return nil
	case changed <= limit:
		return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
			"with those of the last %s this drops, or changes where they lead, %d of %d tenants; routers hold more than %d within that time until they are told that it is meant: write it again in %s, or with --allow-mass-change",
			compile.GuardWindow, together, tenants, limit, recent.untilExpired(together-limit, s.now()).Round(time.Second)+time.Second)}})
	}
	return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
		"this drops, or changes where they lead, %d of %d tenants; routers hold more than %d at once until they are told that it is meant: if it is, write --allow-mass-change",
		changed, tenants, limit)}})
}

// checkMassOfNames refuses deletions of Gslb documents that the guard of GSLB servers would hold. gone and
// recent name them by their keys.
func (s *snapshot) checkMassOfNames(ctx context.Context, gone map[string]bool, recent recentMoves) error {
	together := recent.with(gone)
	if len(gone) == 0 || together <= compile.GuardLimit(0) {
		return nil
	}
	stored, err := s.countDocuments(ctx, FolderGslb)
	if err != nil {
		return err
	}
	limit := compile.GuardLimit(stored + len(recent)) // those that have just gone are of the names that there were
	if together <= limit {
		return nil
	}
	return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
		"with those of the last %s this drops %d of %d names; GSLB servers hold more than %d within that time until they are told that it is meant: write it again in %s, or with --allow-mass-change",
		compile.GuardWindow, together, stored+len(recent), limit, recent.untilExpired(together-limit, s.now()).Round(time.Second)+time.Second)}})
}

// checkNothingHeld refuses a mark while routers hold something: it would accept that along with
// what it is meant for.
func (p *planner) checkNothingHeld(ctx context.Context, s *snapshot) error {
	members, err := s.holders(ctx)
	if err != nil {
		return err
	}
	held := int64(0)
	for i := range members {
		if guard := members[i].Guard; guard != nil {
			held = max(held, guard.Revision)
		}
	}
	if held == 0 {
		p.notes = append(p.notes, "marked as meant, so that the guard of the routers lets it pass")
		return nil
	}
	return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
		"routers hold another mass change, up to revision %d, and a mark would accept that too; settle it first: gridctl guard accept %d, or gridctl guard discard %d", held, held, held)}})
}

// mass is what of a plan the routers' guard counts.
type mass struct {
	changed map[string]bool // names of tenants that go, or with other rules or pins than before
	names   map[string]bool // keys of Gslb documents that go
	keys    map[string]bool // of the documents that do it
}

// mass counts as routers do: a tenant that goes, one whose rules are not what they were,
// and one of whose pins goes or leads elsewhere. New tenants and new pins are no harm. Of a tenant
// that was set back routers have another form in force than the stored one, perhaps with other rules.
func (p *planner) mass() mass {
	m := mass{changed: map[string]bool{}, names: map[string]bool{}, keys: map[string]bool{}}
	for _, it := range p.w.given {
		folder, tenant := folderOf(it.key)
		switch was, final := it.wasTenant(), tenantOf(it.final()); {
		case it.mod == 0:
			continue
		case folder == FolderDecks && it.remove:
			m.keys[it.key] = true
			continue
		case folder == FolderGslb && it.remove:
			m.names[it.key], m.keys[it.key] = true, true
			continue
		case folder == FolderPins && !same(it):
			tenant = ownerOf(it)
		case folder != FolderTenants:
			continue
		case final != nil && it.wasErr == nil && was != nil && sameRules(was, final) && was.Epoch >= it.seen:
			continue
		}
		m.changed[tenant], m.keys[it.key] = true, true
	}
	return m
}

// countDocuments counts the stored documents of a folder.
func (s *snapshot) countDocuments(ctx context.Context, folder string) (int, error) {
	answer, err := s.get(ctx, s.at.doc(folder+"/"), s.options(clientv3.WithPrefix(), clientv3.WithCountOnly())...)
	if err != nil {
		return 0, s.mend(err)
	}
	s.settle(answer.Header.Revision)
	return int(answer.Count), nil
}
