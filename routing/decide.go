package routing

import (
	"slices"
	"sort"

	"gridrouter.io/routing/store"
)

// Decide says which deck owns the request. It allocates nothing once the request's
// scratch space has grown to what its paths and tokens need.
//
// A decision that waits for a pin has PinWanted set: see [Table.DecidePinned].
func (t *Table) Decide(r *Request) Decision { return t.decide(r, nil, nil) }

// DecidePinned says which deck owns a request for which [Table.Decide] wanted a pin, now
// that somebody has looked for the pin. The request must not have changed.
func (t *Table) DecidePinned(r *Request, pin Pinned) Decision { return t.decide(r, &pin, nil) }

// decide is the life of a decision: owner of the host, then the tenant's rules in
// order until one ends the search. trace, if not nil, is told of every step.
func (t *Table) decide(r *Request, pin *Pinned, trace *tracer) Decision {
	packed, ok := t.owner(r.Host)
	switch {
	case !ok && t.parts.Partial:
		return Decision{Fault: FaultNoTable, Reason: "no tenant that is known owns the host, and some documents could never be read"}
	case !ok:
		return Decision{Fault: FaultNoTenant, Reason: "no tenant owns the host"}
	}
	id, epoch, tenant := store.UnpackHost(packed)
	p := t.parts.Policies.At(id)
	d := Decision{Tenant: tenant, Epoch: epoch, Policy: p}
	if p.document == nil {
		return d.refuse(FaultTenantInvalid, "the tenant's document is bad and never was good")
	}
	r.path = r.Path
	if p.usesPaths {
		if !r.canonicalize(p.passesSlashes) {
			return d.refuse(FaultBadRequest, "the path has an encoded slash, dot segment or NUL, a backslash, or a broken escape")
		}
	}
	for i := range p.rules {
		rule := &p.rules[i]
		ended := t.try(r, rule, pin, &d, trace)
		if trace != nil {
			trace.rule(rule, &d, ended)
		}
		if ended {
			return d
		}
	}
	d.Key = nil
	return d.refuse(FaultNoRule, "no rule of the tenant yields a deck for this request")
}

// refuse ends a decision in a fault.
func (d Decision) refuse(fault Fault, reason string) Decision {
	d.Fault, d.Reason = fault, reason
	return d
}

// try applies one rule. It says whether the search has ended, with d as its result.
// Otherwise d.Reason says why the rule was passed over, for the trace.
func (t *Table) try(r *Request, rule *compiledRule, pin *Pinned, d *Decision, trace *tracer) bool {
	d.Key, d.Reason = nil, ""
	if rule.match != nil {
		switch unmet, ambiguous := rule.match.unmet(r); {
		case ambiguous:
			d.Rule = rule.name
			*d = d.refuse(FaultBadRequest, "what the rule matches stands more than once in the request, or cannot be decoded")
			return true
		case unmet != "":
			d.Reason = unmet
			return false
		}
	}
	if rule.deck >= 0 {
		return t.serve(d, rule, ViaDeck, rule.deck)
	}
	key, result := r.readKey(&rule.key)
	switch result {
	case keyAbsent:
		return t.missing(d, rule)
	case keyAmbiguous, keyTooLong:
		d.Rule = rule.name
		*d = d.refuse(FaultBadRequest, result.reason())
		return true
	case keyFound:
	}
	d.Key = key
	deck, via := t.ownerOf(r, rule, pin, d, trace)
	switch {
	case deck == pinWanted:
		d.Rule, d.Via, d.PinWanted = rule.name, ViaPin, true
		return true
	case via == ViaNone:
		d.Reason = "its key is covered by no pin, range or split"
		return false
	case deck == deckUnknown:
		d.Rule, d.Via = rule.name, via
		*d = d.refuse(FaultDeckDown, "the deck that the pin names does not exist")
		return true
	case deck == store.PinUnreadable:
		d.Rule, d.Via = rule.name, via
		reason := "the key is pinned, but its pin cannot be read"
		if t.parts.Partial {
			reason = "the key may be pinned by one of the documents that could never be read"
		}
		*d = d.refuse(FaultPinUnreadable, reason)
		return true
	case deck == pinOther:
		d.Rule, d.Via = rule.name, via
		*d = d.refuse(FaultPinUnreadable, "the key is pinned, but the pin that was read is not the one that the table knows: it was changed just now, or etcd was set back")
		return true
	}
	return t.serve(d, rule, via, deck)
}

// What stands for a deck besides its ID and store.PinUnreadable.
const (
	pinWanted   = -2 // somebody has to read the pin first
	deckUnknown = -3 // no document has ever named it
	pinOther    = -4 // the pin that was read is another than the table knows
)

