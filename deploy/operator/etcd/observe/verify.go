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
