package router

import (
	"context"
	"time"

	"gridrouter.io/router/admission"
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

// pinTimeout is how long a request waits for its pin: as long as for a connection to a deck.
const pinTimeout = routing.DefaultConnectTimeout

// decidePinned goes on with a decision that waits for a pin.
func (x *exchange) decidePinned() {
	until := time.Now().Add(pinTimeout)
	if policy := x.decision.Policy; policy.Total > 0 {
		if end := x.started.Add(policy.Total); end.Before(until) {
			until = end
		}
	}
	for {
		pin := x.router.pin(until, x.decision.Tenant, x.decision.Key)
		x.decision = x.now.table.DecidePinned(&x.head.Request, pin)
		switch pin.State {
		case routing.PinUnread:
			return
		case routing.PinFound:
			// Else it is another form than the table knows: it was written just now, or etcd was
			// restored from a backup, and the next table tells; or the guard holds it.
			if x.decision.Fault != routing.FaultPinUnreadable || x.now.table.Guard() != nil {
				return
			}
		case routing.PinAbsent:
			// The table knows of the pin, and etcd has it no more: it was deleted just now, and the
			// next table says so; or what is stored went in a mass change, and the guard holds that.
			// Without the pin the key could lead to another deck than it is on.
			if x.now.table.Guard() != nil {
				return
			}
		}
		if !x.awaitTable(until) {
			return
		}
		if x.decision = x.now.table.Decide(&x.head.Request); !x.decision.PinWanted {
			return
		}
	}
}

// awaitTable waits until another table is in force, and goes by that one. false: none came in time.
func (x *exchange) awaitTable(until time.Time) bool {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-x.now.replaced:
		x.now = x.router.published.Load()
		return true
	case <-timer.C:
		return false
	}
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

// PinReader returns who reads the pins that tables do not hold, for explanations: as a request would,
// and for as long. nil: nobody.
func (r *Router) PinReader() admission.PinReader {
	if r.cfg.Pins == nil {
		return nil
	}
	return func(tenant string, key []byte) routing.Pinned {
		return r.pin(time.Now().Add(pinTimeout), tenant, key)
	}
}
