package store

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/minio/minio-go/v7"
)

// kindOfCode is what the code of an S3 error means; nil if that is not known.
func kindOfCode(code string) error {
	switch code {
	case "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken", "TokenRefreshRequired", "InvalidSecurity", "NotSignedUp", "AuthorizationHeaderMalformed":
		return ErrCredentials
	case "NoSuchBucket", "InvalidBucketName":
		return ErrNoBucket
	case "NoSuchKey", "NoSuchUpload":
		return ErrNotFound
	case "PreconditionFailed", "ConditionalRequestConflict":
		return ErrExists
	case "XMinioStorageFull", "XMinioStorageExhausted", "InsufficientCapacity", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "ServiceQuotaExceededException":
		return ErrNoSpace
	case "AccessDenied", "AllAccessDisabled", "AccountProblem", "MethodNotAllowed":
		return ErrForbidden
	case "SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout":
		return ErrUnreachable
	}
	return nil
}

// kindOfStatus is what an HTTP status means whose code is not known.
func kindOfStatus(status int) error {
	switch {
	case status == http.StatusPreconditionFailed:
		return ErrExists
	case status == http.StatusUnauthorized:
		return ErrCredentials
	case status == http.StatusForbidden:
		return ErrForbidden
	case status == http.StatusNotFound:
		return ErrNotFound
	case status == http.StatusInsufficientStorage:
		return ErrNoSpace
	case status >= http.StatusInternalServerError:
		return ErrUnreachable
	}
	return nil
}

// isMissing says whether an object is not there, as against its bucket.
func isMissing(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && errors.Is(kindOf(err), ErrNotFound)
}

// kindOf says of which kind an error of the client is; nil if that is not known.
func kindOf(err error) error {
	var (
		answer  minio.ErrorResponse
		network net.Error
		request *url.Error
		lookup  *net.DNSError
	)
	switch {
	case errors.Is(err, ErrCredentials):
		return ErrCredentials
	case errors.As(err, &answer):
		if kind := kindOfCode(answer.Code); kind != nil {
			return kind
		}
		return kindOfStatus(answer.StatusCode)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil
	case errors.As(err, &lookup), errors.As(err, &network), errors.As(err, &request):
		return ErrUnreachable
	}
	return nil
}

func (s *S3) fault(did, name string, err error) error {
	kind := kindOf(err)
	if kind != nil && errors.Is(err, kind) {
		return fault(s, did, name, nil, err)
	}
	return fault(s, did, name, kind, err)
}
