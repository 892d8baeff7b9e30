package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"time"
)

// How long certificates are good for, and how far their begin lies back, for clocks that differ. That of a CA lies
// further back, since another CA costs members a restart.
const (
	lifeOfCA     = 10 * 365 * 24 * time.Hour
	lifeOfLeaf   = 365 * 24 * time.Hour
	backdateCA   = 24 * time.Hour
	backdateLeaf = 5 * time.Minute
)

// mostBytes is how long a value in a Secret may be: certificates are some kilobytes, and reading something
// huge would only take time.
const mostBytes = 64 << 10

const (
	certBlock = "CERTIFICATE"
	keyBlock  = "PRIVATE KEY"
)

// pair is a certificate and its key.
type pair struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// span is the time of a certificate that is made now instead of another (nil: of none). It covers the begin of
// the other, and the time at which that was made: of two clocks that do not agree one is wrong, and nobody knows
// which. So what is made under a clock that jumped is good as well where the clock is right.
func span(now time.Time, before *x509.Certificate, life, back time.Duration) (begin, end time.Time) {
	now = now.UTC().Truncate(time.Second)
	begin, end = now.Add(-back), now.Add(life)
	if before == nil {
		return begin, end
	}
	if before.NotBefore.Before(begin) {
		begin = before.NotBefore
	}
	if before.NotAfter.After(end) {
		end = before.NotAfter
	}
	return begin, end
}

// newKey draws a key on P-256. It does not use [ecdsa.GenerateKey], which has a source of its own, so that the
// same random bytes make the same certificates.
func newKey(random io.Reader) (*ecdsa.PrivateKey, error) {
	raw := make([]byte, 32)
	for range 64 { // a draw fails with a chance of 2^-32
		if _, err := io.ReadFull(random, raw); err != nil {
			return nil, fmt.Errorf("draw a key: %w", err)
		}
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw); err == nil {
			return key, nil
		}
	}
	return nil, errors.New("draw a key: the source of random bytes gives none that make a key")
}

// issue makes a key, and a certificate for it that by signs; nil: that it signs itself.
func issue(random io.Reader, template *x509.Certificate, by *pair) (*pair, error) {
	key, err := newKey(random)
	if err != nil {
		return nil, err
	}
	serial := make([]byte, 16)
	if _, err := io.ReadFull(random, serial); err != nil {
		return nil, fmt.Errorf("draw a serial number: %w", err)
	}
	serial[0] = serial[0]&0x7f | 0x40 // positive, and never short
	template.SerialNumber = new(big.Int).SetBytes(serial)
	parent, signer := template, key
	if by != nil {
		parent, signer = by.cert, by.key
	}
	der, err := x509.CreateCertificate(nil, template, parent, key.Public(), signer) // nil: signed as RFC 6979 says
	if err != nil {
		return nil, fmt.Errorf("sign a certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("read the certificate just signed: %w", err)
	}
	return &pair{cert, key}, nil
}

func certPEM(certs ...*x509.Certificate) []byte {
	var text bytes.Buffer
	for _, cert := range certs {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: cert.Raw}))
	}
	return text.Bytes()
}

func keyPEM(key *ecdsa.PrivateKey) []byte {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err) // a key on P-256 always has this form
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der})
}

// readCerts reads certificates, at least one; text around them is a comment. What is no certificate, or is
// damaged, makes it an error, but the certificates before that are returned.
func readCerts(text []byte) ([]*x509.Certificate, error) {
	switch {
	case len(text) == 0:
		return nil, errors.New("is missing or empty")
	case len(text) > mostBytes:
		return nil, fmt.Errorf("has %d bytes, more than %d", len(text), mostBytes)
	}
	var certs []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		switch {
		case block == nil && len(certs) == 0:
			return nil, errors.New("holds no certificate in PEM")
		case block == nil && bytes.Contains(rest, []byte("-----BEGIN")):
			return certs, errors.New("holds a certificate that is cut off or damaged")
		case block == nil:
			return certs, nil
		case block.Type != certBlock:
			return certs, fmt.Errorf("holds a %q where a certificate belongs", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return certs, fmt.Errorf("holds a certificate that cannot be read: %w", err)
		}
		certs, text = append(certs, cert), rest
	}
}

// readPair reads a certificate and its key on P-256.
func readPair(certText, keyText []byte) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	certs, err := readCerts(certText)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("the certificate %w", err)
	case len(keyText) == 0:
		return certs[0], nil, errors.New("the key is missing or empty")
	case len(keyText) > mostBytes:
		return certs[0], nil, fmt.Errorf("the key has %d bytes, more than %d", len(keyText), mostBytes)
	}
	both, err := tls.X509KeyPair(certText, keyText)
	if err != nil {
		return certs[0], nil, errors.New("the key cannot be read, or does not fit the certificate")
	}
	key, ok := both.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() {
		return certs[0], nil, errors.New("the key is not on the curve P-256")
	}
	return certs[0], key, nil
}

// union sorts certificates by content, each once.
func union(certs ...*x509.Certificate) []*x509.Certificate {
	certs = slices.Clone(certs)
	slices.SortFunc(certs, func(a, b *x509.Certificate) int { return bytes.Compare(a.Raw, b.Raw) })
	return slices.CompactFunc(certs, (*x509.Certificate).Equal)
}

// BundleID identifies the CAs in a text of PEM, in whatever order they are. "": there is none that can be read.
func BundleID(text []byte) string {
	certs, err := readCerts(text)
	if err != nil {
		return ""
	}
	sum := sha256.New()
	for _, cert := range union(certs...) {
		sum.Write(cert.Raw)
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// IssuerID identifies the CA that issued a certificate which someone shows, as in the answer of a handshake.
// It believes what the certificate says: who asks has verified it. "": the certificate does not say.
func IssuerID(cert *x509.Certificate) string { return hex.EncodeToString(cert.AuthorityKeyId) }

// IDs are the [BundleID] and the [IssuerID] of what a Secret holds, for who shows and trusts that: a client that has
// read it. Each is "" if it cannot be read.
func IDs(data Data) (bundle, issuer string) {
	if cert, _, err := readPair(data[CertKey], data[PrivateKey]); err == nil {
		issuer = IssuerID(cert)
	}
	return BundleID(data[TrustKey]), issuer
}
