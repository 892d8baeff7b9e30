package compile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// standIn takes the place of the hash of a stored pair, where a compiler is rebuilt and knows
// only what is in force. No pair that is delivered has it but by chance (1 in 2^64), so that
// each is compiled anew, against the form in force.
const standIn = 0x7374616e642d696e

// Rebuilt returns a new compiler that stands where the table in force does, for when this one
// has panicked amidst an update, and nobody knows any more what of its memory is true. Tables
// never change, so that the last one it published is. It must be given a whole list next: it
// takes each pair for one that has changed. Last good forms, the epochs of tenants that are
// gone, and the limit of the guard hold on; what the guard held comes under its eyes again.
//
// It returns an error where the table itself does not lead to a compiler.
func (c *Compiler) Rebuilt() (next *Compiler, err error) {
	var failed error
	if err := contained(func() { next, failed = c.rebuilt() }); err != nil {
		return nil, err
	}
	return next, failed
}

func (c *Compiler) rebuilt() (*Compiler, error) {
	next := NewCompiler(c.read.decode)
	next.policies.compiler.CachePins, next.problems.origin = c.policies.compiler.CachePins, c.problems.origin
	maps.Copy(next.problems.origins, c.problems.origins)
	maps.Copy(next.seen, c.seen)
	next.guard.accepted, next.allRead = c.guard.accepted, c.allRead
	t := c.last
	if t == nil {
		return next, nil
	}
	next.last, next.problems.faults, next.problems.changed = t, c.problems.faults, true
	next.guard.wary = t.Guard() != nil
	parts := t.Parts()
	next.maps = parts.Maps.Edit()
	if err := next.rebuildDecks(&parts); err != nil {
		return nil, err
	}
	next.rebuildPolicies(&parts)
	next.rebuildTenants(&parts)
	next.rebuildPins(&parts)
	next.rebuildClaims(&parts)
	for range next.ledger.stored {
		next.ledger.hash.add(standIn)
	}
	next.ledger.effective = next.ledger.hash
	return next, nil
}

// contained runs f and turns a panic into an error that says where it was.
func contained(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("gridrouter has a fault that it shows (%v); please report it: %s", p, faultPlace())
		}
	}()
	f()
	return nil
}

// faultPlace is the place in our own code that panicked: the first frame above the runtime's.
func faultPlace() string {
	var pcs [32]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
		if !more {
			return "an unknown place"
		}
	}
}

func (c *Compiler) rebuildDecks(p *routing.Parts) error {
	c.decks.list = slices.Clone(p.Decks)
	for id, deck := range c.decks.list {
		c.decks.ids[deck.Name] = int32(id)
		if deck.Missing {
			continue
		}
		value, err := json.Marshal(&deck.Deck)
		if err != nil {
			return fmt.Errorf("deck %s: %w", deck.Name, err)
		}
		c.pairs["decks/"+deck.Name] = &storedPair{Digest: standIn, Value: value}
		c.decks.count++
		c.ledger.stored++
	}
	return nil
}

func (c *Compiler) rebuildPolicies(p *routing.Parts) {
	for id, policy := range p.Policies.All() {
		if id == 0 {
			continue
		}
		for len(c.policies.entries) <= int(id) {
			c.policies.entries = append(c.policies.entries, nil)
		}
		entry := &policyEntry{Policy: policy, form: formOf(policy.Document())}
		c.policies.entries[id] = entry
		c.policies.byForm[entry.form] = id
	}
	c.policies.published = p.Policies.Edit()
	for id, entry := range c.policies.entries {
		if entry == nil {
			c.policies.free = append(c.policies.free, uint32(id))
		}
	}
}

// rebuildTenants lets each record stand for a pair that is stored.
func (c *Compiler) rebuildTenants(p *routing.Parts) {
	p.Maps.Tenants.Each(func(name, packed string) bool {
		record := store.UnpackTenant(packed)
		record.Digest, record.Gone = standIn, false
		if record.Policy != 0 {
			c.policies.hold(record.Policy)
		}
		c.packed = record.Pack(c.packed[:0])
		c.maps.Tenants.Put(name, c.packed)
		c.ledger.stored++
		return true
	})
}

func (c *Compiler) rebuildPins(p *routing.Parts) {
	p.Maps.Pins.Each(func(at, packed string) bool {
		record := store.UnpackPin(packed)
		record.Digest, record.Gone = standIn, false
		c.packed = record.Pack(c.packed[:0])
		c.maps.Pins.Put(at, c.packed)
		c.ledger.stored++
		return true
	})
	c.restorePinCounts()
	sum := binary.LittleEndian.AppendUint64(nil, standIn)
	p.Maps.Unheld.Each(func(key, _ string) bool {
		c.maps.Unheld.Put(key, sum)
		c.ledger.stored++
		return true
	})
}

// rebuildClaims finds who claims what: those who hold a host, and those who were refused. What
// is contested is settled anew, and so is all below wildcards, which brings their problems back.
func (c *Compiler) rebuildClaims(p *routing.Parts) {
	s := &c.claims
	p.Maps.Hosts.Each(func(key, packed string) bool {
		host := store.HostOfKey(key)
		_, _, tenant := store.UnpackHost(packed)
		s.effective.add(store.PairDigest("host/"+host, tenant))
		s.wildcard(host, 1)
		return true
	})
	for tenant, hosts := range p.Refused {
		for _, host := range hosts {
			if _, listed := s.contested[host]; !listed {
				if holder := c.claims.holder(host); holder != "" {
					s.contested[host] = []string{holder}
				}
			}
			s.contested[host] = append(s.contested[host], tenant)
			s.wildcard(host, 1)
			s.touched[host] = true
		}
	}
	s.refused = p.Refused
}
