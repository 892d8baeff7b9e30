package metricsapi

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// trust is how the aggregator proves itself, as the API server tells in the ConfigMap
// kube-system/extension-apiserver-authentication.
type trust struct {
	roots       *x509.CertPool
	names       []string // of certificates; none: any that the roots vouch for
	userHeaders []string
}

// readTrust reads it. A ConfigMap that is not there, or has no such CA, trusts nobody; one that cannot be read
// is an error.
func readTrust(data map[string]string) (*trust, error) {
	t := &trust{roots: x509.NewCertPool()}
	if pem := data["requestheader-client-ca-file"]; pem != "" && !t.roots.AppendCertsFromPEM([]byte(pem)) {
		return nil, errors.New("requestheader-client-ca-file holds no certificate")
	}
	for key, into := range map[string]*[]string{"requestheader-allowed-names": &t.names, "requestheader-username-headers": &t.userHeaders} {
		if text := data[key]; text != "" {
			if err := json.Unmarshal([]byte(text), into); err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
		}
	}
	return t, nil
}

// admits returns why a request is not let in. Who the user is has been decided by the API server; that it
// names one who is not anonymous is all that is asked here.
func (t *trust) admits(r *http.Request) error {
	if t == nil {
		return errors.New("the ConfigMap kube-system/extension-apiserver-authentication was not read yet")
	}
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return errors.New("only the API server's aggregator is let in, by its client certificate: ask the API server")
	}
	chain := r.TLS.PeerCertificates
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}); err != nil {
		return errors.New("the client certificate is not of the aggregator's CA (requestheader-client-ca-file)")
	}
	if len(t.names) > 0 && !slices.Contains(t.names, chain[0].Subject.CommonName) {
		return errors.New("the client certificate's name is not among requestheader-allowed-names")
	}
	for _, header := range t.userHeaders {
		if user := r.Header.Get(header); user != "" && user != "system:anonymous" {
			return nil
		}
	}
	return errors.New("the request is of no user")
}

// gate lets in who the present trust admits.
type gate struct {
	trust atomic.Pointer[trust]
	next  http.Handler
}

// ServeHTTP answers 401 to everybody else.
func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := g.trust.Load().admits(r); err != nil {
		fail(w, apierrors.NewUnauthorized(err.Error()))
		return
	}
	g.next.ServeHTTP(w, r)
}

// renew reads the trust anew. What was trusted stays so where the API server does not answer.
func (g *gate) renew(ctx context.Context, c client.Reader) error {
	var told corev1.ConfigMap
	err := c.Get(ctx, client.ObjectKey{Namespace: "kube-system", Name: "extension-apiserver-authentication"}, &told)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("read who the aggregator is (bind Role kube-system/extension-apiserver-authentication-reader): %w", err)
	}
	t, err := readTrust(told.Data)
	if err != nil {
		return fmt.Errorf("ConfigMap kube-system/extension-apiserver-authentication: %w", err)
	}
	g.trust.Store(t)
	return nil
}
