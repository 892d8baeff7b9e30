package compile

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"gridrouter.io/routing"
	"gridrouter.io/routing/store"
)

// SnapshotFormat is the version of what [Checkpoint.Sections] writes. A compiler restores
// no other.
const SnapshotFormat uint32 = 3

// Section is one named part of a snapshot.
type Section = store.Section

// Names of the sections beside those of [store.Maps.Encode].
const (
	sectionState    = "state"
	sectionPolicies = "policies"
)

// Checkpoint is all that a compiler knows at one moment: its table, and what it needs to
// go on from there. It is immutable, and any goroutine may use it.
type Checkpoint struct {
	table    *routing.Table
	state    state
	policies []storedPolicy
}

// state is what a compiler knows beside the stores, in the form that a snapshot holds: gob,
// since keys are bytes, and text forms such as JSON lose those that are not UTF-8.
type state struct {
	Revision  int64
	CachePins bool
	Hash      digest
	Effective digest
	Stored    int
	Pairs     map[string]*storedPair
	Decks     []string // by ID
	Waiting   map[string]*heldChange
	Held      map[string]*heldChange
	SetBack   map[string]*heldChange
	Guard     *routing.GuardState
	Accepted  int64
	Origin    string
	Origins   map[string]string
	Behind    map[string]uint64
	Problems  map[string][]routing.Problem
	Seen      map[string]uint64
	Contested map[string][]string
	Refused   map[string][]string
	Wildcards int
	Claims    map[string][]routing.Problem
	Owned     digest
	Unlisted  int
	Partial   bool
}

// heldChange is a change that waits for something.
type heldChange struct {
	Value    []byte
	Deleted  bool
	Revision int64
	Created  int64
	Was      uint64
	Sum      uint64
}

// storedPolicy is a policy as a snapshot holds it.
type storedPolicy struct {
	ID      uint32          `json:"id"`
	Form    *routing.Tenant `json:"form"`
	Texts   []string        `json:"texts,omitempty"`
	Tenants int             `json:"tenants"`
}

// Checkpoint returns what the compiler knows after its last update; nil before the first.
// It copies what is small, and shares the rest with the table.
func (c *Compiler) Checkpoint() *Checkpoint {
	if c.last == nil {
		return nil
	}
	k := &Checkpoint{table: c.last, state: state{
		Revision: c.last.Revision(), CachePins: c.policies.compiler.CachePins, Hash: c.ledger.hash, Effective: c.ledger.effective, Stored: c.ledger.stored,
		Pairs: maps.Clone(c.pairs), Waiting: heldChanges(c.waiting), Held: heldChanges(c.guard.held), SetBack: heldChanges(c.setBack.all()), Guard: c.last.Guard(), Accepted: c.guard.accepted,
		Origin: c.problems.origin, Origins: maps.Clone(c.problems.origins), Behind: maps.Clone(c.ledger.behind), Problems: maps.Clone(c.problems.byKey), Seen: maps.Clone(c.seen),
		Contested: maps.Clone(c.claims.contested), Refused: c.claims.refused, Wildcards: c.claims.wildcards,
		Claims: maps.Clone(c.claims.problems), Owned: c.claims.effective, Unlisted: c.guard.unlisted, Partial: !c.allRead,
	}}
	for _, deck := range c.decks.list {
		k.state.Decks = append(k.state.Decks, deck.Name)
	}
	for id, entry := range c.policies.entries {
		if entry != nil && id > 0 {
			k.policies = append(k.policies, storedPolicy{ID: uint32(id), Form: entry.Document(), Texts: slices.Clone(entry.texts), Tenants: entry.tenants})
		}
	}
	return k
}

func heldChanges(changes map[string]*Change) map[string]*heldChange {
	held := make(map[string]*heldChange, len(changes))
	for key, change := range changes {
		held[key] = &heldChange{change.Value, change.Deleted, change.Revision, change.Created, change.was, change.sum}
	}
	return held
}

// Revision returns the revision of the table.
func (k *Checkpoint) Revision() int64 { return k.table.Revision() }

// Counts returns how much the table holds.
func (k *Checkpoint) Counts() routing.Counts { return k.table.Counts() }

// Hash returns the hash of the stored pairs.
func (k *Checkpoint) Hash() string { return k.table.Hash() }

// EffectiveHash returns the hash of what is in force.
func (k *Checkpoint) EffectiveHash() string { return k.table.EffectiveHash() }

// Partial says that a part of the source had never been read: [routing.Table.Partial].
func (k *Checkpoint) Partial() bool { return k.table.Partial() }

// Sections returns the checkpoint as bytes. It takes some milliseconds for each ten
// thousand tenants.
func (k *Checkpoint) Sections() ([]Section, error) {
	var state bytes.Buffer
	if err := gob.NewEncoder(&state).Encode(&k.state); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	policies, err := json.Marshal(k.policies)
	if err != nil {
		return nil, fmt.Errorf("policies: %w", err)
	}
	maps := k.table.Parts().Maps
	return append([]Section{{Name: sectionState, Data: state.Bytes()}, {Name: sectionPolicies, Data: policies}}, maps.Encode()...), nil
}

