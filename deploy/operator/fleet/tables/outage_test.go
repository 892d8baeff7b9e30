package tables

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// process is an etcd in a process of its own.
func process(t *testing.T, dir string) (url string, p *os.Process) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), etcdIn+"="+dir)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = stdin.Close()
	})
	url, err = bufio.NewReader(stdout).ReadString('\n')
	if err != nil || !strings.HasPrefix(url, "http://") {
		t.Fatalf("etcd says %q, %v", url, err)
	}
	return strings.TrimSpace(url), cmd.Process
}

func fails(words string) func(Report) bool {
	return func(r Report) bool { return r.Err != nil && strings.Contains(r.Err.Error(), words) }
}

func TestWhatWasGoodIsKeptWhileEtcdIsFrozenKilledAndElsewhere(t *testing.T) {
	dir := t.TempDir()
	url, etcd := process(t, dir)
	client := connect(t, url)
	announce(t, client, "a", 5, "x")
	options := quick
	options.Timeout = 200 * time.Millisecond
	p := newPool(t, options)
	var told atomic.Int32
	source := Source{Endpoints: []string{url}, Prefix: prefix}
	p.Follow("f", source, func() { told.Add(1) })
	eventually(t, p, "f", "a report", good)

	if err := etcd.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r := eventually(t, p, "f", "it is told that etcd is frozen", fails("does not answer within 200ms"))
	if r.Routers["a"].Revision != 5 || r.At.IsZero() {
		t.Errorf("what was known is gone: %+v", r)
	}
	before := told.Load()
	if condition := Synced(r, true, Judge(r, routers("a"), lag, r.At), r.At.Add(time.Hour)); condition.Reason != ReasonEtcdUnreachable || !strings.Contains(condition.Message, "60 minutes old") {
		t.Errorf("%+v", condition)
	}
	if err := etcd.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	r = eventually(t, p, "f", "it goes on", good)
	if told.Load() == before {
		testkit.Eventually(t, "it is told that it goes on", func() bool { return told.Load() > before })
	}
	if r.Looks[0].At.Before(r.At.Add(-time.Second)) && len(r.Looks) == 1 {
		t.Errorf("looks from before are kept: %+v", r.Looks)
	}

	if err := etcd.Kill(); err != nil {
		t.Fatal(err)
	}
	eventually(t, p, "f", "it is told that etcd is gone", fails("does not answer"))
	elsewhere := etcdtest.Start(t)
	p.Follow("f", Source{Endpoints: []string{elsewhere.URL}, Prefix: prefix}, func() { told.Add(1) })
	r = eventually(t, p, "f", "the other etcd is read", good)
	if len(r.Routers) != 0 {
		t.Errorf("the other etcd has %+v", r.Routers)
	}
	announce(t, connect(t, elsewhere.URL), "b", 7, "y")
	eventually(t, p, "f", "its routers are read", func(r Report) bool { return r.Routers["b"].Revision == 7 })
}

func TestAnEtcdThatLosesItsDataIsReadAnew(t *testing.T) {
	etcd := etcdtest.Start(t)
	announce(t, connect(t, etcd.URL), "a", 5, "x")
	p := newPool(t, quick)
	p.Follow("f", Source{Endpoints: []string{etcd.URL}, Prefix: prefix}, nil)
	eventually(t, p, "f", "a report", good)
	etcd.Stop()
	eventually(t, p, "f", "a failure", fails("does not answer"))
	etcdtest.Start(t, etcdtest.At(etcd.Addr))
	r := eventually(t, p, "f", "the new one is read", good)
	if len(r.Routers) != 0 {
		t.Errorf("%+v", r.Routers)
	}
}

func TestRefusalsNameTheMendAndNoSecret(t *testing.T) {
	etcd := etcdtest.Start(t)
	client := connect(t, etcd.URL)
	announce(t, client, "a", 5, "x")
	p := newPool(t, quick)
	source := Source{Endpoints: []string{etcd.URL}, Prefix: prefix}
	p.Follow("f", source, nil)
	eventually(t, p, "f", "a report", good)
	enableAuth(t, client)
	r := eventually(t, p, "f", "a user is asked for", fails("asks for a user: put username and password"))
	if r.Routers["a"].Revision != 5 {
		t.Errorf("what was known is gone: %+v", r)
	}

	source.Username, source.Password = "router", "guess-9134"
	p.Follow("f", source, nil)
	if r, looked := p.Latest("f"); !looked || r.Routers["a"].Revision != 5 {
		t.Errorf("with other credentials what was known is gone: %+v", r)
	}
	r = eventually(t, p, "f", "the password is refused", fails("refuses the user"))
	if strings.Contains(r.Err.Error(), "guess") {
		t.Errorf("a secret is told: %v", r.Err)
	}
	source.Password = "right"
	p.Follow("f", source, nil)
	eventually(t, p, "f", "it is let in", good)
	source.Prefix = "/forbidden/"
	p.Follow("f", source, nil)
	eventually(t, p, "f", "a right is missing", fails("grant its role read on the prefix /forbidden/fleet/"))
	source.Password = "two\nlines-8213"
	p.Follow("f", source, nil)
	r = eventually(t, p, "f", "a password of two lines", fails("password of etcd.secret"))
	if text := r.Err.Error(); strings.Contains(text, "8213") || strings.Contains(text, "/proc") || strings.Contains(text, "--") {
		t.Error(text)
	}
	testkit.Eventually(t, "one client is left", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.connections) == 1
	})
}

