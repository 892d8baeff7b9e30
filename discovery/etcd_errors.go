package discovery

import (
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain says what went wrong with etcd in words that name the mend. Nothing
// secret is in it: etcd's errors hold no password and no token.
func (e *Etcd) explain(err error) string {
	where := e.track.read().Detail
	switch {
	case err == nil:
		return ""
	case says(err, rpctypes.ErrGRPCPermissionDenied):
		if e.cfg.Marks != "" {
			return fmt.Sprintf("%s: this user may not read all that is followed, which is one range: grant its role read from %s to %s (etcdctl role grant-permission ROLE read %s %s); rights on prefixes within it do not add up",
				where, e.cfg.Root, e.end(), e.cfg.Root, e.end())
		}
		return fmt.Sprintf("%s: this user may not read it; grant its role read on the prefix %s", where, e.cfg.Root)
	case isAuthError(err):
		return fmt.Sprintf("%s: etcd refuses who we are (%s); check the user (--etcd-user) and its password file (--etcd-password-file)", where, plain(err))
	case e.connectionFault(err) != "":
		return fmt.Sprintf("%s: not reachable: %s (%s)", where, e.connectionFault(err), plain(err))
	case timedOut(err):
		return fmt.Sprintf("%s: no answer within %s; is etcd running and reachable?", where, e.cfg.CallTimeout)
	case status.Code(err) == codes.Unavailable:
		return fmt.Sprintf("%s: not reachable (%s); is etcd running, and are its addresses right (--etcd)?", where, plain(err))
	}
	return fmt.Sprintf("%s: %s", where, plain(err))
}

// connectionFaults are what the libraries say of connections that cannot come
// about, and what it means. TestConnectionFaultsAreToldApart holds us to them.
var connectionFaults = []struct{ says, means string }{ // the first that fits
	{"certificate signed by unknown authority", "the issuer of etcd's certificate is not known here; name the file of its authority with --etcd-ca"},
	{"certificate is not trusted", "the issuer of etcd's certificate is not known here; name the file of its authority with --etcd-ca"},
	{"certificate is valid for", "etcd's certificate is for other names than the one in --etcd; use one that it has, or have it issued for this one"},
	{"doesn't contain any IP SANs", "etcd's certificate is for names, and --etcd has an address; use a name, or have it issued for this address"},
	{"certificate is not valid for any names", "etcd's certificate is for no name; have it issued for the one in --etcd"},
	{"certificate has expired or is not yet valid", "etcd's certificate has expired or is not valid yet; renew it, and check the clock of this machine"},
	{"first record does not look like a TLS handshake", "etcd speaks plain HTTP there; write http:// in --etcd"},
	{"server gave HTTP response to HTTPS client", "etcd speaks plain HTTP there; write http:// in --etcd"},
	{"certificate required", "etcd wants a certificate of its clients; give --etcd-cert and --etcd-key"},
	{"unknown certificate authority", "etcd does not know the issuer of our certificate (--etcd-cert); use one of an authority that it trusts"},
	{"bad certificate", "etcd refuses our certificate (--etcd-cert), or wants one; use one of an authority that it trusts"},
	{"authentication handshake failed: EOF", "what answers there ends the TLS handshake; if etcd speaks plain HTTP there write http:// in --etcd"},
	{"no such host", "the name in --etcd does not resolve; check it"},
	{"no route to host", "there is no way to the address in --etcd"},
	{"network is unreachable", "there is no way to the address in --etcd"},
}

// ConnectionFault says in words that name the mend why no connection to etcd, at
// endpoints alike, came about; "": that is not what the error is about. What
// etcd's client passes on of the cause is its text alone.
func ConnectionFault(endpoints []string, err error) string {
	if err == nil || len(endpoints) == 0 {
		return ""
	}
	text := err.Error()
	for _, fault := range connectionFaults {
		if strings.Contains(text, fault.says) {
			return fault.means
		}
	}
	secure := strings.HasPrefix(endpoints[0], "https://")
	preface := strings.Contains(text, "error reading server preface")
	switch {
	case preface && !secure:
		return "what answers there is no plain etcd, or a balancer without one; if it speaks TLS write https:// in --etcd"
	case secure && (preface || strings.Contains(text, "broken pipe") || strings.Contains(text, "connection reset by peer")):
		// With TLS 1.3 a client hears of its certificate only after the handshake, or not at all.
		return "etcd ends the connection behind the TLS handshake: it wants a certificate of its clients, or another one than ours; check --etcd-cert and --etcd-key"
	}
	return ""
}

func (e *Etcd) connectionFault(err error) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.client == nil {
		return ""
	}
	return ConnectionFault(e.client.Endpoints(), err)
}

// isAuthError says that etcd knows us no longer, or not yet.
func isAuthError(err error) bool {
	for _, auth := range []error{
		rpctypes.ErrGRPCAuthFailed, rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision,
		rpctypes.ErrGRPCUserEmpty, rpctypes.ErrGRPCUserNotFound, rpctypes.ErrGRPCPermissionDenied,
	} {
		if says(err, auth) {
			return true
		}
	}
	return false
}

// says compares by text: when a watch is refused, text is all that etcd's
// client leaves of the error.
func says(err, known error) bool {
	return err != nil && strings.Contains(err.Error(), rpctypes.ErrorDesc(known))
}

// plain is an error's text without what gRPC wraps around it.
func plain(err error) string {
	text := err.Error()
	if s, ok := status.FromError(err); ok {
		text = s.Message()
	}
	return strings.TrimPrefix(text, "etcdserver: ")
}
