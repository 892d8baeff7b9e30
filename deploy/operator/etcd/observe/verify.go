package observe

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
)

// Verifying returns how members are dialled at the addresses of their pods, which their certificates do not bear: those are
// held to secured's RootCAs and ServerName. seen, unless nil, is told of each certificate that was accepted. Without
// secured it returns nil.
func Verifying(secured *tls.Config, seen func(*x509.Certificate)) *tls.Config {
	if secured == nil {
		return nil
	}
	roots, host := secured.RootCAs, secured.ServerName
	// gRPC asks for the name in the URL, which is an address here.
	secured = secured.Clone()
	secured.InsecureSkipVerify = true // VerifyConnection verifies
	secured.VerifyConnection = func(s tls.ConnectionState) error {
		if err := verify(&s, roots, host); err != nil {
			return err
		}
		if seen != nil {
			seen(s.PeerCertificates[0])
		}
		return nil
	}
	return secured
}

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
