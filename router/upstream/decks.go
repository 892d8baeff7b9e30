package upstream

import (
	"maps"

	"go.uber.org/zap"

	"gridrouter.io/router/wire"
)

// Decks is every deck that documents name, and the addresses that are on their way out. Make one
// with [NewDecks]. Its methods, and [Deck.Endpoint], must not be called at once: whoever owns it has
// a lock for them. Requests need none of them.
type Decks struct {
	clock *wire.Clock
	log   *zap.Logger
	all   map[string]*Deck
	turns chan struct{} // of all decks, see newTLSFiles
	// retired are addresses that went, while connections to them are still busy.
	retired map[*Endpoint]struct{}
}

// NewDecks returns an empty set, whose waits are counted by clock and whose events go to log.
func NewDecks(clock *wire.Clock, log *zap.Logger) *Decks {
	return &Decks{clock: clock, log: log, all: map[string]*Deck{}, turns: make(chan struct{}, tlsFilesTurns), retired: map[*Endpoint]struct{}{}}
}

// Deck returns the deck of a name, and makes it where there is none.
func (s *Decks) Deck(name string) *Deck {
	d := s.all[name]
	if d == nil {
		d = &Deck{name: name, clock: s.clock, log: s.log, endpoints: map[place]*Endpoint{}, tls: map[identity]*tlsFiles{}, turns: s.turns}
		s.all[name] = d
	}
	return d
}

// Retain forgets the decks that are not among names, and retires the addresses that are not among
// wanted: no new request goes there, idle connections close, busy ones end with what they carry.
func (s *Decks) Retain(names map[string]struct{}, wanted map[*Endpoint]struct{}) {
	for name, deck := range s.all {
		for at, e := range deck.endpoints {
			if _, ok := wanted[e]; !ok {
				delete(deck.endpoints, at)
				e.retire()
				s.retired[e] = struct{}{}
			}
		}
		if _, ok := names[name]; !ok {
			delete(s.all, name)
		}
	}
}

// ForgetRetired forgets the retired addresses whose last connection has ended.
func (s *Decks) ForgetRetired() {
	for e := range s.retired {
		if e.retire(); e.connections.Load() == 0 {
			delete(s.retired, e)
		}
	}
}

// Close ends all idle connections; no more are kept.
func (s *Decks) Close() {
	all := maps.Clone(s.retired)
	for _, deck := range s.all {
		for _, e := range deck.endpoints {
			all[e] = struct{}{}
		}
	}
	for e := range all {
		e.retire()
	}
}
