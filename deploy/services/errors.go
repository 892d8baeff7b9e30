package services

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kind says what sort of error it is, for programs that answer each sort in its own way.
type Kind string

// The kinds of errors.
const (
	// KindNotFound: there is no such fleet.
	KindNotFound Kind = "NotFound"
	// KindExists: there is such a fleet already.
	KindExists Kind = "Exists"
	// KindInvalid: the API server refuses what was to be written; Fields says why. Nothing was written.
	KindInvalid Kind = "Invalid"
	// KindRefused: what is asked makes no sense for this fleet; the text says what does. Nothing was written.
	KindRefused Kind = "Refused"
	// KindConflict: somebody else has or wants another value. Nothing was written.
	KindConflict Kind = "Conflict"
	// KindForbidden: the caller lacks a right; the text names verb and resource.
	KindForbidden Kind = "Forbidden"
	// KindUnauthorized: the credentials are not accepted.
	KindUnauthorized Kind = "Unauthorized"
	// KindNotInstalled: the cluster does not know the kind GridRouter.
	KindNotInstalled Kind = "NotInstalled"
	// KindUnreachable: the API server does not answer.
	KindUnreachable Kind = "Unreachable"
	// KindUnsuccessful: a change was written, and did not come to a good end.
	KindUnsuccessful Kind = "Unsuccessful"
	// KindTimeout: a change was written, and its end was not awaited.
	KindTimeout Kind = "Timeout"
)

// FieldError is one reason why the API server refuses an object.
type FieldError struct {
	// Field is the path of what is wrong, such as spec.replicas; empty: the object as a whole.
	Field string
	// Message says what is wrong and what to write instead.
	Message string
}

// String is the reason in one line.
func (f FieldError) String() string {
	if f.Field == "" {
		return f.Message
	}
	return f.Field + ": " + f.Message
}

// Error is what the methods of this package return, but for the end of the caller's own context. Its text
// names the mend.
type Error struct {
	Kind   Kind
	Fields []FieldError // of KindInvalid
	text   string
	err    error
}

// Error implements error. Reasons of the API server stand one a line.
func (e *Error) Error() string {
	lines := make([]string, 0, len(e.Fields)+1)
	if e.text != "" {
		lines = append(lines, e.text)
	}
	for _, f := range e.Fields {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns what caused it, nil if nothing did.
func (e *Error) Unwrap() error { return e.err }

// KindOf returns the kind of an error of this package, and empty for any other.
func KindOf(err error) Kind {
	var ours *Error
	if errors.As(err, &ours) {
		return ours.Kind
	}
	return ""
}

func refusef(format string, args ...any) error {
	return &Error{Kind: KindRefused, text: fmt.Sprintf(format, args...)}
}

// explain says in plain words what the API server's answer means. verb is the right that the call needs, what
// the thing that it was about, such as "fleet prod/edge".
func explain(err error, verb, resource, what string) error {
	if err == nil || errors.Is(err, context.Canceled) || KindOf(err) != "" {
		return err
	}
	fail := func(kind Kind, format string, args ...any) error {
		return &Error{Kind: kind, text: fmt.Sprintf(format, args...), err: err}
	}
	switch {
	case notInstalled(err):
		return fail(KindNotInstalled, "the cluster does not know %s: install the operator (gridrouter operator manifests | kubectl apply -f -), or choose another cluster (--context)", resource)
	case apierrors.IsNotFound(err):
		return fail(KindNotFound, "%s", notFoundText(err, what))
	case apierrors.IsAlreadyExists(err):
		return fail(KindExists, "%s exists already: change it (scale, upgrade, kubectl apply), or choose another name", what)
	case apierrors.IsForbidden(err) && verb == "create" && strings.Contains(err.Error(), "exceeded quota"):
		return fail(KindForbidden, "a quota of the namespace does not allow it: %s", messageOf(err))
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "being terminated"):
		return fail(KindForbidden, "the namespace of %s is being deleted: choose another", what)
	case apierrors.IsForbidden(err):
		return fail(KindForbidden, "you may not %s %s (%s): ask for a Role with the verb %q on %q (apiGroup %q)", verb, resource, what, verb, plainResource(resource), groupOf(resource))
	case apierrors.IsUnauthorized(err):
		return fail(KindUnauthorized, "the API server does not accept your credentials: sign in again, or choose another context (--context)")
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return &Error{Kind: KindInvalid, Fields: fieldErrors(err), err: err}
	case apierrors.IsConflict(err):
		return fail(KindConflict, "%s was changed by somebody else meanwhile: look at it, then try again", what)
	case unreachable(err):
		return fail(KindUnreachable, "%s", unreachableText(err))
	}
	return fail("", "%s: %s", what, messageOf(err))
}

// messageOf is the API server's own message, without what Go adds around it.
func messageOf(err error) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Message != "" {
		return status.Status().Message
	}
	return err.Error()
}

