package routing

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxKeyBytes is the greatest length of a key, in bytes.
const MaxKeyBytes = 512

// PinMode says whether, and how, a rule looks at its tenant's pins first.
// Documents write it as false, true or cached.
type PinMode string

// Modes of pins.
const (
	// PinsOff: the rule looks at no pins (the default).
	PinsOff PinMode = ""
	// PinsResident: every router holds all pins of the tenant.
	PinsResident PinMode = "true"
	// PinsCached: pins are fetched on a miss and kept in a cache.
	PinsCached PinMode = "cached"
)

// UnmarshalScalar reads the mode as a document writes it; quoted says that it was
// written as a string.
func (m *PinMode) UnmarshalScalar(text string, quoted bool) error {
	switch {
	case text == "true" && !quoted:
		*m = PinsResident
	case text == "false" && !quoted:
		*m = PinsOff
	case text == string(PinsCached):
		*m = PinsCached
	default:
		return fmt.Errorf("%q is not a mode of pins; write true, false or cached", text)
	}
	return nil
}

// MarshalJSON implements [json.Marshaler]: true, false or "cached".
func (m PinMode) MarshalJSON() ([]byte, error) {
	switch m {
	case PinsResident:
		return []byte("true"), nil
	case PinsOff:
		return []byte("false"), nil
	case PinsCached:
	}
	return json.Marshal(string(m))
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *PinMode) UnmarshalJSON(data []byte) error {
	text := string(data)
	if quoted := strings.HasPrefix(text, `"`); quoted {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		return m.UnmarshalScalar(text, true)
	}
	return m.UnmarshalScalar(text, false)
}

// Pin is the document that maps one key of a tenant to a deck.
type Pin struct {
	// Kind is "Pin".
	Kind string `json:"kind"`
	// Tenant names the tenant whose key it is.
	Tenant string `json:"tenant"`
	// Key is the key, byte for byte: 1 to 512 bytes.
	Key string `json:"key"`
	// Deck names the deck that owns the key.
	Deck string `json:"deck"`
}

// EscapeKey returns the one spelling of a key that may stand in a pin's document
// key: all but RFC 3986's unreserved characters are %XX in upper case.
func EscapeKey(key string) string {
	plain := 0
	for i := range len(key) {
		if unreserved(key[i]) {
			plain++
		}
	}
	if plain == len(key) {
		return key
	}
	out := make([]byte, 0, plain+3*(len(key)-plain))
	for i := range len(key) {
		if b := key[i]; unreserved(b) {
			out = append(out, b)
		} else {
			out = append(out, '%', upperHex[b>>4], upperHex[b&15])
		}
	}
	return string(out)
}

// UnescapeKey reverses [EscapeKey]. It refuses every other spelling.
func UnescapeKey(escaped string) (string, error) {
	out := make([]byte, 0, len(escaped))
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			out = append(out, escaped[i])
			continue
		}
		b, ok := hexPair(escaped, i+1)
		if !ok {
			return "", fmt.Errorf("%q has a %% without two hexadecimal digits", escaped)
		}
		out = append(out, b)
		i += 2
	}
	key := string(out)
	switch {
	case key == "":
		return "", errors.New("the key is empty")
	case len(key) > MaxKeyBytes:
		return "", fmt.Errorf("the key has %d bytes; at most %d", len(key), MaxKeyBytes)
	case EscapeKey(key) != escaped:
		return "", fmt.Errorf("%q is not the canonical spelling of its key; write %q", escaped, EscapeKey(key))
	}
	return key, nil
}

// upperHex are the digits of a percent-encoding in its normal form (RFC 3986 2.1).
const upperHex = "0123456789ABCDEF"

// unreserved says whether b is an unreserved character of RFC 3986 2.3.
func unreserved(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' ||
		b == '-' || b == '.' || b == '_' || b == '~'
}

// hexPair reads the two hexadecimal digits at s[at:].
func hexPair[T string | []byte](s T, at int) (byte, bool) {
	if at+1 >= len(s) {
		return 0, false
	}
	high, ok1 := hexDigit(s[at])
	low, ok2 := hexDigit(s[at+1])
	return high<<4 | low, ok1 && ok2
}

func hexDigit(b byte) (byte, bool) {
	switch {
	case b >= '0' && b <= '9':
		return b - '0', true
	case b >= 'a' && b <= 'f':
		return b - 'a' + 10, true
	case b >= 'A' && b <= 'F':
		return b - 'A' + 10, true
	}
	return 0, false
}
