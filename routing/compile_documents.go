package routing

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// deckID returns the ID of a deck's name, and gives out a new one, for a missing deck,
// if it has none.
func (c *Compiler) deckID(name string) int32 {
	if id, ok := c.deckIDs[name]; ok {
		return id
	}
	id := int32(len(c.decks)) // far fewer decks
	c.deckIDs[name] = id
	c.decks = append(c.decks, missingDeck(name, id))
	return id
}

func missingDeck(name string, id int32) *CompiledDeck {
	return &CompiledDeck{Deck: Deck{Kind: KindDeck, Name: name}, ID: int(id), Missing: true, State: DeckDown, standby: -1}
}

// deckKnown says whether a deck has a form in force.
func (c *Compiler) deckKnown(name string) bool {
	id, ok := c.deckIDs[name]
	return ok && !c.decks[id].Missing
}

func (c *Compiler) knownDecks() map[string]bool {
	known := make(map[string]bool, len(c.decks))
	for _, deck := range c.decks {
		if !deck.Missing {
			known[deck.Name] = true
		}
	}
	return known
}

func (c *Compiler) compileDeck(change Change) {
	name := strings.TrimPrefix(change.Key, "decks/")
	if change.Deleted {
		c.forget(change.Key)
		if c.deckKnown(name) {
			id := c.deckIDs[name]
			c.decks[id] = missingDeck(name, id)
			c.counts.Decks--
		}
		return
	}
	delete(c.problems, change.Key)
	document, err := c.decode(change.Key, change.Value)
	deck, ok := document.(*Deck)
	if err == nil && !ok {
		err = errors.New("the value is no deck")
	}
	if err != nil {
		c.complain(change.Key, ProblemBadDocument, err.Error())
		return
	}
	standby := int32(-1)
	if deck.Standby != "" {
		standby = c.deckID(deck.Standby)
	}
	if !c.deckKnown(name) {
		c.counts.Decks++
	}
	id := c.deckID(name)
	c.decks[id] = compileDeck(deck, id, standby)
	c.enforce(change.Key)
}

// tenantState is what the compiler remembers of a tenant.
type tenantState struct {
	index     int32
	policy    *Policy
	hosts     []string // what it claims
	delegates []string
	// created, revision and origin are those of the stored document.
	created, revision int64
	origin            string
}

// wasGood says whether the tenant has a form in force.
func (t *tenantState) wasGood() bool { return t.policy.Document != nil }

func (c *Compiler) compileTenant(change Change, b *batch) {
	name := strings.TrimPrefix(change.Key, "tenants/")
	state := c.tenants[name]
	if change.Deleted {
		c.forget(change.Key)
		if state != nil {
			c.claims.withdraw(name, state)
			c.table[state.index] = nil
			c.free = append(c.free, state.index)
			delete(c.tenants, name)
			b.flipped[name] = true
		}
		return
	}
	delete(c.problems, change.Key)
	document, err := c.decode(change.Key, change.Value)
	tenant, ok := document.(*Tenant)
	if err == nil && !ok {
		err = errors.New("the value is no tenant")
	}
	if state == nil {
		state = c.newTenant(name)
		b.flipped[name] = true
	}
	before := *state
	switch code, message := c.refuseTenant(state, name, tenant, err); code {
	case "":
		compiled := c.compilePolicy(tenant)
		compiled.pins = state.policy.pins
		state.policy = compiled
		state.hosts, state.delegates = tenant.Hosts, tenant.Delegates
		c.claims.seen[name] = max(c.claims.seen[name], state.policy.Epoch)
		c.enforce(change.Key)
	case ProblemUnknownDeck:
		c.hold(change, message)
	default:
		c.complain(change.Key, code, message)
	}
	if state.policy.Document == nil && tenant != nil { // its hosts, if they parse, answer tenant_invalid
		state.hosts = slices.DeleteFunc(slices.Clone(tenant.Hosts), func(h string) bool { return CheckHost(h, true) != nil })
	}
	state.origin, state.revision, state.created = change.Origin, change.Revision, change.Created
	c.table[state.index] = state.policy
	if !slices.Equal(before.hosts, state.hosts) || !slices.Equal(before.delegates, state.delegates) || before.created != state.created || before.wasGood() != state.wasGood() {
		c.claims.withdraw(name, &before)
		c.claims.stake(name, state)
	}
}

// refuseTenant says why a tenant's new form cannot be put in force; message is the
// deck's name for [ProblemUnknownDeck].
func (c *Compiler) refuseTenant(state *tenantState, name string, tenant *Tenant, err error) (code, message string) {
	if err != nil {
		return ProblemBadDocument, err.Error()
	}
	if seen := c.claims.seen[name]; max(tenant.Epoch, 1) < seen {
		return ProblemEpochRewound, fmt.Sprintf("has epoch %d, but epoch %d was seen; write it with at least that epoch", max(tenant.Epoch, 1), seen)
	}
	if state.policy.Document == nil {
		return "", "" // nothing to fall back to: what names an unknown deck gets deck_down
	}
	before := map[string]bool{}
	decksOf(state.policy.Document, func(deck string) { before[deck] = true })
	decksOf(tenant, func(deck string) {
		if code == "" && !before[deck] && !c.deckKnown(deck) {
			code, message = ProblemUnknownDeck, deck
		}
	})
	return code, message
}

func (c *Compiler) newTenant(name string) *tenantState {
	state := &tenantState{policy: &Policy{Name: name}}
	if n := len(c.free); n > 0 {
		state.index = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		state.index = int32(len(c.table)) // far fewer tenants
		c.table = append(c.table, nil)
	}
	state.policy.pins = maps.Clone(c.pins[name])
	c.table[state.index] = state.policy
	c.tenants[name] = state
	return state
}

