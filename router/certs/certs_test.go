package certs

import (
	"context"
	"crypto"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// write makes a pair of files for hosts. serial tells certificates from each other.
func write(t testing.TB, dir, name string, serial int64, hosts ...string) {
	t.Helper()
	writeKeyed(t, dir, name, serial, nil, hosts...)
}

// writeKeyed is write with a key.
func writeKeyed(t testing.TB, dir, name string, serial int64, key crypto.Signer, hosts ...string) {
	t.Helper()
	pair := testkit.SelfSigned(t, testkit.Form{Name: name, Hosts: hosts, Serial: serial, Key: key})
	pair.Install(t, filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"))
}

func put(t testing.TB, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func openStore(t testing.TB, dir string) (*Store, *observer.ObservedLogs) {
	t.Helper()
	core, logs := observer.New(zap.InfoLevel)
	s, err := Open(Config{Folder: dir, Logger: zap.New(core)})
	if err != nil {
		t.Fatal(err)
	}
	return s, logs
}

// greet makes a handshake and returns what the client saw.
func greet(t testing.TB, s *Store, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	var done sync.WaitGroup
	done.Go(func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		server := tls.Server(conn, s.TLSConfig())
		if server.Handshake() == nil {
			_, _ = server.Write([]byte("x")) // carries the session ticket with it
			_, _ = server.Read(make([]byte, 1))
		}
	})
	defer done.Wait()
	conn, err := tls.Dial("tcp", ln.Addr().String(), client)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return tls.ConnectionState{}, err
	}
	return conn.ConnectionState(), nil
}

func asking(name string) *tls.Config {
	return &tls.Config{ServerName: name, InsecureSkipVerify: true}
}

func serial(t testing.TB, s *Store, name string) int64 {
	t.Helper()
	state, err := greet(t, s, asking(name))
	if err != nil {
		t.Fatal(err)
	}
	return state.PeerCertificates[0].SerialNumber.Int64()
}

func TestTheNameChoosesTheCertificate(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example", "*.a.example")
	write(t, dir, "b", 2, "B.example", "exact.a.example")
	write(t, dir, "default", 3, "other.example")
	s, _ := openStore(t, dir)
	f := func(name string, want int64) {
		t.Helper()
		for range 2 { // found, and remembered
			if got := serial(t, s, name); got != want {
				t.Errorf("%q got certificate %d, want %d", name, got, want)
			}
		}
	}
	f("a.example", 1)
	f("x.a.example", 1)
	f("exact.a.example", 2)
	f("b.example", 2)
	f("x.y.a.example", 3) // a wildcard stands for one label
	f("nobody.example", 3)
	f("", 3)
}

func TestWithoutADefaultTheFirstByNameServes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "m", 1, "m.example")
	write(t, dir, "k", 2, "k.example")
	s, _ := openStore(t, dir)
	if got := serial(t, s, "nobody.example"); got != 2 {
		t.Errorf("got %d", got)
	}
}

