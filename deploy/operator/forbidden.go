package operator

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// forbidden tells of requests that the API server forbids (403). Some libraries drop such answers in silence,
// those about events for one, and an operator without a right is to be noticed.
type forbidden struct {
	log   *zap.Logger // one line a minute for each verb and resource
	count *prometheus.CounterVec
}

func newForbidden(log *zap.Logger, registry prometheus.Registerer) *forbidden {
	f := &forbidden{
		log: log.WithOptions(zap.WrapCore(func(core zapcore.Core) zapcore.Core {
			return zapcore.NewSamplerWithOptions(core, time.Minute, 1, 0)
		})),
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gridrouter_operator_forbidden_total", Help: "Requests that the API server forbade: the operator lacks a right.",
		}, []string{"method", "resource"}),
	}
	registry.MustRegister(f.count)
	return f
}

// wrap returns a transport that looks at the answers of next.
func (f *forbidden) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		answer, err := next.RoundTrip(r)
		if err == nil && answer.StatusCode == http.StatusForbidden && lacksRight(answer) {
			f.tell(r)
		}
		return answer, err
	})
}

// mostRead is how much of an answer is read to learn why something is forbidden, in bytes.
const mostRead = 16 << 10

// lacksRight says whether an answer forbids something because of who asks. A namespace that is being deleted and
// a quota forbid with the same status, and say another reason. The answer can be read afterwards as before.
func lacksRight(answer *http.Response) bool {
	begin, err := io.ReadAll(io.LimitReader(answer.Body, mostRead))
	answer.Body = readCloser{io.MultiReader(bytes.NewReader(begin), errorReader{err}, answer.Body), answer.Body}
	return bytes.Contains(begin, []byte("forbidden: User "))
}

type readCloser struct {
	io.Reader
	io.Closer
}

// errorReader fails with its error, or is empty.
type errorReader struct{ err error }

// Read returns the error.
func (e errorReader) Read([]byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return 0, io.EOF
}

func (f *forbidden) tell(r *http.Request) {
	resource := resourceOf(r.URL.Path)
	f.count.WithLabelValues(r.Method, resource).Inc()
	f.log.Error("the API server forbids "+r.Method+" of "+resource+
		": apply the manifests of this version (gridrouter operator manifests), and look at what the namespace allows",
		zap.String("path", r.URL.Path))
}

// roundTripper is a function as a transport.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// resourceOf returns the resource that a path of the Kubernetes API is about, with its subresource and group, as
// in deployments/status.apps; other paths are "other". Names of objects are not in it, so the values are few.
func resourceOf(path string) string {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	group := ""
	switch {
	case len(parts) > 2 && parts[0] == "api":
		parts = parts[2:]
	case len(parts) > 3 && parts[0] == "apis":
		group, parts = "."+parts[1], parts[3:]
	default:
		return "other"
	}
	if len(parts) > 2 && parts[0] == "namespaces" && (len(parts) > 3 || !ofNamespaces(parts[2])) {
		parts = parts[2:]
	}
	resource := parts[0]
	if len(parts) > 2 {
		resource += "/" + parts[2]
	}
	return resource + group
}

// ofNamespaces says whether a word behind a namespace's name is a subresource of the namespace itself.
func ofNamespaces(word string) bool { return word == "status" || word == "finalize" }