// Restore brings a new compiler to where another one was when it made a checkpoint, and
// returns the table. After an error the compiler is of no use.
func (c *Compiler) Restore(sections []Section) (table *routing.Table, err error) {
	if c.last != nil {
		return nil, errors.New("only a new compiler can be restored")
	}
	if broken := contained(func() { table, err = c.restore(sections) }); broken != nil {
		return nil, broken
	}
	return table, err
}

func (c *Compiler) restore(sections []Section) (*routing.Table, error) {
	data := map[string][]byte{}
	for _, section := range sections {
		data[section.Name] = section.Data
	}
	var s state
	if err := gob.NewDecoder(bytes.NewReader(data[sectionState])).Decode(&s); err != nil {
		return nil, fmt.Errorf("section %s: %w", sectionState, err)
	}
	if s.CachePins != c.policies.compiler.CachePins {
		return nil, errors.New("it was written by a router that treats cached pins in another way")
	}
	maps, err := store.DecodeMaps(func(name string) []byte { return data[name] })
	if err != nil {
		return nil, err
	}
	c.maps = maps
	if err := c.restoreState(&s); err != nil {
		return nil, err
	}
	if err := c.restorePolicies(data[sectionPolicies]); err != nil {
		return nil, fmt.Errorf("section %s: %w", sectionPolicies, err)
	}
	c.restorePinCounts()
	c.problems.changed = true
	return c.publish(s.Revision), nil
}

func (c *Compiler) restoreState(s *state) error {
	c.ledger.hash, c.ledger.effective, c.ledger.stored, c.problems.origin = s.Hash, s.Effective, s.Stored, s.Origin
	c.claims.wildcards, c.claims.effective = s.Wildcards, s.Owned
	for _, m := range []struct{ to, from map[string][]routing.Problem }{{c.problems.byKey, s.Problems}, {c.claims.problems, s.Claims}} {
		maps.Copy(m.to, m.from)
	}
	maps.Copy(c.pairs, s.Pairs)
	maps.Copy(c.problems.origins, s.Origins)
	maps.Copy(c.ledger.behind, s.Behind)
	maps.Copy(c.seen, s.Seen)
	maps.Copy(c.claims.contested, s.Contested)
	c.claims.refused = s.Refused
	restoreChanges(c.waiting, s.Waiting)
	restoreChanges(c.guard.held, s.Held)
	pins := map[string]*Change{}
	restoreChanges(pins, s.SetBack)
	for _, change := range pins {
		c.setBack.put(change)
	}
	c.guard.stale, c.guard.unlisted, c.allRead = true, s.Unlisted, !s.Partial
	if c.guard.accepted = s.Accepted; s.Guard != nil {
		c.guard.revision, c.guard.since, c.guard.before = s.Guard.Revision, s.Guard.Since, s.Guard.Before
	}
	for _, name := range s.Decks {
		c.decks.id(name)
	}
	for key, pair := range s.Pairs {
		name, ok := strings.CutPrefix(key, "decks/")
		if !ok {
			continue
		}
		value := pair.Value
		if pair.Good != nil {
			value = pair.Good
		}
		deck, err := c.read.deck(key, value)
		if err == nil {
			c.decks.set(name, deck)
		} else if len(s.Problems[key]) == 0 {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

func restoreChanges(to map[string]*Change, from map[string]*heldChange) {
	for key, held := range from {
		change := &Change{Key: key, Value: held.Value, Deleted: held.Deleted, Revision: held.Revision, Created: held.Created, was: held.Was, sum: held.Sum}
		change.kind, change.tenant, change.key = kindOfKey(key)
		to[key] = change
	}
}

func (c *Compiler) restorePolicies(data []byte) error {
	var stored []storedPolicy
	if err := json.Unmarshal(data, &stored); err != nil {
		return err
	}
	p := &c.policies
	for _, one := range stored {
		if one.Form == nil || one.ID == 0 {
			return errors.New("a policy without a form")
		}
		for len(p.entries) <= int(one.ID) {
			p.entries = append(p.entries, nil)
		}
		entry := &policyEntry{Policy: c.policies.compiler.Compile(one.Form), form: formOf(one.Form), texts: one.Texts, tenants: one.Tenants}
		p.entries[one.ID] = entry
		p.byForm[entry.form] = one.ID
		for _, text := range one.Texts {
			p.byText[text] = one.ID
		}
		p.published.Set(one.ID, entry.Policy)
	}
	for id, entry := range p.entries {
		if entry == nil {
			p.free = append(p.free, uint32(id))
			p.published.Set(uint32(id), nil)
		}
	}
	return nil
}

// restorePinCounts counts pins by tenant and by deck.
func (c *Compiler) restorePinCounts() {
	c.maps.Pins.Each(func(at, packed string) bool {
		tenant, _, _ := strings.Cut(at, "/")
		if _, known := c.pinCounts[tenant]; !known {
			tenant = strings.Clone(tenant)
		}
		c.pinCounts[tenant]++
		c.decks.countPin(store.UnpackPin(packed).Deck, 1)
		return true
	})
}
