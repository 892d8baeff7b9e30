package clusters

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"

	"k8s.io/apimachinery/pkg/types"

	"gridrouter.io/deploy/api/v1alpha1"
)

// UnreachableError says why a cluster cannot be used now. It holds no credentials, and nothing that differs
// from one try to the next, so it may be written into a status.
type UnreachableError struct {
	Namespace, Name string          // of the ClusterConnection
	Reason          v1alpha1.Reason // of its condition Available; empty: nothing is known yet, which soon changes
	Why             string          // for people, with what mends it where that is known
}

// Error names the connection and says why.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("ClusterConnection %s/%s: %s", e.Namespace, e.Name, e.Why)
}

func unreachable(key types.NamespacedName, reason v1alpha1.Reason, why string) *UnreachableError {
	return &UnreachableError{Namespace: key.Namespace, Name: key.Name, Reason: reason, Why: why}
}

// errRedirected is the end of a request that was sent elsewhere.
var errRedirected = errors.New("it redirects requests, which are not followed: name the API server itself")

// errReplaced is the end of a request by a connection that is no more.
var errReplaced = errors.New("the connection was replaced or removed: ask for the cluster again")

// Lost says why a request to the cluster of a connection got no answer from its API server; nil: it got one, or
// err is about something else. The reason is empty where the connection was replaced meanwhile.
func Lost(namespace, name string, err error) *UnreachableError {
	key := types.NamespacedName{Namespace: namespace, Name: name}
	switch {
	case errors.Is(err, errReplaced):
		return unreachable(key, "", errReplaced.Error())
	case errors.As(err, new(*url.Error)):
		return unreachable(key, v1alpha1.ReasonUnreachable, describe(err))
	}
	return nil
}

// describe says what went wrong with a request in words that stay the same while the cause does: without
// ports of this side, times, and query strings.
func describe(err error) string {
	var (
		name     *net.DNSError
		timeout  net.Error
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
		op       *net.OpError
		request  *url.Error
	)
	switch {
	case errors.Is(err, errRedirected):
		return errRedirected.Error()
	case errors.As(err, &name):
		return "no address is known of " + printable(name.Name)
	case errors.As(err, &unknown):
		return "its certificate is not signed by a known CA: set certificate-authority-data"
	case errors.As(err, &hostname):
		return "its certificate is for other names: set tls-server-name to one of them"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "its certificate has expired, or is not valid yet"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer in time"
	case errors.As(err, &op) && op.Addr != nil:
		return printable(fmt.Sprintf("%s %s: %v", op.Op, op.Addr, op.Err))
	case errors.As(err, &op):
		return printable(fmt.Sprintf("%s: %v", op.Op, op.Err))
	case errors.As(err, &request):
		return printable(request.Err.Error())
	default:
		return printable(err.Error())
	}
}

// maxWords is how many bytes of somebody else's words are passed on.
const maxWords = 400

// printable bounds what another party said, and leaves out what is not text of one line.
func printable(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxWords)], "")
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}
