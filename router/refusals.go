package router

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/lograte"
	"gridrouter.io/router/wire"
)

// refusalReason is why a connection ended before a request could begin.
type refusalReason uint8

const (
	refusedUntrusted    refusalReason = iota // the PROXY protocol is on, and the peer is not trusted
	refusedProxyHeader                       // no PROXY header came, or none that can be read
	refusedProxyTimeout                      // the PROXY header did not come in time
	refusedClosed                            // the peer closed the connection meanwhile
	refusedPlainHTTP                         // plain HTTP came where TLS is spoken
	refusedNotTLS                            // something else came than TLS
	refusedTLSVersion                        // no version of TLS in common
	refusedTLSCipher                         // no cipher suite, key exchange or kind of certificate in common
	refusedTLSProtocol                       // the client speaks no HTTP/1.1
	refusedTLSAlert                          // the client refused what it was shown, such as the certificate
	refusedTLSTimeout                        // the handshake took too long
	refusedTLSHandshake                      // another failure of the handshake
	refusedAddressShare                      // its address has as many connections as it may, and none that could make room
	refusalReasons                           // how many there are
)

// refusalTexts are the metric's labels, and what the log says.
var refusalTexts = [refusalReasons]struct{ label, words string }{
	refusedUntrusted:    {"not_a_trusted_proxy", "the PROXY protocol is on, and the peer is none of --trusted-proxies"},
	refusedProxyHeader:  {"bad_proxy_header", "the connection does not begin with a PROXY header that can be read"},
	refusedProxyTimeout: {"proxy_header_timeout", "the PROXY header did not come in time"},
	refusedClosed:       {"left", "the peer closed the connection before it had begun"},
	refusedPlainHTTP:    {"tls_plain_http", "plain HTTP was sent to a TLS port"},
	refusedNotTLS:       {"tls_not_tls", "something else than TLS was sent to a TLS port"},
	refusedTLSVersion:   {"tls_version", "the client offers no version of TLS that is spoken here, which are 1.2 and 1.3"},
	refusedTLSCipher:    {"tls_no_cipher", "the client offers no cipher suite or key exchange that is used here, or takes no certificate of the kind there is"},
	refusedTLSProtocol:  {"tls_no_http1", "the client offers other protocols than HTTP/1.1"},
	refusedTLSAlert:     {"tls_client_refused", "the client broke the handshake off with an alert; often it does not trust the certificate"},
	refusedTLSTimeout:   {"tls_timeout", "the TLS handshake took too long"},
	refusedTLSHandshake: {"tls_handshake", "the TLS handshake failed"},
	refusedAddressShare: {"address_share", "its address has as many connections as --client-connections-per-address, and none that has been silent for long"},
}

// String returns the reason as the metric's label has it.
func (r refusalReason) String() string { return refusalTexts[r].label }

// refusals is the connections that ended before a request could, counted and told of.
type refusals struct {
	total [refusalReasons]atomic.Uint64
	log   [refusalReasons]lograte.Limit
}

// maxDetail bounds what the log says of an error, which may hold what a client made up.
const maxDetail = 200

// refuse counts a connection that ends before a request could, and tells of it, though
// not of all. It returns false, for who asks whether to go on. Who just leaves, as checks
// of whether a port is open do, is counted only.
func (c *client) refuse(why refusalReason, err error) bool {
	r := c.router
	if errors.Is(err, net.ErrClosed) || c.waitingSince.Load() == evicted {
		return false // the router closed it itself: to make room, or since it ends
	}
	r.refused.total[why].Add(1)
	if why == refusedClosed {
		return false
	}
	ok, left := r.refused.log[why].Allow(time.Now())
	if !ok {
		return false
	}
	fields := []zap.Field{zap.Stringer("peer", c.TCP.RemoteAddr()), zap.Stringer("listener", c.TCP.LocalAddr()),
		zap.String("reason", why.String()), zap.String("because", refusalTexts[why].words)}
	if address, ok := c.TCP.RemoteAddr().(*net.TCPAddr); ok && address.AddrPort().Addr().Unmap().WithZone("") != c.peer { // a PROXY header named it
		fields = append(fields, zap.Stringer("client", c.peer))
	}
	if err != nil {
		text := strings.ToValidUTF8(err.Error(), "?")
		fields = append(fields, zap.String("error", text[:min(len(text), maxDetail)]))
	}
	if left > 0 {
		fields = append(fields, zap.Int("leftOut", left))
	}
	r.log.Warn("a connection was closed before a request", fields...)
	return false
}

// proxyHeaderRefusal says why there is no PROXY header.
func proxyHeaderRefusal(err error, received int) refusalReason {
	switch {
	case errors.Is(err, wire.ErrOverdue):
		return refusedProxyTimeout
	case received == 0 && peerClosed(err):
		return refusedClosed
	}
	return refusedProxyHeader
}

// peerClosed says whether an error means that the peer closed the connection.
func peerClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE)
}

// handshakeRefusal says why a handshake failed. The library tells some reasons in words alone;
// TestHandshakesThatFailAreToldApart holds us to these.
func handshakeRefusal(err error) refusalReason {
	var header tls.RecordHeaderError
	var remote *net.OpError
	says := func(texts ...string) bool {
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(err.Error(), text) })
	}
	switch {
	case errors.Is(err, wire.ErrOverdue):
		return refusedTLSTimeout
	case errors.As(err, &header):
		if beginsHTTP(header.RecordHeader[:]) {
			return refusedPlainHTTP
		}
		return refusedNotTLS
	case errors.As(err, &remote) && remote.Op == "remote error":
		return refusedTLSAlert
	case peerClosed(err):
		return refusedClosed
	case says("unsupported versions", "unsupported version"):
		return refusedTLSVersion
	case says("unsupported application protocols"):
		return refusedTLSProtocol
	case says("no cipher suite", "no ECDHE curve", "no supported elliptic curves", "no key exchanges", "signature algorithms", "no mutually supported"):
		return refusedTLSCipher
	}
	return refusedTLSHandshake
}

// beginsHTTP says whether these are the first five bytes of an HTTP request.
func beginsHTTP(head []byte) bool {
	for _, method := range []string{"GET /", "HEAD ", "POST ", "PUT /", "PATCH", "DELET", "OPTIO", "CONNE", "TRACE", "PRI *"} {
		if string(head) == method {
			return true
		}
	}
	return false
}
