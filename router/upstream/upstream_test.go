package upstream

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/router/wire"
	"gridrouter.io/routing"
)

// patience is for dialing.
const patience = 10 * time.Second

// newDecks returns an empty set and its clock.
func newDecks(t testing.TB) (*Decks, *wire.Clock) {
	t.Helper()
	clock := new(wire.Clock)
	clock.Init()
	decks := NewDecks(clock, zap.NewNop())
	t.Cleanup(decks.Close)
	return decks, clock
}

// listening is a deck that takes connections and says nothing; accepted are those it took.
type listening struct {
	at       netip.AddrPort
	mu       sync.Mutex
	accepted []net.Conn
}

func listen(t testing.TB) *listening {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listening{at: ln.Addr().(*net.TCPAddr).AddrPort()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			l.mu.Lock()
			l.accepted = append(l.accepted, conn)
			l.mu.Unlock()
		}
	}()
	t.Cleanup(func() {
		_ = ln.Close()
		l.each(func(conn net.Conn) { _ = conn.Close() })
	})
	return l
}

func (l *listening) each(f func(net.Conn)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, conn := range l.accepted {
		f(conn)
	}
}

// endpointAt is what a deck of the set has at an address.
func endpointAt(decks *Decks, at netip.AddrPort) *Endpoint {
	return decks.Deck("d1").Endpoint(&routing.CompiledDeck{}, at)
}

