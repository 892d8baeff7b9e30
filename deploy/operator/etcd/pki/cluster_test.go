package pki

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// member is an etcd server whose certificates are files, as the volume of a Secret has them.
type member struct {
	name, dir string
	server    *etcdtest.Server
	link      *link // its peers reach it through this
	bundle    string
	logs      *observer.ObservedLogs
	written   int
}

// etcds is a world with real members.
type etcds struct {
	*world
	members []*member
	acked   []string
}

func startEtcds(t *testing.T, names ...string) *etcds {
	wanted := three()
	wanted.Members = names
	e := &etcds{world: newWorld(t, wanted)}
	e.now = time.Now()
	e.settle()
	var all []string
	for _, name := range names {
		m := &member{name: name, dir: t.TempDir(), link: newLink(t, testkit.FreeAddr(t))}
		e.members, all = append(e.members, m), append(all, name+"=https://"+m.link.addr())
		m.install(t, e.has[wanted.MemberSecret(name)])
	}
	for _, m := range e.members {
		m.bundle = BundleID(e.has[wanted.MemberSecret(m.name)][TrustKey])
		m.server = etcdtest.Launch(t, m.configure(t, strings.Join(all, ","), wanted.PeersHost()))
	}
	for _, m := range e.members {
		m.server.AwaitReady(t)
	}
	return e
}

func (m *member) file(key string) string { return filepath.Join(m.dir, "live", key) }

// install replaces all files at once, as a kubelet does.
func (m *member) install(t testing.TB, data Data) {
	t.Helper()
	m.written++
	folder := filepath.Join(m.dir, fmt.Sprint(m.written))
	err := os.Mkdir(folder, 0o700)
	for key, value := range data {
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, key), value, 0o600)
		}
	}
	if err == nil {
		err = os.Symlink(folder, folder+".link")
	}
	if err == nil {
		err = os.Rename(folder+".link", filepath.Join(m.dir, "live"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (m *member) configure(t testing.TB, all, peersHost string) func(*embed.Config) {
	at := func(addr string) []url.URL { return []url.URL{{Scheme: "https", Host: addr}} }
	clients := testkit.FreeAddr(t)
	core, logs := observer.New(zapcore.WarnLevel)
	m.logs = logs
	return func(cfg *embed.Config) {
		cfg.Name, cfg.InitialCluster, cfg.InitialClusterToken = m.name, all, all
		cfg.TickMs, cfg.ElectionMs = 100, 1000
		cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = at(m.link.target), at(m.link.addr())
		cfg.ListenClientUrls, cfg.AdvertiseClientUrls = at(clients), at(clients)
		info := transport.TLSInfo{
			CertFile: m.file(CertKey), KeyFile: m.file(PrivateKey), TrustedCAFile: m.file(TrustKey), ClientCertAuth: true,
		}
		cfg.ClientTLSInfo, cfg.PeerTLSInfo = info, info
		cfg.PeerTLSInfo.AllowedHostnames = []string{peersHost}
		cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(core))
	}
}

// restart stops and starts the member; it reads its files anew.
func (e *etcds) restart(m *member) {
	e.t.Helper()
	m.bundle = BundleID(e.has[e.wanted.MemberSecret(m.name)][TrustKey])
	m.server.Restart(e.t)
}

func configOf(t testing.TB, data Data) *tls.Config {
	t.Helper()
	pair, err := tls.X509KeyPair(data[CertKey], data[PrivateKey])
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data[TrustKey])
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// client is a new connection to a member.
func (m *member) client(t testing.TB, data Data) (c *clientv3.Client, end func()) {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{m.server.URL}, TLS: configOf(t, data), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	return c, func() { _ = c.Close() }
}

// greet makes a handshake at an address, and says whether it lets in who has this certificate: in TLS 1.3 a
// server refuses after its client believes to be done.
func greet(t testing.TB, addr string, data Data) (*x509.Certificate, error) {
	t.Helper()
	config := configOf(t, data)
	config.NextProtos = []string{"h2"}
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: testkit.Patience}, "tcp", addr, config)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(testkit.Patience))
	// The start of HTTP/2 with empty settings, which a server answers with its own.
	if _, err := io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return nil, err
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return conn.ConnectionState().PeerCertificates[0], nil
}

