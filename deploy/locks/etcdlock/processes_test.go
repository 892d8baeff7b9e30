package etcdlock_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/deploy/locks"
)

func TestTwoProcessesNeverHoldALockAtOnce(t *testing.T) {
	etcd := etcdtest.Start(t)
	_, client := connect(t, etcd)
	one, other := startChild(t, etcd.URL, "one"), startChild(t, etcd.URL, "other")
	const each = 12
	for _, c := range []*child{one, other} {
		c.tell(t, "count /number "+strconv.Itoa(each))
	}
	seen := map[string]bool{}
	for _, c := range []*child{one, other} {
		fences, ok := strings.CutSuffix(c.answer(t), " <nil>")
		if !ok {
			t.Fatal(fences)
		}
		for _, fence := range strings.Split(fences, ",") {
			if seen[fence] {
				t.Errorf("two had the fence %s", fence)
			}
			seen[fence] = true
		}
	}
	if number := read(t, client, "/number"); number != strconv.Itoa(2*each) || len(seen) != 2*each {
		t.Errorf("they counted to %s with %d fences", number, len(seen))
	}
}

func TestADeadHoldersLockIsFreeWhenItsTimeIsOver(t *testing.T) {
	etcd := etcdtest.Start(t)
	provider, _ := connect(t, etcd)
	begun := time.Now()
	c := startChild(t, etcd.URL, "mortal")
	former, err := strconv.ParseInt(c.ask(t, "lock job 2000"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.command.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	lock := eventuallyLock(t, provider, "job")
	if waited := time.Since(begun); waited < 2*time.Second {
		t.Errorf("it was free after %s", waited)
	}
	if lock.Token().Fence <= former {
		t.Errorf("the fence is %d after %d", lock.Token().Fence, former)
	}
}

// A lock alone is not safe: the holder is stopped past its time, another one takes over and writes, and
// the holder wakes up in the belief that nothing has happened.
func TestAHolderThatWasStoppedPastItsTimeCannotWrite(t *testing.T) {
	etcd := etcdtest.Start(t)
	provider, client := connect(t, etcd)
	c := startChild(t, etcd.URL, "sleeper")
	if _, err := strconv.Atoi(c.ask(t, "lock job 1000")); err != nil {
		t.Fatal(err)
	}
	if answer := c.ask(t, "write /result child"); answer != "true <nil>" {
		// On a machine that stood still for a second the lock is lost already, which is what is told.
		t.Logf("the first write was refused: %s", answer)
	}
	c.stop(t)
	lock := eventuallyLock(t, provider, "job")
	guarded, err := client.Txn(t.Context()).If(provider.Guard(lock.Token())...).Then(clientv3.OpPut("/result", "successor")).Commit()
	if err != nil || !guarded.Succeeded {
		t.Fatalf("the successor's write: %v, %v", guarded, err)
	}
	c.tell(t, "write /result child")
	c.tell(t, "extend")
	c.goOn(t)
	if answer := c.answer(t); answer != "false <nil>" {
		t.Errorf("the write of a holder that was stopped past its time: %s", answer)
	}
	if answer := c.answer(t); !strings.Contains(answer, "the lock is lost") {
		t.Errorf("and its extension: %s", answer)
	}
	if value := read(t, client, "/result"); value != "successor" {
		t.Errorf("/result is %q", value)
	}
}

// eventuallyLock tries to get a lock until it does.
func eventuallyLock(t *testing.T, provider locks.Provider, name string) *locks.Lock {
	t.Helper()
	var lock *locks.Lock
	testkit.Eventually(t, "lock "+name+" becomes free", func() bool {
		var err error
		lock, err = locks.New(provider, "successor").Lock(t.Context(), name, time.Minute, 0)
		var held *locks.HeldError
		if err != nil && !errors.As(err, &held) {
			t.Fatal(err)
		}
		return err == nil
	})
	t.Cleanup(func() { _ = lock.Unlock(context.Background()) })
	return lock
}
