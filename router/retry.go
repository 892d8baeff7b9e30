package router

import (
	"math/rand/v2"
	"net/http"

	"gridrouter.io/routing"
)

// retryFloor is how many requests of a deck may be tried again at the same time whatever
// its load; beyond, one for each five that are in flight. So a deck that fails gets a fifth
// more requests than it would have, and not a multiple.
const (
	retryFloor = 3
	retryShare = 5
)

// tryAgain says whether to ask the deck once more after a fault, and makes ready for it. It
// is done where the deck cannot have begun to work on the request, or where a connection
// that had been idle ended without a byte and doing the request twice does no harm (RFC 9110
// 9.2.2). It is always the same deck, by another of its addresses if there is one.
func (x *exchange) tryAgain(fault routing.Fault, tries int) bool {
	switch {
	case tries >= x.decision.Policy.Attempts, x.client.left.Load():
		return false
	case fault == faultConnectFailed:
	case fault == faultBadDeckAnswer && x.conn != nil && x.conn.reused && !x.heard && x.replayable && idempotent(x.line.Method):
	default:
		return false
	}
	live := x.view.live
	if !x.retrying {
		if live.retrying.Add(1) > retryFloor+live.inFlight.Load()/retryShare {
			live.retrying.Add(-1)
			live.counters.retriesRefused.Add(1)
			return false
		}
		x.retrying = true
	}
	live.counters.retries.Add(1)
	x.abandon(closedByDeck)
	x.elsewhere()
	return true
}

// elsewhere goes to another address of the deck, if there is one in use.
func (x *exchange) elsewhere() {
	from, before := x.view.endpoints, x.endpoint
	for i, start := 0, rand.IntN(len(from)); i < len(from); i++ { // a choice is no secret
		if e := from[(start+i)%len(from)]; e != before && !e.ejected() {
			before.inFlight.Add(-1)
			e.inFlight.Add(1)
			x.endpoint = e
			return
		}
	}
}

// idempotent says whether doing a request twice does no more than doing it once.
func idempotent(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
