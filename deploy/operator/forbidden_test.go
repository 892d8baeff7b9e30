package operator

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAPathIsToldAsItsResource(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/pods":                                                   "pods",
		"/api/v1/namespaces":                                             "namespaces",
		"/api/v1/namespaces/a":                                           "namespaces",
		"/api/v1/namespaces/a/status":                                    "namespaces/status",
		"/api/v1/namespaces/a/pods":                                      "pods",
		"/api/v1/namespaces/a/pods/b":                                    "pods",
		"/api/v1/namespaces/a/pods/b/log":                                "pods/log",
		"/api/v1/nodes/a":                                                "nodes",
		"/apis/apps/v1/deployments":                                      "deployments.apps",
		"/apis/apps/v1/namespaces/a/deployments/b/status":                "deployments/status.apps",
		"/apis/events.k8s.io/v1/namespaces/a/events":                     "events.events.k8s.io",
		"/apis/coordination.k8s.io/v1/namespaces/a/leases/b":             "leases.coordination.k8s.io",
		"/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.c.m.k8s.io": "apiservices.apiregistration.k8s.io",
		"/": "other", "": "other", "/api": "other", "/api/v1": "other", "/apis": "other", "/apis/apps/v1": "other", "/version": "other",
	} {
		if got := resourceOf(path); got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

// TestOnlyMissingRightsAreToldAsSuch reads answers that forbid, which must be whole afterwards.
func TestOnlyMissingRightsAreToldAsSuch(t *testing.T) {
	long := strings.Repeat("x", 3*mostRead)
	for text, want := range map[string]bool{
		`{"message":"services \"edge\" is forbidden: User \"system:serviceaccount:a:b\" cannot create resource"}`: true,
		"k8s\x00 services \"edge\" is forbidden: User \"a\" cannot patch" + long:                                  true,
		`{"message":"pods \"edge\" is forbidden: exceeded quota: few"}`:                                           false,
		`{"message":"unable to create new content in namespace a because it is being terminated"}`:                false,
		"": false, long: false,
	} {
		answer := &http.Response{Body: io.NopCloser(strings.NewReader(text))}
		if got := lacksRight(answer); got != want {
			t.Errorf("%.100s: %v, want %v", text, got, want)
		}
		if whole, err := io.ReadAll(answer.Body); err != nil || string(whole) != text {
			t.Errorf("%.100s: %d bytes afterwards, want %d: %v", text, len(whole), len(text), err)
		}
	}
	answer := &http.Response{Body: io.NopCloser(io.MultiReader(strings.NewReader("begin"), errorReader{io.ErrUnexpectedEOF}))}
	lacksRight(answer)
	if text, err := io.ReadAll(answer.Body); string(text) != "begin" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("an answer that was cut: %q, %v", text, err)
	}
}

func FuzzResourceOf(f *testing.F) {
	f.Add("/apis/apps/v1/namespaces/a/deployments/b/status")
	f.Add("/api/v1/namespaces/a")
	f.Fuzz(func(t *testing.T, path string) {
		if got := resourceOf(path); got == "" && !strings.Contains(path, "//") && path != "" {
			t.Errorf("%q is told as nothing", path)
		}
	})
}

func TestTimesByWhichTwoCouldLeadAreRefused(t *testing.T) {
	for _, c := range []struct {
		duration, renew, retry time.Duration
		fine                   bool
	}{
		{15 * time.Second, 10 * time.Second, 2 * time.Second, true},
		{10 * time.Second, 10 * time.Second, 2 * time.Second, false},
		{9 * time.Second, 10 * time.Second, 2 * time.Second, false},
		{15 * time.Second, 2 * time.Second, 2 * time.Second, false},
		{15 * time.Second, 10 * time.Second, 0, false},
		{15 * time.Second, 10 * time.Second, -1, false},
		{500 * time.Millisecond, 200 * time.Millisecond, 100 * time.Millisecond, false},
	} {
		if err := (Election{c.duration, c.renew, c.retry}).Check(); (err == nil) != c.fine {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
