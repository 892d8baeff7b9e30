package catalog

import (
	"context"
	"fmt"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/routing"
)

// guardLimit is how many of so many tenants one change may drop or lead to other decks
// without being held.
func guardLimit(tenants int) int { return max(10, tenants/20) }

// weigh refuses a plan that the guard of the routers would hold, or, if it is allowed,
// notes which tenants' transactions tell them that it is meant.
//
// Routers count all changes of ten seconds together, and this only one plan's. Many small plans one
// right after the other are not refused here; allowed, each of them carries its mark.
func (p *planner) weigh(ctx context.Context, s *snapshot) error {
	m := p.mass()
	if m.dropped+m.repointed == 0 {
		return nil
	}
	if p.options.AllowMassChange {
		p.masses = m.keys
		return p.weighHeld(ctx, s)
	}
	if m.dropped < 2 && m.dropped+m.repointed <= guardLimit(0) {
		return nil // whatever the number of tenants
	}
	tenants, err := s.countTenants(ctx)
	if err != nil {
		return err
	}
	limit := guardLimit(tenants)
	none := tenants > 1 && m.dropped == tenants && m.created == 0
	if !none && m.dropped+m.repointed <= limit {
		return nil
	}
	return refused([]error{&ReasonError{Place: "guard", Message: fmt.Sprintf(
		"this drops %d tenants and leads %d to other decks, of %d in all; routers hold more than %d at once until they are told that it is meant: if it is, write --allow-mass-change",
		m.dropped, m.repointed, tenants, limit)}})
}

// weighHeld refuses a mark while routers hold something: it would accept that along with
// what it is meant for.
func (p *planner) weighHeld(ctx context.Context, s *snapshot) error {
	members, err := s.members(ctx)
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

// mass is what a plan does to tenants that the routers' guard counts.
type mass struct {
	dropped, repointed, created int
	keys                        map[string]bool // of those dropped or repointed
}

func (p *planner) mass() mass {
	m := mass{keys: map[string]bool{}}
	for _, it := range p.w.given {
		if folder, _ := folderOf(it.key); folder != FolderTenants {
			continue
		}
		switch was, final := it.wasTenant(), tenantOf(it.final()); {
		case it.mod == 0:
			m.created++
		case final == nil:
			m.dropped++
			m.keys[it.key] = true
		case it.wasErr != nil || was == nil || repoints(was, final):
			// What routers have in force instead of a bad document is not known here.
			m.repointed++
			m.keys[it.key] = true
		}
	}
	return m
}

// repoints says whether a tenant's rules lead to other decks than before.
func repoints(was, now *routing.Tenant) bool { return !slices.Equal(leadsTo(was), leadsTo(now)) }

// leadsTo lists the decks that a tenant's rules lead to.
func leadsTo(tenant *routing.Tenant) []string {
	decks := map[string]bool{}
	for i := range tenant.Rules {
		rule := &tenant.Rules[i]
		decks[rule.Deck] = true
		decks[missingDeck(rule)] = true
		for j := range rule.Ranges {
			decks[rule.Ranges[j].Deck] = true
		}
		for deck, weight := range rule.Split {
			if weight > 0 {
				decks[deck] = true
			}
		}
	}
	delete(decks, "")
	return sortedKeys(decks)
}

// countTenants counts the stored tenants.
func (s *snapshot) countTenants(ctx context.Context) (int, error) {
	answer, err := s.get(ctx, s.at.doc(FolderTenants+"/"), s.options(clientv3.WithPrefix(), clientv3.WithCountOnly())...)
	if err != nil {
		return 0, s.mend(err)
	}
	s.settle(answer.Header.Revision)
	return int(answer.Count), nil
}
