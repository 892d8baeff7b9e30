package routing

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A restore of the source from a backup sets tenants back: they are stored with lower epochs than
// routers have seen. What here is about them is described in docs/FOLLOWING.md.

// heed takes over epochs that other routers have seen. It returns the tenants of which that is news,
// sorted.
func (c *Compiler) heed(seen map[string]uint64) (news []string) {
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		epoch := seen[name]
		present := c.seen[name]
		if packed, ok := c.tenants.get(name); ok {
			present = max(present, unpackTenant(packed).epoch)
		}
		if epoch > present && epoch <= MaxEpoch && CheckName(name) == nil {
			c.seen[name] = epoch
			news = append(news, name)
		}
	}
	return news
}

// withdrawSetBack takes a tenant's form out of force that is older than one that another router has
// seen, and that this update did not replace: to answer from its deck would have two decks serve it.
func (c *Compiler) withdrawSetBack(name string) {
	packed, ok := c.tenants.get(name)
	if !ok {
		return
	}
	old := unpackTenant(packed)
	if old.policy == 0 || old.epoch >= c.seen[name] {
		return
	}
	change := &Change{Key: "tenants/" + name, was: old.digest}
	c.effective.sub(c.inForce(change))
	c.behind[change.Key] = 0 // nothing is
	next := old
	next.policy, next.epoch = 0, 0
	c.policies.release(old.policy)
	c.setTenant(name, &old, &next, nil, false, false)
	c.praise(change.Key)
	c.complain(change.Key, ProblemEpochRewound, fmt.Sprintf(
		"has epoch %d, and another router has seen %d: it was set back; settle it with gridctl restored", old.epoch, c.seen[name]), old.revision)
}

// rewound returns the tenants whose stored epoch is lower than one that was seen, with that one.
func (c *Compiler) rewound(problems []Problem) map[string]uint64 {
	var rewound map[string]uint64
	for i := range problems {
		if problems[i].Code != ProblemEpochRewound {
			continue
		}
		name := strings.TrimPrefix(problems[i].Key, "tenants/")
		epoch := c.seen[name]
		if packed, ok := c.tenants.get(name); ok {
			epoch = max(epoch, unpackTenant(packed).epoch)
		}
		if rewound == nil {
			rewound = map[string]uint64{}
		}
		rewound[name] = epoch
	}
	return rewound
}
