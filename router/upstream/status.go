package upstream

import (
	"time"

	"gridrouter.io/routing"
)

// DeckStatus is what /decks shows of one deck.
type DeckStatus struct {
	Name     string            `json:"name"`
	Domain   string            `json:"domain,omitempty"`
	Attach   routing.Attach    `json:"attach,omitempty"`
	State    routing.DeckState `json:"state"`
	Standby  string            `json:"standby,omitempty"`
	Zone     string            `json:"zone,omitempty"`
	InFlight int64             `json:"inFlight"`
	// Resolved says that each name among the deck's addresses has been asked for.
	Resolved bool `json:"resolved"`
	// LastFailure is the last that was no single address's; absent: none.
	LastFailure *FailureStatus  `json:"lastFailure,omitempty"`
	Addresses   []AddressStatus `json:"addresses"`
}

// AddressStatus is what /decks shows of one address of a deck.
type AddressStatus struct {
	Address     string `json:"address"`
	Health      string `json:"health"` // "in use", "ejected"
	InFlight    int64  `json:"inFlight"`
	Connections int64  `json:"connections"`
	Idle        int64  `json:"idle"`
	// TryAgainInSeconds is when an ejected address gets a request as a trial; 0: it gets the next one
	// that comes; absent: it is in use.
	TryAgainInSeconds *float64 `json:"tryAgainInSeconds,omitempty"`
	// LastFailure is what went wrong there last; absent: nothing did.
	LastFailure *FailureStatus `json:"lastFailure,omitempty"`
}

// FailureStatus is what went wrong with a deck.
type FailureStatus struct {
	Cause      string  `json:"cause"` // as in gridrouter_deck_failures_total
	What       string  `json:"what"`
	SecondsAgo float64 `json:"secondsAgo"`
}

func statusOf(f *Failure) *FailureStatus {
	if f == nil {
		return nil
	}
	return &FailureStatus{Cause: f.Cause.String(), What: f.What, SecondsAgo: time.Since(f.At).Seconds()}
}

// Status says how the deck does, as its document and the addresses of the moment have it. resolved
// says that each name among its addresses has been asked for.
func (d *Deck) Status(document *routing.CompiledDeck, endpoints []*Endpoint, resolved bool) DeckStatus {
	status := DeckStatus{
		Name: document.Name, Domain: document.Domain, Attach: document.Attach, State: document.State, Standby: document.Standby, Zone: document.Zone,
		InFlight: d.InFlight(), Resolved: resolved, Addresses: []AddressStatus{},
		LastFailure: statusOf(d.lastFailure.Load()),
	}
	for _, e := range endpoints {
		status.Addresses = append(status.Addresses, e.Status())
	}
	return status
}

// Status says how the address does.
func (e *Endpoint) Status() AddressStatus {
	status := AddressStatus{
		Address: e.text, Health: "in use", InFlight: e.inFlight.Load(), Connections: e.connections.Load(), Idle: e.pool.idle.Load(),
		LastFailure: statusOf(e.lastFailure.Load()),
	}
	if until := e.ejectedUntil.Load(); until != 0 {
		left := time.Duration(max(0, until-e.clock.Now())).Seconds()
		status.Health, status.TryAgainInSeconds = "ejected", &left
	}
	return status
}
