package clusters

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"gridrouter.io/deploy/api/v1alpha1"
)

// TestAnErrorIsToldInTheSameWordsEachTime goes through causes: no port of this side, no time, no URL.
func TestAnErrorIsToldInTheSameWordsEachTime(t *testing.T) {
	address := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 6443}
	ours := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 9), Port: 45678}
	for want, err := range map[string]error{
		"dial 192.0.2.1:6443: connect: connection refused": &net.OpError{Op: "dial", Net: "tcp", Addr: address, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"read 192.0.2.1:6443: connection reset by peer":    &net.OpError{Op: "read", Net: "tcp", Source: ours, Addr: address, Err: syscall.ECONNRESET},
		"remote error: tls: bad certificate":               &net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")},
		"no address is known of k8s.example":               &net.OpError{Op: "dial", Err: &net.DNSError{Name: "k8s.example", Server: "192.0.2.53:53"}},
		"it does not answer in time":                       context.DeadlineExceeded,
		"its certificate has expired":                      x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time is 12:00"},
		"its certificate is for other names":               x509.HostnameError{Host: "a", Certificate: &x509.Certificate{}},
		"its certificate is not signed by a known CA":      x509.UnknownAuthorityError{},
		"it redirects requests":                            errRedirected,
		"EOF":                                              errors.New("EOF"),
	} {
		wrapped := fmt.Errorf("failed: %w", &url.Error{Op: "Get", URL: "https://192.0.2.1:6443/version?timeout=5m3s", Err: err})
		got := describe(wrapped)
		if !strings.HasPrefix(got, want) || strings.Contains(got, "timeout=") || strings.Contains(got, "45678") {
			t.Errorf("%q, not %q", got, want)
		}
	}
	if got := describe(errors.New(strings.Repeat("é\n", 1000))); len(got) > maxWords || strings.Contains(got, "\n") {
		t.Errorf("another party's words are not bounded: %q", got)
	}
}

// TestAnAnswerToAProbeIsJudged goes through what may be answered.
func TestAnAnswerToAProbeIsJudged(t *testing.T) {
	for _, row := range []struct {
		status  int
		body    string
		reason  v1alpha1.Reason
		version string
	}{
		{200, `{"gitVersion": "v1.37.2"}`, v1alpha1.ReasonReachable, "v1.37.2"},
		{200, `{"gitVersion": "v1\n` + `"}`, v1alpha1.ReasonUnreachable, ""},
		{200, `{"gitVersion": "` + strings.Repeat("v", 100) + `"}`, v1alpha1.ReasonReachable, strings.Repeat("v", 64)},
		{200, `{"gitVersion": "v1\u001b[31m"}`, v1alpha1.ReasonReachable, "v1 [31m"},
		{200, `{}`, v1alpha1.ReasonUnreachable, ""},
		{200, `<html>`, v1alpha1.ReasonUnreachable, ""},
		{200, ``, v1alpha1.ReasonUnreachable, ""},
		{401, `{}`, v1alpha1.ReasonUnauthorized, ""},
		{403, `{}`, v1alpha1.ReasonReachable, ""},
		{404, `{}`, v1alpha1.ReasonUnreachable, ""},
		{500, `{}`, v1alpha1.ReasonUnreachable, ""},
		{503, ``, v1alpha1.ReasonUnreachable, ""},
	} {
		body := strings.ReplaceAll(row.body, "\\n", "\n")
		got := answered(row.status, []byte(body), time.Millisecond)
		if got.Reason != row.reason || got.Version != row.version || got.Reachable != (row.reason == v1alpha1.ReasonReachable) {
			t.Errorf("%d %q is %+v", row.status, body, got)
		}
	}
}

// TestALatencyAtABorderIsShownSteadily changes what is shown only after several probes that agree.
func TestALatencyAtABorderIsShownSteadily(t *testing.T) {
	var l latencies
	const fast, slow = 10 * time.Millisecond, 100 * time.Millisecond
	for i, row := range []struct{ measured, want time.Duration }{
		{9 * time.Millisecond, fast}, {10 * time.Millisecond, fast}, {11 * time.Millisecond, fast}, {9 * time.Millisecond, fast},
		{11 * time.Millisecond, fast}, {9 * time.Millisecond, fast}, {11 * time.Millisecond, fast}, {9 * time.Millisecond, fast},
		{20 * time.Millisecond, fast}, {99 * time.Millisecond, fast}, {100 * time.Millisecond, slow}, {101 * time.Millisecond, slow},
		{0, 0}, {2 * time.Second, 10 * time.Second}, {1, 10 * time.Second},
	} {
		if got := l.note(row.measured); got != row.want {
			t.Errorf("%d: %s is shown as %s, not %s", i, row.measured, got, row.want)
		}
	}
}

// TestARedirectIsNotFollowed has a server send the operator to an address that the tenant cannot reach.
func TestARedirectIsNotFollowed(t *testing.T) {
	asked := false
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer inside.Close()
	server := httptest.NewTLSServer(http.RedirectHandler(inside.URL+"/latest/meta-data", http.StatusFound))
	defer server.Close()
	ctx, cancel := context.WithCancel(t.Context())
	client, err := httpClient(ctx, &rest.Config{
		Host: server.URL, BearerToken: secretToken,
		TLSClientConfig: rest.TLSClientConfig{CAData: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.CloseIdleConnections()
	_, err = client.Get(server.URL + "/version")
	if err == nil || describe(err) != errRedirected.Error() || strings.Contains(err.Error(), secretToken) {
		t.Errorf("a redirect is answered by %v", err)
	}
	if asked {
		t.Error("the redirect was followed")
	}
	cancel()
	if _, err := client.Get(server.URL + "/version"); !errors.Is(err, errReplaced) {
		t.Errorf("after its end, a connection answers %v", err)
	}
}

func TestAClusterTellsOfFleetsOfItsConnectionsNamespaceAlone(t *testing.T) {
	var told []string
	o := Options{Changed: func(namespace, fleet string) { told = append(told, namespace+"/"+fleet) }}
	c := &connection{registry: &Registry{o: o.withDefaults()}, key: types.NamespacedName{Namespace: "acme", Name: "west"}}
	in := func(namespace string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{LabelFleet: "edge"}}}
	}
	for _, tell := range []func(o *corev1.Pod){
		func(o *corev1.Pod) { c.fleetEvent(nil, o) }, func(o *corev1.Pod) { c.fleetEvent(o, nil) }, func(o *corev1.Pod) { c.fleetEvent(o, o) },
	} {
		tell(in("acme"))
		tell(in("globex"))
	}
	if want := []string{"acme/edge", "acme/edge", "acme/edge"}; !slices.Equal(told, want) {
		t.Errorf("told of %v, not of %v", told, want)
	}
}
