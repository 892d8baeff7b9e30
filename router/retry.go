package router

import (
	"net/http"

	"gridrouter.io/router/faults"
	"gridrouter.io/router/upstream"
	"gridrouter.io/routing"
)

// tryAgain says whether to ask the deck once more after a fault, and makes ready for it. It
// is done where the deck cannot have begun to work on the request, or where a connection
// that had been idle ended without a byte and doing the request twice does no harm (RFC 9110
// 9.2.2). It is always the same deck, by another of its addresses if there is one.
func (x *exchange) tryAgain(fault routing.Fault, tries int) bool {
	switch {
	case tries >= x.decision.Policy.Attempts, x.client.departed.Load():
		return false
	case fault == faults.ConnectFailed:
	case fault == faults.BadDeckAnswer && x.conn != nil && x.conn.Reused() && !x.answerBegun && x.replayable && idempotent(x.line.Method):
	default:
		return false
	}
	live := x.view.live
	if !x.retrying {
		if !live.BeginRetries() {
			return false
		}
		x.retrying = true
	}
	live.CountRetry()
	x.abandon(upstream.ClosedByDeck)
	x.endpoint = upstream.Elsewhere(x.view.endpoints, x.endpoint)
	return true
}

// idempotent says whether doing a request twice does no more than doing it once.
func idempotent(method []byte) bool {
	switch string(method) {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
