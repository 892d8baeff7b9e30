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
		return fmt.Sprintf("%s: this user may not read it; grant its role read on the prefix %s", where, e.cfg.Root)
	case isAuthError(err):
		return fmt.Sprintf("%s: etcd refuses who we are (%s); check the user (--etcd-user) and its password file (--etcd-password-file)", where, plain(err))
	case timedOut(err):
		return fmt.Sprintf("%s: no answer within %s; is etcd running and reachable?", where, e.cfg.CallTimeout)
	case status.Code(err) == codes.Unavailable:
		return fmt.Sprintf("%s: not reachable (%s); is etcd running, and are its addresses right (--etcd)?", where, plain(err))
	}
	return fmt.Sprintf("%s: %s", where, plain(err))
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
