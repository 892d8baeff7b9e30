package routing

import "bytes"

// keyResult says how the reading of a key or a value went.
type keyResult uint8

const (
	keyFound keyResult = iota
	keyAbsent
	keyAmbiguous // on several lines, twice in a cookie or query, or undecodable
	keyTooLong
)

// readKey reads the part of a request that src names. A key that is empty is absent.
// The result aliases the request or its scratch space.
func (r *Request) readKey(src *compiledKey) ([]byte, keyResult) {
	var value []byte
	result := keyFound
	switch src.kind {
	case keyHeader:
		value, result = r.headerValue(src.name)
	case keyCookie:
		value, result = r.cookieValue(src.name)
	case keyQuery:
		value, result = r.queryValue(src.name, r.key[:0])
	case keyPath:
		value, result = decodeOnce(r.key[:0], pathSegment(r.path, src.segment))
	case keyClaim:
		value, result = r.claimValue(src.name)
	case keyClientIP:
		if r.ClientIP.IsValid() {
			value = r.ClientIP.Unmap().WithZone("").AppendTo(r.key[:0])
		}
	case keyHost:
		value = r.Host
	case keyNone: // a rule without a key reads none
	}
	switch {
	case result != keyFound:
		return nil, result
	case len(value) == 0:
		return nil, keyAbsent
	case len(value) > MaxKeyBytes:
		return nil, keyTooLong
	}
	return value, keyFound
}

func (r *Request) headerValue(name string) ([]byte, keyResult) {
	value, lines := r.field(name)
	switch lines {
	case 0:
		return nil, keyAbsent
	case 1:
		return value, keyFound
	}
	return nil, keyAmbiguous
}

// cookieValue finds a cookie by its exact name (RFC 6265 4.2.1). Surrounding white space is not part
// of a value; quotes are. Several lines are read as one, joined by "; ": HTTP/2 fronts split
// them (RFC 9113 8.2.3). A cookie that stands twice, on one line or on two, is ambiguous.
func (r *Request) cookieValue(name string) (value []byte, result keyResult) {
	_, lines := r.field(cookieField)
	result = keyAbsent
	for n := range lines {
		found, foundAs := cookieOf(r.Fields.Line(cookieField, n), name)
		switch {
		case foundAs == keyAbsent:
		case foundAs == keyAmbiguous, result == keyFound:
			return nil, keyAmbiguous
		default:
			value, result = found, foundAs
		}
	}
	return value, result
}

const cookieField = "cookie"

// cookieOf finds a cookie on one line.
func cookieOf(line []byte, name string) (value []byte, result keyResult) {
	result = keyAbsent
	for len(line) > 0 {
		pair := line
		if end := bytes.IndexByte(line, ';'); end >= 0 {
			pair, line = line[:end], line[end+1:]
		} else {
			line = nil
		}
		cookie, rest, found := bytes.Cut(pair, equalsSign)
		if !found || string(trimSpace(cookie)) != name {
			continue
		}
		if result == keyFound {
			return nil, keyAmbiguous
		}
		value, result = trimSpace(rest), keyFound
	}
	return value, result
}

var equalsSign = []byte{'='}

// queryValue finds a query parameter by its name; names and values are percent-decoded
// once, and "+" stays. A value that holds no escape aliases the query, else it goes to buf.
func (r *Request) queryValue(name string, buf []byte) ([]byte, keyResult) {
	var value []byte
	result := keyAbsent
	query := r.Query
	for len(query) > 0 {
		pair := query
		if end := bytes.IndexByte(query, '&'); end >= 0 {
			pair, query = query[:end], query[end+1:]
		} else {
			query = nil
		}
		parameter, rest, _ := bytes.Cut(pair, equalsSign)
		if !equalsDecoded(parameter, name) {
			continue
		}
		if result == keyFound {
			return nil, keyAmbiguous
		}
		if value, result = decodeOnce(buf, rest); result != keyFound {
			return nil, result
		}
	}
	return value, result
}

// equalsDecoded says whether encoded, percent-decoded once, is name. An escape that
// cannot be decoded stands for itself.
func equalsDecoded(encoded []byte, name string) bool {
	n := 0
	for i := 0; i < len(encoded); i++ {
		b := encoded[i]
		if b == '%' {
			if decoded, ok := hexPair(encoded, i+1); ok {
				b = decoded
				i += 2
			}
		}
		if n >= len(name) || name[n] != b {
			return false
		}
		n++
	}
	return n == len(name)
}

// decodeOnce percent-decodes value into buf, or returns value itself where nothing is
// encoded. It stops as soon as the result is longer than a key can be.
func decodeOnce(buf, value []byte) ([]byte, keyResult) {
	if bytes.IndexByte(value, '%') < 0 {
		return value, keyFound
	}
	out := buf[:0]
	for i := 0; i < len(value); i++ {
		b := value[i]
		if b == '%' {
			decoded, ok := hexPair(value, i+1)
			if !ok {
				return nil, keyAmbiguous
			}
			b = decoded
			i += 2
		}
		if len(out) == MaxKeyBytes {
			return nil, keyTooLong
		}
		out = append(out, b)
	}
	return out, keyFound
}

// trimSpace removes blanks and tabs (OWS, RFC 9110 5.6.3) at both ends.
func trimSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	for len(b) > 0 && (b[len(b)-1] == ' ' || b[len(b)-1] == '\t') {
		b = b[:len(b)-1]
	}
	return b
}

// decimalKey reads a key that is decimal, without sign or leading zero, 0 to 2^63-1.
func decimalKey(key []byte) (int64, bool) {
	if len(key) == 0 || len(key) > 19 || key[0] == '0' && len(key) > 1 {
		return 0, false
	}
	var n uint64
	for _, b := range key {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + uint64(b-'0')
	}
	return int64(n), n <= 1<<63-1 // the second result says whether it fits
}
