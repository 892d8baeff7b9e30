package routing

import "bytes"

// canonicalPath returns the form of a request's path that rules and keys are compared
// with: unreserved %XX decoded, the remaining %XX in upper case, dot segments removed
// (RFC 3986 6.2.2). It refuses what decks may read in two ways: an encoded slash, dot
// segment or NUL, a backslash, plain or encoded, and a "%" without two hexadecimal digits.
// With slashes an encoded slash is let in, as a part of its segment, "%2F", unless what stands
// before or behind it would be a dot segment for who decodes it.
// The result aliases path if that is canonical already, else buf, which grows as needed;
// of a path that is refused it is what had been made so far, so that the space can be kept.
func canonicalPath(buf, path []byte, slashes bool) (canonical []byte, ok bool) {
	if isPlainPath(path) {
		return path, true
	}
	out := buf[:0]
	for i := 0; i < len(path); i++ {
		b := path[i]
		if b == '\\' || b == 0 {
			return out, false
		}
		if b != '%' {
			out = append(out, b)
			continue
		}
		decoded, valid := hexPair(path, i+1)
		if !valid || decoded == '/' && !slashes || decoded == '\\' || decoded == 0 {
			return out, false
		}
		i += 2
		switch {
		case decoded == '.':
			if dotSegment(path, i-2) {
				return out, false
			}
			out = append(out, '.')
		case unreserved(decoded):
			out = append(out, decoded)
		default:
			out = append(out, '%', upperHex[decoded>>4], upperHex[decoded&15])
		}
	}
	if slashes && dotsBesideSlash(out) {
		return out, false
	}
	return removeDotSegments(out)
}

// encodedSlash is how one stands in a canonical path.
var encodedSlash = []byte("%2F")

// dotsBesideSlash says whether a dot segment stands before or behind an encoded slash.
func dotsBesideSlash(path []byte) bool {
	for rest := path; ; {
		segment, after, more := bytes.Cut(rest, slash)
		if bytes.Contains(segment, encodedSlash) {
			for part, left, found := bytes.Cut(segment, encodedSlash); ; part, left, found = bytes.Cut(left, encodedSlash) {
				if len(part) == 1 && part[0] == '.' || len(part) == 2 && part[0] == '.' && part[1] == '.' {
					return true
				}
				if !found {
					break
				}
			}
		}
		if !more {
			return false
		}
		rest = after
	}
}

var slash = []byte("/")

// isPlainPath says whether path is canonical at a glance: nothing encoded, no segment
// that begins with a dot, no backslash, no NUL.
func isPlainPath(path []byte) bool {
	for i, b := range path {
		switch {
		case b == '%' || b == '\\' || b == 0:
			return false
		case b == '.' && i > 0 && path[i-1] == '/':
			return false
		}
	}
	return true
}

// dotSegment says whether the segment of path around index at is "." or "..", plain or encoded.
func dotSegment(path []byte, at int) bool {
	start := bytes.LastIndexByte(path[:at], '/') + 1
	segment := path[start:]
	if end := bytes.IndexByte(segment, '/'); end >= 0 {
		segment = segment[:end]
	}
	dots := 0
	for i := 0; i < len(segment); i++ {
		if segment[i] == '%' {
			if b, ok := hexPair(segment, i+1); !ok || b != '.' {
				return false
			}
			i += 2
		} else if segment[i] != '.' {
			return false
		}
		dots++
	}
	return dots == 1 || dots == 2
}

// removeDotSegments removes "." and ".." segments in place (RFC 3986 5.2.4). Empty segments are
// kept: nothing says that a deck merges them. But nothing says that it does not: ok is false
// where ".." would take an empty segment away, which leads elsewhere for who merges first.
func removeDotSegments(path []byte) (out []byte, ok bool) {
	out = path[:0]
	rest := path
	for len(rest) > 0 {
		end := len(rest)
		if next := bytes.IndexByte(rest[1:], '/'); next >= 0 {
			end = next + 1
		}
		segment := rest[:end] // "/name", or "name" at the very start
		last := end == len(rest)
		switch {
		case len(segment) == 2 && segment[0] == '/' && segment[1] == '.':
			if last {
				out = append(out, '/')
			}
		case len(segment) == 3 && segment[0] == '/' && segment[1] == '.' && segment[2] == '.':
			slash := bytes.LastIndexByte(out, '/')
			if slash >= 0 && slash == len(out)-1 {
				return nil, false
			}
			out = out[:max(slash, 0)]
			if last {
				out = append(out, '/')
			}
		default:
			out = append(out, segment...)
		}
		rest = rest[end:]
	}
	return out, true
}

// hasPathPrefix says whether path lies at or under prefix, on a segment boundary.
func hasPathPrefix(path []byte, prefix string) bool {
	if len(path) < len(prefix) || string(path[:len(prefix)]) != prefix {
		return false
	}
	return len(path) == len(prefix) || prefix[len(prefix)-1] == '/' || path[len(prefix)] == '/'
}

// pathSegment returns the nth segment of path, counted from 1; nil if there is none.
func pathSegment(path []byte, n int) []byte {
	for len(path) > 0 && path[0] == '/' {
		path = path[1:]
		end := bytes.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		if n--; n == 0 {
			return path[:end]
		}
		path = path[end:]
	}
	return nil
}
