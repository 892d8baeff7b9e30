package faults

import (
	"strconv"

	"github.com/valyala/fasthttp"

	"gridrouter.io/router/accesslog"
	"gridrouter.io/router/http1"
)

// Answer is the answer that a client gets for a fault.
type Answer struct {
	Kind Kind
	// Reason says more, in constant words. It is shown only where the client is to blame.
	Reason string
	// RequestID and Date are the values of those fields.
	RequestID, Date []byte
	// Close says that the connection ends with this answer.
	Close bool
	// HeadOnly leaves the body out, as HEAD asks for.
	HeadOnly bool
	// HTTP10 says that the client speaks HTTP/1.0.
	HTTP10 bool
}

// AppendTo appends the whole answer: status, X-Grid-Fault, X-Request-Id and a small
// body. It holds nothing that came from a deck, and nothing of how the router works.
func (a *Answer) AppendTo(dst []byte) []byte {
	var body [512]byte
	text := a.appendBody(body[:0])
	dst = http1.AppendStatusLine(dst, a.Kind.Status, fasthttp.StatusMessage(a.Kind.Status), a.HTTP10)
	dst = append(dst, "X-Grid-Fault: "...)
	dst = append(dst, a.Kind.Code...)
	dst = append(dst, "\r\nX-Request-Id: "...)
	dst = append(dst, a.RequestID...)
	if a.Kind.RetryAfter > 0 {
		dst = append(dst, "\r\nRetry-After: "...)
		dst = strconv.AppendInt(dst, int64(a.Kind.RetryAfter), 10)
	}
	dst = append(dst, "\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nDate: "...)
	dst = append(dst, a.Date...)
	dst = append(dst, "\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	dst = append(dst, "\r\n"...)
	dst = http1.AppendConnection(dst, a.Close, a.HTTP10)
	dst = append(dst, "\r\n"...)
	if a.HeadOnly {
		return dst
	}
	return append(dst, text...)
}

func (a *Answer) appendBody(dst []byte) []byte {
	dst = append(dst, `{"fault": "`...)
	dst = append(dst, a.Kind.Code...)
	dst = append(dst, `", "message": `...)
	message := a.Kind.Message
	if a.Kind.Culprit == CulpritClient && a.Reason != "" {
		message += ": " + a.Reason
	}
	dst = accesslog.AppendJSONString(dst, message)
	dst = append(dst, `, "requestId": `...)
	dst = accesslog.AppendJSONString(dst, string(a.RequestID))
	return append(dst, "}\n"...)
}
