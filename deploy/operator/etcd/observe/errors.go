package observe

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type statusRequest = pb.StatusRequest

var errSilent = errors.New("it does not answer")

// plain says in plain words why a member did not answer. The words do not change from one try to the next.
func plain(err error) error {
	s, isStatus := status.FromError(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errSilent
	case isStatus && (s.Code() == codes.DeadlineExceeded || s.Code() == codes.Unavailable || s.Code() == codes.Canceled):
		return errSilent
	}
	return err
}
