package discovery

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
)

// endless is a wait that no test lives to see the end of; only the first attempt is made at once.
func endless(attempts int) time.Duration {
	if attempts == 0 {
		return 0
	}
	return 1000 * time.Hour
}

// contactClient is newTestClient for one of those who share a contact.
func contactClient(t *testing.T, addr string, contact *Contact, change ...func(*ClientConfig)) *clientv3.Client {
	t.Helper()
	cfg := ClientConfig{Endpoints: []string{"http://" + addr}, DialTimeout: 2 * time.Second, Contact: contact}
	for _, f := range change {
		f(&cfg)
	}
	client, err := NewClient(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// once has a client retry its connection by itself as good as never.
func once(cfg *ClientConfig) {
	cfg.pace = &backoff.Config{BaseDelay: 1000 * time.Hour, Multiplier: 1, MaxDelay: 1000 * time.Hour}
}

func TestTheFirstAnswerOfEtcdEndsEveryWait(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1"})
	p := startProxy(t, "") // away at first
	defer p.cut()
	contact := NewContact()

	source := openTest(EtcdConfig{Client: contactClient(t, p.addr, contact), Contact: contact})
	source.retry.draw = endless
	announcer := NewAnnouncer(AnnouncerConfig{Client: contactClient(t, p.addr, contact), Contact: contact,
		Key: testKey, Value: fixed("x"), Every: testProgress})
	announcer.retry.draw = endless
	r := follow(t, source)
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	running.Go(func() { _ = announcer.Run(ctx) })
	defer running.Wait()
	defer cancel()

	testkit.Eventually(t, "both to have failed, and to wait", func() bool {
		return testutil.ToFloat64(announcer.failed) == 1 && testutil.ToFloat64(source.metrics.failures) == 1
	})
	p.point(etcd.Addr)
	r.awaitState(map[string]string{"a": "1"})
	awaitStored(t, newTestClient(t, etcd.Addr), "x")
}

// TestWhoWaitsForASilentEtcdAsksForAll has the connection stand all the while: nothing but a question can tell that etcd is back.
func TestWhoWaitsForASilentEtcdAsksForAll(t *testing.T) {
	etcd := etcdtest.Start(t)
	etcdWriter{newTestClient(t, etcd.Addr), testRoot}.commit(t, map[string]string{"a": "1"})
	var silent atomic.Bool
	var asked atomic.Int32
	silent.Store(true)
	contact := NewContact()
	mute := func(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
		if silent.Load() {
			asked.Add(1)
			return status.Error(codes.Unavailable, "etcdserver: no leader")
		}
		return invoke(ctx, method, request, reply, conn, options...)
	}
	client, err := dialPlain(etcd.Addr, grpc.WithChainUnaryInterceptor(contact.unary, mute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	awaitConnection(t.Context(), client)

	source := openTest(EtcdConfig{Client: client, Contact: contact, PageSize: 10})
	source.retry.draw = endless
	r := follow(t, source)
	other := make(chan bool)
	waiting := pacing{contact: contact, draw: endless}
	waiting.wait(t.Context()) // its attempt fails as well
	go func() { other <- waiting.wait(t.Context()) }()
	testkit.Eventually(t, "the list to fail", func() bool { return testutil.ToFloat64(source.metrics.failures) == 1 })
	before := asked.Load()
	testkit.Eventually(t, "etcd to be asked again", func() bool { return asked.Load() > before+10 })
	if got := testutil.ToFloat64(source.metrics.failures); got != 1 {
		t.Errorf("%v attempts to list were made, want one: the rest only asks for a sign of life", got)
	}
	silent.Store(false)
	r.awaitState(map[string]string{"a": "1"})
	select {
	case <-other:
	case <-time.After(patience):
		t.Fatal("another one's wait goes on although etcd has answered")
	}
}

func TestALostConnectionIsTriedAgainWhenEtcdHasAnsweredOnAnother(t *testing.T) {
	etcd := etcdtest.Start(t)
	one, two := startProxy(t, etcd.Addr), startProxy(t, "")
	contact := NewContact()
	first := contactClient(t, one.addr, contact)
	awaitConnection(t.Context(), first)
	second := contactClient(t, two.addr, contact, once)
	state := func() connectivity.State { return second.ActiveConnection().GetState() }
	second.ActiveConnection().Connect()
	testkit.Eventually(t, "the second one's only attempt to fail", func() bool { return state() == connectivity.TransientFailure })
	standsOnceTheOtherIsAnswered := func() {
		t.Helper()
		two.point(etcd.Addr)
		testkit.Eventually(t, "the second connection", func() bool {
			if _, err := first.Get(t.Context(), testRoot); err != nil {
				t.Error(err)
			}
			return state() == connectivity.Ready
		})
	}
	standsOnceTheOtherIsAnswered()
	two.cut()
	testkit.Eventually(t, "the second one to fail again", func() bool { return state() == connectivity.TransientFailure })
	standsOnceTheOtherIsAnswered()
}

// TestAttemptsToConnectAreBounded counts what the clients of one router try while another one of its clients hears of
// etcd all the time: as often as they are made to try.
func TestAttemptsToConnectAreBounded(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var tried atomic.Int64
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tried.Add(1)
			_ = conn.Close()
		}
	})
	defer accepting.Wait()
	defer listener.Close()
	contact := NewContact()
	began := time.Now()
	const clients = 3
	for range clients {
		contactClient(t, listener.Addr().String(), contact).ActiveConnection().Connect()
	}
	const enough = 4 * clients
	testkit.Eventually(t, "attempts", func() bool {
		contact.missed()
		contact.answered()
		return tried.Load() >= enough
	})
	for range 1000 {
		contact.missed()
		contact.answered()
		time.Sleep(time.Millisecond)
	}
	got, seconds := tried.Load(), time.Since(began).Seconds()
	if most := int64(6 * clients * (seconds + 1)); got > most {
		t.Errorf("%d attempts in %.1f s, want %d at most", got, seconds, most)
	}
}

// TestAConnectionThatIsBeingMadeIsLeftAlone lets etcd answer somebody while other clients are just
// being made. gRPC resets back-offs by going through a map that it does not guard: while it adds a
// connection there, the process would end of that (concurrent map iteration and map write).
func TestAConnectionThatIsBeingMadeIsLeftAlone(t *testing.T) {
	addr := testkit.FreeAddr(t) // nobody answers there
	contact := NewContact()
	contact.ended() // and stays so: etcd has answered since, whenever a client asks
	for range 200 {
		client, err := NewClient(ClientConfig{Endpoints: []string{"http://" + addr}, Contact: contact}, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := client.ActiveConnection()
		for state := conn.GetState(); state != connectivity.TransientFailure; state = conn.GetState() {
			conn.Connect()
			conn.WaitForStateChange(t.Context(), state)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}
