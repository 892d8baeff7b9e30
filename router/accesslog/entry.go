package accesslog

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

// Entry is what a line tells of a request: what it was, where it went, how it ended and how long it
// took. No header values and no query: these may hold what nobody should read. Empty texts, and
// numbers that are not known, are left out of the line.
type Entry struct {
	// Time is when the request began.
	Time time.Time
	// RequestID is the one that the deck and the client got.
	RequestID []byte
	// Client is who is asking, as far as proxies before the router are believed.
	Client netip.Addr
	// Method, Host and Path are as they were read; the host in its canonical form.
	Method, Host, Path []byte
	// Tenant, Rule, Deck and Address say where the request went, as far as that was decided.
	Tenant, Rule, Deck, Address string
	// Epoch is the tenant's; 0: none.
	Epoch uint64
	// Revision is that of the table that decided; negative: there was none.
	Revision int64
	// Status is what the client got.
	Status int
	// Fault is why the request did not reach its deck, or came back without its answer; empty: it
	// did not fail. Reason says more.
	Fault, Reason string
	// BytesIn and BytesOut are of the bodies.
	BytesIn, BytesOut int64
	// Took is from the request's head to the end of its answer, DeckTook from when the deck was
	// asked to the head of its answer; negative: it gave none.
	Took, DeckTook time.Duration
}

// Append appends the entry's line, a JSON object and a line feed.
func (e *Entry) Append(dst []byte) []byte {
	dst = append(dst, `{"time":"`...)
	dst = e.Time.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000000Z")
	dst = append(dst, `","requestId":`...)
	dst = AppendJSONString(dst, string(e.RequestID))
	dst = append(dst, `,"client":"`...)
	dst = append(e.Client.AppendTo(dst), '"')
	dst = appendMember(dst, "method", string(e.Method))
	dst = appendMember(dst, "host", string(e.Host))
	dst = appendMember(dst, "path", string(e.Path))
	dst = appendMember(dst, "tenant", e.Tenant)
	dst = appendMember(dst, "rule", e.Rule)
	dst = appendMember(dst, "deck", e.Deck)
	dst = appendMember(dst, "address", e.Address)
	if e.Epoch > 0 {
		dst = strconv.AppendUint(append(dst, `,"epoch":`...), e.Epoch, 10)
	}
	if e.Revision >= 0 {
		dst = strconv.AppendInt(append(dst, `,"revision":`...), e.Revision, 10)
	}
	dst = strconv.AppendInt(append(dst, `,"status":`...), int64(e.Status), 10)
	if e.Fault != "" {
		dst = appendMember(dst, "fault", e.Fault)
		dst = appendMember(dst, "reason", e.Reason)
	}
	dst = strconv.AppendInt(append(dst, `,"bytesIn":`...), e.BytesIn, 10)
	dst = strconv.AppendInt(append(dst, `,"bytesOut":`...), e.BytesOut, 10)
	dst = strconv.AppendInt(append(dst, `,"micros":`...), e.Took.Microseconds(), 10)
	if e.DeckTook >= 0 {
		dst = strconv.AppendInt(append(dst, `,"deckMicros":`...), e.DeckTook.Microseconds(), 10)
	}
	return append(dst, "}\n"...)
}

// appendMember appends a member with a text, unless that is empty.
func appendMember(dst []byte, name, text string) []byte {
	if text == "" {
		return dst
	}
	dst = append(append(append(dst, `,"`...), name...), `":`...)
	return AppendJSONString(dst, text)
}

// AppendJSONString appends a JSON string. What is no valid UTF-8 becomes U+FFFD.
func AppendJSONString(dst []byte, s string) []byte {
	const hexDigits = "0123456789abcdef"
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20 || r == 0x7f:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[r>>4], hexDigits[r&15])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
