package catalog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gridrouter.io/discovery"
)

// ErrNotFound says that etcd holds no such document.
var ErrNotFound = errors.New("not found")

// ReasonError is one reason why documents are refused: where, what, and how to mend it.
type ReasonError struct {
	// Place is where a person finds the document: file:line, or "etcd".
	Place string `json:"place"`
	// Key is the document's key, such as tenants/acme; empty if it has none.
	Key string `json:"key,omitempty"`
	// Path leads to the field; empty: the document as a whole.
	Path string `json:"path,omitempty"`
	// Message says what is wrong, and the mend.
	Message string `json:"message"`
}

// Error returns "place: key: path: message", without what is empty.
func (r *ReasonError) Error() string {
	parts := make([]string, 0, 4)
	for _, part := range []string{r.Place, r.Key, r.Path, r.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// RefusedError lists everything for which a plan was refused. Nothing was written.
type RefusedError struct {
	// Reasons are *[ReasonError] or the reader's own errors, in the order of the documents.
	Reasons []error
}

// Error returns the reasons, one a line.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Reasons))
	for i, reason := range e.Reasons {
		lines[i] = reason.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the reasons.
func (e *RefusedError) Unwrap() []error { return e.Reasons }

// refused returns the error for reasons, or nil for none.
func refused(reasons []error) error {
	if len(reasons) == 0 {
		return nil
	}
	return &RefusedError{reasons}
}

// refusal makes a refusal about a document that was given.
func refusal(it *item, path, format string, args ...any) error {
	return &ReasonError{Place: it.place(), Key: it.key, Path: path, Message: fmt.Sprintf(format, args...)}
}

// ConflictError says that somebody else changed what a plan relied upon, after it was
// read. The transaction that noticed it wrote nothing; making and applying a new plan
// finishes the work, or says why it cannot be done any more.
type ConflictError struct {
	// What says in words what changed, such as "tenant acme was changed".
	What string
}

// Error returns what changed, and the mend.
func (e *ConflictError) Error() string {
	return e.What + " by somebody else meanwhile; look at it, then run the same command again"
}

// UnreachableError says that etcd did not answer.
type UnreachableError struct {
	// Endpoints are etcd's URLs.
	Endpoints []string
	// Timeout is how long a call waited at most.
	Timeout time.Duration
	// Writing says that the call was a transaction, which may or may not have been done.
	Writing bool
	// Err is what the client said.
	Err error
}

// Error returns one line with the mend. It leaves out what the client said, which
// tends to be long and to say the same; see [UnreachableError.Unwrap].
func (e *UnreachableError) Error() string {
	at := strings.Join(e.Endpoints, ",")
	text := fmt.Sprintf("etcd at %s does not answer within %s; is it running? check --etcd and the way to it", at, e.Timeout)
	if fault := discovery.ConnectionFault(e.Endpoints, e.Err); fault != "" {
		text = fmt.Sprintf("etcd at %s cannot be used: %s", at, fault)
	}
	if e.Writing {
		text += "; the last transaction may or may not have been written: run the same command again"
	}
	return text
}

// Unwrap returns what the client said.
func (e *UnreachableError) Unwrap() error { return e.Err }