func TestChangedCertificatesAreReadAgain(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	write(t, dir, "b", 2, "b.example")
	s, logs := openStore(t, dir)
	if got := serial(t, s, "a.example"); got != 1 {
		t.Fatal(got)
	}
	write(t, dir, "a", 11, "a.example")
	write(t, dir, "c", 12, "c.example")
	for _, name := range []string{"b.crt", "b.key"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.Reload()
	for name, want := range map[string]int64{"a.example": 11, "b.example": 11, "c.example": 12} {
		if got := serial(t, s, name); got != want {
			t.Errorf("%s: got %d, want %d", name, got, want)
		}
	}
	if n := logs.FilterMessage("certificates are in force").Len(); n != 2 {
		t.Errorf("told %d times of what is in force", n)
	}
}

func TestAPairThatTurnsBadKeepsItsLastGoodForm(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	write(t, dir, "b", 2, "b.example")
	s, logs := openStore(t, dir)
	f := func(what string, spoil func()) {
		t.Helper()
		write(t, dir, "a", 1, "a.example")
		s.Reload()
		before := logs.FilterMessageSnippet("cannot be used").Len()
		spoil()
		for range 3 {
			s.Reload()
		}
		if got := serial(t, s, "a.example"); got != 1 {
			t.Errorf("%s: got %d", what, got)
		}
		if n := logs.FilterMessageSnippet("cannot be used").Len() - before; n != 1 {
			t.Errorf("%s: told %d times", what, n)
		}
		if problems := s.Problems(); len(problems) != 1 || problems[0].Name != "a" {
			t.Errorf("%s: %q", what, problems)
		}
	}
	f("garbage", func() { put(t, filepath.Join(dir, "a.crt"), []byte("garbage")) })
	f("no key", func() { _ = os.Remove(filepath.Join(dir, "a.key")) })
	f("too large", func() { put(t, filepath.Join(dir, "a.crt"), make([]byte, 2<<20)) })
	f("the key of another", func() {
		key, err := os.ReadFile(filepath.Join(dir, "b.key"))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, "a.key"), key)
	})
	for _, entry := range logs.All() {
		if strings.Contains(strings.ToUpper(entry.Message), "PRIVATE") {
			t.Errorf("a key in the log: %v", entry)
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	s.Reload()
	if len(s.Problems()) == 0 {
		t.Error("a folder that is gone is no problem")
	}
	if got := serial(t, s, "b.example"); got != 2 {
		t.Errorf("without its folder: %d", got)
	}
}

func TestAFolderWithoutAPairIsAnError(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(Config{Folder: dir}); err == nil || !strings.Contains(err.Error(), "NAME.crt and NAME.key") {
		t.Error(err)
	}
	put(t, filepath.Join(dir, "a.crt"), []byte("x"))
	if _, err := Open(Config{Folder: dir}); err == nil || !strings.Contains(err.Error(), "a.key") {
		t.Error(err)
	}
	if _, err := Open(Config{Folder: filepath.Join(dir, "none")}); err == nil {
		t.Error("no folder is no error")
	}
}

func TestOldVersionsAndHTTP2AreNotOffered(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	s, _ := openStore(t, dir)
	old := asking("a.example")
	old.MaxVersion = tls.VersionTLS11
	if _, err := greet(t, s, old); err == nil {
		t.Error("TLS 1.1 is taken")
	}
	both := asking("a.example")
	both.NextProtos = []string{"h2", "http/1.1"}
	if state, err := greet(t, s, both); err != nil || state.NegotiatedProtocol != "http/1.1" {
		t.Errorf("%q %v", state.NegotiatedProtocol, err)
	}
}

func TestSessionsAreResumedAcrossTwoRotationsOfKeysAndNoMore(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	s, _ := openStore(t, dir)
	client := asking("a.example")
	now := time.Now()
	rotate := func() {
		t.Helper()
		now = now.Add(ticketLife + time.Second)
		s.tickets.rotate(s.config, now)
	}
	resumed := func(rotations int) bool {
		t.Helper()
		client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		if state, err := greet(t, s, client); err != nil || state.DidResume {
			t.Fatal(state.DidResume, err)
		}
		for range rotations {
			rotate()
		}
		state, err := greet(t, s, client)
		if err != nil {
			t.Fatal(err)
		}
		return state.DidResume
	}
	for rotations, want := range []bool{true, true, true, false} {
		if got := resumed(rotations); got != want {
			t.Errorf("after %d rotations: resumed %v", rotations, got)
		}
	}
	before := s.tickets.keys[0]
	if s.tickets.rotate(s.config, now.Add(ticketLife/2)); s.tickets.keys[0] != before {
		t.Error("a new key before its time")
	}
}

func TestHandshakesGoOnWhileCertificatesChange(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	s, _ := openStore(t, dir)
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { s.Run(ctx) })
	work.Go(func() {
		for i := int64(2); ctx.Err() == nil; i++ {
			write(t, dir, "a", i, "a.example")
			s.Reload()
		}
	})
	for range 50 {
		if _, err := greet(t, s, asking("a.example")); err != nil {
			t.Error(err)
		}
	}
	cancel()
	work.Wait()
}

func TestMetricsTellWhenCertificatesEnd(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a", 1, "a.example")
	s, _ := openStore(t, dir)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(s.Collector())
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			got[family.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	if end := got["gridrouter_tls_certificate_expiry_timestamp_seconds"]; end < float64(time.Now().Unix()) || got["gridrouter_tls_certificate_reloads_total"] != 1 {
		t.Errorf("%v", got)
	}
}

func FuzzName(f *testing.F) {
	dir := f.TempDir()
	write(f, dir, "a", 1, "a.example", "*.a.example")
	write(f, dir, "b", 2, "b.example")
	s, _ := openStore(f, dir)
	for _, name := range []string{"", ".", "*.a.example", "x.A.example.", "..", "a.example\x00"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		now := s.current.Load()
		found := now.lookup(name)
		if found == nil || now.lookup(name) != found || found.pick(&tls.ClientHelloInfo{ServerName: name}) == nil {
			t.Fatalf("%q: %v", name, found)
		}
	})
}
