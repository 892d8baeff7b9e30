package starter

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"gridrouter.io/bench/child"
	"gridrouter.io/bench/testkit"
	"gridrouter.io/deploy/etcd/member"
)

// The test binary is three programs, by the name that it is called by: the tests, etcd, and one that becomes etcd.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "etcd":
		etcdmain.Main(os.Args)
	case "become":
		os.Exit(become(os.Args[1]))
	default:
		goleak.VerifyTestMain(m)
	}
}

// become runs with options in JSON, and returns the exit status if it did not become etcd.
func become(options string) int {
	var o Options
	err := json.Unmarshal([]byte(options), &o)
	if err == nil {
		err = Run(&o)
	}
	fmt.Fprintln(os.Stderr, err)
	var refusal *member.RefusalError
	if errors.As(err, &refusal) {
		return refusal.ExitStatus()
	}
	return 1
}

// program returns the path of a program that the test binary is.
func program(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// etcd is a process that is etcd, or becomes it.
type etcd struct {
	*child.Process
	url    string
	client *clientv3.Client
	mu     sync.Mutex
	output bytes.Buffer
}

// Write takes what the process says.
func (e *etcd) Write(text []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.output.Write(text)
}

func (e *etcd) said() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.output.String()
}

// launch starts a command that is given etcd's arguments, with an address that clients reach it at.
func launch(t testing.TB, command func(arguments []string) *exec.Cmd, extra ...string) *etcd {
	t.Helper()
	// A socket's path must be short.
	folder, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	e := &etcd{url: "unix://" + folder + "/client"}
	cmd := command(append([]string{
		"--listen-client-urls=" + e.url, "--advertise-client-urls=http://127.0.0.1:2", "--heartbeat-interval=10", "--election-timeout=100", "--unsafe-no-fsync",
		"--listen-peer-urls=unix://" + folder + "/peer", "--initial-advertise-peer-urls=http://127.0.0.1:2", "--initial-cluster=default=http://127.0.0.1:2",
	}, extra...))
	cmd.Stdout, cmd.Stderr = e, e
	if e.Process, err = child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Kill)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("it said:\n%s", e.said())
		}
	})
	e.client, err = clientv3.New(clientv3.Config{Endpoints: []string{e.url}, Logger: zap.NewNop(), DialTimeout: testkit.Patience})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.client.Close() })
	return e
}

// serves waits until etcd answers, and returns who it is.
func (e *etcd) serves(t testing.TB) member.Identity {
	t.Helper()
	var id member.Identity
	testkit.Eventually(t, "etcd serves", func() bool {
		if !e.Running() {
			t.Fatalf("it has ended: %s\n%s", e.Ending(), e.said())
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		answer, err := e.client.Get(ctx, "any")
		if err == nil {
			id = member.Identity{Member: answer.Header.GetMemberId(), Cluster: answer.Header.GetClusterId()}
		}
		return err == nil
	})
	return id
}

func (e *etcd) put(t testing.TB, key, value string) {
	t.Helper()
	if _, err := e.client.Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

func (e *etcd) has(t testing.TB, key string) string {
	t.Helper()
	answer, err := e.client.Get(t.Context(), key)
	if err != nil || len(answer.Kvs) == 0 {
		t.Fatalf("%s is not there: %v", key, err)
	}
	return string(answer.Kvs[0].Value)
}

// becoming starts a process that shall become etcd.
func becoming(t testing.TB, o Options, extra ...string) *etcd {
	t.Helper()
	first, server := program(t, "become"), program(t, "etcd")
	return launch(t, func(arguments []string) *exec.Cmd {
		o.Command = append([]string{server}, arguments...)
		text, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return exec.Command(first, string(text))
	}, extra...)
}

// grown is a folder of data of a real etcd.
type grown struct {
	dir string
	id  member.Identity
}

// grow runs an etcd of its own until it has data, and returns them at rest.
func grow(t testing.TB, server string) grown {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	e := launch(t, func(arguments []string) *exec.Cmd {
		return exec.Command(server, append(arguments, "--data-dir="+dir)...)
	})
	id := e.serves(t)
	e.put(t, "key", "value")
	e.client.Close()
	e.Stop(testkit.Patience, nil)
	return grown{dir, id}
}

// copied returns a copy of data, in a folder of a volume of its own.
func (g grown) copied(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(g.dir)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// podInfo writes annotations as the kubelet does.
func podInfo(t testing.TB, annotations ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "annotations")
	if err := os.WriteFile(path, []byte(strings.Join(annotations, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func joined(t testing.TB, id member.Identity) string {
	t.Helper()
	return podInfo(t, `a/b="1"`, fmt.Sprintf("%s=%q", member.Joined, id), `z="quoted \"text\"\n"`)
}
