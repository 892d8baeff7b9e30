package router

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/router/admission"
)

// failureCause is what went wrong between the router and a deck. Each is a kind in metrics, and
// words in /decks, the log and the access log.
type failureCause uint8

const (
	noFailure         failureCause = iota
	failedUnresolved               // no address is known
	failedRefused                  // nobody listens at the address
	failedUnreachable              // there is no way to the address
	failedConnectTime              // no connection in time, TLS handshake included
	failedConnect                  // no connection for another reason
	failedTLSFiles                 // the files of the deck's tls cannot be used
	failedTLSName                  // the certificate is for another name, or for none
	failedTLSIssuer                // the certificate's issuer is not known
	failedTLSExpired               // the certificate is not valid at this time
	failedTLSPlain                 // something else than TLS is spoken
	failedTLSRefused               // the deck ended the handshake, such as for want of a certificate
	failedTLS                      // the handshake failed for another reason
	failedWrite                    // the request could not be written
	failedClosed                   // the connection ended before an answer
	failedFirstByte                // no first byte in time
	failedHeadTime                 // the answer's head began, and was not whole in time
	failedHead                     // the answer's head is malformed or too large
	failedFraming                  // the answer does not say in one way where its body ends
	failedChunks                   // the chunks of the body are malformed
	failedCut                      // the body ended before it was whole
	failedTotal                    // the tenant's time for the whole request is over
	failureCauses                  // how many there are
)

// String returns the cause as the metric's label has it.
func (c failureCause) String() string {
	return [...]string{"none", "unresolved", "refused", "unreachable", "connect_timeout", "connect", "tls_files", "tls_name", "tls_issuer",
		"tls_expired", "tls_not_spoken", "tls_refused", "tls", "write", "closed", "first_byte_timeout", "head_timeout", "bad_head", "bad_framing",
		"bad_chunks", "cut", "total_timeout"}[c]
}

// words tell a cause to people.
func (c failureCause) words() string {
	return [...]string{"", "no address of it is known: its name could not be resolved", "it refuses connections: nobody listens at the address",
		"there is no way to the address", "no connection was made in time", "no connection could be made",
		"the files of its tls cannot be used", "its certificate is for another name",
		"the issuer of its certificate is not known here: see caFile", "its certificate has expired or is not valid yet",
		"it does not speak TLS at this port, though its document has tls", "it ended the TLS handshake: it may want a certificate (certFile, keyFile)",
		"the TLS handshake failed", "the request could not be written to it", "it ended the connection without an answer",
		"it gave no first byte in time", "the head of its answer did not come whole in time", "the head of its answer is malformed", "its answer does not say in one way where the body ends",
		"the chunks of its answer are malformed", "its answer broke off before it was whole", "the tenant's total time was over"}[c]
}

// failure is what went wrong with a deck.
type failure struct {
	cause failureCause
	what  string // words for people
	at    time.Time
}

// connectCause says why no connection could be made.
func connectCause(err error) failureCause {
	if cause := tlsCause(err); cause != noFailure {
		return cause
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return failedRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return failedUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return failedConnectTime
	}
	return failedConnect
}

// tlsError is a failure of the handshake with a deck, or of what it needs.
type tlsError struct {
	files bool // of the files, not of the handshake
	err   error
}

// Error implements error.
func (e *tlsError) Error() string { return e.err.Error() }

// Unwrap returns what failed.
func (e *tlsError) Unwrap() error { return e.err }

// tlsCause says what of TLS failed; noFailure: none of it, or its time was over.
func tlsCause(err error) failureCause {
	var at *tlsError
	if !errors.As(err, &at) {
		return noFailure
	}
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timeout net.Error
	switch {
	case at.files:
		return failedTLSFiles
	case errors.As(err, &name):
		return failedTLSName
	case errors.As(err, &issuer):
		return failedTLSIssuer
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return failedTLSExpired
		}
		return failedTLS
	case errors.As(err, &record):
		return failedTLSPlain
	case strings.Contains(err.Error(), "protocol version not supported"):
		return failedTLS
	case errors.As(err, &alert), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), strings.Contains(err.Error(), "remote error: tls:"):
		return failedTLSRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return noFailure
	}
	return failedTLS
}

