package router

import (
	"strconv"

	"gridrouter.io/router/http1"

	"github.com/valyala/fasthttp"

	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// Faults of the data path, beside those of packages routing and admission.
const (
	faultRequestTimeout routing.Fault = "request_timeout"
	faultBodyTooLarge   routing.Fault = "body_too_large"
	faultMisdirected    routing.Fault = "misdirected"
	faultRateLimited    routing.Fault = "rate_limited"
	faultClientGone     routing.Fault = "client_gone"
	faultInternal       routing.Fault = "internal"
	faultConnectFailed  routing.Fault = "connect_failed"
	faultBadDeckAnswer  routing.Fault = "bad_deck_answer"
	faultOverloaded     routing.Fault = "overloaded"
	faultDeckUnresolved routing.Fault = "deck_unresolved"
	faultDraining       routing.Fault = "draining"
	faultDeckTimeout    routing.Fault = "deck_timeout"
	faultLoopDetected   routing.Fault = "loop_detected"
	statusClientGone                  = 499
	defaultRetryAfter                 = 1 // seconds
)

// noFault is short for the absence of a fault.
const noFault = routing.FaultNone

// culprit says who has to change something so that a fault goes away.
type culprit uint8

const (
	culpritClient culprit = iota
	culpritRouter
	culpritDeck
)

// faultKind is what is known of a fault by its code.
type faultKind struct {
	code   routing.Fault
	status int
	whose  culprit
	// retrySafe says that the deck has not seen the request, so that sending it again
	// cannot do anything twice.
	retrySafe bool
	// retryAfter is the value of Retry-After in seconds; 0: none.
	retryAfter int
	message    string
}

// faultTable is every code there is.
func faultTable() []faultKind {
	const c, r, d = culpritClient, culpritRouter, culpritDeck
	return []faultKind{
		{routing.FaultBadRequest, 400, c, true, 0, "the request is malformed or can be read in more than one way"},
		{routing.FaultKeyMissing, 400, c, true, 0, "the part of the request that decides where it goes is missing"},
		{routing.FaultNoTenant, 404, c, true, 0, "nobody here owns this host"},
		{routing.FaultNoRule, 404, c, true, 0, "no rule for this host covers the request"},
		{admission.MethodNotAllowed, 405, c, true, 0, "the method is not allowed here"},
		{faultRequestTimeout, 408, c, false, 0, "the request did not arrive in time"},
		{faultBodyTooLarge, 413, c, true, 0, "the body is larger than allowed"},
		{admission.URITooLong, 414, c, true, 0, "the request target is too long"},
		{admission.ExpectationFailed, 417, c, true, 0, "only the expectation 100-continue can be met"},
		{faultMisdirected, 421, c, true, 0, "the connection was made for another host"},
		{faultRateLimited, 429, c, true, defaultRetryAfter, "too many requests"},
		{admission.HeadTooLarge, 431, c, true, 0, "the header is too large"},
		{faultClientGone, statusClientGone, c, false, 0, "the client left"},
		{faultInternal, 500, r, false, 0, "the router failed"},
		{admission.NotImplemented, 501, c, true, 0, "the transfer coding is not supported; use chunked or Content-Length"},
		{faultConnectFailed, 502, d, true, 0, "the deck cannot be reached"},
		{faultBadDeckAnswer, 502, d, false, 0, "the deck gave no proper answer"},
		{faultOverloaded, 503, r, true, defaultRetryAfter, "too much to do; try again"},
		{routing.FaultDeckDown, 503, d, true, 0, "the deck that owns the request is down"},
		{faultDeckUnresolved, 503, d, true, 0, "the address of the deck is not known yet"},
		{routing.FaultPinUnreadable, 503, r, true, 0, "where the key belongs cannot be read"},
		{routing.FaultTenantInvalid, 503, r, true, 0, "the configuration of this host is not valid"},
		{routing.FaultNoTable, 503, r, true, 0, "no configuration has been loaded yet for this host"},
		{faultDraining, 503, r, true, 0, "this router is about to stop; try again"},
		{faultDeckTimeout, 504, d, false, 0, "the deck did not answer in time"},
		{admission.VersionNotSupported, 505, c, true, 0, "only HTTP/1.0 and HTTP/1.1 are supported"},
		{faultLoopDetected, 508, d, true, 0, "the request has passed too many routers; the address of a deck leads back to them"},
	}
}

// faultIndex finds faults by code. It is made once and only read.
type faultIndex struct {
	kinds []faultKind
	place map[routing.Fault]int
}

func newFaultIndex() faultIndex {
	index := faultIndex{kinds: faultTable(), place: map[routing.Fault]int{}}
	for i, kind := range index.kinds {
		index.place[kind.code] = i
	}
	return index
}

// of returns the kind of a fault and its place in the table. A code that is not in the
// table is a mistake of ours.
func (f *faultIndex) of(code routing.Fault) (faultKind, int) {
	i, ok := f.place[code]
	if !ok {
		i = f.place[faultInternal]
	}
	return f.kinds[i], i
}

// refusal is a fault on its way to the client.
type refusal struct {
	kind      faultKind
	reason    string // constant words; shown only where the client is to blame
	requestID []byte
	date      []byte
	close     bool
	head      bool // HEAD: the head of the answer alone
	http10    bool
}

// appendTo appends the whole answer: status, X-Grid-Fault, X-Request-Id and a small
// body. It holds nothing that came from a deck, and nothing of how the router works.
func (r *refusal) appendTo(dst []byte) []byte {
	var body [512]byte
	text := r.appendBody(body[:0])
	dst = http1.AppendStatusLine(dst, r.kind.status, fasthttp.StatusMessage(r.kind.status), r.http10)
	dst = append(dst, "X-Grid-Fault: "...)
	dst = append(dst, r.kind.code...)
	dst = append(dst, "\r\nX-Request-Id: "...)
	dst = append(dst, r.requestID...)
	if r.kind.retryAfter > 0 {
		dst = append(dst, "\r\nRetry-After: "...)
		dst = strconv.AppendInt(dst, int64(r.kind.retryAfter), 10)
	}
	dst = append(dst, "\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nDate: "...)
	dst = append(dst, r.date...)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	dst = append(dst, "\r\n"...)
	dst = http1.AppendConnection(dst, r.close, r.http10)
	dst = append(dst, "\r\n"...)
	if r.head {
		return dst
	}
	return append(dst, text...)
}

func (r *refusal) appendBody(dst []byte) []byte {
	dst = append(dst, `{"fault": "`...)
	dst = append(dst, r.kind.code...)
	dst = append(dst, `", "message": `...)
	message := r.kind.message
	if r.kind.whose == culpritClient && r.reason != "" {
		message += ": " + r.reason
	}
	dst = accesslog.AppendJSONString(dst, message)
	dst = append(dst, `, "requestId": `...)
	dst = accesslog.AppendJSONString(dst, string(r.requestID))
	return append(dst, "}\n"...)
}