// compilePin applies one change of a pin.
func (c *Compiler) compilePin(change Change, b *batch) {
	tenant, escaped, _ := strings.Cut(strings.TrimPrefix(change.Key, "pins/"), "/")
	key, keyErr := UnescapeKey(escaped)
	present, exists := c.pins[tenant][key]
	if change.Deleted {
		c.forget(change.Key)
		if keyErr == nil && exists {
			c.dropPin(tenant, key)
			b.pinned[tenant] = true
		}
		return
	}
	delete(c.problems, change.Key)
	if keyErr != nil {
		c.complain(change.Key, ProblemBadKey, keyErr.Error())
		return
	}
	if !exists {
		present = pinUnreadable
		if c.pins[tenant] == nil {
			c.pins[tenant] = map[string]int32{}
		}
		c.counts.Pins++
	}
	document, err := c.decode(change.Key, change.Value)
	pin, ok := document.(*Pin)
	if err == nil && !ok {
		err = errors.New("the value is no pin")
	}
	switch {
	case err != nil:
		c.complain(change.Key, ProblemBadDocument, err.Error())
	case present != pinUnreadable && !c.deckKnown(pin.Deck) && c.decks[present].Name != pin.Deck:
		c.hold(change, pin.Deck)
	default:
		present = c.deckID(pin.Deck)
		c.enforce(change.Key)
	}
	c.pins[tenant][key] = present
	b.pinned[tenant] = true
}

func (c *Compiler) dropPin(tenant, key string) {
	delete(c.pins[tenant], key)
	if len(c.pins[tenant]) == 0 {
		delete(c.pins, tenant)
	}
	c.counts.Pins--
}

// givePins hands the changed pins to their tenants' policies.
func (c *Compiler) givePins(b *batch) {
	for name := range b.pinned {
		if state := c.tenants[name]; state != nil {
			policy := *state.policy
			policy.pins = maps.Clone(c.pins[name])
			state.policy = &policy
			c.table[state.index] = &policy
		}
	}
}

// reviewReferences lists what refers to decks or tenants that do not exist. All
// documents are looked at when the set of decks has changed, else only those of the batch.
func (c *Compiler) reviewReferences(b *batch, decksChanged bool) {
	if decksChanged {
		for _, id := range c.deckIDs {
			c.reviewDeck(c.decks[id])
		}
		for name, state := range c.tenants {
			c.reviewTenant(name, state)
		}
	} else {
		for _, change := range b.decks {
			if id, ok := c.deckIDs[strings.TrimPrefix(change.Key, "decks/")]; ok {
				c.reviewDeck(c.decks[id])
			}
		}
		for _, change := range b.tenants {
			name := strings.TrimPrefix(change.Key, "tenants/")
			if state := c.tenants[name]; state != nil {
				c.reviewTenant(name, state)
			}
		}
	}
	c.reviewPins(b, decksChanged)
}

func (c *Compiler) reviewDeck(deck *CompiledDeck) {
	key := "decks/" + deck.Name
	c.absolve(key, ProblemUnknownDeck)
	if deck.standby >= 0 && c.decks[deck.standby].Missing {
		c.complain(key, ProblemUnknownDeck, "has the standby "+deck.Standby+", which does not exist")
	}
}

func (c *Compiler) reviewTenant(name string, state *tenantState) {
	key := "tenants/" + name
	if _, held := c.waiting[key]; held || state.policy.Document == nil {
		return
	}
	c.absolve(key, ProblemUnknownDeck)
	said := map[string]bool{}
	decksOf(state.policy.Document, func(deck string) {
		if !said[deck] && !c.deckKnown(deck) {
			said[deck] = true
			c.complain(key, ProblemUnknownDeck, "names the deck "+deck+", which does not exist; what is mapped to it gets deck_down")
		}
	})
}

// reviewPins looks at the pins that a batch may have set right or wrong.
func (c *Compiler) reviewPins(b *batch, decksChanged bool) {
	for tenant, pins := range c.pins {
		if decksChanged || b.flipped[tenant] {
			for key, deck := range pins {
				c.reviewPin(tenant, "pins/"+tenant+"/"+EscapeKey(key), deck)
			}
		}
	}
	for _, change := range b.pins {
		tenant, escaped, _ := strings.Cut(strings.TrimPrefix(change.Key, "pins/"), "/")
		if key, err := UnescapeKey(escaped); err == nil {
			if deck, ok := c.pins[tenant][key]; ok {
				c.reviewPin(tenant, change.Key, deck)
			}
		}
	}
}

func (c *Compiler) reviewPin(tenant, docKey string, deck int32) {
	c.absolve(docKey, ProblemUnknownTenant)
	if c.tenants[tenant] == nil {
		c.complain(docKey, ProblemUnknownTenant, "is for the tenant "+tenant+", which does not exist")
	}
	if _, held := c.waiting[docKey]; held {
		return
	}
	c.absolve(docKey, ProblemUnknownDeck)
	if deck != pinUnreadable && c.decks[deck].Missing {
		c.complain(docKey, ProblemUnknownDeck, "names the deck "+c.decks[deck].Name+", which does not exist; the key gets deck_down")
	}
}

// absolve takes back the problems of one code.
func (c *Compiler) absolve(key, code string) {
	if list, ok := c.problems[key]; ok {
		list = slices.DeleteFunc(slices.Clone(list), func(p Problem) bool { return p.Code == code })
		if c.problems[key] = list; len(list) == 0 {
			delete(c.problems, key)
		}
	}
}
