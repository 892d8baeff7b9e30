// Package store keeps objects, which are named streams of bytes, in a folder or in a bucket of S3.
//
// Objects are made whole or not at all, and are never changed: whoever wants something newer makes
// another one. Nothing here knows what objects hold.
package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
)

// Store keeps objects. Its methods may be called by many goroutines at once. Errors are of the kinds
// below where the kind is known, to be asked for by [errors.Is].
//
// A name is parts separated by "/"; a part is of letters, digits, "-", "_" and ".", and does not begin
// with ".".
type Store interface {
	// Put makes an object of all that r holds, at least a byte. The object is seen whole or not at all, and outlives a
	// crash once Put has returned nil. It never replaces one that is there: that is [ErrExists]. size
	// is in bytes, -1 where it is not known.
	Put(ctx context.Context, name string, r io.Reader, size int64) error
	// Get reads an object, which the caller closes; [ErrNotFound] if there is none. Faults of the store
	// can also come with the reads.
	Get(ctx context.Context, name string) (io.ReadCloser, error)
	// List returns all objects whose names begin with prefix, in the order of their names.
	List(ctx context.Context, prefix string) ([]Object, error)
	// Delete removes an object. That there is none is no error.
	Delete(ctx context.Context, name string) error
	// Sweep removes what writers that died before the given time left half done, which List never
	// shows. It returns how many it removed.
	Sweep(ctx context.Context, before time.Time) (int, error)
	// String says for people where the store is, without anything secret.
	String() string
}

// Object is one object of a listing.
type Object struct {
	// Name is as it was put.
	Name string
	// Size is in bytes.
	Size int64
	// Modified is when it was made, by the store's clock.
	Modified time.Time
}

// The kinds of errors of a store. Their texts say the mend.
var (
	// ErrNotFound: there is no such object.
	ErrNotFound = errors.New("there is no such object")
	// ErrExists: an object of that name is there already.
	ErrExists = errors.New("an object of that name is there already, and is not replaced")
	// ErrUnreachable: nobody answers, or nobody in a state to answer.
	ErrUnreachable = errors.New("the store cannot be reached; check its address, the network, TLS, and whether it runs")
	// ErrCredentials: the store does not know who asks.
	ErrCredentials = errors.New("the store refuses the credentials; check access key and secret key")
	// ErrNoBucket: the bucket, or the folder, is not there.
	ErrNoBucket = errors.New("there is no such bucket or folder; make or mount it, or correct its name")
	// ErrNoSpace: the store is full.
	ErrNoSpace = errors.New("the store has no space left; enlarge it, or prune old backups")
	// ErrForbidden: the store knows who asks, and does not allow it.
	ErrForbidden = errors.New("the store does not allow it; grant rights to read, write, list and delete")
)

// PutBytes puts a small object. That it is there with the very same bytes is no error, so that a put
// whose answer was lost can be repeated.
func PutBytes(ctx context.Context, s Store, name string, data []byte) error {
	err := s.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
	if !errors.Is(err, ErrExists) {
		return err
	}
	if there, readErr := GetBytes(ctx, s, name, int64(len(data))); readErr == nil && bytes.Equal(there, data) {
		return nil
	}
	return err
}

// GetBytes reads an object whole. One that is larger than limit, in bytes, is an error.
func GetBytes(ctx context.Context, s Store, name string, limit int64) ([]byte, error) {
	r, err := s.Get(ctx, name)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s in %s is larger than %d bytes", name, s, limit)
	}
	return data, nil
}

// checkName refuses names that would lead elsewhere.
func checkName(name string) error {
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part[0] == '.' || strings.Trim(part, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") != "" {
			return fmt.Errorf("%q is no name of an object", name)
		}
	}
	return nil
}

// fault is an error of a store: what was done to what where, of which kind, and the cause.
func fault(s Store, did, name string, kind, cause error) error {
	what := did + " " + s.String()
	if name != "" {
		what = did + " " + name + " in " + s.String()
	}
	if kind == nil {
		return fmt.Errorf("%s: %w", what, cause)
	}
	return fmt.Errorf("%s: %w (%w)", what, kind, cause)
}
