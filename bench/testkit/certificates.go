package testkit

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Form says what a certificate is to be like. Whatever it leaves out is as most tests need it: both
// servers and clients may show the certificate, from an hour ago for two hours.
type Form struct {
	// Hosts are the names and IP addresses that it is for. None: only a client can use it.
	Hosts []string
	// Name is its common name, which nobody may take for a host. Empty: "test".
	Name string
	// Serial tells certificates apart. 0: a random one.
	Serial int64
	// From and Until bound its time.
	From, Until time.Time
	// Key is the key of its owner. nil: a new one on P-256.
	Key crypto.Signer
}

// Pair is a certificate and its key, and the files that they are in, as PEM.
type Pair struct {
	TLS               tls.Certificate
	CertFile, KeyFile string
}

// Authority issues certificates.
type Authority struct {
	t   testing.TB
	own *Pair
	// File has its own certificate, as PEM.
	File string
}

// NewAuthority makes an authority, whose name tells it apart for people.
func NewAuthority(t testing.TB, name string) *Authority {
	t.Helper()
	template := Form{Name: name}.template()
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageCertSign, nil
	own := sign(t, template, newKey(t), nil)
	return &Authority{t: t, own: own, File: own.CertFile}
}

// Pool trusts the authority and nobody else.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.own.TLS.Leaf)
	return pool
}

// Issue makes a certificate for hosts, for servers and clients.
func (a *Authority) Issue(hosts ...string) *Pair {
	a.t.Helper()
	return a.IssueForm(Form{Hosts: hosts})
}

// IssueForm makes a certificate of a form.
func (a *Authority) IssueForm(form Form) *Pair {
	a.t.Helper()
	return sign(a.t, form.template(), form.key(a.t), a.own)
}

// SelfSigned makes a certificate of a form that nobody but its owner vouches for.
func SelfSigned(t testing.TB, form Form) *Pair {
	t.Helper()
	return sign(t, form.template(), form.key(t), nil)
}

// Install writes the key and then the certificate to files of other names, as a renewal does.
func (p *Pair) Install(t testing.TB, certFile, keyFile string) {
	t.Helper()
	for _, file := range [][2]string{{p.KeyFile, keyFile}, {p.CertFile, certFile}} {
		text, err := os.ReadFile(file[0])
		if err == nil {
			err = os.WriteFile(file[1], text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func (f Form) key(t testing.TB) crypto.Signer {
	if f.Key != nil {
		return f.Key
	}
	return newKey(t)
}

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (f Form) template() *x509.Certificate {
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: f.Name}, NotBefore: f.From, NotAfter: f.Until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if f.Name == "" {
		template.Subject.CommonName = "test"
	}
	if f.Serial != 0 {
		template.SerialNumber = big.NewInt(f.Serial) // nil: random
	}
	if f.From.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if f.Until.IsZero() {
		template.NotAfter = time.Now().Add(time.Hour)
	}
	for _, host := range f.Hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// sign makes a certificate and its files. No issuer: it signs itself.
func sign(t testing.TB, template *x509.Certificate, key crypto.Signer, issuer *Pair) *Pair {
	t.Helper()
	parent, by := template, key
	if issuer != nil {
		parent, by = issuer.TLS.Leaf, issuer.TLS.PrivateKey.(crypto.Signer)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	if err != nil {
		t.Fatalf("make a certificate: %v", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("write a key: %v", err)
	}
	dir := t.TempDir()
	pair := &Pair{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	write := func(file, kind string, content []byte) {
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(pair.CertFile, "CERTIFICATE", der)
	write(pair.KeyFile, "PRIVATE KEY", keyDER)
	if pair.TLS, err = tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile); err != nil {
		t.Fatal(err)
	}
	return pair
}
