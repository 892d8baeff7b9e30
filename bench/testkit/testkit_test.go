package testkit

import (
	"crypto"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestWaitingLooksOnceMoreAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, looks := time.Now(), 0
		if within(time.Second, func() bool { looks++; return false }) {
			t.Error("what never holds held")
		}
		if took := time.Since(began); took < time.Second || took > time.Second+2*pause || looks < 100 {
			t.Errorf("%d looks in %s", looks, took)
		}
		// A process that is not let run meanwhile looks all the same.
		looks = 0
		if !within(time.Second, func() bool {
			if looks++; looks == 1 {
				time.Sleep(time.Hour)
			}
			return looks == 2
		}) {
			t.Error("it did not look again")
		}
		Eventually(t, "a thing", func() bool { return time.Since(began) > time.Hour+2*time.Second })
	})
}

func TestAFreeAddressRefusesAndCanBeListenedAt(t *testing.T) {
	addr := FreeAddr(t)
	refused := func() {
		t.Helper()
		if conn, err := net.Dial("tcp", addr); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = conn.Close()
			}
			t.Fatalf("a connection to a free address: %v", err)
		}
	}
	for range 2 { // a server may end and come back
		refused()
		listener, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		served, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = served.Close() // who closes first keeps the port busy for a while
		_ = conn.Close()
		if second, err := net.Listen("tcp", addr); err == nil {
			_ = second.Close()
			t.Fatal("two servers listen at one address")
		}
		_ = listener.Close()
	}
	refused()
}

func TestCertificatesAreAsTheirFormSays(t *testing.T) {
	authority, stranger := NewAuthority(t, "one"), NewAuthority(t, "another")
	f := func(pair *Pair, host string, at time.Time, trust *Authority, good bool) {
		t.Helper()
		for _, usage := range []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth} {
			_, err := pair.TLS.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: trust.Pool(), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
			if (err == nil) != good {
				t.Errorf("%v for %q at %s: %v", pair.TLS.Leaf.Subject, host, at, err)
			}
		}
	}
	now := time.Now()
	pair := authority.Issue("a.example", "127.0.0.1")
	f(pair, "a.example", now, authority, true)
	f(pair, "127.0.0.1", now, authority, true)
	f(pair, "b.example", now, authority, false)
	f(pair, "a.example", now, stranger, false)
	f(pair, "a.example", now.Add(2*time.Hour), authority, false)
	f(authority.Issue(), "", now, authority, true)
	f(authority.IssueForm(Form{Name: "a.example"}), "a.example", now, authority, false) // a name is no host
	f(authority.IssueForm(Form{Until: now.Add(-time.Minute)}), "", now, authority, false)
	f(SelfSigned(t, Form{}), "", now, authority, false)
	again := SelfSigned(t, Form{Serial: 7, Key: pair.TLS.PrivateKey.(crypto.Signer)})
	if again.TLS.Leaf.SerialNumber.Int64() != 7 {
		t.Errorf("the serial number is %s", again.TLS.Leaf.SerialNumber)
	}
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c"), filepath.Join(dir, "k")
	again.Install(t, cert, key)
	for got, want := range map[string]string{cert: again.CertFile, key: again.KeyFile} {
		a, _ := os.ReadFile(got)
		b, _ := os.ReadFile(want)
		if len(a) == 0 || string(a) != string(b) {
			t.Errorf("%s is not what was installed", got)
		}
	}
}
