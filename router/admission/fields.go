package admission

import (
	"gridrouter.io/router/http1"
)

// Class says what a router does with a field of a request.
type Class uint8

// Classes of fields.
const (
	// Plain fields go to the deck as they came.
	Plain Class = iota
	// Host is replaced by the one that the deck expects.
	Host
	// ContentLength frames the body.
	ContentLength
	// TransferEncoding frames the body; the router frames it anew.
	TransferEncoding
	// Connection names fields that are for this connection only.
	Connection
	// HopByHop fields are for this connection only (RFC 9110 7.6.1).
	HopByHop
	// Expect goes to the deck where the client may wait for its answer.
	Expect
	// Grid is X-Grid-*: the router's own words, never a client's.
	Grid
	// GridHops is X-Grid-Hops, how many routers a request has passed, by which a loop is noticed.
	GridHops
	// ForwardedFor is X-Forwarded-For.
	ForwardedFor
	// ForwardedProto is X-Forwarded-Proto.
	ForwardedProto
	// ForwardedHost is X-Forwarded-Host.
	ForwardedHost
	// ForwardedPort is X-Forwarded-Port.
	ForwardedPort
	// Forwarded is any other forwarding field: Forwarded, X-Real-Ip, X-Forwarded-*.
	Forwarded
	// RequestID is X-Request-Id.
	RequestID
	// TraceParent is traceparent.
	TraceParent
	// TraceState is tracestate, which means nothing without its traceparent.
	TraceState
	// Shadow fields bear a name that becomes one of the above where other marks are read as "-",
	// as CGI and its heirs do with "_", and some servers with every mark. They are dropped.
	Shadow
	// Upgrade names another protocol that the client would go on with.
	Upgrade
	// Nominated fields are plain ones that Connection named as for this connection only.
	Nominated
)

// Line is one field line. Its slices are parts of the head that was checked.
type Line struct {
	// Name is as the client spelled it; Value is without surrounding white space.
	Name, Value []byte
	// Raw is the whole line with its CRLF.
	Raw []byte
	// Class says what kind of field it is.
	Class Class
}

// known are the fields with a class of their own, by lower-case name.
var known = [...]struct {
	name  string
	class Class
}{
	{"host", Host}, {"content-length", ContentLength}, {"transfer-encoding", TransferEncoding},
	{"connection", Connection}, {"expect", Expect},
	{"keep-alive", HopByHop}, {"proxy-connection", HopByHop}, {"te", HopByHop}, {"trailer", HopByHop},
	{"upgrade", Upgrade}, {"proxy-authorization", HopByHop},
	{"x-grid-hops", GridHops},
	{"x-forwarded-for", ForwardedFor}, {"x-forwarded-proto", ForwardedProto}, {"x-forwarded-host", ForwardedHost}, {"x-forwarded-port", ForwardedPort},
	{"forwarded", Forwarded}, {"x-real-ip", Forwarded},
	{"x-request-id", RequestID}, {"traceparent", TraceParent}, {"tracestate", TraceState},
}

const (
	gridPrefix      = "x-grid-"
	forwardedPrefix = "x-forwarded-"
	longestKnown    = len("proxy-authorization")
)

// classify returns the class of a field name, without regard to case.
func classify(name []byte) Class {
	if !HasOtherMarks(name) {
		return classOf(name)
	}
	var dashed [longestKnown]byte // enough to tell a known name or prefix from others
	n := copy(dashed[:], name)
	for i, b := range dashed[:n] {
		if octets[b]&plainOctet == 0 {
			dashed[i] = '-'
		}
	}
	if len(name) > longestKnown {
		if http1.HasPrefixFold(dashed[:n], gridPrefix) || http1.HasPrefixFold(dashed[:n], forwardedPrefix) {
			return Shadow
		}
		return Plain
	}
	if classOf(dashed[:n]) != Plain {
		return Shadow
	}
	return Plain
}

// HasOtherMarks says whether a token holds anything but letters, digits and "-".
func HasOtherMarks(token []byte) bool {
	for _, b := range token {
		if octets[b]&plainOctet == 0 {
			return true
		}
	}
	return false
}

func classOf(name []byte) Class {
	switch name[0] | 0x20 { // only these begin a known name
	case 'c', 'e', 'f', 'h', 'k', 'p', 't', 'u', 'x':
	default:
		return Plain
	}
	for i := range known {
		if http1.EqualFold(name, known[i].name) {
			return known[i].class
		}
	}
	switch {
	case http1.HasPrefixFold(name, gridPrefix):
		return Grid
	case http1.HasPrefixFold(name, forwardedPrefix):
		return Forwarded
	}
	return Plain
}

// octets says what each octet may be part of, beside tokens and values.
var octets = func() (table [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		digit := b >= '0' && b <= '9'
		if b > 0x20 && b < 0x7f { // above stand blanks of Unicode: some servers would end the target there
			table[c] |= targetOctet
		}
		if letter || digit || b == '-' || b == '.' || b == '_' {
			table[c] |= hostOctet
		}
		if letter || digit || b == '-' {
			table[c] |= plainOctet
		}
	}
	return table
}()

const (
	targetOctet uint8 = 1 << iota
	hostOctet
	plainOctet
)
