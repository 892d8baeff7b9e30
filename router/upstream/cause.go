package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// Cause is what went wrong between the router and a deck. Each is a label in metrics, and words in
// /decks, the log and the access log.
type Cause uint8

// What can go wrong, from choosing an address to the end of an answer.
const (
	NoFailure         Cause = iota
	FailedUnresolved        // no address is known
	FailedRefused           // nobody listens at the address
	FailedUnreachable       // there is no way to the address
	FailedConnectTime       // no connection in time, TLS handshake included
	FailedConnect           // no connection for another reason
	FailedTLSFiles          // the files of the deck's tls cannot be used
	FailedTLSName           // the certificate is for another name, or for none
	FailedTLSIssuer         // the certificate's issuer is not known
	FailedTLSExpired        // the certificate is not valid at this time
	FailedTLSPlain          // something else than TLS is spoken
	FailedTLSRefused        // the deck ended the handshake, such as for want of a certificate
	FailedTLS               // the handshake failed for another reason
	FailedWrite             // the request could not be written
	FailedClosed            // the connection ended before an answer
	FailedFirstByte         // no first byte in time
	FailedHeadTime          // the answer's head began, and was not whole in time
	FailedHead              // the answer's head is malformed or too large
	FailedFraming           // the answer does not say in one way where its body ends
	FailedChunks            // the chunks of the body are malformed
	FailedCut               // the body ended before it was whole
	FailedTotal             // the tenant's time for the whole request is over
	Causes                  // how many there are
)

// String returns the cause as the metric's label has it.
func (c Cause) String() string {
	return [...]string{"none", "unresolved", "refused", "unreachable", "connect_timeout", "connect", "tls_files", "tls_name", "tls_issuer",
		"tls_expired", "tls_not_spoken", "tls_refused", "tls", "write", "closed", "first_byte_timeout", "head_timeout", "bad_head", "bad_framing",
		"bad_chunks", "cut", "total_timeout"}[c]
}

// Words tell a cause to people.
func (c Cause) Words() string {
	return [...]string{"", "no address of it is known: its name could not be resolved", "it refuses connections: nobody listens at the address",
		"there is no way to the address", "no connection was made in time", "no connection could be made",
		"the files of its tls cannot be used", "its certificate is for another name",
		"the issuer of its certificate is not known here: see caFile", "its certificate has expired or is not valid yet",
		"it does not speak TLS at this port, though its document has tls", "it ended the TLS handshake: it may want a certificate (certFile, keyFile)",
		"the TLS handshake failed", "the request could not be written to it", "it ended the connection without an answer",
		"it gave no first byte in time", "the head of its answer did not come whole in time", "the head of its answer is malformed", "its answer does not say in one way where the body ends",
		"the chunks of its answer are malformed", "its answer broke off before it was whole", "the tenant's total time was over"}[c]
}

// Failure is what went wrong with a deck in one attempt to get an answer from it.
type Failure struct {
	Cause Cause
	// What says it in words for people.
	What string
	// At is when it happened.
	At time.Time
}

// ConnectCause says why [Endpoint.Dial] made no connection.
func ConnectCause(err error) Cause {
	if cause := tlsCause(err); cause != NoFailure {
		return cause
	}
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return FailedRefused
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return FailedUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return FailedConnectTime
	}
	return FailedConnect
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

// tlsCause says what of TLS failed; NoFailure: none of it, or its time was over.
func tlsCause(err error) Cause {
	var at *tlsError
	if !errors.As(err, &at) {
		return NoFailure
	}
	var name x509.HostnameError
	var issuer x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var timeout net.Error
	switch {
	case at.files:
		return FailedTLSFiles
	case errors.As(err, &name):
		return FailedTLSName
	case errors.As(err, &issuer):
		return FailedTLSIssuer
	case errors.As(err, &invalid):
		if invalid.Reason == x509.Expired {
			return FailedTLSExpired
		}
		return FailedTLS
	case errors.As(err, &record):
		return FailedTLSPlain
	case strings.Contains(err.Error(), "protocol version not supported"):
		return FailedTLS
	case errors.As(err, &alert), errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), strings.Contains(err.Error(), "remote error: tls:"):
		return FailedTLSRefused
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return NoFailure
	}
	return FailedTLS
}

// RanOut says whether a connection failed for want of something of this machine's, which
// is no fault of the address and must not take it out of use. An address family that this
// machine has no address of is not among these: it is only this address that cannot be reached.
func RanOut(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}
