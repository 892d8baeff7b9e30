package pki

import (
	"bytes"
	"crypto/tls"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// settled is a cluster's Secrets that are the same at each run.
func settled(t testing.TB) map[string]Data {
	t.Helper()
	p, err := Desired(start, rand.NewChaCha8([32]byte{7}), nil, nil, three())
	if err != nil {
		t.Fatal(err)
	}
	return p.Secrets
}

// FuzzSecrets damages the Secret of the CA and one of a member. Whatever they hold, plans come to rest, with
// certificates that serve, and no plan tells a key.
func FuzzSecrets(f *testing.F) {
	good := settled(f)
	ca, member := good["edge.ca"], good["edge.member.edge-0"]
	f.Add(ca[TrustKey], ca[caKey], []byte{}, []byte{}, []byte{}, member[CertKey], member[PrivateKey], member[TrustKey])
	f.Add(ca[TrustKey], []byte("x"), ca[TrustKey], ca[caKey], ca[TrustKey], member[CertKey], member[PrivateKey], []byte{})
	f.Add([]byte{}, []byte{}, ca[TrustKey], ca[caKey], member[CertKey], member[PrivateKey], member[CertKey], ca[caKey])
	f.Add(bytes.Repeat(ca[TrustKey], 3), ca[caKey], []byte("-----BEGIN"), []byte{0}, []byte{}, ca[TrustKey], ca[caKey], ca[TrustKey])
	f.Fuzz(func(t *testing.T, cert, key, next, nextKeyText, previous, leaf, leafKey, trust []byte) {
		has := maps.Clone(good)
		has["edge.ca"] = Data{TrustKey: cert, caKey: key, nextCert: next, nextKey: nextKeyText, previousCA: previous}
		has["edge.member.edge-0"] = Data{CertKey: leaf, PrivateKey: leafKey, TrustKey: trust}
		source := rand.NewChaCha8([32]byte{1})
		for range 12 {
			p, err := Desired(start, source, has, nil, three())
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Writes) == 0 {
				serves(t, p.Secrets["edge.member.edge-0"])
				return
			}
			for _, w := range p.Writes {
				if strings.Contains(w.Why, "PRIVATE KEY-----") {
					t.Error("a plan tells a key")
				}
				has[w.Secret] = p.Secrets[w.Secret]
			}
		}
		t.Error("it writes again and again")
	})
}

func serves(t *testing.T, data Data) {
	t.Helper()
	if _, err := tls.X509KeyPair(data[CertKey], data[PrivateKey]); err != nil {
		t.Fatal(err)
	}
	cert, _, err := readPair(data[CertKey], data[PrivateKey])
	if err != nil {
		t.Fatal(err)
	}
	if err := verify(start, cert, data[TrustKey]); err != nil {
		t.Error(err)
	}
}

// FuzzCheck reads what people bring. Whatever passes is taken by TLS itself.
func FuzzCheck(f *testing.F) {
	good := settled(f)["edge.member.edge-0"]
	f.Add(good[CertKey], good[PrivateKey], good[TrustKey])
	f.Add(good[TrustKey], good[PrivateKey], good[CertKey])
	f.Add([]byte("-----BEGIN CERTIFICATE-----"), []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\n-----END ENCRYPTED PRIVATE KEY-----\n"), []byte{})
	f.Add(append(bytes.Clone(good[CertKey]), good[TrustKey]...), good[CertKey], append(bytes.Clone(good[TrustKey]), good[TrustKey]...))
	f.Fuzz(func(t *testing.T, cert, key, trust []byte) {
		data := Data{CertKey: cert, PrivateKey: key, TrustKey: trust}
		w := three()
		report := Check(data, w.MembersNeed("edge-0"), start)
		for _, p := range report.Problems {
			if p.Key == "" || p.What == "" || p.Mend == "" || strings.Contains(p.String(), "PRIVATE KEY-----") {
				t.Errorf("%+v", p)
			}
		}
		if len(report.Problems) == 0 {
			if _, err := tls.X509KeyPair(cert, key); err != nil || BundleID(trust) == "" {
				t.Errorf("what passes is not taken: %v", err)
			}
		}
	})
}