// answerCause says what is wrong with an answer that cannot be read.
func answerCause(err error) failureCause {
	if errors.Is(err, errHeadFraming) {
		return failedFraming
	}
	return failedHead
}

// waitCause says why a wait for an answer ended without one. head is what had come of its head.
func waitCause(err error, head []byte) (cause failureCause, detail string) {
	var call *os.SyscallError
	switch {
	case errors.As(err, &call) && call.Syscall == "write":
		return failedWrite, call.Err.Error()
	case strings.Contains(err.Error(), "remote error: tls:"): // TLS 1.3 tells of a refused certificate so late
		return failedTLSRefused, err.Error()
	case beginsAlert(head):
		return failedHead, speaksTLS
	case len(head) > 0:
		return failedCut, "within its head"
	case errors.Is(err, io.EOF):
		return failedClosed, ""
	}
	return failedClosed, err.Error()
}

// cutDetail says how much of a body had come when it broke off.
func cutDetail(b *bodyFlow, sent int64) string {
	if b.from == framedLength {
		return fmt.Sprintf("%d bytes of its Content-Length were missing", b.left)
	}
	return fmt.Sprintf("behind %d bytes", sent)
}

// deckFailed notes what went wrong with the deck in this attempt. It is the request's reason,
// which stands in the access log if the request ends by it; the client is not told. detail says
// more than the cause does; empty: nothing.
func (x *exchange) deckFailed(cause failureCause, detail string) {
	what := cause.words()
	if detail != "" {
		what += ": " + detail
	}
	x.reason = what
	x.failure = failure{cause, what, time.Now()}
}

// tellFailure counts what went wrong with the deck, shows it at its address, and logs it within
// bounds. It does so once.
func (x *exchange) tellFailure() {
	if x.failure.cause == noFailure {
		return
	}
	f := x.failure
	x.failure = failure{}
	live := x.view.live
	live.counters.failures[f.cause].Add(1)
	address := ""
	if e := x.endpoint; e != nil {
		e.lastFailure.Store(&f)
		address = e.text
	} else {
		live.lastFailure.Store(&f)
	}
	if ok, left := live.failureLog.Allow(f.at); ok {
		x.router.log.Warn("a deck failed a request", zap.String("deck", live.name), zap.String("address", address),
			zap.String("cause", f.cause.String()), zap.String("what", f.what), zap.String("tenant", x.decision.Tenant),
			zap.ByteString("requestId", x.who.requestID), zap.Int("notLogged", left))
	}
}

// shownBytes is how much of a bad line is shown.
const shownBytes = 60

// badHead names the line that makes a head of an answer bad. Of a field it shows the name alone.
func badHead(err error, head []byte) string {
	if beginsAlert(head) {
		return speaksTLS
	}
	if errors.Is(err, errHeadTooLarge) {
		return err.Error()
	}
	for number, rest := 1, head; len(rest) > 0; number++ {
		end := bytes.IndexByte(rest, '\n')
		line := rest
		if end >= 0 {
			line, rest = rest[:end+1], rest[end+1:]
		} else {
			rest = nil
		}
		if badLine(err, number, line) {
			name, _, _ := bytes.Cut(line, []byte(":"))
			return fmt.Sprintf("%v: line %d, %q", err, number, name[:min(len(name), shownBytes)])
		}
	}
	return err.Error()
}

const speaksTLS = "it speaks TLS at this port, and its document has no tls"

// beginsAlert says whether an answer begins as what a server of TLS answers to plain text.
func beginsAlert(head []byte) bool {
	const alert, major = 0x15, 0x03
	return len(head) > 1 && head[0] == alert && head[1] == major
}

// badLine says whether it is this line that an error of a head is about.
func badLine(err error, number int, line []byte) bool {
	text, proper := bytes.CutSuffix(line, []byte("\r\n"))
	name, value, found := bytes.Cut(text, []byte(":"))
	value = admission.TrimSpace(value)
	switch {
	case errors.Is(err, errHeadBareLF):
		return !proper
	case errors.Is(err, errHeadStatus):
		return number == 1
	case number == 1 || len(text) == 0:
		return false
	case errors.Is(err, errHeadFraming):
		return admission.EqualFold(name, "content-length") || admission.EqualFold(name, "transfer-encoding")
	}
	return !found || !admission.IsToken(name) || !admission.IsValue(value)
}
