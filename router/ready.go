package router

import (
	"errors"
	"fmt"
)

// Ready says why the router should not be sent requests; nil: it should. A router is
// ready once a table has been published and each name that it needs has been resolved
// once, well or not; and from the beginning of draining it never is again.
func (r *Router) Ready() error {
	if r.drain.closing() {
		return errors.New("draining: this router is about to stop")
	}
	now := r.published.Load()
	if now == nil {
		return errors.New("no documents have been loaded yet")
	}
	untried, example := 0, ""
	for _, view := range now.decks {
		if view != nil && !view.tried {
			untried, example = untried+1, view.compiled.Name
		}
	}
	if untried > 0 {
		return fmt.Errorf("the addresses of %d deck(s) are still being resolved, among them %s", untried, example)
	}
	return nil
}