// ownerOf maps the key: pins, then ranges, then split.
func (t *Table) ownerOf(r *Request, rule *compiledRule, pin *Pinned, d *Decision, trace *tracer) (deck int32, via Via) {
	if rule.pins || rule.asks {
		if deck, found := t.pinOf(r, rule, pin, d); found {
			return deck, ViaPin
		}
	}
	if len(rule.ranges) > 0 {
		if n, ok := decimalKey(d.Key); ok {
			i := sort.Search(len(rule.ranges), func(i int) bool { return rule.ranges[i].to >= n })
			if i < len(rule.ranges) && rule.ranges[i].from <= n {
				return rule.ranges[i].deck, ViaRange
			}
		}
	}
	if rule.split != nil {
		slot := slotOf(slotSeed(d.Tenant, rule.name), d.Key)
		if trace != nil {
			trace.slot = slot
		}
		return rule.split.decks[rule.split.owner(slot)], ViaSplit
	}
	return -1, ViaNone
}

// pinOf looks the key up among the tenant's pins. Where they are read on demand the table
// still knows which keys have one, so that nobody asks for a pin that is not there.
func (t *Table) pinOf(r *Request, rule *compiledRule, pin *Pinned, d *Decision) (deck int32, found bool) {
	if rule.asks && t.isSetBack(d.Tenant) {
		return store.PinUnreadable, true // what is stored is of another time than what is in force
	}
	r.pin = append(append(append(r.pin[:0], d.Tenant...), '/'), d.Key...)
	packed, held := t.parts.Maps.Pins.Get(r.pin)
	if held && rule.pins {
		return store.UnpackPin(packed).Deck, true
	}
	if !held && t.parts.Partial { // its pin may stand where nobody could ever read
		return store.PinUnreadable, true
	}
	var sum uint64
	if !held {
		if sum, found = t.parts.Maps.Unheld.UnheldSum(r.pin); !found {
			return 0, false
		}
	}
	switch {
	case pin == nil:
		return pinWanted, true
	case pin.State != PinFound:
	case held || pin.Sum == sum:
		return t.deckNamed(pin.Deck), true
	default:
		return pinOther, true
	}
	return store.PinUnreadable, true
}

// deckNamed returns the ID of a deck, or deckUnknown.
func (t *Table) deckNamed(name string) int32 {
	if id, ok := t.parts.DeckIDs[name]; ok {
		return id
	}
	return deckUnknown
}

// missing applies a rule whose key is absent or empty.
func (t *Table) missing(d *Decision, rule *compiledRule) bool {
	switch rule.missing {
	case MissingNext:
		d.Reason = "its key is absent or empty"
		return false
	case MissingReject:
		d.Rule = rule.name
		*d = d.refuse(FaultKeyMissing, "the rule's key is absent or empty")
		return true
	}
	return t.serve(d, rule, ViaMissing, rule.missingDeck)
}

// serve ends the search with a deck: the one that the rule names, or, while that is
// down, its standby. A rule whose deck is down ends the search all the same.
func (t *Table) serve(d *Decision, rule *compiledRule, via Via, id int32) bool {
	deck := t.parts.Decks[id]
	d.Rule, d.Via, d.Mapped = rule.name, via, deck
	if deck.State != DeckDown {
		d.Deck = deck
		return true
	}
	switch {
	case deck.Missing:
		*d = d.refuse(FaultDeckDown, "the deck that the rule names does not exist")
	case deck.standby < 0:
		*d = d.refuse(FaultDeckDown, "the deck is down and has no standby")
	case t.parts.Decks[deck.standby].State == DeckDown:
		*d = d.refuse(FaultDeckDown, "the deck is down, and so is its standby")
	default:
		d.Deck = t.parts.Decks[deck.standby]
	}
	return true
}

// reason says why a key could not be taken.
func (k keyResult) reason() string {
	if k == keyTooLong {
		return "the key is longer than 512 bytes"
	}
	return "the key stands more than once in the request, or cannot be decoded"
}

// unmet returns the first condition of a match that a request does not fulfil, in
// words; empty: it fulfils all. ambiguous says that one can be read in more than one way.
func (m *compiledMatch) unmet(r *Request) (condition string, ambiguous bool) {
	if m.path != "" && !hasPathPrefix(r.path, m.path) {
		return m.pathUnmet, false
	}
	if len(m.methods) > 0 && !slices.ContainsFunc(m.methods, func(method string) bool { return method == string(r.Method) }) {
		return m.methodsUnmet, false
	}
	for i := range m.headers {
		value, result := r.headerValue(m.headers[i].name)
		if !m.headers[i].met(value, result) {
			return m.headers[i].unmet, result == keyAmbiguous
		}
	}
	for i := range m.cookies {
		value, result := r.cookieValue(m.cookies[i].name)
		if !m.cookies[i].met(value, result) {
			return m.cookies[i].unmet, result == keyAmbiguous
		}
	}
	for i := range m.query {
		value, result := r.queryValue(m.query[i].name, r.value[:0])
		if !m.query[i].met(value, result) {
			return m.query[i].unmet, result == keyAmbiguous
		}
	}
	return "", false
}

// met says whether a value that was read fulfils the condition.
func (c *condition) met(value []byte, result keyResult) bool {
	return result == keyFound && string(value) == c.value
}

// isSetBack says whether a tenant is stored with a lower epoch than was seen: whoever reads its pins
// from the source then reads those of the backup.
func (t *Table) isSetBack(tenant string) bool {
	_, rewound := t.parts.Rewound[tenant]
	return rewound
}
