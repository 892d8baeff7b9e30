package admission

import "gridrouter.io/routing"

// Faults that the checks end in, beside [routing.FaultBadRequest].
const (
	// MethodNotAllowed: CONNECT and TRACE are not for a router of requests to decks.
	MethodNotAllowed routing.Fault = "method_not_allowed"
	// URITooLong: the request target is longer than [MaxTargetBytes].
	URITooLong routing.Fault = "uri_too_long"
	// ExpectationFailed: an expectation other than 100-continue.
	ExpectationFailed routing.Fault = "expectation_failed"
	// HeadTooLarge: more than [MaxHeadBytes] of header, or more than [MaxFields] fields.
	HeadTooLarge routing.Fault = "head_too_large"
	// NotImplemented: a transfer coding other than chunked.
	NotImplemented routing.Fault = "not_implemented"
	// VersionNotSupported: an HTTP version other than 1.0 and 1.1.
	VersionNotSupported routing.Fault = "version_not_supported"
)

// Limits of a head.
const (
	// MaxHeadBytes is the greatest size of the field lines of a request.
	MaxHeadBytes = 64 << 10
	// MaxFields is the greatest number of field lines.
	MaxFields = 100
	// MaxTargetBytes is the greatest length of a request target.
	MaxTargetBytes = 8 << 10
)

// Refusal says why a request is not let in. The zero Refusal: it is.
type Refusal struct {
	// Fault is the code that the client sees.
	Fault routing.Fault
	// Reason says it in a few constant words; it holds nothing of the request.
	Reason string
}

func bad(reason string) Refusal { return Refusal{routing.FaultBadRequest, reason} }