func dial(t testing.TB, e *Endpoint) *Conn {
	t.Helper()
	c, err := e.Dial(patience)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTheConnectionPutBackLastIsUsedFirst(t *testing.T) {
	decks, _ := newDecks(t)
	e := endpointAt(decks, listen(t).at)
	var made []*Conn
	for range 3 {
		made = append(made, dial(t, e))
	}
	for _, c := range made {
		c.Release(0)
	}
	for i := range made {
		c := e.Reuse(0, time.Minute)
		if c != made[len(made)-1-i] || !c.Reused() {
			t.Fatalf("connection %d is another one", i)
		}
		defer c.Close(ClosedIdle)
	}
	made[0].Release(0)
	if e.Reuse(1, time.Minute) != made[0] {
		t.Fatal("what is idle in one shard is not found from another")
	}
	if n := e.deck.Counts().Reused; n != 4 {
		t.Errorf("%d are counted as used again", n)
	}
}

// TestAnIdleConnectionIsLookedAtBeforeItIsUsedAgain has decks that speak or close out of turn.
func TestAnIdleConnectionIsLookedAtBeforeItIsUsedAgain(t *testing.T) {
	f := func(do func(net.Conn), why CloseReason) {
		t.Helper()
		decks, _ := newDecks(t)
		deck := listen(t)
		e := endpointAt(decks, deck.at)
		c := dial(t, e)
		c.Release(0)
		testkit.Eventually(t, "the deck has the connection", func() (done bool) {
			deck.each(func(conn net.Conn) {
				do(conn)
				done = true
			})
			return done
		})
		testkit.Eventually(t, why.String()+" is seen", func() bool { return c.LookAt() != wire.Quiet })
		if e.Reuse(0, time.Minute) != nil {
			t.Fatalf("%s: it was used again", why)
		}
		if n := e.deck.Counts().Closed[why]; n != 1 {
			t.Errorf("%s: %d are counted", why, n)
		}
	}
	f(func(conn net.Conn) { _, _ = conn.Write([]byte("HTTP/1.1 200 OK\r\n")) }, ClosedUnsolicited)
	f(func(conn net.Conn) { _ = conn.Close() }, ClosedByDeck)
}

func TestAnEjectedAddressIsTriedByOneRequestAndBacksOff(t *testing.T) {
	decks, clock := newDecks(t)
	e := endpointAt(decks, netip.MustParseAddrPort("127.0.0.1:1"))
	clock.Stop()
	for range ejectAfter - 1 {
		e.Failed(FailedRefused)
	}
	if e.ejected() {
		t.Fatal("ejected too soon")
	}
	e.Failed(FailedRefused)
	backoff := backoffLow
	for range 8 {
		clock.Advance(backoff - 1)
		if !e.ejected() || e.try() {
			t.Fatalf("in use before %v are over", backoff)
		}
		clock.Advance(1)
		if !e.try() {
			t.Fatalf("not tried after %v", backoff)
		}
		if e.try() {
			t.Fatal("tried twice at once")
		}
		e.Failed(FailedRefused)
		e.Failed(FailedRefused) // another request that was under way
		backoff = min(2*backoff, backoffHigh)
	}
	if backoff != backoffHigh {
		t.Fatalf("backs off for %v at most", backoff)
	}
	e.Succeeded()
	if e.ejected() || e.failures.Load() != 0 {
		t.Fatal("a success does not bring it back")
	}
}

func TestAnEjectedAddressSaysWhenItMayBeTriedAgain(t *testing.T) {
	decks, clock := newDecks(t)
	e := endpointAt(decks, netip.MustParseAddrPort("127.0.0.1:1"))
	clock.Stop()
	f := func(health string, want float64) {
		t.Helper()
		status := e.Status()
		got := -1.0
		if status.TryAgainInSeconds != nil {
			got = *status.TryAgainInSeconds
		}
		if status.Health != health || got != want {
			t.Errorf("%s, tried again in %v s; want %s, %v s", status.Health, got, health, want)
		}
	}
	f("in use", -1)
	for range ejectAfter {
		e.Failed(FailedRefused)
	}
	f("ejected", backoffLow.Seconds())
	clock.Advance(backoffLow / 2)
	f("ejected", backoffLow.Seconds()/2)
	clock.Advance(time.Hour)
	f("ejected", 0)
	e.Succeeded()
	f("in use", -1)
}

func TestTheLessLoadedOfTwoAddressesIsPicked(t *testing.T) {
	decks, _ := newDecks(t)
	busy := endpointAt(decks, netip.MustParseAddrPort("127.0.0.1:1"))
	free := endpointAt(decks, netip.MustParseAddrPort("127.0.0.1:2"))
	for range 5 {
		busy.Begin()
	}
	for range 50 {
		if Pick([]*Endpoint{busy, free}) != free {
			t.Fatal("the busier one was picked")
		}
	}
	if Pick(nil) != nil || Pick([]*Endpoint{busy}) != busy {
		t.Fatal("nothing, or the only one, is not what was picked")
	}
	free.ejectedUntil.Store(1 << 62)
	for range 50 {
		if Pick([]*Endpoint{busy, free}) != busy {
			t.Fatal("an ejected one was picked")
		}
	}
}

func TestThePoolIsBounded(t *testing.T) {
	decks, _ := newDecks(t)
	e := endpointAt(decks, listen(t).at)
	e.pool.idle.Store(maxIdle)
	dial(t, e).Release(0)
	if open, n := e.connections.Load(), e.deck.Counts().Closed[ClosedSurplus]; open != 0 || n != 1 {
		t.Errorf("%d are open, %d were closed as surplus", open, n)
	}
	e.pool.idle.Store(0)
}

// Without probes an answer whose deck lost its power would be waited for without end.
func TestADeckThatVanishesIsNoticed(t *testing.T) {
	decks, _ := newDecks(t)
	c := dial(t, endpointAt(decks, listen(t).at))
	defer c.Close(ClosedSurplus)
	probed := 0
	var err error
	broken := c.Raw.Control(func(fd uintptr) {
		probed, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_KEEPALIVE)
	})
	if broken != nil || err != nil || probed == 0 {
		t.Fatalf("the connection is not probed: %v, %v", broken, err)
	}
}

// TestWhatIsNotRetainedIsRetiredAndForgotten takes an address, and then its deck, out of use.
func TestWhatIsNotRetainedIsRetiredAndForgotten(t *testing.T) {
	decks, _ := newDecks(t)
	e := endpointAt(decks, listen(t).at)
	busy, idle := dial(t, e), dial(t, e)
	idle.Release(0)
	decks.Retain(map[string]struct{}{"d1": {}}, nil)
	if open := e.connections.Load(); open != 1 {
		t.Fatalf("%d connections are open right after the change", open)
	}
	if again := endpointAt(decks, e.addr); again == e {
		t.Error("a retired address came back")
	}
	if decks.ForgetRetired(); len(decks.retired) != 1 {
		t.Error("an address with a busy connection is forgotten")
	}
	busy.Release(0)
	if open, n := e.connections.Load(), e.deck.Counts().Closed[ClosedRetired]; open != 0 || n != 2 {
		t.Errorf("%d are open, %d were closed as retired", open, n)
	}
	if decks.ForgetRetired(); len(decks.retired) != 0 {
		t.Error("an address without a connection is not forgotten")
	}
	if decks.Retain(nil, nil); len(decks.all) != 0 {
		t.Error("a deck that is gone is kept")
	}
}

