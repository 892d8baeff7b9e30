package router

import (
	"bytes"
	"net/netip"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
)

// forwarding is what trusted proxies say of those before them: one chain, read in one way, and
// written to the deck in one way. The chain is X-Forwarded-For, or where there is none Forwarded
// (RFC 7239). Its elements are counted from the end, which the last proxy wrote. Empty elements
// of lists are passed over (RFC 9110 5.6.1).
type forwarding struct {
	// chain is the field that was read: admission.ForwardedFor or admission.Forwarded;
	// admission.Plain: there is no chain.
	chain admission.Class
	// keepsForwarded says that Forwarded goes on to the deck as it came, since it tells the same.
	keepsForwarded bool
	// proto, host and port are what the client used, as far as it is believed; host and port are
	// nil where nobody says.
	proto, host, port []byte

	items [maxChain][]byte // the last elements of the chain, room to read them backwards
}

// maxChain is how many proxies before this router are believed. What stands further back is
// passed on, and not looked at.
const maxChain = 64

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

// read reads what a trusted peer says, and returns the client's address as far as it is
// believed: from the end of the chain for as long as trusted proxies wrote it, the first
// address that is no trusted proxy. Where it cannot be read, the last one that could is as far
// as belief goes.
func (f *forwarding) read(head *admission.Head, peer netip.Addr, trusts func(netip.Addr) bool) (client netip.Addr) {
	f.chain = chainOf(head)
	f.keepsForwarded = f.chain == admission.Forwarded && allWellFormed(head) || f.chain == admission.ForwardedFor && sameChains(head)
	client, at := peer, 0
	if f.chain != admission.Plain {
		client, at = f.believe(head, peer, trusts)
	}
	if proto := f.said(head, admission.ForwardedProto, "proto", at); isScheme(proto) {
		f.proto = proto
	}
	if host := f.said(head, admission.ForwardedHost, "host", at); isHost(host) {
		f.host = host
	}
	if port := nth(head, admission.ForwardedPort, at); admission.IsPort(port) {
		f.port = port
	}
	return client
}

// forget lets go of what belongs to the request's head.
func (f *forwarding) forget() {
	f.proto, f.host, f.port = nil, nil, nil
	if f.chain != admission.Plain {
		clear(f.items[:])
	}
}

// chainOf returns the field that holds the chain.
func chainOf(head *admission.Head) admission.Class {
	for _, class := range [...]admission.Class{admission.ForwardedFor, admission.Forwarded} {
		if list := elementsOf(head, class); list.next() != nil {
			return class
		}
	}
	return admission.Plain
}

// believe follows the chain from its end. at is the place of the client's own element.
func (f *forwarding) believe(head *admission.Head, peer netip.Addr, trusts func(netip.Addr) bool) (client netip.Addr, at int) {
	total := 0
	for list := elementsOf(head, f.chain); ; total++ {
		item := list.next()
		if item == nil {
			break
		}
		f.items[total%maxChain] = item
	}
	client = peer
	for i := range min(total, maxChain) {
		address, ok := parseNode(nodeOf(f.chain, f.items[(total-1-i)%maxChain]))
		if !ok {
			return client, max(0, i-1)
		}
		if client, at = address, i; !trusts(address) {
			break
		}
	}
	return client, at
}

// said returns what the proxy that the client spoke to says of it, in a field of its own or,
// where the chain is Forwarded, in the client's element. nil: nothing.
func (f *forwarding) said(head *admission.Head, class admission.Class, parameter string, at int) []byte {
	if value := nth(head, class, at); value != nil {
		return value
	}
	if f.chain == admission.Forwarded {
		return parameterOf(nth(head, f.chain, at), parameter)
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

// sameChains says whether X-Forwarded-For and Forwarded name the same addresses. A proxy that
// knows one of them passes on what a client made up in the other.
func sameChains(head *admission.Head) bool {
	one, other := elementsOf(head, admission.ForwardedFor), elementsOf(head, admission.Forwarded)
	for {
		a, b := one.next(), other.next()
		if a == nil || b == nil {
			return a == nil && b == nil
		}
		left, okLeft := parseNode(a)
		right, okRight := parseNode(nodeOf(admission.Forwarded, b))
		if !okLeft || !okRight || left != right {
			return false
		}
	}
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

// isScheme says whether value is a scheme that HTTP is asked by. That of a WebSocket is what
// some proxies write of one.
func isScheme(value []byte) bool {
	for _, scheme := range [...]string{"http", "https", "ws", "wss"} {
		if http1.EqualFold(value, scheme) {
			return true
		}
	}
	return false
}

// isHost says whether value may be an authority: nothing that separates or quotes.
func isHost(value []byte) bool {
	for _, b := range value {
		if b <= ' ' || b >= 0x7f || bytes.IndexByte([]byte(`",;@/\?#`), b) >= 0 {
			return false
		}
	}
	return len(value) > 0
}
