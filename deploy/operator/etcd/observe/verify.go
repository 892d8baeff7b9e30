package observe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// verify verifies a server's certificate by its authorities and a name that it must bear.
func verify(s *tls.ConnectionState, roots *x509.CertPool, host string) error {
	if len(s.PeerCertificates) == 0 || host == "" || roots == nil {
		return errors.New("the member shows no certificate, or nothing is known of whom to trust")
	}
	between := x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, DNSName: host})
	return err
}

// Dial returns the TLS with which members are dialled wherever they are; nil: without TLS. gRPC asks for the name in the
// URL, which is an address here: what the certificate must bear is the target's ServerName, and this verifies it. shown is
// called with each certificate that was verified; it may be nil.
func (t Target) Dial(shown func(*x509.Certificate)) *tls.Config {
	if t.TLS == nil {
		return nil
	}
	host, roots := t.TLS.ServerName, t.TLS.RootCAs
	secured := t.TLS.Clone()
	secured.InsecureSkipVerify = true // VerifyConnection verifies
	secured.VerifyConnection = func(s tls.ConnectionState) error {
		err := verify(&s, roots, host)
		if err == nil && shown != nil {
			shown(s.PeerCertificates[0])
		}
		return err
	}
	return secured
}
