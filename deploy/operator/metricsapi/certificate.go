package metricsapi

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// SecretName is that of the Secret with the CA and the serving certificate, which all replicas of the operator
// share.
const SecretName = "gridrouter-operator-metrics-tls"

// How long the CA and the certificate are good for. Each is made anew when a third of its time is left; the
// CA's successor is beside it in the bundle, so that it costs nothing but that the bundle is handed on.
const (
	lifeOfCA          = 10 * 365 * 24 * time.Hour
	lifeOfCertificate = 365 * 24 * time.Hour
)

// keys is what the Secret holds, as PEM.
type keys struct{ bundle, caKey, cert, key []byte }

// shared reads the Secret, or makes it. Of replicas that make or renew it at once one wins, and the others
// read what it wrote.
func shared(ctx context.Context, c client.Client, namespace string, hosts []string, now time.Time) (keys, error) {
	var err error
	for range 3 {
		var secret corev1.Secret
		err = c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: SecretName}, &secret)
		if client.IgnoreNotFound(err) != nil {
			break
		}
		has := keys{secret.Data["ca.crt"], secret.Data["ca.key"], secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]}
		if err == nil && has.good(hosts, now) {
			return has, nil
		}
		var fresh keys
		if fresh, err = renewed(has, hosts, now); err != nil {
			break
		}
		secret.Data = map[string][]byte{"ca.crt": fresh.bundle, "ca.key": fresh.caKey, corev1.TLSCertKey: fresh.cert, corev1.TLSPrivateKeyKey: fresh.key}
		if secret.ResourceVersion == "" {
			secret.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: SecretName, Labels: map[string]string{"app.kubernetes.io/managed-by": "gridrouter-operator"}}
			secret.Type = corev1.SecretTypeTLS
			err = c.Create(ctx, &secret)
		} else {
			err = c.Update(ctx, &secret)
		}
		if err == nil {
			return fresh, nil
		}
		if !apierrors.IsAlreadyExists(err) && !apierrors.IsConflict(err) {
			break
		}
	}
	return keys{}, fmt.Errorf("share the certificate of the metrics API in Secret %s/%s: %w", namespace, SecretName, err)
}

// good says whether the certificate serves the hosts, by the first CA of the bundle, for a third of its time
// yet.
func (k keys) good(hosts []string, now time.Time) bool {
	pair, err := tls.X509KeyPair(k.cert, k.key)
	if err != nil || due(pair.Leaf, now) {
		return false
	}
	ca, _, err := k.authority()
	if err != nil || due(ca, now) || pair.Leaf.CheckSignatureFrom(ca) != nil {
		return false
	}
	for _, host := range hosts {
		if pair.Leaf.VerifyHostname(host) != nil {
			return false
		}
	}
	return true
}

func due(c *x509.Certificate, now time.Time) bool {
	return now.After(c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore)/3)) || now.Before(c.NotBefore)
}

// authority returns the CA that signs, which is the first of the bundle.
func (k keys) authority() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	pair, err := tls.X509KeyPair(k.bundle, k.caKey)
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, fmt.Errorf("ca.crt and ca.key in Secret %s are no CA of the operator's: delete the Secret, it is made anew", SecretName)
	}
	return pair.Leaf, key, nil
}

// renewed makes a certificate, and a CA where there is none that lasts; a former CA stays in the bundle.
func renewed(has keys, hosts []string, now time.Time) (keys, error) {
	ca, caKey, err := has.authority()
	if err != nil || due(ca, now) {
		template := &x509.Certificate{
			Subject: pkix.Name{CommonName: "gridrouter-operator-metrics"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifeOfCA),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}
		former := ca
		cert, key, signer, err := sign(template, nil, nil)
		if err != nil {
			return keys{}, err
		}
		has.bundle, has.caKey, caKey = cert, key, signer
		if former != nil {
			has.bundle = append(has.bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: former.Raw})...)
		}
		if ca, _, err = has.authority(); err != nil {
			return keys{}, err
		}
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: hosts[0]}, DNSNames: hosts, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifeOfCertificate),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	has.cert, has.key, _, err = sign(template, ca, caKey)
	return has, err
}

// sign makes a key and a certificate for it; without a parent it signs itself.
func sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) (cert, key []byte, own *ecdsa.PrivateKey, err error) {
	if own, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, nil, nil, err
	}
	if parent == nil {
		parent, by = template, own
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, own.Public(), by)
	if err != nil {
		return nil, nil, nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return nil, nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), own, nil
}
