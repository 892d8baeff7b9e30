package router

import (
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
	dst = x.identity.AppendFields(dst, &x.head)
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
	switch line.Class { //nolint:exhaustive // lines of every other class are dropped
	case admission.Plain:
		return !x.decision.Policy.Shadows(line.Name)
	case admission.ContentLength:
		return true
	case admission.Expect:
		return x.head.Continue
	case admission.Forwarded, admission.RequestID, admission.TraceParent, admission.TraceState:
		return x.identity.Passes(line)
	}
	return false
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
