package discovery

import (
	"context"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"

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

// restoredBehind is a login to an etcd in whose place another one came, with the same users and not
// as far in its log: it never answers a call with the token of before.
func restoredBehind(t *testing.T) (l *login, call func(time.Duration) error) {
	t.Helper()
	first := etcdtest.Start(t)
	writer := etcdWriter{newTestClient(t, first.Addr), testRoot}
	for range 40 {
		writer.commit(t, map[string]string{"a": "1"})
	}
	enableAuth(t, writer.client)
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	l = &login{user: "router", passwordFile: password, timeout: patience}
	conn, err := grpc.NewClient(first.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: 10 * time.Millisecond, MaxDelay: 10 * time.Millisecond}}),
		grpc.WithChainUnaryInterceptor(l.unary, clientEndsFirst))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	call = func(timeout time.Duration) error {
		ctx, cancel := context.WithTimeout(t.Context(), timeout)
		defer cancel()
		_, err := pb.NewKVClient(conn).Range(ctx, &pb.RangeRequest{Key: []byte(testRoot)}, grpc.WaitForReady(true))
		return err
	}
	if err := call(patience); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	enableAuth(t, newTestClient(t, etcdtest.Start(t, etcdtest.At(first.Addr)).Addr))
	if err := call(time.Second); !unanswered(err) {
		t.Fatalf("a call with a token of before ends with %v, not by its time", err)
	}
	return l, call
}

// clientEndsFirst is a grpc.UnaryClientInterceptor that keeps a call's deadline from etcd, which by
// its own clock might end the call just before, and refuse its token then.
func clientEndsFirst(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	unbounded, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	err := invoke(unbounded, method, request, reply, conn, options...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func TestEtcdTokenOfBeforeARestoreIsReplaced(t *testing.T) {
	l, call := restoredBehind(t)
	before := l.token
	if err := call(time.Second); !unanswered(err) || l.token != before {
		t.Errorf("a token of a moment ago was replaced (%v): an overloaded etcd would have to check passwords all the time", err)
	}
	l.since = l.since.Add(-2 * tokenTrust)
	if err := call(time.Second); !unanswered(err) {
		t.Errorf("the token of before: %v", err)
	}
	if err := call(patience); err != nil || l.token == before || l.doubt != 0 {
		t.Errorf("with a new token: %v; doubt %s", err, l.doubt)
	}
}

func TestEtcdTokenIsReplacedEverMoreRarelyWhileThatIsOfNoUse(t *testing.T) {
	l := &login{}
	var logins []time.Duration
	for age := time.Duration(0); age < 2*time.Hour; age += 5 * time.Second {
		if !l.known || l.replace {
			l.token, l.known, l.replace, l.since = "a.1", true, false, time.Now()
			logins = append(logins, age)
		}
		l.answered("a.1", context.DeadlineExceeded)
		l.since, l.asked = l.since.Add(-5*time.Second), l.asked.Add(-5*time.Second)
	}
	if n := len(logins); n < 8 || n > 13 {
		t.Errorf("%d logins in two hours without an answer, at %v", n, logins)
	}
	l.answered("another.2", nil)
	if l.doubt != 0 {
		t.Errorf("after an answer a token must be %s old", l.doubt)
	}
}

// TestEtcdTokenIsKeptWhileLoginsGoUnansweredToo has an etcd that answers nothing: that is no reason to give a
// token up that may be good, and to log in with each call from then on.
func TestEtcdTokenIsKeptWhileLoginsGoUnansweredToo(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	conn, err := grpc.NewClient(silent.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	l := &login{user: "router", passwordFile: password, timeout: 50 * time.Millisecond, token: "a.1", known: true, since: time.Now().Add(-time.Hour)}
	l.answered("a.1", context.DeadlineExceeded)
	if token, err := l.get(t.Context(), conn, 0); !unanswered(err) {
		t.Fatalf("a token that brought no answer is not replaced: %q, %v", token, err)
	}
	l.answered("a.1", context.DeadlineExceeded)
	if token, err := l.get(t.Context(), conn, 0); err != nil || token != "a.1" {
		t.Errorf("after a login that went unanswered the token is %q, %v", token, err)
	}
}

// TestEtcdTokenIsReplacedByOneLoginForManyCalls has many calls with one token end unanswered, or refused, at once.
func TestEtcdTokenIsReplacedByOneLoginForManyCalls(t *testing.T) {
	etcd := etcdtest.Start(t)
	enableAuth(t, newTestClient(t, etcd.Addr))
	password := filepath.Join(t.TempDir(), "password")
	writeFile(t, password, "right")
	var logins atomic.Int64
	count := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if method == pb.Auth_Authenticate_FullMethodName {
			logins.Add(1)
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
	conn, err := grpc.NewClient(etcd.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithChainUnaryInterceptor(count))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l := &login{user: "router", passwordFile: password, timeout: patience, token: "a.1", known: true, since: time.Now().Add(-time.Hour)}
	var calls sync.WaitGroup
	for i := range 100 {
		calls.Go(func() {
			if i%2 == 0 {
				l.answered("a.1", context.DeadlineExceeded)
			} else {
				l.forget("a.1")
			}
			if token, err := l.get(t.Context(), conn, 0); err != nil || token == "a.1" {
				t.Errorf("the token is %q, %v", token, err)
			}
		})
	}
	calls.Wait()
	if n := logins.Load(); n != 1 {
		t.Errorf("%d logins", n)
	}
}
