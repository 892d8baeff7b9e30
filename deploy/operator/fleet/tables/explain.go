package tables

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"gridrouter.io/discovery"
)

// passing says whether another try may go better at once.
func passing(err error) bool {
	return status.Code(err) == codes.Unavailable || timedOut(err) || says(err, rpctypes.ErrGRPCNoLeader)
}

func timedOut(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || status.Code(err) == codes.DeadlineExceeded
}

// explain says what went wrong in words that name the mend, in the words of a fleet's spec. They are the
// same for the same fault, so that nothing changes while it lasts, and hold no secret.
func explain(s Source, timeout time.Duration, err error) error {
	var tooMany *tooManyError
	if errors.As(err, &tooMany) {
		return err
	}
	at := "etcd at " + strings.Join(s.Endpoints, ",")
	switch {
	case says(err, rpctypes.ErrGRPCPermissionDenied):
		return fmt.Errorf("%s: this user may not read the routers' status keys: grant its role read on the prefix %s", at, s.Prefix+fleetFolder)
	case refused(err) && s.Username == "":
		return fmt.Errorf("%s asks for a user: put username and password into the secret that etcd.secret names", at)
	case refused(err):
		return fmt.Errorf("%s refuses the user: correct username and password in the secret that etcd.secret names", at)
	case says(err, rpctypes.ErrGRPCNoLeader):
		return fmt.Errorf("%s has no leader: most of its members must run and reach each other", at)
	}
	if fault := discovery.ConnectionFault(s.Endpoints, err); fault != "" {
		return fmt.Errorf("%s cannot be used: %s", at, inSpec(fault))
	}
	if timedOut(err) || status.Code(err) == codes.Unavailable {
		return fmt.Errorf("%s does not answer within %s: see whether it runs and can be reached from here, and correct etcd.endpoints if not", at, timeout)
	}
	// etcd's own words; the values of keys and credentials are in none of them.
	return fmt.Errorf("%s: %s", at, printable(strings.TrimPrefix(status.Convert(err).Message(), "etcdserver: ")))
}

// refused says that etcd does not take us for who we say we are.
func refused(err error) bool {
	for _, refusal := range []error{
		rpctypes.ErrGRPCAuthFailed, rpctypes.ErrGRPCInvalidAuthToken, rpctypes.ErrGRPCAuthOldRevision,
		rpctypes.ErrGRPCUserEmpty, rpctypes.ErrGRPCUserNotFound,
	} {
		if says(err, refusal) {
			return true
		}
	}
	return false
}

// says compares by text, which is all that etcd's client leaves of some errors.
func says(err, known error) bool {
	return err != nil && strings.Contains(err.Error(), rpctypes.ErrorDesc(known))
}

// inSpec puts the fields of a spec in the place of the flags that the texts of a router's client name.
func inSpec(text string) string {
	return strings.NewReplacer(
		"--etcd-password-file", "password of etcd.secret", "--etcd-user", "username of etcd.secret",
		"--etcd-cert", "tls.crt of etcd.secret", "--etcd-key", "tls.key of etcd.secret",
		"--etcd-ca", "ca.crt of etcd.secret", "--etcd", "etcd.endpoints",
	).Replace(text)
}
