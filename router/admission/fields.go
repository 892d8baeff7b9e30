package admission

import "bytes"

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
		if hasPrefixFold(dashed[:n], gridPrefix) || hasPrefixFold(dashed[:n], forwardedPrefix) {
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
		if EqualFold(name, known[i].name) {
			return known[i].class
		}
	}
	switch {
	case hasPrefixFold(name, gridPrefix):
		return Grid
	case hasPrefixFold(name, forwardedPrefix):
		return Forwarded
	}
	return Plain
}

// EqualFold says whether name equals the lower-case ASCII text want without regard to case.
func EqualFold(name []byte, want string) bool {
	return len(name) == len(want) && hasPrefixFold(name, want)
}

// SameName says whether two field names are equal without regard to case.
func SameName(a, b []byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if lower[a[i]] != lower[b[i]] {
			return false
		}
	}
	return true
}

func hasPrefixFold(name []byte, want string) bool {
	if len(name) < len(want) {
		return false
	}
	for i := range len(want) {
		if lower[name[i]] != want[i] {
			return false
		}
	}
	return true
}

// TrimSpace removes optional white space, SP and HTAB, from both ends (RFC 9110 5.6.3).
func TrimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// NextItem returns the first item of a comma-separated list without surrounding white
// space, and the rest of the list. An empty list has no rest.
func NextItem(list []byte) (item, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return TrimSpace(list[:i]), list[i+1:]
	}
	return TrimSpace(list), nil
}

// IsToken says whether b is a token of RFC 9110 5.6.2.
func IsToken(b []byte) bool {
	for _, c := range b {
		if octets[c]&tokenOctet == 0 {
			return false
		}
	}
	return len(b) > 0
}

// IsValue says whether b holds only what may stand in a field value: visible
// characters, SP, HTAB and obs-text (RFC 9110 5.5).
func IsValue(b []byte) bool {
	for _, c := range b {
		if octets[c]&valueOctet == 0 {
			return false
		}
	}
	return true
}

// octets says what each octet may be part of.
var octets = func() (table [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		digit := b >= '0' && b <= '9'
		if letter || digit || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0 {
			table[c] |= tokenOctet
		}
		if b >= 0x20 && b != 0x7f || b == '\t' {
			table[c] |= valueOctet
		}
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
	tokenOctet uint8 = 1 << iota
	valueOctet
	targetOctet
	hostOctet
	plainOctet
)

// lower maps the ASCII letters to lower case.
var lower = func() (table [256]byte) {
	for c := range 256 {
		table[c] = byte(c)
		if c >= 'A' && c <= 'Z' {
			table[c] = byte(c) + 'a' - 'A'
		}
	}
	return table
}()
