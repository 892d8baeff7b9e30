package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"os"
	"path/filepath"
	"testing"
)

// Serial numbers of certificates by their kind of key.
const (
	byECDSA   = 1
	byRSA     = 2
	byEd25519 = 3
	nobody    = 0 // the handshake fails
)

// writeKinds writes a pair for hosts with each kind of key.
func writeKinds(t *testing.T, dir, name string, kinds []int64, hosts ...string) {
	t.Helper()
	for _, kind := range kinds {
		switch kind {
		case byECDSA:
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			writeKeyed(t, dir, name+"-ecdsa", kind, key, hosts...)
		case byRSA:
			key, err := rsa.GenerateKey(rand.Reader, 2048)
			if err != nil {
				t.Fatal(err)
			}
			writeKeyed(t, dir, name+"-rsa", kind, key, hosts...)
		case byEd25519:
			_, key, err := ed25519.GenerateKey(rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			writeKeyed(t, dir, name+"-ed25519", kind, key, hosts...)
		}
	}
}

func TestAClientGetsTheKindOfCertificateThatItCanUse(t *testing.T) {
	tls12 := func(suites ...uint16) *tls.Config {
		return &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: suites}
	}
	clients := map[string]*tls.Config{
		"all of 1.3":        {MinVersion: tls.VersionTLS13},
		"all of 1.2":        {MaxVersion: tls.VersionTLS12},
		"ECDSA alone":       tls12(tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
		"RSA alone":         tls12(tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
		"RSA, then ECDSA":   tls12(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
		"P-384 alone":       {CurvePreferences: []tls.CurveID{tls.CurveP384}},
		"RSA, static alone": tls12(tls.TLS_RSA_WITH_AES_128_GCM_SHA256),
	}
	f := func(kinds []int64, want map[string]int64) {
		t.Helper()
		dir := t.TempDir()
		writeKinds(t, dir, "a", kinds, "a.example", "*.a.example")
		s, _ := openStore(t, dir)
		for what, client := range clients {
			for _, name := range []string{"a.example", "x.a.example", "A.EXAMPLE", "nobody.example", ""} {
				config := client.Clone()
				config.ServerName, config.InsecureSkipVerify = name, true
				got := int64(nobody)
				if state, err := greet(t, s, config); err == nil {
					got = state.PeerCertificates[0].SerialNumber.Int64()
				}
				if got != want[what] {
					t.Errorf("kinds %v, client of %s, name %q: got %d, want %d", kinds, what, name, got, want[what])
				}
			}
		}
	}
	f([]int64{byECDSA, byRSA}, map[string]int64{"all of 1.3": byECDSA, "all of 1.2": byECDSA, "ECDSA alone": byECDSA, "RSA alone": byRSA,
		"RSA, then ECDSA": byECDSA, "P-384 alone": byECDSA})
	f([]int64{byRSA}, map[string]int64{"all of 1.3": byRSA, "all of 1.2": byRSA, "RSA alone": byRSA, "RSA, then ECDSA": byRSA, "P-384 alone": byRSA})
	f([]int64{byECDSA}, map[string]int64{"all of 1.3": byECDSA, "all of 1.2": byECDSA, "ECDSA alone": byECDSA, "RSA, then ECDSA": byECDSA, "P-384 alone": byECDSA})
	f([]int64{byEd25519, byRSA}, map[string]int64{"all of 1.3": byEd25519, "all of 1.2": byEd25519, "ECDSA alone": byEd25519, "RSA alone": byRSA,
		"RSA, then ECDSA": byEd25519, "P-384 alone": byEd25519})
}

func TestADefaultOfOneKindIsServedByAnotherOfItsNames(t *testing.T) {
	dir := t.TempDir()
	writeKinds(t, dir, "a", []int64{byECDSA}, "other.example")
	writeKinds(t, dir, "z", []int64{byRSA}, "main.example")
	write(t, dir, "default", 9, "main.example")
	s, _ := openStore(t, dir)
	config := asking("nobody.example")
	if got, err := greet(t, s, config); err != nil || got.PeerCertificates[0].SerialNumber.Int64() != 9 {
		t.Errorf("got %v", err)
	}
	config.MaxVersion, config.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	if got, err := greet(t, s, config); err != nil || got.PeerCertificates[0].SerialNumber.Int64() != byRSA {
		t.Errorf("a client of RSA alone: %v", err)
	}
}

// TestAFolderAsKubernetesMountsIt makes a secret's folder: ..data leads to a folder of the
// files, and each name leads through it.
func TestAFolderAsKubernetesMountsIt(t *testing.T) {
	dir := t.TempDir()
	generation := func(name string, serial int64) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), "tls", serial, "a.example")
		put(t, filepath.Join(dir, name, "ca.crt"), []byte("whatever"))
		next := filepath.Join(dir, "..data_tmp")
		if err := os.Symlink(name, next); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(next, filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	generation("..one", 1)
	for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
		if err := os.Symlink(filepath.Join("..data", name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s, logs := openStore(t, dir)
	if got := serial(t, s, "a.example"); got != 1 {
		t.Errorf("got %d", got)
	}
	generation("..two", 2)
	s.look(false)
	if got := serial(t, s, "a.example"); got != 2 {
		t.Errorf("after it was renewed: got %d", got)
	}
	if problems := s.Problems(); len(problems) > 0 || logs.FilterMessageSnippet("cannot be used").Len() > 0 {
		t.Errorf("it complains: %v", problems)
	}
	f := func(what, name string, complains bool) {
		t.Helper()
		put(t, filepath.Join(dir, name), []byte("x"))
		s.look(false)
		if got := len(s.Problems()) > 0; got != complains {
			t.Errorf("%s: problems %v", what, s.Problems())
		}
		_ = os.Remove(filepath.Join(dir, name))
		s.look(false)
	}
	f("another certificate without its key", "x.crt", true)
	f("a key without its certificate", "x.key", true)
	f("one in other letters", "CA.crt", true)
	f("a key for ca.crt", "ca.key", true)
	f("something else", "README", false)
}
