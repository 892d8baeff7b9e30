package http1

import "bytes"

// EqualFold says whether name equals the lower-case ASCII text want without regard to case.
func EqualFold(name []byte, want string) bool {
	return len(name) == len(want) && HasPrefixFold(name, want)
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

// HasPrefixFold says whether name begins with the lower-case ASCII text want without regard to case.
func HasPrefixFold(name []byte, want string) bool {
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

// maxLengthDigits keeps a length far below the greatest int64.
const maxLengthDigits = 18

// ParseLength reads a Content-Length: one run of digits.
func ParseLength(digits []byte) (n int64, ok bool) {
	if len(digits) == 0 || len(digits) > maxLengthDigits {
		return 0, false
	}
	for _, b := range digits {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	return n, true
}

// Lower returns the lower case of an ASCII letter, and any other octet as it is.
func Lower(b byte) byte { return lower[b] }

// octets says what each octet may be part of.
var octets = func() (table [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b|0x20 >= 'a' && b|0x20 <= 'z'
		if letter || b >= '0' && b <= '9' || bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0 {
			table[c] |= tokenOctet
		}
		if b >= 0x20 && b != 0x7f || b == '\t' {
			table[c] |= valueOctet
		}
	}
	return table
}()

const (
	tokenOctet uint8 = 1 << iota
	valueOctet
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