// notInstalled says whether the API server lacks the kind itself. It answers "404 page not found" then, which
// is no Status, while a missing object has one.
func notInstalled(err error) bool {
	if meta.IsNoMatchError(err) {
		return true
	}
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Reason != metav1.StatusReasonNotFound {
		return false
	}
	details := status.Status().Details
	if details == nil {
		return false
	}
	for _, cause := range details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return false
}

func notFoundText(err error, what string) string {
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces" {
		return fmt.Sprintf("there is no namespace %s: create it (kubectl create namespace %[1]s), or choose another (--namespace)", status.Status().Details.Name)
	}
	return fmt.Sprintf("there is no %s: gridctl fleets list -A shows those there are", what)
}

func plainResource(resource string) string { name, _, _ := strings.Cut(resource, "."); return name }

func groupOf(resource string) string { _, group, _ := strings.Cut(resource, "."); return group }

// unreachable says whether there was no answer of an API server at all.
func unreachable(err error) bool {
	var network net.Error
	var request *url.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) || errors.As(err, &request) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err)
}

func unreachableText(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		where := request.URL
		if at, parsed := url.Parse(where); parsed == nil {
			where = at.Scheme + "://" + at.Host
		}
		return fmt.Sprintf("the API server at %s does not answer: %v", where, request.Err)
	}
	return "the API server cannot answer at present: " + messageOf(err)
}

// fieldErrors are the reasons of a refusal, one for each field. A rule's own message is all that is wanted of
// what the API server says around it.
func fieldErrors(err error) []FieldError {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil || len(status.Status().Details.Causes) == 0 {
		return []FieldError{{Message: messageOf(err)}}
	}
	var all []FieldError
	for _, cause := range status.Status().Details.Causes {
		if strings.Contains(cause.Message, "some validation rules were not checked") {
			continue // it only says that there may be more to come
		}
		all = append(all, FieldError{Field: strings.TrimPrefix(cause.Field, "<nil>"), Message: plainMessage(cause.Field, cause.Message)})
	}
	return all
}

// plainMessage turns "Invalid value: VALUE: MESSAGE" into "MESSAGE (it is VALUE)", without a value that is no
// single one. Messages of the schema begin with the field once more, which goes too.
func plainMessage(field, message string) string {
	rest, found := strings.CutPrefix(message, "Invalid value: ")
	if !found {
		return message
	}
	if strings.HasPrefix(rest, "{") || strings.HasPrefix(rest, "[") {
		return message
	}
	value, err := strconv.QuotedPrefix(rest)
	if err != nil {
		value, _, _ = strings.Cut(rest, ": ")
		if _, err := strconv.ParseFloat(value, 64); err != nil {
			return cmp.Or(rest, message) // the message of a rule about an object, which has no value
		}
	}
	plain, found := strings.CutPrefix(rest[len(value):], ": ")
	if !found {
		return message
	}
	plain = strings.TrimPrefix(plain, field+" in body ")
	switch value {
	case `"object"`, `"array"`, `"string"`, `"integer"`, `"number"`, `"boolean"`, `""`, "null":
		return plain
	}
	return plain + " (it is " + value + ")"
}
