package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

func TestClientConfigurationFaultsNameTheMend(t *testing.T) {
	dir := t.TempDir()
	empty, twoLines := filepath.Join(dir, "empty"), filepath.Join(dir, "two")
	writeFile(t, empty, "\n")
	writeFile(t, twoLines, "secret-1\nsecret-2\n")
	f := func(cfg ClientConfig, part string) {
		t.Helper()
		client, err := NewClient(cfg, nil)
		if err == nil {
			_ = client.Close()
			t.Errorf("NewClient took %+v, want an error that says %q", cfg, part)
		} else if !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "secret") {
			t.Errorf("NewClient says %q, want it to say %q and nothing secret", err, part)
		}
	}
	plain, secure := []string{"http://127.0.0.1:1"}, []string{"https://127.0.0.1:1"}
	f(ClientConfig{}, "--etcd")
	f(ClientConfig{Endpoints: []string{""}}, "has no address")
	f(ClientConfig{Endpoints: []string{"http://"}}, "has no address")
	f(ClientConfig{Endpoints: []string{"ftp://127.0.0.1:1"}}, "use http:// or https://")
	f(ClientConfig{Endpoints: []string{"http://me:secret@127.0.0.1:1"}}, "--etcd-user")
	f(ClientConfig{Endpoints: []string{plain[0], secure[0]}}, "either all are https:// or none")
	f(ClientConfig{Endpoints: plain, CAFile: "ca.pem"}, "use https://")
	f(ClientConfig{Endpoints: secure, CertFile: "c.pem"}, "--etcd-key")
	f(ClientConfig{Endpoints: secure, CAFile: filepath.Join(dir, "absent")}, "--etcd-ca")
	f(ClientConfig{Endpoints: secure, CAFile: empty}, "no PEM certificate")
	f(ClientConfig{Endpoints: secure, CertFile: empty, KeyFile: empty}, "--etcd-cert")
	f(ClientConfig{Endpoints: plain, User: "u"}, "--etcd-password-file")
	f(ClientConfig{Endpoints: plain, User: "u", PasswordFile: filepath.Join(dir, "absent")}, "--etcd-password-file")
	f(ClientConfig{Endpoints: plain, User: "u", PasswordFile: empty}, "must hold one line")
	f(ClientConfig{Endpoints: plain, User: "u", PasswordFile: twoLines}, "must hold one line")
}

func TestClientIsMadeWithoutEtcdAndFailsFastWithAReason(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	addr := testkit.FreeAddr(t) // nobody answers there
	core, logged := observer.New(zap.DebugLevel)
	started := time.Now()
	client, err := NewClient(ClientConfig{Endpoints: []string{addr}, User: "router", PasswordFile: password, DialTimeout: time.Hour}, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	if took := time.Since(started); took > time.Minute {
		t.Errorf("making a client took %s without etcd", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for range 3 {
		if _, err = client.Get(ctx, "a"); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "connection refused") {
			t.Fatalf("a read from an absent etcd says %v, want the reason, and soon", err)
		}
	}
	for message, times := range countMessages(logged) {
		if times > 1 {
			t.Errorf("logged %d times: %s", times, message)
		}
	}
}

func countMessages(logged *observer.ObservedLogs) map[string]int {
	times := map[string]int{}
	for _, entry := range logged.All() {
		times[entry.Level.String()+" "+entry.Message]++
	}
	return times
}

func TestClientLogsInAgainWhenItsTokenIsRefused(t *testing.T) {
	etcd := etcdtest.Start(t)
	admin := newTestClient(t, etcd.Addr)
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	client, err := NewClient(ClientConfig{Endpoints: []string{etcd.Addr}, User: "router", PasswordFile: password}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := client.Put(ctx, "/gridrouter/a", "1"); err != nil {
		t.Fatalf("with etcd's authentication off: %v", err)
	}
	enableAuth(t, admin)
	if _, err := client.Put(ctx, "/gridrouter/a", "2"); err != nil {
		t.Fatalf("after authentication was turned on: %v", err)
	}
	// A changed password revokes the tokens.
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Addr}, Username: "root", Password: "admin", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	if _, err := root.UserChangePassword(ctx, "router", "newer"); err != nil {
		t.Fatal(err)
	}
	writeFile(t, password, "newer")
	if _, err := client.Put(ctx, "/gridrouter/a", "3"); err != nil {
		t.Fatalf("after the password was changed, and its file: %v", err)
	}
}

func TestClientReadsRenewedCertificates(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	writePair(t, cert, key, 1)
	cfg := ClientConfig{Endpoints: []string{"https://127.0.0.1:1"}, CertFile: cert, KeyFile: key, CAFile: cert}
	secure, err := cfg.tls()
	if err != nil {
		t.Fatal(err)
	}
	for _, serial := range []int64{1, 2} {
		writePair(t, cert, key, serial)
		pair, err := secure.GetClientCertificate(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := pair.Leaf.SerialNumber.Int64(); got != serial {
			t.Errorf("certificate %d is shown, want the one on disk, %d", got, serial)
		}
	}
}

func writePair(t *testing.T, cert, key string, serial int64) {
	t.Helper()
	testkit.SelfSigned(t, testkit.Form{Name: "router", Hosts: []string{"127.0.0.1"}, Serial: serial}).Install(t, cert, key)
}

// TestClientReadsRenewedRoots shakes hands with a server whose certificate and issuer are replaced,
// before and after the file of authorities is, also by one that does not read.
func TestClientReadsRenewedRoots(t *testing.T) {
	dir := t.TempDir()
	roots, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	renew := func(serial int64) string {
		writePair(t, cert, key, serial)
		text, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	first := renew(1)
	writeFile(t, roots, first)
	config := ClientConfig{Endpoints: []string{"https://127.0.0.1:1"}, CAFile: roots}
	initial, err := config.tls()
	if err != nil {
		t.Fatal(err)
	}
	secure := renewing(config, initial)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(cert, key)
		return &pair, err
	}})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake() // the client says how it went
			_ = conn.Close()
		}
	}()
	defer func() {
		_ = listener.Close()
		<-served
	}()
	shakes := func(name string, good bool) {
		t.Helper()
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _, err = secure.ClientHandshake(t.Context(), name, conn)
		if (err == nil) != good {
			t.Errorf("as %s: %v", name, err)
		}
		if verification := (*tls.CertificateVerificationError)(nil); err != nil && !errors.As(err, &verification) {
			t.Errorf("as %s: %v is no failure of verification", name, err)
		}
	}
	shakes("127.0.0.1", true)
	shakes("127.0.0.2", false)
	second := renew(2)
	shakes("127.0.0.1", false)
	writeFile(t, roots, "nonsense")
	shakes("127.0.0.1", false)
	writeFile(t, roots, first+second)
	shakes("127.0.0.1", true)
	if err := os.Remove(roots); err != nil {
		t.Fatal(err)
	}
	shakes("127.0.0.1", true)
	renew(3)
	shakes("127.0.0.1", false)
}
