package discovery

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// authority issues certificates.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // its own certificate
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	a.file, _ = a.issue(name, template)
	return a
}

// issue writes a certificate, and its key, signed by the authority; its own one first.
func (a *authority) issue(name string, template *x509.Certificate) (cert, key string) {
	a.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.cert == nil {
		a.cert, a.key = template, private
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writeFile(a.t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	writeFile(a.t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

// leaf is the form of a certificate that both sides may show.
func leaf(until time.Time, hosts ...string) *x509.Certificate {
	template := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "leaf"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return template
}

// secureEtcd starts etcd for clients that speak TLS.
func secureEtcd(t *testing.T, addr, cert, key, clientCA string) *testEtcd {
	t.Helper()
	return startEtcd(t, t.TempDir(), func(cfg *embed.Config) {
		at := []url.URL{{Scheme: "https", Host: addr}}
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at, at
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: cert, KeyFile: key, TrustedCAFile: clientCA, ClientCertAuth: clientCA != ""}
	})
}

// reach makes a client and a call.
func reach(t *testing.T, cfg ClientConfig) error {
	t.Helper()
	client, err := NewClient(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err = client.Get(ctx, "/gridrouter/")
	return err
}

// TestConnectionFaultsAreToldApart sets up real etcds and clients that do not fit, in every way.
func TestConnectionFaultsAreToldApart(t *testing.T) {
	ca, stranger := newAuthority(t, "ca"), newAuthority(t, "stranger")
	inAnHour := time.Now().Add(time.Hour)
	good, goodKey := ca.issue("good", leaf(inAnHour, "127.0.0.1", "localhost"))
	named, namedKey := ca.issue("named", leaf(inAnHour, "etcd.example"))
	another, anotherKey := ca.issue("another", leaf(inAnHour, "192.0.2.1"))
	expired, expiredKey := ca.issue("expired", leaf(time.Now().Add(-time.Hour), "127.0.0.1"))
	foreign, foreignKey := stranger.issue("foreign", leaf(inAnHour, "127.0.0.1"))
	f := func(cfg ClientConfig, endpoint, words string) {
		t.Helper()
		cfg.Endpoints = []string{endpoint}
		err := reach(t, cfg)
		if got := ConnectionFault(cfg.Endpoints, err); words == "" && err != nil || !strings.Contains(got, words) || words == "" && got != "" {
			t.Errorf("%+v: %q of %v, want %q", cfg, got, err, words)
		}
	}
	plain := startEtcd(t, t.TempDir()).addr
	secure := secureEtcd(t, "127.0.0.1:0", good, goodKey, "").addr
	mutual := secureEtcd(t, "127.0.0.1:0", good, goodKey, ca.file).addr
	trusting := ClientConfig{CAFile: ca.file}
	f(trusting, "https://"+secure, "")
	f(ClientConfig{CAFile: ca.file, CertFile: good, KeyFile: goodKey}, "https://"+mutual, "")
	f(trusting, "https://"+plain, "write http://")
	f(ClientConfig{}, "https://"+plain, "write http://")
	f(ClientConfig{}, "http://"+secure, "write https://")
	f(ClientConfig{}, "https://"+secure, "--etcd-ca")
	f(ClientConfig{CAFile: stranger.file}, "https://"+secure, "--etcd-ca")
	f(trusting, "https://"+secureEtcd(t, "127.0.0.1:0", named, namedKey, "").addr, "use a name")
	f(trusting, "https://"+secureEtcd(t, "127.0.0.1:0", another, anotherKey, "").addr, "other names")
	f(trusting, "https://"+secureEtcd(t, "127.0.0.1:0", expired, expiredKey, "").addr, "expired")
	f(trusting, "https://"+mutual, "--etcd-cert")
	f(ClientConfig{CAFile: ca.file, CertFile: foreign, KeyFile: foreignKey}, "https://"+mutual, "--etcd-cert")
	f(ClientConfig{CAFile: ca.file, CertFile: expired, KeyFile: expiredKey}, "https://"+mutual, "--etcd-cert")

	f(ClientConfig{}, "http://nowhere.invalid:2379", "does not resolve")
}

// TestAClientOutlivesTheRotationOfEverything replaces etcd's certificate, its issuer and ours, with a
// restart of etcd between them, while one client is held open.
func TestAClientOutlivesTheRotationOfEverything(t *testing.T) {
	dir := t.TempDir()
	roots, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	install := func(a *authority) (serverCert, serverKey string) {
		clientCert, clientKey := a.issue("client", leaf(time.Now().Add(time.Hour)))
		writeFile(t, roots, readFile(t, a.file))
		writeFile(t, cert, readFile(t, clientCert))
		writeFile(t, key, readFile(t, clientKey))
		return a.issue("server", leaf(time.Now().Add(time.Hour), "127.0.0.1"))
	}
	first := newAuthority(t, "first")
	serverCert, serverKey := install(first)
	etcd := secureEtcd(t, "127.0.0.1:0", serverCert, serverKey, first.file)
	client, err := NewClient(ClientConfig{Endpoints: []string{"https://" + etcd.addr}, CAFile: roots, CertFile: cert, KeyFile: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	answers := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := client.Get(ctx, "/gridrouter/")
		return err == nil
	}
	eventually(t, "an answer", answers)
	for range 2 {
		next := newAuthority(t, "next")
		serverCert, serverKey = install(next)
		etcd.stop()
		etcd = secureEtcd(t, etcd.addr, serverCert, serverKey, next.file)
		eventually(t, "an answer by the new certificates", answers)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
