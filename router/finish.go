package router

import (
	"net/http"
	"time"

	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/faults"
	"gridrouter.io/router/upstream"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// finish is where every request ends: what the client must still be told, what becomes
// of the connections, the counters and the access log.
func (x *exchange) finish(fault routing.Fault) {
	x.endExpectation()
	x.reportFailure()
	x.abandon(closeReasonOf(fault))
	if fault != faults.None {
		kind, place := x.router.faults.Of(fault)
		x.refuse(kind)
		x.lane.faults[place].Add(1)
	}
	took := time.Since(x.started)
	if x.view != nil && !x.answered.IsZero() {
		x.view.live.Answered(x.lane.index, x.answered.Sub(x.asked))
	}
	if x.status != http.StatusSwitchingProtocols { // how long a tunnel lasts says nothing of requests
		x.lane.Observe(took)
	}
	if x.view != nil {
		x.view.live.Finished(x.lane.index, x.status)
	} else {
		x.lane.classes.Count(x.status)
	}
	if log := x.router.cfg.AccessLog; log != nil && log.Wants() {
		entry := x.logEntry(fault, took)
		x.log = entry.Append(x.log[:0])
		log.Write(x.lane.index, x.log)
	}
}

// logEntry is what the access log tells of the request.
func (x *exchange) logEntry(fault routing.Fault, took time.Duration) accesslog.Entry {
	entry := accesslog.Entry{
		Time: x.started, RequestID: x.identity.RequestID, Client: x.identity.Client,
		Method: x.line.Method, Host: x.head.Authority.Host, Path: x.head.Request.Path,
		Tenant: x.decision.Tenant, Rule: x.decision.Rule, Epoch: x.decision.Epoch, Revision: -1,
		Status: x.status, BytesIn: x.upload.bytes.Load(), BytesOut: x.bodySent, Took: took, DeckTook: -1,
	}
	if !entry.Client.IsValid() {
		entry.Client = x.client.peer
	}
	if x.decision.Deck != nil {
		entry.Deck = x.decision.Deck.Name
	}
	if x.endpoint != nil {
		entry.Address = x.endpoint.Address()
	}
	if x.now != nil {
		entry.Revision = x.now.table.Revision()
	}
	if fault != faults.None {
		kind, _ := x.router.faults.Of(fault)
		entry.Fault, entry.Reason = string(kind.Code), x.reason
	}
	if !x.asked.IsZero() && !x.answered.IsZero() {
		entry.DeckTook = x.answered.Sub(x.asked)
	}
	return entry
}

// refuse tells the client what went wrong, where it can still be told. What has been
// sent of an answer cannot be taken back: then the connection is cut, so that nobody
// takes the part for the whole.
func (x *exchange) refuse(kind faults.Kind) {
	switch {
	case x.begun:
		x.closes = true
		x.client.abort()
		return
	case kind.Code == faults.ClientGone:
		x.status, x.closes = kind.Status, true
		return
	}
	unread := x.head.HasBody() && !x.upload.whole
	x.closes = x.closes || unread || x.router.drain.closing()
	if len(x.identity.RequestID) == 0 {
		x.identity.NewRequestID()
	}
	answer := faults.Answer{
		Kind: kind, Reason: x.reason, RequestID: x.identity.RequestID, Date: *x.router.date.Load(),
		Close: x.closes, HeadOnly: string(x.line.Method) == http.MethodHead, HTTP10: x.head.HTTP10,
	}
	x.out = answer.AppendTo(x.out[:0])
	x.status = kind.Status
	if x.closes {
		x.client.startLingering()
	}
	if _, err := x.client.send(x.out, wire.NoWait); err != nil {
		x.closes = true
	}
}

// closeReasonOf says why a fault closes the connection to the deck.
func closeReasonOf(fault routing.Fault) upstream.CloseReason {
	switch fault { //nolint:exhaustive // every other fault is the deck's
	case faults.DeckTimeout:
		return upstream.ClosedTimeout
	case faults.ClientGone, faults.RequestTimeout, routing.FaultBadRequest:
		return upstream.ClosedByClient
	}
	return upstream.ClosedBadAnswer
}
