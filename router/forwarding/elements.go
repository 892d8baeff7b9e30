package forwarding

import (
	"bytes"
	"net/netip"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
)

// elements walks over the elements of a list in all field lines of a class, in order.
type elements struct {
	lines []admission.Line
	class admission.Class
	rest  []byte
}

// belongs says whether a line is of the class. Of the class Forwarded only that one field is a
// list of elements.
func belongs(line *admission.Line, class admission.Class) bool {
	return line.Class == class && (class != admission.Forwarded || http1.EqualFold(line.Name, "forwarded"))
}

// next returns the next element that is not empty; nil: there are no more.
func (e *elements) next() (element []byte) {
	for {
		for len(e.rest) == 0 {
			if len(e.lines) == 0 {
				return nil
			}
			if belongs(&e.lines[0], e.class) {
				e.rest = e.lines[0].Value
			}
			e.lines = e.lines[1:]
		}
		if e.class == admission.Forwarded {
			element, e.rest = cutQuoted(e.rest, ',')
		} else {
			element, e.rest = http1.NextItem(e.rest)
		}
		if len(element) > 0 {
			return element
		}
	}
}

func elementsOf(head *admission.Head, class admission.Class) elements {
	return elements{lines: head.Lines, class: class}
}

// cutQuoted cuts text at the first separator that stands in no quoted string (RFC 9110 5.6.4).
func cutQuoted(text []byte, separator byte) (before, after []byte) {
	quoted := false
	for i := 0; i < len(text); i++ {
		switch b := text[i]; {
		case b == '\\' && quoted:
			i++
		case b == '"':
			quoted = !quoted
		case b == separator && !quoted:
			return http1.TrimSpace(text[:i]), text[i+1:]
		}
	}
	return http1.TrimSpace(text), nil
}

// nodeOf returns the address in an element of a chain.
func nodeOf(chain admission.Class, element []byte) []byte {
	if chain == admission.Forwarded {
		return parameterOf(element, "for")
	}
	return element
}

// allWellFormed says whether every element of Forwarded can be read. One that cannot would have
// the router's own element behind it read as a part of it.
func allWellFormed(head *admission.Head) bool {
	for list := elementsOf(head, admission.Forwarded); ; {
		switch element := list.next(); {
		case element == nil:
			return true
		case !wellFormed(element):
			return false
		}
	}
}

// wellFormed says whether an element of Forwarded is one by the letter (RFC 7239 4): pairs of a
// token and a token or a quoted string, each name once. A balancer that appends its own behind a
// quote that its client opened would else have its element read as the client's.
func wellFormed(element []byte) bool {
	const most = 16 // pairs; four are defined
	var names [most][]byte
	for count := 0; len(element) > 0; count++ {
		var pair []byte
		pair, element = cutQuoted(element, ';')
		if len(pair) == 0 {
			continue
		}
		name, value, found := bytes.Cut(pair, []byte("="))
		if !found || !http1.IsToken(name) || !http1.IsToken(value) && !isQuoted(value) && !isNode(value) || count == most {
			return false
		}
		for _, other := range names[:count] {
			if http1.SameName(name, other) {
				return false
			}
		}
		names[count] = name
	}
	return true
}

// isQuoted says whether text is one quoted string (RFC 9110 5.6.4).
func isQuoted(text []byte) bool {
	if len(text) < 2 || text[0] != '"' || text[len(text)-1] != '"' {
		return false
	}
	inner := text[1 : len(text)-1]
	for i := 0; i < len(inner); i++ {
		switch inner[i] {
		case '"':
			return false
		case '\\':
			if i++; i == len(inner) {
				return false
			}
		}
	}
	return true
}

// isNode says whether text is an address with marks that no token has and that many proxies do
// not quote, though they should: brackets and colons.
func isNode(text []byte) bool {
	for _, b := range text {
		if (b < '0' || b > '9') && (b|0x20 < 'a' || b|0x20 > 'z') && bytes.IndexByte([]byte("._-:[]"), b) < 0 {
			return false
		}
	}
	return len(text) > 0
}

// parameterOf returns the value of a parameter of an element of Forwarded (RFC 7239 4), without
// its quotes; nil: there is none, or the element is malformed.
func parameterOf(element []byte, name string) []byte {
	if !wellFormed(element) {
		return nil
	}
	for len(element) > 0 {
		var pair []byte
		pair, element = cutQuoted(element, ';')
		key, value, _ := bytes.Cut(pair, []byte("="))
		if !http1.EqualFold(key, name) {
			continue
		}
		if n := len(value); n >= 2 && value[0] == '"' && value[n-1] == '"' {
			value = value[1 : n-1]
		}
		return value
	}
	return nil
}

// nth returns the element that stands so many places before the end of a list, or the first if
// there are not so many: some proxies add to a list and others write it anew. nil: there is none.
func nth(head *admission.Head, class admission.Class, fromEnd int) (element []byte) {
	total := 0
	for list := elementsOf(head, class); list.next() != nil; {
		total++
	}
	list := elementsOf(head, class)
	for range total - min(fromEnd, max(0, total-1)) {
		element = list.next()
	}
	return element
}

// maxNodeBytes is more than any address with its port takes.
const maxNodeBytes = 64

// parseNode reads an address with or without a port; an IPv6 address with a port stands
// in brackets.
func parseNode(node []byte) (netip.Addr, bool) {
	if len(node) == 0 || len(node) > maxNodeBytes {
		return netip.Addr{}, false
	}
	text := string(node)
	if address, err := netip.ParseAddr(text); err == nil {
		return address.Unmap().WithZone(""), true
	}
	if n := len(text); text[0] == '[' && text[n-1] == ']' {
		address, err := netip.ParseAddr(text[1 : n-1])
		return address.Unmap().WithZone(""), err == nil
	}
	both, err := netip.ParseAddrPort(text)
	return both.Addr().Unmap().WithZone(""), err == nil
}
