package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rogpeppe/go-internal/testscript"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"gridrouter.io/bench/testkit/etcdtest"
	"gridrouter.io/discovery"
	"gridrouter.io/discovery/catalog"
	"gridrouter.io/router"
	"gridrouter.io/router/admin"
	"gridrouter.io/routing/compile"
)

func TestMain(m *testing.M) {
	testscript.Main(leakFree{m}, map[string]func(){
		"gridctl": func() { os.Exit(run()) },
	})
}

// leakFree runs the tests, then looks for goroutines that they left.
type leakFree struct{ m *testing.M }

func (l leakFree) Run() int {
	status := l.m.Run()
	if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return status
}

// testEtcd starts a real etcd that ends with the test, and a client of it.
func testEtcd(t *testing.T) (endpoint string, client *clientv3.Client) {
	t.Helper()
	endpoint = etcdtest.Start(t).URL
	client, err := discovery.NewClient(discovery.ClientConfig{Endpoints: []string{endpoint}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return endpoint, client
}

// TestScripts drives the real command against a real etcd, each script under a prefix of
// its own.
func TestScripts(t *testing.T) {
	endpoint, client := testEtcd(t)
	s := &scripts{client: client}
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("GRIDCTL_ETCD", endpoint)
			env.Setenv("GRIDCTL_PREFIX", prefixOf(env.WorkDir))
			env.Setenv("GRIDCTL_WHO", "kim@bastion")
			env.Setenv("GRIDCTL_TIMEOUT", "20s")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":    exits,
			"outlasts": outlasts,
			"etcd":     s.etcd,
			"router":   s.router,
		},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}

func prefixOf(workDir string) string {
	return "/" + workDir[strings.LastIndexByte(workDir, '/')+1:] + "/"
}

// exits runs a command that must end with a status: exits STATUS COMMAND ARGS...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits STATUS COMMAND ARGS...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

// outlasts runs a command that must end with a status when its --timeout is over, and runs it again with
// a longer one where this machine is too slow to hear of etcd in time: outlasts STATUS COMMAND ARGS...
func outlasts(ts *testscript.TestScript, neg bool, args []string) {
	for timeout := 500 * time.Millisecond; timeout < time.Minute; timeout *= 2 {
		exits(ts, neg, append(slices.Clone(args), "--timeout", timeout.String()))
		if !strings.Contains(ts.ReadFile("stderr"), "does not answer within") {
			return
		}
	}
	ts.Fatalf("etcd does not answer")
}

type scripts struct{ client *clientv3.Client }

// etcd works behind the command's back: etcd put KEY FILE | etcd del KEY | etcd keys |
// etcd show KEY | etcd drop FOLDER, whose revision goes into $REVISION; keys are relative to the prefix.
func (s *scripts) etcd(ts *testscript.TestScript, neg bool, args []string) {
	prefix := ts.Getenv("GRIDCTL_PREFIX")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: etcd put KEY FILE | del KEY | drop FOLDER | keys | show KEY")
	case args[0] == "put":
		_, err := s.client.Put(ctx, prefix+args[1], strings.TrimSpace(ts.ReadFile(args[2])))
		ts.Check(err)
	case args[0] == "del":
		_, err := s.client.Delete(ctx, prefix+args[1])
		ts.Check(err)
	case args[0] == "drop":
		answer, err := s.client.Delete(ctx, prefix+args[1], clientv3.WithPrefix())
		ts.Check(err)
		ts.Setenv("REVISION", strconv.FormatInt(answer.Header.Revision, 10))
	case args[0] == "keys":
		answer, err := s.client.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
		ts.Check(err)
		if len(answer.Kvs) == 0 {
			fmt.Fprintln(ts.Stdout(), "nothing")
		}
		for _, kv := range answer.Kvs {
			fmt.Fprintln(ts.Stdout(), strings.TrimPrefix(string(kv.Key), prefix))
		}
	case args[0] == "show":
		answer, err := s.client.Get(ctx, prefix+args[1])
		ts.Check(err)
		for _, kv := range answer.Kvs {
			fmt.Fprintf(ts.Stdout(), "%s\n", kv.Value)
		}
	}
}

// router starts a real router with the documents of the script's prefix, and puts the address of its
// admin listener into $ROUTER, that of its table into $REVISION: router [TOKEN].
func (s *scripts) router(ts *testscript.TestScript, _ bool, args []string) {
	grid := catalog.New(catalog.Config{Client: s.client, Prefix: ts.Getenv("GRIDCTL_PREFIX")})
	update, err := grid.Update(context.Background())
	ts.Check(err)
	relay, err := router.New(router.Config{ID: "r1"})
	ts.Check(err)
	ts.Defer(relay.Close)
	table, err := compile.NewCompiler(grid.Reader().Decode).Compile(update)
	ts.Check(err)
	relay.Publish(table)
	ts.Setenv("REVISION", strconv.FormatInt(relay.Table().Revision(), 10))
	config := admin.Config{Version: "test", Gatherer: prometheus.NewRegistry()}
	if len(args) > 0 {
		config.Token = args[0]
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = (&admin.Server{Handler: admin.New(relay, config)}).Serve(ctx, listener)
	}()
	ts.Defer(func() { cancel(); <-ended })
	ts.Setenv("ROUTER", listener.Addr().String())
}
