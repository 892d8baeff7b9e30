package discovery

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// secureEtcd starts etcd for clients that speak TLS, and must show a certificate if it is given who signs those.
func secureEtcd(t *testing.T, server *testkit.Pair, clientCA string, more ...func(*embed.Config)) *etcdtest.Server {
	t.Helper()
	return etcdtest.Start(t, append(more, func(cfg *embed.Config) {
		cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
		cfg.ClientTLSInfo = transport.TLSInfo{CertFile: server.CertFile, KeyFile: server.KeyFile, TrustedCAFile: clientCA, ClientCertAuth: clientCA != ""}
	})...)
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
	ca, stranger := testkit.NewAuthority(t, "ca"), testkit.NewAuthority(t, "stranger")
	good, foreign := ca.Issue("127.0.0.1", "localhost"), stranger.Issue("127.0.0.1")
	expired := ca.IssueForm(testkit.Form{Hosts: []string{"127.0.0.1"}, From: time.Now().Add(-2 * time.Hour), Until: time.Now().Add(-time.Hour)})
	f := func(cfg ClientConfig, endpoint, words string) {
		t.Helper()
		cfg.Endpoints = []string{endpoint}
		err := reach(t, cfg)
		if got := ConnectionFault(cfg.Endpoints, err); words == "" && err != nil || !strings.Contains(got, words) || words == "" && got != "" {
			t.Errorf("%+v: %q of %v, want %q", cfg, got, err, words)
		}
	}
	plain := etcdtest.Start(t).Addr
	secure := secureEtcd(t, good, "").Addr
	mutual := secureEtcd(t, good, ca.File).Addr
	trusting := ClientConfig{CAFile: ca.File}
	f(trusting, "https://"+secure, "")
	f(ClientConfig{CAFile: ca.File, CertFile: good.CertFile, KeyFile: good.KeyFile}, "https://"+mutual, "")
	f(trusting, "https://"+plain, "write http://")
	f(ClientConfig{}, "https://"+plain, "write http://")
	f(ClientConfig{}, "http://"+secure, "write https://")
	f(ClientConfig{}, "https://"+secure, "--etcd-ca")
	f(ClientConfig{CAFile: stranger.File}, "https://"+secure, "--etcd-ca")
	f(trusting, secureEtcd(t, ca.Issue("etcd.example"), "").URL, "use a name")
	f(trusting, secureEtcd(t, ca.Issue("192.0.2.1"), "").URL, "other names")
	f(trusting, secureEtcd(t, expired, "").URL, "expired")
	f(trusting, "https://"+mutual, "--etcd-cert")
	f(ClientConfig{CAFile: ca.File, CertFile: foreign.CertFile, KeyFile: foreign.KeyFile}, "https://"+mutual, "--etcd-cert")
	f(ClientConfig{CAFile: ca.File, CertFile: expired.CertFile, KeyFile: expired.KeyFile}, "https://"+mutual, "--etcd-cert")

	f(ClientConfig{}, "http://nowhere.invalid:2379", "does not resolve")
}

// TestAClientOutlivesTheRotationOfEverything replaces etcd's certificate, its issuer and ours, with a
// restart of etcd between them, while one client is held open.
func TestAClientOutlivesTheRotationOfEverything(t *testing.T) {
	dir := t.TempDir()
	roots, cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "c.pem"), filepath.Join(dir, "k.pem")
	install := func(a *testkit.Authority) (server *testkit.Pair) {
		writeFile(t, roots, readFile(t, a.File))
		a.Issue().Install(t, cert, key)
		return a.Issue("127.0.0.1")
	}
	first := testkit.NewAuthority(t, "first")
	etcd := secureEtcd(t, install(first), first.File)
	client, err := NewClient(ClientConfig{Endpoints: []string{etcd.URL}, CAFile: roots, CertFile: cert, KeyFile: key}, nil)
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
	testkit.Eventually(t, "an answer", answers)
	for range 2 {
		next := testkit.NewAuthority(t, "next")
		server := install(next)
		etcd.Stop()
		etcd = secureEtcd(t, server, next.File, etcdtest.At(etcd.Addr))
		testkit.Eventually(t, "an answer by the new certificates", answers)
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
