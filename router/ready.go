package router

import (
	"errors"
	"fmt"

	"gridrouter.io/routing"
)

// Ready says why the router should not be sent requests; nil: it should. A router is
// ready once a table has been published and each name that it needs has been resolved
// once, well or not; what an earlier process knew of a name counts. From then on a new deck whose name is not resolved yet is that deck's
// fault alone: it does not take the router, and with it the whole fleet, away from all
// others. From the beginning of draining a router never is ready again.
func (r *Router) Ready() error {
	if r.drain.closing() {
		return errors.New("draining: this router is about to stop")
	}
	now := r.published.Load()
	if now == nil {
		return errors.New("no documents have been loaded yet")
	}
	if untried, example := now.untried(); untried > 0 && !r.began.Load() {
		return fmt.Errorf("the addresses of %d deck(s) are still being resolved, among them %s", untried, example)
	}
	return nil
}

// Unreachable counts the decks that take requests and have no address, and names one of them.
func (r *Router) Unreachable() (decks int, example string) {
	if now := r.published.Load(); now != nil {
		return now.unusable()
	}
	return 0, ""
}

// unusable counts the decks that take requests and have no address, and names one of them.
func (p *published) unusable() (decks int, example string) {
	for _, view := range p.decks {
		if view != nil && len(view.endpoints) == 0 && view.compiled.State != routing.DeckDown {
			decks, example = decks+1, view.compiled.Name
		}
	}
	return decks, example
}

// untried counts the decks with a name that has not been resolved yet, well or not, and
// names one of them.
func (p *published) untried() (decks int, example string) {
	for _, view := range p.decks {
		if view != nil && !view.tried {
			decks, example = decks+1, view.compiled.Name
		}
	}
	return decks, example
}
