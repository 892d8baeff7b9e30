package lab_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// fleetTold is what gridctl fleet tells.
type fleetTold struct {
	Members []struct {
		ID                  string
		Revision            int64
		Hash, EffectiveHash string
		OtherForms          bool
		Guard               any
	}
}

func (f *fleetTold) otherForms() bool {
	for _, m := range f.Members {
		if m.OtherForms {
			return true
		}
	}
	return false
}

func (c *campaign) fleet() (*fleetTold, error) {
	out, err := c.grid.Ctl(context.Background(), "fleet", "-o", "json")
	if err != nil {
		return nil, err
	}
	var told fleetTold
	return &told, json.Unmarshal([]byte(out), &told)
}

// tableTold is what a router tells of its table.
type tableTold struct {
	Revision            int64
	Hash, EffectiveHash string
	Source              string
	Connected           bool
	Guard               any
}

func (c *campaign) table(router int) (tableTold, error) {
	a, err := get("http://" + c.grid.Admin(router) + "/table")
	if err != nil {
		return tableTold{}, err
	}
	var told tableTold
	return told, json.Unmarshal(a.body, &told)
}

// heard says which router's word in etcd is not what the router itself says: routers tell of
// themselves every two seconds or so, and only then can gridctl know.
func (c *campaign) heard() error {
	fleet, err := c.fleet()
	if err != nil {
		return err
	}
	for n, router := range campaignRouters() {
		now, err := c.table(n + 1)
		if err != nil {
			return err
		}
		current := false
		for _, m := range fleet.Members {
			current = current || m.ID == router && m.Revision == now.Revision && m.Hash == now.Hash &&
				m.EffectiveHash == now.EffectiveHash && (m.Guard == nil) == (now.Guard == nil)
		}
		if !current {
			return fmt.Errorf("%s has %+v; the fleet tells %+v", router, now, fleet.Members)
		}
		if first, err := c.table(1); err != nil || first.Hash != now.Hash {
			return errors.Join(err, fmt.Errorf("%s has %+v, r1 has %+v", router, now, first))
		}
	}
	return nil
}

// agreement says how the routers differ in what they have in force; nil: they do not.
func (c *campaign) agreement() error {
	first, err := c.table(1)
	if err != nil {
		return err
	}
	for n := range campaignRouters() {
		told, err := c.table(n + 1)
		switch {
		case err != nil:
			return err
		case told.Hash != first.Hash || told.EffectiveHash != first.EffectiveHash || told.Guard != nil:
			return fmt.Errorf("r%d has %+v, r1 has %+v", n+1, told, first)
		}
	}
	return nil
}

// waitTells runs "gridctl wait" where nobody writes, and routers have said how they stand, or
// cannot: if it says that all run the newest revision, they must.
func (c *campaign) waitTells() {
	out, err := c.grid.Ctl(context.Background(), "wait", "--timeout", "3s")
	if err != nil || !strings.HasPrefix(out, fmt.Sprintf("%d routers and 1 GSLB server alive", len(campaignRouters()))) {
		return // it tells
	}
	fleet, _ := c.grid.Ctl(context.Background(), "fleet")
	if differ := c.agreement(); differ != nil {
		c.fail("SPLIT UNSAID: gridctl wait says %q; %v\n%s%s", strings.TrimSpace(out), differ, fleet, c.notes())
	}
}
