package routing

import (
	"bytes"
	"encoding/base64"
	"unicode/utf8"
)

// claimValue reads a string or whole-number member of the payload of the bearer token
// (RFC 6750 2.1; RFC 7519 in the compact form of RFC 7515 3.1). The token is not
// verified. A token that is none, and a claim of another type, count as absent; a
// claim that stands twice in the payload is ambiguous (RFC 7519 4).
func (r *Request) claimValue(name string) ([]byte, keyResult) {
	value, lines := r.field("authorization")
	if lines > 1 {
		return nil, keyAmbiguous
	}
	const scheme = "bearer "
	if len(value) < len(scheme) || !equalFold(value[:len(scheme)], scheme) {
		return nil, keyAbsent
	}
	_, rest, ok := bytes.Cut(trimSpace(value[len(scheme):]), dot)
	if !ok {
		return nil, keyAbsent
	}
	payload, signature, ok := bytes.Cut(rest, dot)
	if !ok || bytes.IndexByte(signature, '.') >= 0 {
		return nil, keyAbsent
	}
	if need := base64.RawURLEncoding.DecodedLen(len(payload)); cap(r.token) < need {
		r.token = make([]byte, need)
	}
	n, err := base64.RawURLEncoding.Decode(r.token[:cap(r.token)], payload)
	if err != nil {
		return nil, keyAbsent
	}
	return findMember(r.token[:n], name, r.key[:0])
}

var dot = []byte{'.'}

// equalFold says whether b is the lower-case ASCII text s without regard to case.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		c := b[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != s[i] {
			return false
		}
	}
	return true
}

// findMember finds a member of the JSON object (RFC 8259) and returns its value if that
// is a string, decoded into buf, or a whole number, as it is written. Text that is not
// one JSON object has no members.
func findMember(text []byte, name string, buf []byte) ([]byte, keyResult) {
	s := jsonScanner{text: text}
	if !s.take('{') {
		return nil, keyAbsent
	}
	var value []byte
	result, seen := keyAbsent, false
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return nil, keyAbsent
		}
		same, ok := s.memberName(name)
		if !ok || !s.take(':') {
			return nil, keyAbsent
		}
		if !same {
			if !s.skip(0) {
				return nil, keyAbsent
			}
			continue
		}
		if seen {
			return nil, keyAmbiguous
		}
		seen = true
		if value, result, ok = s.keyValue(buf); !ok {
			return nil, keyAbsent
		}
	}
	if s.space(); s.at != len(s.text) {
		return nil, keyAbsent
	}
	return value, result
}

// maxClaimDepth bounds the nesting of a payload.
const maxClaimDepth = 32

// jsonScanner walks over JSON text without allocating.
type jsonScanner struct {
	text []byte
	at   int
}

func (s *jsonScanner) space() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		default:
			return
		}
	}
}

// take steps over white space and then b, if that is next.
func (s *jsonScanner) take(b byte) bool {
	s.space()
	if s.at < len(s.text) && s.text[s.at] == b {
		s.at++
		return true
	}
	return false
}

// memberName steps over a string and says whether it is name.
func (s *jsonScanner) memberName(name string) (same, ok bool) {
	var buf [4 * MaxNameBytes]byte
	text, fits, ok := s.stringValue(buf[:0], len(buf))
	return ok && fits && string(text) == name, ok
}

// keyValue steps over a value and returns it if it can be a key.
func (s *jsonScanner) keyValue(buf []byte) (value []byte, result keyResult, ok bool) {
	s.space()
	if s.at == len(s.text) {
		return nil, keyAbsent, false
	}
	switch b := s.text[s.at]; {
	case b == '"':
		text, fits, ok := s.stringValue(buf, MaxKeyBytes)
		if ok && !fits {
			return nil, keyTooLong, true
		}
		return text, keyFound, ok
	case b == '-' || b >= '0' && b <= '9':
		start := s.at
		whole, ok := s.number()
		if !whole {
			return nil, keyAbsent, ok
		}
		return s.text[start:s.at], keyFound, ok
	}
	return nil, keyAbsent, s.skip(0)
}

