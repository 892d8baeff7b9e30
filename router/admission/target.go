package admission

import (
	"bytes"

	"gridrouter.io/router/http1"
)

// target is a request target, taken apart.
type target struct {
	// origin is the target in origin-form or asterisk-form, as the deck receives it.
	origin []byte
	// path and query are parts of origin; the query is without its "?".
	path, query []byte
	// authority is what an absolute-form target names; nil in other forms.
	authority []byte
	// usualPort is the port that an authority without one means, in absolute-form.
	usualPort []byte
}

var (
	rootPath = []byte("/")
	asterisk = []byte("*")
	options  = []byte("OPTIONS")

	httpPort, httpsPort = []byte("80"), []byte("443")
)

// readTarget takes a request target apart (RFC 9112 3.2). buf is scratch space for the
// one case in which origin-form is not part of raw: absolute-form with a query and no path.
func readTarget(method, raw, buf []byte) (t target, grown []byte, reason string) {
	for _, b := range raw {
		if octets[b]&targetOctet == 0 {
			return t, buf, "the request target holds a control character, a space or an octet above 0x7E"
		}
		if b == '#' {
			return t, buf, "the request target holds a fragment"
		}
	}
	if !escapesWell(raw) {
		return t, buf, "the path has a % that two hexadecimal digits do not follow"
	}
	switch {
	case len(raw) == 0:
		return t, buf, "the request target is empty"
	case raw[0] == '/':
		t.split(raw)
		return t, buf, ""
	case len(raw) == 1 && raw[0] == '*':
		if !bytes.Equal(method, options) {
			return t, buf, "the request target * is for OPTIONS only"
		}
		t.split(raw)
		return t, buf, ""
	}
	return readAbsolute(method, raw, buf)
}

// escapesWell says whether each "%" before the query begins an escape (RFC 3986 2.1). Some
// servers take another one for itself, and others for the beginning of something else.
func escapesWell(raw []byte) bool {
	for i, b := range raw {
		switch {
		case b == '?':
			return true
		case b == '%' && (i+2 >= len(raw) || !isHex(raw[i+1]) || !isHex(raw[i+2])):
			return false
		}
	}
	return true
}

func isHex(b byte) bool { return b >= '0' && b <= '9' || b|0x20 >= 'a' && b|0x20 <= 'f' }

// readAbsolute takes an absolute-form target apart: http or https only.
func readAbsolute(method, raw, buf []byte) (t target, grown []byte, reason string) {
	var rest []byte
	switch {
	case http1.HasPrefixFold(raw, "http://"):
		rest, t.usualPort = raw[len("http://"):], httpPort
	case http1.HasPrefixFold(raw, "https://"):
		rest, t.usualPort = raw[len("https://"):], httpsPort
	default:
		return t, buf, "the request target is neither a path nor an http or https URL"
	}
	end := bytes.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	t.authority = rest[:end]
	switch origin := rest[end:]; {
	case len(origin) == 0 && bytes.Equal(method, options):
		t.split(asterisk)
	case len(origin) == 0:
		t.split(rootPath)
	case origin[0] == '?':
		buf = append(append(buf[:0], '/'), origin...)
		t.split(buf)
	default:
		t.split(origin)
	}
	return t, buf, ""
}

func (t *target) split(origin []byte) {
	t.origin, t.path, t.query = origin, origin, nil
	if i := bytes.IndexByte(origin, '?'); i >= 0 {
		t.path, t.query = origin[:i], origin[i+1:]
	}
}
