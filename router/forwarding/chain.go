package forwarding

import (
	"bytes"
	"net/netip"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
)

// chain is what trusted proxies say of those before them, read in one way and written to the deck
// in one way. It is X-Forwarded-For, or where there is none Forwarded
// (RFC 7239). Its elements are counted from the end, which the last proxy wrote. Empty elements
// of lists are passed over (RFC 9110 5.6.1).
type chain struct {
	// field is the field that was read: admission.ForwardedFor or admission.Forwarded;
	// admission.Plain: there is no chain.
	field admission.Class
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

// read reads what a trusted peer says, and returns the client's address as far as it is
// believed: from the end of the chain for as long as trusted proxies wrote it, the first
// address that is no trusted proxy. Where it cannot be read, the last one that could is as far
// as belief goes.
func (c *chain) read(head *admission.Head, peer netip.Addr, proxies Proxies) (client netip.Addr) {
	c.field = fieldOf(head)
	c.keepsForwarded = c.field == admission.Forwarded && allWellFormed(head) || c.field == admission.ForwardedFor && sameChains(head)
	client, at := peer, 0
	if c.field != admission.Plain {
		client, at = c.believe(head, peer, proxies)
	}
	if proto := c.said(head, admission.ForwardedProto, "proto", at); isScheme(proto) {
		c.proto = proto
	}
	if host := c.said(head, admission.ForwardedHost, "host", at); isHost(host) {
		c.host = host
	}
	if port := nth(head, admission.ForwardedPort, at); admission.IsPort(port) {
		c.port = port
	}
	return client
}

// forget lets go of what belongs to the request's head.
func (c *chain) forget() {
	c.proto, c.host, c.port = nil, nil, nil
	if c.field != admission.Plain {
		clear(c.items[:])
	}
}

// fieldOf returns the field that holds the chain.
func fieldOf(head *admission.Head) admission.Class {
	for _, class := range [...]admission.Class{admission.ForwardedFor, admission.Forwarded} {
		if list := elementsOf(head, class); list.next() != nil {
			return class
		}
	}
	return admission.Plain
}

// believe follows the chain from its end. at is the place of the client's own element.
func (c *chain) believe(head *admission.Head, peer netip.Addr, proxies Proxies) (client netip.Addr, at int) {
	total := 0
	for list := elementsOf(head, c.field); ; total++ {
		item := list.next()
		if item == nil {
			break
		}
		c.items[total%maxChain] = item
	}
	client = peer
	for i := range min(total, maxChain) {
		address, ok := parseNode(nodeOf(c.field, c.items[(total-1-i)%maxChain]))
		if !ok {
			return client, max(0, i-1)
		}
		if client, at = address, i; !proxies.Contain(address) {
			break
		}
	}
	return client, at
}

// said returns what the proxy that the client spoke to says of it, in a field of its own or,
// where the chain is Forwarded, in the client's element. nil: nothing.
func (c *chain) said(head *admission.Head, class admission.Class, parameter string, at int) []byte {
	if value := nth(head, class, at); value != nil {
		return value
	}
	if c.field == admission.Forwarded {
		return parameterOf(nth(head, c.field, at), parameter)
	}
	return nil
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
