package etcdlock_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/locks"
	"gridrouter.io/deploy/locks/etcdlock"
)

const prefix = "/locks/"

// childOf is the variable that makes this test binary a child: a process that takes locks, which the
// tests stop and kill. Its value is where etcd is.
const childOf = "GRIDROUTER_LOCKS_CHILD_OF"

func TestMain(m *testing.M) {
	if endpoint := os.Getenv(childOf); endpoint != "" {
		if err := beChild(endpoint, os.Getenv("HOLDER")); err != nil {
			fmt.Println("child:", err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// beChild does what its standard input says, a line each, and answers each with a line.
func beChild(endpoint, holder string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	defer client.Close()
	provider := etcdlock.New(client, prefix)
	var lock *locks.Lock
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		switch words[0] {
		case "lock": // NAME MILLISECONDS
			milliseconds, _ := strconv.Atoi(words[2])
			lock, err = locks.New(provider, holder).Lock(context.Background(), words[1], time.Duration(milliseconds)*time.Millisecond, 0)
			if err == nil {
				lock.KeepAlive()
				fmt.Println(lock.Token().Fence)
			} else {
				fmt.Println(err)
			}
		case "write": // KEY VALUE: guarded, whatever the clock says
			done, err := client.Txn(ctx).If(provider.Guard(lock.Token())...).Then(clientv3.OpPut(words[1], words[2])).Commit()
			fmt.Println(err == nil && done.Succeeded, err)
		case "extend":
			fmt.Println(lock.Extend(ctx, time.Minute))
		case "count": // KEY TIMES
			times, _ := strconv.Atoi(words[2])
			fmt.Println(count(ctx, client, locks.New(provider, holder), provider, words[1], times))
		}
		cancel()
	}
	return nil
}

// count adds to a number as often as it is told, each time under the lock, by reading and writing it in
// two steps: without a lock, additions would be lost. It returns the fences that it had.
func count(ctx context.Context, client *clientv3.Client, locker *locks.Locker, provider *etcdlock.Provider, key string, times int) (string, error) {
	var fences []string
	for len(fences) < times && ctx.Err() == nil {
		err := locker.Do(ctx, "counter", time.Minute, 0, func(ctx context.Context, token locks.Token) error {
			read, err := client.Get(ctx, key)
			if err != nil {
				return err
			}
			number := 0
			if len(read.Kvs) > 0 {
				number, _ = strconv.Atoi(string(read.Kvs[0].Value))
			}
			done, err := client.Txn(ctx).If(provider.Guard(token)...).Then(clientv3.OpPut(key, strconv.Itoa(number+1))).Commit()
			if err == nil && !done.Succeeded {
				err = errors.New("the write was refused")
			}
			fences = append(fences, strconv.FormatInt(token.Fence, 10))
			return err
		})
		var held *locks.HeldError
		if errors.As(err, &held) {
			time.Sleep(2 * time.Millisecond) // the other one's turn
		} else if err != nil {
			return "", err
		}
	}
	return strings.Join(fences, ","), ctx.Err()
}

// child is a process of this test binary.
type child struct {
	command *exec.Cmd
	in      *os.File
	out     *bufio.Scanner
}

// startChild starts a child, and kills it with the test.
func startChild(t *testing.T, endpoint, holder string) *child {
	t.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), childOf+"="+endpoint, "HOLDER="+holder)
	command.Stderr = os.Stderr
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdin = read
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = read.Close()
	t.Cleanup(func() {
		_ = write.Close()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	return &child{command: command, in: write, out: bufio.NewScanner(out)}
}

// tell sends a line.
func (c *child) tell(t *testing.T, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		t.Fatal(err)
	}
}

// ask sends a line and returns the answer.
func (c *child) ask(t *testing.T, line string) string {
	t.Helper()
	c.tell(t, line)
	return c.answer(t)
}

func (c *child) answer(t *testing.T) string {
	t.Helper()
	if !c.out.Scan() {
		t.Fatalf("the child is gone: %v", c.out.Err())
	}
	return c.out.Text()
}

// stop stops the process, as a debugger or an overcommitted host would, and waits until it is stopped.
func (c *child) stop(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the child is stopped", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.command.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
}

// goOn lets a stopped process run again.
func (c *child) goOn(t *testing.T) {
	t.Helper()
	if err := c.command.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
}