// observed are the processes as an operator sees them: the bundle each member started with, and the issuer of
// what it shows now.
func (e *etcds) observed(clients ...Process) []Process {
	e.t.Helper()
	root := e.has[e.wanted.UserSecret(Root)]
	processes := slices.Clone(clients)
	for _, m := range e.members {
		cert, err := greet(e.t, m.server.Addr, root)
		if err != nil {
			e.t.Fatalf("%s: %v", m.name, err)
		}
		processes = append(processes, Process{Name: m.name, Secret: e.wanted.MemberSecret(m.name), Bundle: m.bundle, Issuer: IssuerID(cert)})
	}
	return processes
}

// works writes to each member through a new connection with each of the certificates, after the members were
// made to connect anew with each other, and reads what was ever acknowledged.
func (e *etcds) works(step string, with ...Data) {
	e.t.Helper()
	for _, m := range e.members {
		m.link.cut()
	}
	for i, m := range e.members {
		for j, data := range with {
			key := fmt.Sprintf("%s/%d/%d", step, i, j)
			c, end := m.client(e.t, data)
			var err error
			for deadline := time.Now().Add(testkit.Patience); ; {
				ctx, cancel := context.WithTimeout(e.t.(*testing.T).Context(), 3*time.Second)
				_, err = c.Put(ctx, key, "x")
				cancel()
				if err == nil || time.Now().After(deadline) {
					break
				}
			}
			end()
			if err != nil {
				e.t.Fatalf("after %s, at %s: %v", step, m.name, err)
			}
			e.acked = append(e.acked, key)
		}
	}
	for _, m := range e.members {
		e.holdsAll(step, m, with[0])
	}
}

// holdsAll says whether a member has all that was acknowledged; it asks its peers whether it is up to date.
func (e *etcds) holdsAll(step string, m *member, with Data) {
	e.t.Helper()
	c, end := m.client(e.t, with)
	defer end()
	ctx, cancel := context.WithTimeout(e.t.(*testing.T).Context(), testkit.Patience)
	defer cancel()
	all, err := c.Get(ctx, "", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		e.t.Fatalf("after %s, at %s: %v", step, m.name, err)
	}
	var keys []string
	for _, kv := range all.Kvs {
		keys = append(keys, string(kv.Key))
	}
	for _, key := range e.acked {
		if !slices.Contains(keys, key) {
			e.t.Errorf("after %s %s has lost %s", step, m.name, key)
		}
	}
}

// link passes connections on to a target until they are cut.
type link struct {
	target   string
	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool // nil: closed
	done     sync.WaitGroup
}

func newLink(t testing.TB, target string) *link {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{target: target, listener: listener, open: map[net.Conn]bool{}}
	l.done.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			l.done.Go(func() { l.pass(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		l.cut()
		l.mu.Lock()
		l.open = nil
		l.mu.Unlock()
		l.done.Wait()
	})
	return l
}

func (l *link) addr() string { return l.listener.Addr().String() }

func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for conn := range l.open {
		_ = conn.Close()
	}
}

func (l *link) pass(from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.target)
	if err != nil {
		return
	}
	defer to.Close()
	l.mu.Lock()
	if l.open == nil {
		l.mu.Unlock()
		return
	}
	l.open[from], l.open[to] = true, true
	l.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{from, to}, {to, from}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_, _ = way[0].Close(), way[1].Close()
		})
	}
	both.Wait()
	l.mu.Lock()
	delete(l.open, from)
	delete(l.open, to)
	l.mu.Unlock()
}
