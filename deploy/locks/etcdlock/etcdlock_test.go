package etcdlock_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/locks"
	"gridrouter.io/deploy/locks/etcdlock"
)

func connect(t *testing.T, etcd *etcdtest.Server) (*etcdlock.Provider, *clientv3.Client) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return etcdlock.New(client, prefix), client
}

func read(t *testing.T, client *clientv3.Client, key string) string {
	t.Helper()
	found, err := client.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Kvs) == 0 {
		return ""
	}
	return string(found.Kvs[0].Value)
}

// lock takes a lock, and releases it with the test.
func lock(t *testing.T, provider locks.Provider, holder string, atMost, atLeast time.Duration) *locks.Lock {
	t.Helper()
	l, err := locks.New(provider, holder).Lock(t.Context(), "job", atMost, atLeast)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = l.Unlock(ctx)
	})
	return l
}

// refused is the error of who cannot have the lock.
func refused(t *testing.T, provider locks.Provider) *locks.HeldError {
	t.Helper()
	_, err := locks.New(provider, "late").Lock(t.Context(), "job", time.Minute, 0)
	var held *locks.HeldError
	if !errors.As(err, &held) {
		t.Fatalf("not refused: %v", err)
	}
	return held
}

func TestWhoCannotHaveALockIsToldWhoHasItAndUntilWhen(t *testing.T) {
	provider, _ := connect(t, etcdtest.Start(t))
	l := lock(t, provider, "first", time.Hour, 0)
	before := time.Now()
	held := refused(t, provider)
	if held.Name != "job" || held.Holder != "first" || held.Until.Before(before.Add(50*time.Minute)) || held.Until.After(time.Now().Add(time.Hour)) {
		t.Errorf("%v", held)
	}
	other, err := locks.New(provider, "late").Lock(t.Context(), "another-job", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, release := range []*locks.Lock{l, other, l} {
		if err := release.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := l.Err(); !errors.Is(err, locks.ErrReleased) || !errors.Is(context.Cause(l.Context()), locks.ErrReleased) {
		t.Error(err)
	}
	if err := l.Extend(t.Context(), time.Minute); !errors.Is(err, locks.ErrReleased) {
		t.Errorf("it was extended after its release: %v", err)
	}
	again := lock(t, provider, "first", time.Hour, 0)
	if again.Token().Fence <= l.Token().Fence {
		t.Errorf("the fence was %d and is %d", l.Token().Fence, again.Token().Fence)
	}
}

func TestAShortJobKeepsItsLockForTheLeastTime(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	l := lock(t, provider, "first", time.Hour, 30*time.Minute)
	if err := l.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	found, err := client.Get(t.Context(), prefix+"job")
	if err != nil || len(found.Kvs) != 1 || found.Kvs[0].CreateRevision != l.Token().Fence {
		t.Fatalf("after the release there is %v, %v", found, err)
	}
	left, err := client.TimeToLive(t.Context(), clientv3.LeaseID(found.Kvs[0].Lease))
	if err != nil || left.GrantedTTL > 30*60 || left.GrantedTTL < 25*60 {
		t.Errorf("it is kept for %v, %v", left, err)
	}
	if held := refused(t, provider); held.Holder != "first" {
		t.Error(held)
	}
}

func TestALockIsFreeOnceTheLeastTimeIsOver(t *testing.T) {
	provider, _ := connect(t, etcdtest.Start(t))
	begun := time.Now()
	l := lock(t, provider, "first", time.Hour, 2*time.Second)
	if err := l.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventuallyLock(t, provider, "job")
	if waited := time.Since(begun); waited < 2*time.Second {
		t.Errorf("it was free after %s", waited)
	}
}

func TestALockIsExtendedWhileItIsHeld(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	l := lock(t, provider, "first", time.Minute, 0)
	fence := l.Token()
	for _, d := range []time.Duration{time.Hour, 10 * time.Minute} {
		before := time.Now()
		if err := l.Extend(t.Context(), d); err != nil {
			t.Fatal(err)
		}
		if l.Until().Before(before.Add(d)) || l.Until().After(time.Now().Add(d)) || l.Token() != fence {
			t.Errorf("extended by %s it is held until %s with %v", d, l.Until(), l.Token())
		}
		if until := refused(t, provider).Until; until.Before(before.Add(d-time.Minute)) || until.After(time.Now().Add(d)) {
			t.Errorf("extended by %s, others are told %s", d, until)
		}
	}
	leases, err := client.Leases(t.Context())
	if err != nil || len(leases.Leases) != 1 {
		t.Errorf("the leases that are left: %v, %v", leases, err)
	}
	if err := l.Extend(t.Context(), 0); err == nil {
		t.Error("it was extended by nothing")
	}
}

func TestAKeptLockLastsLongerThanItsTime(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	l := lock(t, provider, "first", 10*time.Second, 0)
	first := l.Until()
	l.KeepAlive()
	l.KeepAlive()
	testkit.Eventually(t, "it is extended", func() bool { return l.Until().After(first) })
	if left := time.Until(first); left > 5*time.Second {
		t.Errorf("it was extended %s before its time is over, which is before half of it", left)
	}
	done, err := client.Txn(t.Context()).If(provider.Guard(l.Token())...).Then(clientv3.OpPut("/a", "1")).Commit()
	if err != nil || !done.Succeeded || l.Err() != nil {
		t.Errorf("a guarded write after it was extended: %v, %v; %v", done, err, l.Err())
	}
}

func TestALockWhoseTimeIsOverIsGivenUp(t *testing.T) {
	provider, _ := connect(t, etcdtest.Start(t))
	l := lock(t, provider, "first", time.Second, 0)
	testkit.Eventually(t, "the context of the lock ends", func() bool { return l.Context().Err() != nil })
	if time.Now().Before(l.Until()) || !errors.Is(context.Cause(l.Context()), locks.ErrLost) || !errors.Is(l.Err(), locks.ErrLost) {
		t.Errorf("at %s, %s before its time: %v", time.Now(), time.Until(l.Until()), context.Cause(l.Context()))
	}
	if err := l.Extend(t.Context(), time.Minute); !errors.Is(err, locks.ErrLost) {
		t.Errorf("it was extended after its time: %v", err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, locks.ErrLost) {
		t.Errorf("its release says %v", err)
	}
}

func TestWhoLostALockTouchesItsSuccessorsNoMore(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	f := func(what string, atLeast time.Duration, act func(*locks.Lock) error) {
		t.Helper()
		l := lock(t, provider, "first", time.Hour, atLeast)
		if _, err := client.Delete(t.Context(), prefix+"job"); err != nil {
			t.Fatal(err)
		}
		successor := lock(t, provider, "second", time.Hour, 0)
		if err := act(l); !errors.Is(err, locks.ErrLost) {
			t.Errorf("%s: %v", what, err)
		}
		if held := refused(t, provider); held.Holder != "second" {
			t.Errorf("after %s: %v", what, held)
		}
		if err := successor.Unlock(t.Context()); err != nil {
			t.Errorf("after %s: %v", what, err)
		}
	}
	f("an extension", 0, func(l *locks.Lock) error {
		err := l.Extend(t.Context(), time.Hour)
		if cause := context.Cause(l.Context()); !errors.Is(cause, locks.ErrLost) {
			t.Errorf("the context ended with %v", cause)
		}
		return err
	})
	f("a release", 0, func(l *locks.Lock) error { return l.Unlock(t.Context()) })
	f("a release before the least time", 30*time.Minute, func(l *locks.Lock) error { return l.Unlock(t.Context()) })
}

func TestOnlyThePresentHolderPassesTheGuard(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	passes := func(token locks.Token) bool {
		t.Helper()
		done, err := client.Txn(t.Context()).If(provider.Guard(token)...).Then(clientv3.OpPut("/a", "1")).Commit()
		if err != nil {
			t.Fatal(err)
		}
		return done.Succeeded
	}
	for _, token := range []locks.Token{{}, {Name: "job"}, {Name: "job", Fence: -1}, {Name: "job", Fence: 7}} {
		if passes(token) {
			t.Errorf("%v passes while nobody holds the lock", token)
		}
	}
	former := lock(t, provider, "first", time.Minute, 0)
	if !passes(former.Token()) {
		t.Error("the holder does not pass")
	}
	if err := former.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if passes(former.Token()) {
		t.Error("it passes after the release")
	}
	present := lock(t, provider, "second", time.Minute, 0)
	if passes(former.Token()) || !passes(present.Token()) {
		t.Error("the former holder passes, or the present one does not")
	}
}

func TestWithoutEtcdNoLockIsGrantedAndAHeldOneIsGivenUpAtItsTime(t *testing.T) {
	etcd := etcdtest.Start(t)
	provider, _ := connect(t, etcd)
	l := lock(t, provider, "first", 3*time.Second, 0)
	l.KeepAlive()
	etcd.Stop()
	_, err := locks.New(provider, "late").Lock(t.Context(), "other", time.Second, 0)
	var held *locks.HeldError
	if err == nil || errors.As(err, &held) {
		t.Errorf("without etcd: %v", err)
	}
	testkit.Eventually(t, "the context of the lock ends", func() bool { return l.Context().Err() != nil })
	if time.Now().Before(l.Until()) || !errors.Is(l.Err(), locks.ErrLost) {
		t.Errorf("given up %s before its time: %v", time.Until(l.Until()), l.Err())
	}
	etcd.Restart(t)
	if next := eventuallyLock(t, provider, "job"); next.Token().Fence <= l.Token().Fence {
		t.Errorf("the fence was %d and is %d", l.Token().Fence, next.Token().Fence)
	}
}

func TestAJobRunsUnderItsLockOrIsSkipped(t *testing.T) {
	provider, client := connect(t, etcdtest.Start(t))
	failure := errors.New("the disk is full")
	err := locks.New(provider, "first").Do(t.Context(), "job", time.Minute, 0, func(ctx context.Context, token locks.Token) error {
		if held := refused(t, provider); held.Holder != "first" || token.Name != "job" || token.Fence <= 0 || ctx.Err() != nil {
			t.Errorf("%v with %v", held, token)
		}
		skipped := locks.New(provider, "second").Do(ctx, "job", time.Minute, 0, func(context.Context, locks.Token) error {
			t.Error("the job ran twice at once")
			return nil
		})
		var held *locks.HeldError
		if !errors.As(skipped, &held) {
			t.Error(skipped)
		}
		return failure
	})
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	// Its context ends with the lock, and what went wrong is told.
	err = locks.New(provider, "first").Do(t.Context(), "job", 2*time.Second, 0, func(ctx context.Context, _ locks.Token) error {
		if _, err := client.Delete(ctx, prefix+"job"); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	})
	if !errors.Is(err, locks.ErrLost) {
		t.Errorf("the job lost its lock: %v", err)
	}
}

func TestTheContextOfALockEndsWithTheOneItWasTakenWith(t *testing.T) {
	provider, _ := connect(t, etcdtest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	l, err := locks.New(provider, "first").Lock(ctx, "job", time.Minute, 0)
	if err != nil {
		t.Fatal(err)
	}
	l.KeepAlive()
	cancel()
	testkit.Eventually(t, "the context of the lock ends", func() bool { return l.Context().Err() != nil })
	if !errors.Is(context.Cause(l.Context()), context.Canceled) || l.Err() != nil {
		t.Errorf("%v; %v", context.Cause(l.Context()), l.Err())
	}
	if err := l.Unlock(t.Context()); err != nil {
		t.Error(err)
	}
	if err := l.Err(); !errors.Is(err, locks.ErrReleased) {
		t.Errorf("after the release: %v", err)
	}
	lock(t, provider, "second", time.Minute, 0)
}

// A job that goes on after its context has ended is told the truth about its lock.
func TestALockIsLostAtItsTimeAlsoIfItsContextEndedBefore(t *testing.T) {
	provider, _ := connect(t, etcdtest.Start(t))
	ctx, cancel := context.WithCancel(t.Context())
	l, err := locks.New(provider, "first").Lock(ctx, "job", time.Second, 0)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	testkit.Eventually(t, "the lock is lost", func() bool { return errors.Is(l.Err(), locks.ErrLost) })
	if err := l.Extend(t.Context(), time.Minute); !errors.Is(err, locks.ErrLost) {
		t.Errorf("it was extended after its time: %v", err)
	}
	if err := l.Unlock(t.Context()); !errors.Is(err, locks.ErrLost) {
		t.Errorf("its release says %v", err)
	}
}
