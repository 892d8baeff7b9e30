package forwarding

import (
	"bytes"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
)

// Passes says whether a line of one of the fields that are read here goes to the deck as it came:
// of the classes Forwarded, RequestID, TraceParent and TraceState. Of other classes none does.
func (id *Identity) Passes(line *admission.Line) bool {
	switch line.Class { //nolint:exhaustive // no other class is read here
	case admission.Forwarded:
		return id.peer.Trusted && (id.chain.keepsForwarded || !belongs(line, admission.Forwarded))
	case admission.RequestID:
		return id.keepsRequestID
	case admission.TraceParent, admission.TraceState:
		return id.keepsTrace
	}
	return false
}

// AppendFields appends the lines that the deck receives about the client and the trace, beside
// those that pass as they came.
func (id *Identity) AppendFields(dst []byte, head *admission.Head) []byte {
	dst = id.appendForwarding(dst, head)
	if !id.keepsRequestID {
		dst = append(append(append(dst, "X-Request-Id: "...), id.RequestID...), "\r\n"...)
	}
	if !id.keepsTrace {
		dst = append(append(append(dst, "traceparent: "...), id.newTraceParent()...), "\r\n"...)
	}
	return dst
}

// appendForwarding says on whose behalf the request is sent. To what a trusted peer said of
// those before it, the peer itself is added.
func (id *Identity) appendForwarding(dst []byte, head *admission.Head) []byte {
	c := &id.chain
	dst = append(dst, "X-Forwarded-For: "...)
	dst = c.appendTo(dst, head)
	dst = id.peer.Address.AppendTo(dst)
	if c.field != admission.Plain && c.keepsForwarded {
		dst = append(dst, "\r\nForwarded: "...)
		dst = appendElement(dst, id.peer)
	}
	dst = append(append(dst, "\r\nX-Forwarded-Proto: "...), c.proto...)
	dst = append(dst, "\r\nX-Forwarded-Host: "...)
	if c.host != nil {
		dst = append(dst, c.host...)
	} else {
		dst = head.Authority.AppendTo(dst)
	}
	dst = append(append(dst, "\r\nX-Forwarded-Port: "...), c.portAsked(&head.Authority)...)
	return append(dst, "\r\n"...)
}

// appendTo appends the chain as X-Forwarded-For has it, with what separates it from the next.
func (c *chain) appendTo(dst []byte, head *admission.Head) []byte {
	if c.field == admission.Plain {
		return dst
	}
	for list := elementsOf(head, c.field); ; {
		item := list.next()
		if item == nil {
			return dst
		}
		if c.field == admission.Forwarded {
			if address, ok := parseNode(nodeOf(c.field, item)); ok {
				dst = append(address.AppendTo(dst), ", "...)
			} else {
				dst = append(dst, "unknown, "...)
			}
			continue
		}
		dst = append(append(dst, item...), ", "...)
	}
}

// appendElement appends an element of Forwarded for the peer.
func appendElement(dst []byte, peer Peer) []byte {
	if peer.Address.Is6() {
		dst = append(peer.Address.AppendTo(append(dst, `for="[`...)), `]"`...)
	} else {
		dst = peer.Address.AppendTo(append(dst, "for="...))
	}
	if peer.TLS {
		return append(dst, ";proto=https"...)
	}
	return append(dst, ";proto=http"...)
}

var port80, port443 = []byte("80"), []byte("443")

// portAsked is the port that the client asked for: what is said of it, that of the host, or
// the scheme's own. A deck behind a balancer cannot tell it by its own.
func (c *chain) portAsked(authority *admission.Authority) []byte {
	switch {
	case c.port != nil:
		return c.port
	case c.host != nil:
		if port := portOf(c.host); admission.IsPort(port) {
			return port
		}
	case len(authority.Port) > 0:
		return authority.Port
	}
	if http1.EqualFold(c.proto, "https") || http1.EqualFold(c.proto, "wss") {
		return port443
	}
	return port80
}

// portOf returns what stands behind the last colon of an authority, and behind its bracket.
func portOf(authority []byte) []byte {
	colon := bytes.LastIndexByte(authority, ':')
	if colon < 0 || bytes.IndexByte(authority[colon:], ']') >= 0 {
		return nil
	}
	return authority[colon+1:]
}
