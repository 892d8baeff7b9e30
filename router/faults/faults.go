// Package faults has every code by which a request may fail: its status, whose fault it is, whether
// sending the request again is safe, and the answer that the client gets. docs/FAULTS.md is the same
// for people. It is pure.
package faults

import (
	"gridrouter.io/router/admission"
	"gridrouter.io/routing"
)

// None is the absence of a fault.
const None = routing.FaultNone

// Faults of the data path, beside those of packages routing and admission.
const (
	// RequestTimeout: the head or the body of the request did not come in time.
	RequestTimeout routing.Fault = "request_timeout"
	// BodyTooLarge is reserved for limits of tenants.
	BodyTooLarge routing.Fault = "body_too_large"
	// Misdirected: the name given with TLS (SNI) is another tenant's than the host asked for.
	Misdirected routing.Fault = "misdirected"
	// RateLimited is reserved for limits of tenants.
	RateLimited routing.Fault = "rate_limited"
	// ClientGone: the client left before its answer was whole. Nobody sees the status.
	ClientGone routing.Fault = "client_gone"
	// Internal: a mistake in the router, such as a panic.
	Internal routing.Fault = "internal"
	// ConnectFailed: no connection to the deck could be made.
	ConnectFailed routing.Fault = "connect_failed"
	// BadDeckAnswer: the deck's answer is malformed, or broke off, or never came.
	BadDeckAnswer routing.Fault = "bad_deck_answer"
	// Overloaded: the router's machine lacks what a connection to the deck needs, such as descriptors.
	Overloaded routing.Fault = "overloaded"
	// DeckUnresolved: the deck has no address yet.
	DeckUnresolved routing.Fault = "deck_unresolved"
	// Draining: the router is about to stop, and the request came on a connection that was open.
	Draining routing.Fault = "draining"
	// DeckTimeout: the deck did not answer in time.
	DeckTimeout routing.Fault = "deck_timeout"
	// LoopDetected: the request has passed too many routers.
	LoopDetected routing.Fault = "loop_detected"

	statusClientGone  = 499
	defaultRetryAfter = 1 // seconds
)

// Culprit says who has to change something so that a fault goes away.
type Culprit uint8

// Who that may be.
const (
	CulpritClient Culprit = iota
	CulpritRouter
	CulpritDeck
)

// Kind is what is known of a fault by its code.
type Kind struct {
	// Code is what clients, logs and metrics call it.
	Code routing.Fault
	// Status is that of the answer.
	Status int
	// Culprit has to change something so that the fault goes away.
	Culprit Culprit
	// RetrySafe says that the deck has not seen the request, so that sending it again
	// cannot do anything twice.
	RetrySafe bool
	// RetryAfter is the value of Retry-After in seconds; 0: none.
	RetryAfter int
	// Message says it to the client in constant words.
	Message string
}

// All returns every kind of fault there is.
func All() []Kind {
	const c, r, d = CulpritClient, CulpritRouter, CulpritDeck
	return []Kind{
		{routing.FaultBadRequest, 400, c, true, 0, "the request is malformed or can be read in more than one way"},
		{routing.FaultKeyMissing, 400, c, true, 0, "the part of the request that decides where it goes is missing"},
		{routing.FaultNoTenant, 404, c, true, 0, "nobody here owns this host"},
		{routing.FaultNoRule, 404, c, true, 0, "no rule for this host covers the request"},
		{admission.MethodNotAllowed, 405, c, true, 0, "the method is not allowed here"},
		{RequestTimeout, 408, c, false, 0, "the request did not arrive in time"},
		{BodyTooLarge, 413, c, true, 0, "the body is larger than allowed"},
		{admission.URITooLong, 414, c, true, 0, "the request target is too long"},
		{admission.ExpectationFailed, 417, c, true, 0, "only the expectation 100-continue can be met"},
		{Misdirected, 421, c, true, 0, "the connection was made for another host"},
		{RateLimited, 429, c, true, defaultRetryAfter, "too many requests"},
		{admission.HeadTooLarge, 431, c, true, 0, "the header is too large"},
		{ClientGone, statusClientGone, c, false, 0, "the client left"},
		{Internal, 500, r, false, 0, "the router failed"},
		{admission.NotImplemented, 501, c, true, 0, "the transfer coding is not supported; use chunked or Content-Length"},
		{ConnectFailed, 502, d, true, 0, "the deck cannot be reached"},
		{BadDeckAnswer, 502, d, false, 0, "the deck gave no proper answer"},
		{Overloaded, 503, r, true, defaultRetryAfter, "too much to do; try again"},
		{routing.FaultDeckDown, 503, d, true, 0, "the deck that owns the request is down"},
		{DeckUnresolved, 503, d, true, 0, "the address of the deck is not known yet"},
		{routing.FaultPinUnreadable, 503, r, true, 0, "where the key belongs cannot be read"},
		{routing.FaultTenantInvalid, 503, r, true, 0, "the configuration of this host is not valid"},
		{routing.FaultNoTable, 503, r, true, 0, "no configuration has been loaded yet for this host"},
		{Draining, 503, r, true, 0, "this router is about to stop; try again"},
		{DeckTimeout, 504, d, false, 0, "the deck did not answer in time"},
		{admission.VersionNotSupported, 505, c, true, 0, "only HTTP/1.0 and HTTP/1.1 are supported"},
		{LoopDetected, 508, d, true, 0, "the request has passed too many routers; the address of a deck leads back to them"},
	}
}

// Index finds faults by code. It is made once by [NewIndex] and only read.
type Index struct {
	kinds []Kind
	place map[routing.Fault]int
}

// NewIndex returns an index of [All].
func NewIndex() Index {
	index := Index{kinds: All(), place: map[routing.Fault]int{}}
	for i, kind := range index.kinds {
		index.place[kind.Code] = i
	}
	return index
}

// Of returns the kind of a fault and its place in [All]. A code that is not there is a mistake
// of ours, and internal.
func (x *Index) Of(code routing.Fault) (Kind, int) {
	i, ok := x.place[code]
	if !ok {
		i = x.place[Internal]
	}
	return x.kinds[i], i
}

// Kinds returns [All], not to be written to.
func (x *Index) Kinds() []Kind { return x.kinds }
