package router

import (
	"bytes"
	"net/netip"
	"strconv"

	"gridrouter.io/router/admission"
	"gridrouter.io/router/http1"
	"gridrouter.io/routing"
)

// appendDeckHead appends the head that the deck receives: the client's own field lines
// byte for byte and in order, without those that are for one connection only, that the
// router answers for, or that nobody but the router may write; then the router's own.
func (x *exchange) appendDeckHead(dst []byte) []byte {
	dst = append(dst, x.line.Method...)
	dst = append(dst, ' ')
	dst = append(dst, x.head.Target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	if x.view.compiled.HostHeader == routing.HostHeaderOriginal {
		dst = append(dst, x.head.Host()...)
	} else {
		dst = append(dst, x.view.compiled.Domain...)
	}
	dst = append(dst, "\r\n"...)
	cookies := 0
	for i := range x.head.Lines {
		switch line := &x.head.Lines[i]; {
		case !x.passes(line):
		case http1.EqualFold(line.Name, "cookie"):
			if cookies++; cookies == 1 {
				dst = appendCookies(dst, x.head.Lines[i:])
			}
		default:
			dst = append(dst, line.Raw...)
		}
	}
	if len(x.head.Upgrade) > 0 {
		dst = append(append(append(dst, "Connection: Upgrade\r\nUpgrade: "...), x.head.Upgrade...), "\r\n"...)
	}
	if x.head.Chunked {
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	}
	dst = x.appendForwarding(dst)
	dst = x.appendNames(dst)
	dst = x.appendGrid(dst)
	return append(dst, "\r\n"...)
}

// appendCookies appends the cookies as one line, as they were read. A deck may get them on several
// only over HTTP/2 (RFC 9113 8.2.3); some join lines by commas, and find other cookies.
func appendCookies(dst []byte, lines []admission.Line) []byte {
	dst = append(dst, lines[0].Raw[:len(lines[0].Raw)-2]...)
	for i := range lines[1:] {
		if line := &lines[1+i]; line.Class == admission.Plain && http1.EqualFold(line.Name, "cookie") {
			dst = append(append(dst, "; "...), line.Value...)
		}
	}
	return append(dst, "\r\n"...)
}

// passes says whether a field line goes to the deck as it came.
func (x *exchange) passes(line *admission.Line) bool {
	switch line.Class { //nolint:exhaustive // the others do not pass
	case admission.Plain:
		return !x.decision.Policy.Shadows(line.Name)
	case admission.ContentLength:
		return true
	case admission.Expect:
		return x.head.Continue
	case admission.Forwarded:
		return x.client.trusted && (x.who.keepsForwarded || !belongs(line, admission.Forwarded))
	case admission.RequestID:
		return x.who.keepsRequestID
	case admission.TraceParent, admission.TraceState:
		return x.who.keepsTrace
	}
	return false
}

// appendNames says by which names the request is followed through the system.
func (x *exchange) appendNames(dst []byte) []byte {
	if !x.who.keepsRequestID {
		dst = append(append(append(dst, "X-Request-Id: "...), x.who.requestID...), "\r\n"...)
	}
	if !x.who.keepsTrace {
		dst = append(append(append(dst, "traceparent: "...), x.who.newTraceParent()...), "\r\n"...)
	}
	return dst
}

// appendGrid says why the request comes to this deck.
func (x *exchange) appendGrid(dst []byte) []byte {
	dst = append(append(dst, "X-Grid-Tenant: "...), x.decision.Tenant...)
	dst = append(append(dst, "\r\nX-Grid-Deck: "...), x.decision.Deck.Name...)
	dst = strconv.AppendUint(append(dst, "\r\nX-Grid-Epoch: "...), x.decision.Epoch, 10)
	dst = strconv.AppendInt(append(dst, "\r\nX-Grid-Revision: "...), x.now.table.Revision(), 10)
	dst = append(append(dst, "\r\nX-Grid-Router: "...), x.router.cfg.ID...)
	dst = strconv.AppendInt(append(dst, "\r\nX-Grid-Hops: "...), int64(x.hops)+1, 10)
	return append(dst, "\r\n"...)
}

// appendForwarding says on whose behalf the request is sent. To what a trusted peer said of
// those before it, the peer itself is added.
func (x *exchange) appendForwarding(dst []byte) []byte {
	f := &x.who.forwarding
	dst = append(dst, "X-Forwarded-For: "...)
	dst = f.appendChain(dst, &x.head)
	dst = x.client.peer.AppendTo(dst)
	if f.chain != admission.Plain && f.keepsForwarded {
		dst = append(dst, "\r\nForwarded: "...)
		dst = appendElement(dst, x.client.peer, x.client.Secure)
	}
	dst = append(append(dst, "\r\nX-Forwarded-Proto: "...), f.proto...)
	dst = append(dst, "\r\nX-Forwarded-Host: "...)
	if f.host != nil {
		dst = append(dst, f.host...)
	} else {
		dst = appendAuthority(dst, &x.head.Authority)
	}
	dst = append(append(dst, "\r\nX-Forwarded-Port: "...), x.forwardedPort()...)
	return append(dst, "\r\n"...)
}

// appendChain appends the chain as X-Forwarded-For has it, with what separates it from the next.
func (f *forwarding) appendChain(dst []byte, head *admission.Head) []byte {
	if f.chain == admission.Plain {
		return dst
	}
	for list := elementsOf(head, f.chain); ; {
		item := list.next()
		if item == nil {
			return dst
		}
		if f.chain == admission.Forwarded {
			if address, ok := parseNode(nodeOf(f.chain, item)); ok {
				dst = append(address.AppendTo(dst), ", "...)
			} else {
				dst = append(dst, "unknown, "...)
			}
			continue
		}
		dst = append(append(dst, item...), ", "...)
	}
}

// appendElement appends an element of Forwarded for an address.
func appendElement(dst []byte, address netip.Addr, secure bool) []byte {
	if address.Is6() {
		dst = append(address.AppendTo(append(dst, `for="[`...)), `]"`...)
	} else {
		dst = address.AppendTo(append(dst, "for="...))
	}
	if secure {
		return append(dst, ";proto=https"...)
	}
	return append(dst, ";proto=http"...)
}

var port80, port443 = []byte("80"), []byte("443")

// forwardedPort is the port that the client asked for: what is said of it, that of the host, or
// the scheme's own. A deck behind a balancer cannot tell it by its own.
func (x *exchange) forwardedPort() []byte {
	f := &x.who.forwarding
	switch {
	case f.port != nil:
		return f.port
	case f.host != nil:
		if port := portOf(f.host); admission.IsPort(port) {
			return port
		}
	case len(x.head.Authority.Port) > 0:
		return x.head.Authority.Port
	}
	if http1.EqualFold(f.proto, "https") || http1.EqualFold(f.proto, "wss") {
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

func appendAuthority(dst []byte, authority *admission.Authority) []byte {
	dst = append(dst, authority.Host...)
	if len(authority.Port) > 0 {
		dst = append(append(dst, ':'), authority.Port...)
	}
	return dst
}