// TestTheFilesOfTLSAreReadAgainAndTheirLastGoodFormStays has a deck's file come, and then spoils it.
func TestTheFilesOfTLSAreReadAgainAndTheirLastGoodFormStays(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	files := newTLSFiles(identity{routing.DeckTLS{CAFile: ca}, true}, make(chan struct{}, 1), zap.NewNop(), 1)
	get := func() (*tls.Config, error) { return files.get(time.Now().Add(10 * time.Second)) }
	look := func(now int64) {
		t.Helper()
		files.refresh(now)
		for end := time.Now().Add(10 * time.Second); files.looking.Load(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("a look at the files does not end")
			}
		}
	}
	if _, err := get(); err == nil {
		t.Fatal("a file that is not there is no error")
	}
	writeCA(t, ca)
	look(2)
	if _, err := get(); err == nil {
		t.Error("the files are looked at all the time")
	}
	look(1 + int64(tlsFilesEvery))
	if config, err := get(); err != nil || config.RootCAs == nil {
		t.Errorf("a file that has come is not read: %v", err)
	}
	if err := os.WriteFile(ca, []byte("spoilt"), 0o600); err != nil {
		t.Fatal(err)
	}
	look(1 + 2*int64(tlsFilesEvery))
	if config, err := get(); err != nil || config == nil {
		t.Errorf("the last good form is gone: %v", err)
	}
}

// TestFilesOfTLSThatCannotBeReadNowDelayNoConnection has looks at files that do not end, as on a disk
// that does not answer: here, since no look gets its turn.
func TestFilesOfTLSThatCannotBeReadNowDelayNoConnection(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	writeCA(t, ca)
	id := identity{routing.DeckTLS{CAFile: ca}, true}
	turns := make(chan struct{}, 1)
	files := newTLSFiles(id, turns, zap.NewNop(), 1)
	if _, err := files.get(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	turns <- struct{}{}
	files.refresh(1 + int64(tlsFilesEvery))
	fresh := newTLSFiles(id, turns, zap.NewNop(), 1)
	begun := time.Now()
	if config, err := files.get(begun.Add(time.Hour)); err != nil || config == nil {
		t.Errorf("what was read is not used: %v", err)
	}
	if _, err := fresh.get(begun.Add(50 * time.Millisecond)); !errors.Is(err, errTLSFilesUnread) {
		t.Errorf("what was never read: %v", err)
	}
	if took := time.Since(begun); took > time.Minute {
		t.Errorf("it took %v", took)
	}
	<-turns
	if config, err := fresh.get(time.Now().Add(10 * time.Second)); err != nil || config == nil {
		t.Errorf("read at last, and not used: %v", err)
	}
}

// TestTheFilesOfTLSAreLookedAtWithoutRequests sweeps an address until the file that has come is read.
func TestTheFilesOfTLSAreLookedAtWithoutRequests(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	decks, _ := newDecks(t)
	e := decks.Deck("d1").Endpoint(&routing.CompiledDeck{Deck: routing.Deck{Name: "d1", TLS: &routing.DeckTLS{CAFile: ca}}}, listen(t).at)
	if _, err := e.tls.get(time.Now().Add(10 * time.Second)); err == nil {
		t.Fatal("a file that is not there is no error")
	}
	writeCA(t, ca)
	for now, end := e.clock.Now(), time.Now().Add(10*time.Second); e.tls.state.Load().config == nil; time.Sleep(time.Millisecond) {
		if now += int64(tlsFilesEvery); time.Now().After(end) {
			t.Fatal("the file is not looked at")
		}
		e.Sweep(now, time.Minute)
	}
}

func writeCA(t *testing.T, name string) {
	t.Helper()
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	good := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(name, good, 0o600); err != nil {
		t.Fatal(err)
	}
}
