package router

import (
	"bytes"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/forwarding"
	"gridrouter.io/router/http1"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// serve is the life of a request. Each step may end it with a fault; finish is where
// every one of them ends.
func (x *exchange) serve() {
	fault := x.admit()
	if fault == faults.None {
		fault = x.decide()
	}
	if fault == faults.None {
		fault = x.address()
	}
	if fault == faults.None {
		fault = x.relay()
	}
	x.finish(fault)
}

// admit lets in what can be read in one way only, and finds out who is asking.
func (x *exchange) admit() routing.Fault {
	refusal := x.head.Check(x.line, x.fields)
	x.reason = refusal.Reason
	x.identity.Read(&x.head, forwarding.Peer{Address: x.client.peer, Trusted: x.client.trusted, TLS: x.client.Secure}, x.router.proxies)
	x.head.Request.ClientIP = x.identity.Client
	if refusal.Fault != faults.None {
		x.closes = true
		return refusal.Fault
	}
	x.closes = x.closes || x.head.Close
	if x.hops = readHops(&x.head); x.hops >= maxHops {
		return faults.LoopDetected
	}
	if x.router.drain.refuses() && !x.firstOfClient {
		return faults.Draining
	}
	return faults.None
}

// maxHops is how many routers a request may have passed before this one. A grid may be a deck of
// another grid, and once more; a deck whose address leads back to the routers costs each request
// that is sent there so many places, and no more.
const maxHops = 4

// readHops returns how many routers the request has passed, whoever sends it: between two
// routers there may be balancers that nobody trusts. What a client makes up makes its own
// request a loop at most, since each router writes the field anew. What is no number is
// nothing that a router wrote.
func readHops(head *admission.Head) (hops int) {
	for i := range head.Lines {
		if line := &head.Lines[i]; line.Class == admission.GridHops {
			if n, ok := http1.ParseLength(line.Value); ok {
				hops = max(hops, int(min(n, maxHops)))
			}
		}
	}
	return hops
}

// decide asks the table of this moment which deck owns the request. From here on this is
// the request's table, whatever is published meanwhile.
func (x *exchange) decide() routing.Fault {
	x.now = x.router.published.Load()
	if x.now == nil {
		return routing.FaultNoTable
	}
	x.decision = x.now.table.Decide(&x.head.Request)
	if policy := x.decision.Policy; policy != nil && policy.Total > 0 {
		x.deadline = x.router.clock.After(policy.Total)
	}
	if x.decision.PinWanted {
		x.decidePinned()
	}
	x.reason = x.decision.Reason
	if x.misdirected() {
		return faults.Misdirected
	}
	return x.decision.Fault
}

// misdirected says whether the client made the connection for another tenant's host than
// it asks for (RFC 9110 15.5.20). A name that nobody owns says nothing.
func (x *exchange) misdirected() bool {
	named := x.client.serverName
	if len(named) == 0 || x.decision.Tenant == "" || bytes.Equal(named, x.head.Authority.Host) {
		return false
	}
	tenant, owned := x.now.table.OwnerOf(named)
	return owned && tenant != x.decision.Tenant
}

// address chooses where the deck is reached.
func (x *exchange) address() routing.Fault {
	x.view = x.now.decks[x.decision.Deck.ID]
	x.endpoint = upstream.Pick(x.view.endpoints)
	if x.endpoint == nil {
		x.deckFailed(upstream.FailedUnresolved, x.view.names())
		return faults.DeckUnresolved
	}
	x.endpoint.Begin()
	return faults.None
}
