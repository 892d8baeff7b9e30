package router

import (
	"context"
	"time"

	"gridrouter.io/routing"
)

// Pins finds the pins of tenants whose pins tables do not hold ("pins: cached").
type Pins interface {
	// Pin returns what is known of the pin of a tenant's key. It is the one thing that a
	// request may wait for besides its deck; it returns when ctx ends at the latest. Where
	// it cannot find out it says that the pin is unread: it never guesses. It is called by
	// many goroutines at once and must not keep key.
	Pin(ctx context.Context, tenant string, key []byte) routing.Pinned
}

// pinPatience is how long a request waits for its pin: as long as for a connection to a deck.
const pinPatience = routing.DefaultConnectTimeout

// decidePinned goes on with a decision that waits for a pin.
func (x *exchange) decidePinned() {
	until := time.Now().Add(pinPatience)
	if policy := x.decision.Policy; policy.Total > 0 {
		if end := x.started.Add(policy.Total); end.Before(until) {
			until = end
		}
	}
	pin := x.router.pin(until, x.decision.Tenant, x.decision.Key)
	x.decision = x.now.table.DecidePinned(&x.head.Request, pin)
}

// pin looks for a pin until a moment.
func (r *Router) pin(until time.Time, tenant string, key []byte) routing.Pinned {
	if r.cfg.Pins == nil {
		return routing.Pinned{State: routing.PinUnread}
	}
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	return r.cfg.Pins.Pin(ctx, tenant, key)
}
