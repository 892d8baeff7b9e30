package leaselock_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	client "k8s.io/client-go/kubernetes/typed/coordination/v1"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/locks"
	"gridrouter.io/deploy/locks/leaselock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// process is one process that takes locks: what it has observed is its own.
type process struct {
	*testing.T
	name     string
	provider *leaselock.Provider
}

func (p process) try(name string, atMost, atLeast time.Duration) (*locks.Lock, error) {
	p.Helper()
	l, err := locks.New(p.provider, p.name).Lock(p.Context(), name, atMost, atLeast)
	if err == nil {
		p.Cleanup(func() { _ = l.Unlock(context.Background()) })
	}
	return l, err
}

func (p process) lock(name string, atMost, atLeast time.Duration) *locks.Lock {
	p.Helper()
	l, err := p.try(name, atMost, atLeast)
	if err != nil {
		p.Fatal(err)
	}
	return l
}

func (p process) refused(name string) *locks.HeldError {
	p.Helper()
	_, err := p.try(name, time.Minute, 0)
	var held *locks.HeldError
	if !errors.As(err, &held) {
		p.Fatalf("not refused: %v", err)
	}
	return held
}

// TestLeases runs against one real API server, each part with a lock of its own.
func TestLeases(t *testing.T) {
	leases := apiServer(t)
	start := func(t *testing.T, name string) process { return process{t, name, leaselock.New(leases)} }
	for name, test := range map[string]func(*testing.T, client.LeaseInterface, process, process){
		"skip": testSkip, "least-time": testLeastTime, "dead-holder": testDeadHolder, "extend": testExtend,
		"successor": testSuccessor, "foreign-change": testForeignChange, "race": testRace,
	} {
		t.Run(name, func(t *testing.T) { test(t, leases, start(t, "first"), start(t, "second")) })
	}
}

func testSkip(t *testing.T, _ client.LeaseInterface, first, second process) {
	l := first.lock("skip", time.Hour, 0)
	held := second.refused("skip")
	if held.Holder != "first" || time.Until(held.Until) < 50*time.Minute || time.Until(held.Until) > time.Hour {
		t.Errorf("%v", held)
	}
	if err := l.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	// What was released is free at once, also for who sees it for the first time.
	next := second.lock("skip", time.Hour, 0)
	if l.Token().Fence != 1 || next.Token().Fence != 2 {
		t.Errorf("the fences are %d and %d", l.Token().Fence, next.Token().Fence)
	}
}

func testLeastTime(t *testing.T, _ client.LeaseInterface, first, second process) {
	begun := time.Now()
	l := first.lock("least-time", time.Hour, 2*time.Second)
	if err := l.Unlock(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the least time is over", func() bool {
		_, err := second.try("least-time", time.Hour, 0)
		return err == nil
	})
	if waited := time.Since(begun); waited < 2*time.Second {
		t.Errorf("it was free after %s", waited)
	}
}

func testDeadHolder(t *testing.T, leases client.LeaseInterface, first, second process) {
	dead := first.lock("dead-holder", 2*time.Second, 0)
	if err := second.provider.Observe(t.Context(), "dead-holder"); err != nil {
		t.Fatal(err)
	}
	if err := second.provider.Observe(t.Context(), "nowhere"); err != nil {
		t.Error(err)
	}
	observed := time.Now()
	testkit.Eventually(t, "the lock is free", func() bool {
		_, err := second.try("dead-holder", time.Hour, 0)
		return err == nil
	})
	if !errors.Is(dead.Err(), locks.ErrLost) {
		t.Errorf("it was taken over while its holder held it: %v, %s after it was seen", dead.Err(), time.Since(observed))
	}
	// Who sees it for the first time cannot know how old it is.
	if held := (process{t, "third", leaselock.New(leases)}).refused("dead-holder"); held.Holder != "second" {
		t.Error(held)
	}
}

func testExtend(t *testing.T, leases client.LeaseInterface, first, second process) {
	l := first.lock("extend", time.Minute, 0)
	if err := l.Extend(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	lease, err := leases.Get(t.Context(), "extend", metav1.GetOptions{})
	if err != nil || *lease.Spec.LeaseDurationSeconds != 3600 || *lease.Spec.LeaseTransitions != 1 {
		t.Errorf("%v, %v", lease, err)
	}
	if held := second.refused("extend"); time.Until(held.Until) < 50*time.Minute {
		t.Errorf("%v", held)
	}
}

func testSuccessor(t *testing.T, leases client.LeaseInterface, first, second process) {
	former := first.lock("successor", time.Hour, 0)
	// Somebody takes the lock away from a holder that hangs.
	lease, err := leases.Get(t.Context(), "successor", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	empty := ""
	lease.Spec.HolderIdentity = &empty
	if _, err := leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	present := second.lock("successor", time.Hour, 0)
	if err := former.Extend(t.Context(), time.Hour); !errors.Is(err, locks.ErrLost) {
		t.Errorf("an extension of the former holder: %v", err)
	}
	if err := former.Unlock(t.Context()); !errors.Is(err, locks.ErrLost) {
		t.Errorf("a release of the former holder: %v", err)
	}
	if err := present.Extend(t.Context(), time.Hour); err != nil {
		t.Errorf("the present holder: %v", err)
	}
	// A write of the former holder is refused by the object, after the present one has written it.
	object, err := leases.Get(t.Context(), "probe", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	stale := object.DeepCopy()
	if err := leaselock.Guard(object, present.Token()); err != nil {
		t.Fatal(err)
	}
	if object, err = leases.Update(t.Context(), object, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := leaselock.Guard(object, former.Token()); !errors.Is(err, locks.ErrLost) {
		t.Errorf("a guarded write of the former holder: %v", err)
	}
	if err := leaselock.Guard(stale, former.Token()); err != nil {
		t.Fatal(err)
	}
	if _, err := leases.Update(t.Context(), stale, metav1.UpdateOptions{}); err == nil {
		t.Error("what was read before the present holder's write was written after it")
	}
	if err := leases.Delete(t.Context(), "successor", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := present.Unlock(t.Context()); !errors.Is(err, locks.ErrLost) {
		t.Errorf("a release of a Lease that was deleted: %v", err)
	}
}

// A change that leaves the holding alone takes no lock away.
func testForeignChange(t *testing.T, leases client.LeaseInterface, first, _ process) {
	l := first.lock("foreign-change", time.Hour, 0)
	for _, act := range []func() error{
		func() error { return l.Extend(t.Context(), time.Hour) },
		func() error { return l.Unlock(t.Context()) },
	} {
		lease, err := leases.Get(t.Context(), "foreign-change", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		lease.Labels = map[string]string{"at": time.Now().Format("150405.000000000")}
		if _, err := leases.Update(t.Context(), lease, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := act(); err != nil {
			t.Error(err)
		}
	}
}

func testRace(t *testing.T, _ client.LeaseInterface, first, second process) {
	for range 5 {
		var both sync.WaitGroup
		taken := make([]*locks.Lock, 2)
		failed := make([]error, 2)
		for i, p := range []process{first, second} {
			both.Go(func() {
				taken[i], failed[i] = locks.New(p.provider, p.name).Lock(t.Context(), "race", time.Hour, 0)
			})
		}
		both.Wait()
		var held *locks.HeldError
		switch {
		case taken[0] != nil && taken[1] == nil && errors.As(failed[1], &held) && held.Holder == "first":
			taken[1] = taken[0]
		case taken[1] != nil && taken[0] == nil && errors.As(failed[0], &held) && held.Holder == "second":
		default:
			t.Fatalf("%v, %v", failed[0], failed[1])
		}
		if err := taken[1].Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
