package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"slices"
	"strings"
	"testing"
	"time"
)

// brought makes certificates as a company's CA would: a root, one between, and what that signs.
type brought struct {
	t             *testing.T
	root, between *pair
}

func newBrought(t *testing.T) *brought {
	b := &brought{t: t}
	ca := func(name string, by *pair) *pair {
		made, err := issue(rand.Reader, &x509.Certificate{
			Subject: pkix.Name{CommonName: name}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(5 * year),
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		}, by)
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	b.root = ca("root", nil)
	b.between = ca("between", b.root)
	return b
}

// secret makes a Secret; change alters the certificate before it is signed.
func (b *brought) secret(change func(c *x509.Certificate)) Data {
	c := &x509.Certificate{
		Subject: pkix.Name{CommonName: "fleet"}, NotBefore: start.Add(-time.Hour), NotAfter: start.Add(year),
		DNSNames:    []string{"edge-0.edge-peers.grid.svc", "edge-1.edge-peers.grid.svc", "edge-client.grid.svc"},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(c)
	leaf, err := issue(rand.Reader, c, b.between)
	if err != nil {
		b.t.Fatal(err)
	}
	return Data{CertKey: certPEM(leaf.cert, b.between.cert), PrivateKey: keyPEM(leaf.key), TrustKey: certPEM(b.root.cert)}
}

func TestSecretsThatPeopleBring(t *testing.T) {
	b := newBrought(t)
	w := three()
	members, user := w.MembersNeed("edge-0", "edge-1"), UserNeeds("fleet")
	f := func(needs Needs, change func(c *x509.Certificate), damage func(d Data), want ...string) {
		t.Helper()
		data := b.secret(change)
		damage(data)
		report := Check(data, needs, start)
		if len(report.Problems) != len(want) {
			t.Fatalf("%q, want %q", report.Problems, want)
		}
		for i, p := range report.Problems {
			if !strings.Contains(p.String(), want[i]) || p.Mend == "" {
				t.Errorf("%q, want %q", p, want[i])
			}
		}
	}
	cert := func(*x509.Certificate) {}
	whole := func(Data) {}
	set := func(key string, value []byte) func(Data) { return func(d Data) { d[key] = value } }
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	otherKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})

	f(members, cert, whole)
	f(user, cert, whole)
	f(user, func(c *x509.Certificate) {
		c.ExtKeyUsage, c.DNSNames = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, nil
	}, whole)
	f(members, func(c *x509.Certificate) { c.ExtKeyUsage = nil }, whole)
	f(members, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageAny} }, whole)
	f(members, func(c *x509.Certificate) { c.DNSNames = []string{"*.edge-peers.grid.svc", "edge-client.grid.svc"} }, whole)
	f(members, cert, func(d Data) { d[TrustKey] = slices.Concat([]byte("# ours\n"), d[TrustKey], []byte("\n# the end\n")) })

	f(members, cert, func(d Data) { clear(d) }, "tls.crt is missing or empty: put", "tls.key is missing", "ca.crt is missing")
	f(members, cert, set(CertKey, []byte("x")), "tls.crt holds no certificate in PEM")
	f(members, cert, func(d Data) { d[CertKey] = d[PrivateKey] }, `tls.crt holds a "PRIVATE KEY" where a certificate belongs`)
	f(members, cert, set(PrivateKey, nil), "tls.key is missing or empty: put the key of tls.crt there as PEM")
	f(members, cert, set(PrivateKey, []byte("x")), "tls.key holds no key in PEM")
	f(members, cert, set(PrivateKey, otherKey), "does not fit tls.crt: put the key there that tls.crt was issued for")
	f(members, cert, set(PrivateKey, pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte{1}})), "tls.key is encrypted: put it there without a passphrase")
	f(members, cert, set(PrivateKey, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Headers: map[string]string{"DEK-Info": "x"}})), "tls.key is encrypted")
	f(members, cert, set(PrivateKey, bytes.Repeat([]byte("x"), mostBytes+1)), "tls.key has 65537 bytes, more than 65536")
	f(members, cert, set(TrustKey, nil), "ca.crt is missing or empty: put the certificates of the CAs there")
	f(members, cert, set(TrustKey, certPEM(b.root.cert)[:200]), "ca.crt holds no certificate")
	f(members, cert, func(d Data) { d[TrustKey] = append(d[TrustKey], d[TrustKey][:200]...) }, "ca.crt holds a certificate that is cut off or damaged")
	f(members, cert, set(TrustKey, certPEM(newBrought(t).root.cert)), `ca.crt does not verify tls.crt: put the CA there that issued it, "CN=between"`)
	f(members, cert, func(d Data) { d[CertKey] = certPEM(first(t, d)) }, "the intermediates between them into tls.crt")
	f(members, cert, func(d Data) { d[TrustKey] = append(d[TrustKey], certPEM(first(t, d))...) }, `ca.crt holds "CN=fleet", which is no CA`)
	f(members, func(c *x509.Certificate) { c.NotAfter = start.Add(-time.Second) }, whole, "tls.crt ended on 2027-03-01T11:59:59Z: renew it")
	f(members, func(c *x509.Certificate) { c.NotBefore = start.Add(time.Second) }, whole, "tls.crt begins only on 2027-03-01T12:00:01Z")
	f(members, func(c *x509.Certificate) { c.DNSNames = c.DNSNames[:1] }, whole, "is not for edge-1.edge-peers.grid.svc, edge-client.grid.svc: have it issued with these")
	f(members, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }, whole, "is not for clients: have it issued with the extended key usage clientAuth, too")
	f(members, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[1:] }, whole, "is not for servers")
	f(user, func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1]; c.Subject.CommonName = "x" }, whole,
		"is not for clients: have it issued with the extended key usage clientAuth", `has the common name "x": have it issued with the common name "fleet"`)
}

