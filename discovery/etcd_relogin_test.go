package discovery

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// guarded is an etcd with authentication, a source that follows it with a
// login of its own, and root's way to it.
type guarded struct {
	password string // the file of it
	proxy    *proxy
	etcd     *etcdtest.Server
	root     etcdWriter
	source   *Etcd
	r        *receiver
}

func startGuarded(t *testing.T, configure ...func(*embed.Config)) *guarded {
	t.Helper()
	g := &guarded{password: filepath.Join(t.TempDir(), "password"), etcd: etcdtest.Start(t, configure...)}
	first := newTestClient(t, g.etcd.Addr)
	etcdWriter{first, testRoot}.commit(t, map[string]string{"a": "1", "b": "1"})
	enableAuth(t, first)
	writeFile(t, g.password, "right")
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{g.etcd.Addr}, Username: "root", Password: "admin", Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	g.root = etcdWriter{root, testRoot}
	g.proxy = startProxy(t, g.etcd.Addr)
	g.source = openTest(EtcdConfig{Dial: func() (*clientv3.Client, error) {
		return NewClient(ClientConfig{Endpoints: []string{g.proxy.addr}, User: "router", PasswordFile: g.password}, nil)
	}})
	g.r = follow(t, g.source)
	g.r.awaitEtcd(root)
	return g
}

// breakOff cuts the stream, lets something happen meanwhile, and mends the way.
func (g *guarded) breakOff(t *testing.T, meanwhile func()) {
	t.Helper()
	g.proxy.cut()
	testkit.Eventually(t, "a status that tells of the cut", func() bool { return !g.source.Status().Connected })
	meanwhile()
	g.proxy.point(g.etcd.Addr)
}

func TestEtcdTokenThatExpiredIsReplaced(t *testing.T) {
	g := startGuarded(t, func(cfg *embed.Config) { cfg.AuthTokenTTL = 1 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// A token younger than the source's: once it is refused, so is that one.
	token, err := g.root.client.Authenticate(ctx, "router", "right")
	if err != nil {
		t.Fatal(err)
	}
	plain := newTestClient(t, g.etcd.Addr)
	g.breakOff(t, func() {
		// Asking with a token keeps it alive, so between two askings there must
		// be time for it to expire.
		wait := 2 * time.Second
		for {
			time.Sleep(wait)
			_, err := plain.Get(withToken(ctx, token.Token), testRoot)
			if tokenRefused(err) {
				break
			}
			if wait *= 2; ctx.Err() != nil {
				t.Fatalf("the token does not expire: %v", err)
			}
		}
		g.root.commit(t, map[string]string{"a": "2"}, "b")
	})
	g.r.awaitEtcd(g.root.client)
	if got := g.r.wholeAfterFirst(); got != 0 {
		t.Errorf("%d more lists, want the watch to go on from its cursor", got)
	}
}

func TestEtcdPasswordThatChangedIsReadAgain(t *testing.T) {
	g := startGuarded(t)
	g.breakOff(t, func() {
		if _, err := g.root.client.UserChangePassword(t.Context(), "router", "newer"); err != nil {
			t.Fatal(err)
		}
		g.root.commit(t, map[string]string{"a": "2"}, "b")
	})
	testkit.Eventually(t, "a status that tells of the refusal", func() bool { return g.source.Status().LastError != "" })
	if got := g.r.values(); len(got) != 2 || got["a"] != "1" {
		t.Errorf("refused, the receiver holds %v, want what it held", got)
	}
	writeFile(t, g.password, "newer")
	g.r.awaitEtcd(g.root.client)
	if got := testutil.ToFloat64(g.source.metrics.clients); got < 2 {
		t.Errorf("%v clients were made, want a new one after a refusal", got)
	}
}

func TestEtcdUserThatWasTakenAwayAndCameBackIsLetIn(t *testing.T) {
	g := startGuarded(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g.breakOff(t, func() { must(g.root.client.UserDelete(t.Context(), "router")) })
	testkit.Eventually(t, "a status that tells of the refusal", func() bool { s := g.source.Status(); return !s.Connected && s.LastError != "" })
	g.root.commit(t, map[string]string{"a": "2", "c": "2"}, "b")
	if got := g.r.values(); len(got) != 2 || got["a"] != "1" {
		t.Errorf("without its user the receiver holds %v, want what it held", got)
	}
	must(g.root.client.UserAdd(t.Context(), "router", "right"))
	must(g.root.client.UserGrantRole(t.Context(), "router", "router"))
	g.r.awaitEtcd(g.root.client)
}
