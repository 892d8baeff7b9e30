package inspect

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/url"
	"time"
)

// Certificate is one whose end concerns the cluster.
type Certificate struct {
	// Whose says who shows it: an endpoint, or "the client" for the one of the access.
	Whose string
	// Subject is its common name or its first name, Until when it ends.
	Subject string
	Until   time.Time
}

// served looks at the certificates that an endpoint shows, and returns the one that ends first. It does not
// matter whether anybody trusts them.
func served(ctx context.Context, config *tls.Config, endpoint string) (Certificate, error) {
	where, err := url.Parse(endpoint)
	if err != nil {
		return Certificate{}, errors.New("the endpoint is no URL")
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	looking := &tls.Config{MinVersion: tls.VersionTLS12}
	if config != nil {
		looking = config.Clone()
	}
	looking.InsecureSkipVerify = true // an expired certificate is what is looked for; nothing is sent
	dialer := tls.Dialer{Config: looking}
	conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(where.Hostname(), where.Port()))
	if err != nil {
		return Certificate{}, err
	}
	defer func() { _ = conn.Close() }() // nothing was sent
	chain := conn.(*tls.Conn).ConnectionState().PeerCertificates
	return firstToEnd(endpoint, chain)
}

// shown are the certificates that the access shows to members.
func shown(config *tls.Config) []Certificate {
	var out []Certificate
	if config == nil {
		return nil
	}
	for _, pair := range config.Certificates {
		var chain []*x509.Certificate
		for _, der := range pair.Certificate {
			if one, err := x509.ParseCertificate(der); err == nil {
				chain = append(chain, one)
			}
		}
		if one, err := firstToEnd("the client", chain); err == nil {
			out = append(out, one)
		}
	}
	return out
}

func firstToEnd(whose string, chain []*x509.Certificate) (Certificate, error) {
	if len(chain) == 0 {
		return Certificate{}, errors.New("no certificate was shown")
	}
	first := chain[0]
	for _, one := range chain[1:] {
		if one.NotAfter.Before(first.NotAfter) {
			first = one
		}
	}
	subject := first.Subject.CommonName
	if subject == "" && len(first.DNSNames) > 0 {
		subject = first.DNSNames[0]
	}
	return Certificate{Whose: whose, Subject: subject, Until: first.NotAfter}, nil
}