// skip steps over any one value.
func (s *jsonScanner) skip(depth int) bool {
	s.space()
	if s.at == len(s.text) || depth > maxClaimDepth {
		return false
	}
	switch b := s.text[s.at]; {
	case b == '"':
		_, _, ok := s.stringValue(nil, 0)
		return ok
	case b == '-' || b >= '0' && b <= '9':
		_, ok := s.number()
		return ok
	case b == '{':
		return s.skipMembers(depth)
	case b == '[':
		return s.skipElements(depth)
	}
	return s.literal("true") || s.literal("false") || s.literal("null")
}

func (s *jsonScanner) skipMembers(depth int) bool {
	s.at++
	for first := true; !s.take('}'); first = false {
		if !first && !s.take(',') {
			return false
		}
		if _, ok := s.memberName(""); !ok || !s.take(':') || !s.skip(depth+1) {
			return false
		}
	}
	return true
}

func (s *jsonScanner) skipElements(depth int) bool {
	s.at++
	for first := true; !s.take(']'); first = false {
		if !first && !s.take(',') || !s.skip(depth+1) {
			return false
		}
	}
	return true
}

func (s *jsonScanner) literal(word string) bool {
	if rest := s.text[s.at:]; len(rest) < len(word) || string(rest[:len(word)]) != word {
		return false
	}
	s.at += len(word)
	return true
}

// number steps over a number and says whether it is written as a whole one.
func (s *jsonScanner) number() (whole, ok bool) {
	digits := func() int {
		start := s.at
		for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
			s.at++
		}
		return s.at - start
	}
	next := func(set string) bool {
		return s.at < len(s.text) && bytes.IndexByte([]byte(set), s.text[s.at]) >= 0
	}
	if next("-") {
		s.at++
	}
	leadingZero := next("0")
	if n := digits(); n == 0 || leadingZero && n > 1 {
		return false, false
	}
	whole = true
	if next(".") {
		s.at++
		if whole = false; digits() == 0 {
			return false, false
		}
	}
	if next("eE") {
		s.at++
		if next("+-") {
			s.at++
		}
		if whole = false; digits() == 0 {
			return false, false
		}
	}
	return whole, true
}

// stringValue steps over a string and decodes it into buf as far as most bytes; fits
// says whether that was all of it.
func (s *jsonScanner) stringValue(buf []byte, most int) (text []byte, fits, ok bool) {
	if !s.take('"') {
		return nil, false, false
	}
	fits = true
	var one [utf8.UTFMax]byte
	for s.at < len(s.text) {
		b := s.text[s.at]
		s.at++
		decoded := one[:1]
		switch {
		case b == '"':
			return buf, fits, true
		case b < 0x20:
			return nil, false, false
		case b == '\\':
			r, valid := s.escape()
			if !valid {
				return nil, false, false
			}
			decoded = one[:utf8.EncodeRune(one[:], r)]
		default:
			one[0] = b
		}
		if fits = fits && len(buf)+len(decoded) <= most; fits {
			buf = append(buf, decoded...)
		}
	}
	return nil, false, false
}

// escape reads what follows a backslash in a string (RFC 8259 7). A surrogate without
// its other half is refused: it stands for no character.
func (s *jsonScanner) escape() (rune, bool) {
	if s.at == len(s.text) {
		return 0, false
	}
	b := s.text[s.at]
	s.at++
	switch b {
	case '"', '\\', '/':
		return rune(b), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	case 'u':
		return s.unicodeEscape()
	}
	return 0, false
}

func (s *jsonScanner) unicodeEscape() (rune, bool) {
	const highFirst, lowFirst, lowLast = 0xd800, 0xdc00, 0xdfff
	r, ok := s.fourHex()
	if !ok || r < highFirst || r > lowLast {
		return r, ok
	}
	if r >= lowFirst || !s.literal(`\u`) {
		return 0, false
	}
	low, ok := s.fourHex()
	if !ok || low < lowFirst || low > lowLast {
		return 0, false
	}
	return (r-highFirst)<<10 + (low - lowFirst) + 0x10000, true
}

func (s *jsonScanner) fourHex() (rune, bool) {
	high, ok1 := hexPair(s.text, s.at)
	low, ok2 := hexPair(s.text, s.at+2)
	s.at += 4
	return rune(high)<<8 | rune(low), ok1 && ok2
}