func enableAuth(t *testing.T, client *clientv3.Client) {
	t.Helper()
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, password := range map[string]string{"root": "admin", "router": "right"} {
		must(client.RoleAdd(t.Context(), name))
		must(client.UserAdd(t.Context(), name, password))
		must(client.UserGrantRole(t.Context(), name, name))
	}
	must(client.RoleGrantPermission(t.Context(), "router", prefix, clientv3.GetPrefixRangeEnd(prefix), clientv3.PermissionType(clientv3.PermReadWrite)))
	must(client.AuthEnable(t.Context()))
}

func TestTLSIsUsedAsTheSourceSays(t *testing.T) {
	ca, stranger := testkit.NewAuthority(t, "ca"), testkit.NewAuthority(t, "stranger")
	own := ca.Issue("127.0.0.1")
	secure := func(clientCA string) string {
		return etcdtest.Start(t, func(cfg *embed.Config) {
			cfg.ListenClientUrls[0].Scheme, cfg.AdvertiseClientUrls[0].Scheme = "https", "https"
			cfg.ClientTLSInfo = transport.TLSInfo{CertFile: own.CertFile, KeyFile: own.KeyFile, TrustedCAFile: clientCA, ClientCertAuth: clientCA != ""}
		}).URL
	}
	content := func(file string) []byte {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	simple, mutual, plain := secure(""), secure(ca.File), etcdtest.Start(t).URL
	p := newPool(t, quick)
	f := func(s Source, words string) {
		t.Helper()
		s.Prefix = prefix
		p.Follow("f", s, nil)
		defer p.Forget("f")
		if words == "" {
			eventually(t, p, "f", "a report", good)
			return
		}
		r := eventually(t, p, "f", words, fails(words))
		if strings.Contains(r.Err.Error(), "--") || strings.Contains(r.Err.Error(), "BEGIN") || strings.Contains(r.Err.Error(), "/proc") {
			t.Error(r.Err)
		}
	}
	cert, key := content(own.CertFile), content(own.KeyFile)
	f(Source{Endpoints: []string{simple}, CA: content(ca.File)}, "")
	f(Source{Endpoints: []string{mutual}, CA: content(ca.File), Cert: cert, Key: key}, "")
	f(Source{Endpoints: []string{simple}, CA: content(stranger.File)}, "ca.crt of etcd.secret")
	f(Source{Endpoints: []string{simple}}, "ca.crt of etcd.secret")
	f(Source{Endpoints: []string{mutual}, CA: content(ca.File)}, "tls.crt of etcd.secret")
	f(Source{Endpoints: []string{simple}, CA: []byte("no PEM")}, "holds no PEM certificate")
	f(Source{Endpoints: []string{mutual}, CA: content(ca.File), Cert: cert, Key: []byte("no key")}, "tls.key of etcd.secret")
	f(Source{Endpoints: []string{mutual}, CA: content(ca.File), Cert: cert}, "one of tls.crt and tls.key")
	f(Source{Endpoints: []string{plain}, CA: content(ca.File)}, "use https://")
	f(Source{Endpoints: []string{strings.Replace(plain, "http", "https", 1)}, CA: content(ca.File)}, "write http:// in etcd.endpoints")
	f(Source{Endpoints: []string{plain}, Username: "router"}, "one of username and password")
	f(Source{}, "set etcd.endpoints")
}

func TestALackOfALeaderIsTold(t *testing.T) {
	err := explain(Source{Endpoints: []string{"http://e:2379"}, Prefix: prefix}, time.Second, rpctypes.ErrGRPCNoLeader)
	if !strings.Contains(err.Error(), "has no leader: most of its members must run") || !passing(rpctypes.ErrGRPCNoLeader) {
		t.Error(err)
	}
}