func TestTheCAOfAPersonEnds(t *testing.T) {
	b := newBrought(t)
	data := b.secret(func(c *x509.Certificate) { c.NotAfter = start.Add(9 * year) })
	w := three()
	needs := w.MembersNeed("edge-0")
	if report := Check(data, needs, start); len(report.Problems) > 0 || !report.Until.Equal(start.Add(5*year)) {
		t.Errorf("%q until %s", report.Problems, report.Until)
	}
	report := Check(data, needs, start.Add(6*year))
	if len(report.Problems) != 1 || !strings.Contains(report.Problems[0].String(), `ca.crt "CN=between" ended on 2032-02-28T12:00:00Z: renew it`) {
		t.Errorf("%q", report.Problems)
	}
}

func TestOurOwnSecretsPassTheCheck(t *testing.T) {
	w := newWorld(t, three())
	w.settle()
	for _, member := range w.wanted.Members {
		if report := Check(w.has[w.wanted.MemberSecret(member)], w.wanted.MembersNeed(member), start); len(report.Problems) > 0 || !report.Until.Equal(start.Add(year)) {
			t.Errorf("%q until %s", report.Problems, report.Until)
		}
	}
	if report := Check(w.has["edge.user.root"], UserNeeds(Root), start); len(report.Problems) > 0 {
		t.Errorf("%q", report.Problems)
	}
}

func TestKeysOnOtherCurvesAreOfOthers(t *testing.T) {
	b := newBrought(t)
	key, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		DNSNames: []string{"edge-0.edge-peers.grid.svc", "edge-client.grid.svc"}, NotBefore: start, NotAfter: start.Add(year),
	}, b.root.cert, key.Public(), b.root.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	data := Data{
		CertKey: pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}), TrustKey: certPEM(b.root.cert),
		PrivateKey: pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: private}),
	}
	w := three()
	if report := Check(data, w.MembersNeed("edge-0"), start); len(report.Problems) > 0 {
		t.Errorf("%q", report.Problems)
	}
	if _, _, err := readPair(data[CertKey], data[PrivateKey]); err == nil {
		t.Error("it is taken for one of ours")
	}
}

func first(t *testing.T, d Data) *x509.Certificate {
	t.Helper()
	certs, err := readCerts(d[CertKey])
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}
